"""diabetes in PyTorch: 8-6-4-1, sigmoid everywhere.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "binary-cross-entropy"


class Net(nn.Module):
    """Three linear layers, one sigmoid for all."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(8, 6)
        self.linear2 = nn.Linear(6, 4)
        self.linear3 = nn.Linear(4, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 8) -> probabilities (n, 1)."""
        H = self.sigmoid(self.linear1(X))
        H = self.sigmoid(self.linear2(H))
        return self.sigmoid(self.linear3(H))


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean binary cross-entropy in nats, each logarithm -100 at least. Both (n, 1)."""
    return F.binary_cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("linear1.weight", (1, 0)),
    "b1": ("linear1.bias",),
    "W2": ("linear2.weight", (1, 0)),
    "b2": ("linear2.bias",),
    "W3": ("linear3.weight", (1, 0)),
    "b3": ("linear3.bias",),
}
TRACE = {"z1": ("linear1",), "z2": ("linear2",), "z3": ("linear3",)}
