"""mnist-mlp in PyTorch: three dense layers, ReLU after each of them, the last one's too.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """784-200-200-10."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 200)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(200, 200)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(200, 10)
        self.relu3 = nn.ReLU()

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 784) -> outputs (n, 10), none below 0."""
        H = self.relu1(self.fc1(X))
        H = self.relu2(self.fc2(H))
        return self.relu3(self.fc3(H))


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("fc1.weight", (1, 0)),
    "b1": ("fc1.bias",),
    "W2": ("fc2.weight", (1, 0)),
    "b2": ("fc2.bias",),
    "W3": ("fc3.weight", (1, 0)),
    "b3": ("fc3.bias",),
}
TRACE = {
    "z1": ("fc1",),
    "h1": ("relu1",),
    "z2": ("fc2",),
    "h2": ("relu2",),
    "z3": ("fc3",),
}
