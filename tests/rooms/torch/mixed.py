"""Dense layers with every activation between them."""

from torch import nn
from torch.nn import functional as F


class Net(nn.Sequential):
    def __init__(self, inputs):
        super().__init__()
        acts = nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.Softmax(dim=1)
        for i, act in enumerate(acts, 1):
            self.add_module(f"z{i}", nn.Linear(inputs if i == 1 else 5, 5))
            self.add_module(f"h{i}", act)
        self.z5 = nn.Linear(5, 3)


def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)


LAYOUT = {f"W{i}": (f"z{i}.weight", (1, 0)) for i in range(1, 6)}
LAYOUT |= {f"b{i}": (f"z{i}.bias",) for i in range(1, 6)}
TRACE = {f"{letter}{i}": (f"{letter}{i}",) for i in range(1, 5) for letter in "zh"}
