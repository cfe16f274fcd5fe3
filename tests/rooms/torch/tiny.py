"""Two dense layers."""

from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3))

    def forward(self, X):
        return self.body(X)


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("body.0.weight", (1, 0)),
    "b1": ("body.0.bias",),
    "W2": ("body.2.weight", (1, 0)),
    "b2": ("body.2.bias",),
}
