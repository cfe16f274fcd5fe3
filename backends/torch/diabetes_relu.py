"""diabetes-relu in PyTorch: 8-6-4-1, ReLU everywhere.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "binary-cross-entropy"


class Net(nn.Module):
    """Three linear layers, ReLU after each of them, the last one too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(8, 6),
            nn.ReLU(),
            nn.Linear(6, 4),
            nn.ReLU(),
            nn.Linear(4, 1),
            nn.ReLU(),
        )

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 8) -> outputs (n, 1)."""
        return self.net(X)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean binary cross-entropy in nats, each logarithm -100 at least. Both (n, 1).

    Eagerly, torch refuses an output above 1.
    """
    return F.binary_cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("net.0.weight", (1, 0)),
    "b1": ("net.0.bias",),
    "W2": ("net.2.weight", (1, 0)),
    "b2": ("net.2.bias",),
    "W3": ("net.4.weight", (1, 0)),
    "b3": ("net.4.bias",),
}
TRACE = {"z1": ("net.0",), "h1": ("net.1",), "z2": ("net.2",), "h2": ("net.3",), "z3": ("net.4",)}
