"""logistic-regression in PyTorch: one dense layer and a sigmoid.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "binary-cross-entropy"


class Net(nn.Module):
    """8-1; the parameters start as torch's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 8) -> probabilities (n, 1)."""
        return self.sigmoid(self.linear(X))


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean binary cross-entropy in nats, each logarithm -100 at least. Both (n, 1)."""
    return F.binary_cross_entropy(Y_hat, y)


LAYOUT = {"W": ("linear.weight", (1, 0)), "b": ("linear.bias",)}
TRACE = {"z1": ("linear",)}
