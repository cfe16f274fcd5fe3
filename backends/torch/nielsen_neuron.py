"""nielsen-neuron in PyTorch: one sigmoid, the quadratic loss.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "quadratic"


class Net(nn.Module):
    """One input, one output; both parameters start at 2."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.sigmoid = nn.Sigmoid()
        for parameter in self.parameters():
            nn.init.constant_(parameter, 2.0)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 1) -> outputs (n, 1)."""
        return self.sigmoid(self.linear(X))


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean over the samples of (Y_hat - y)² / 2. Both (n, 1)."""
    return F.mse_loss(Y_hat, y) / 2


LAYOUT = {"w": ("linear.weight", (1, 0)), "b": ("linear.bias",)}
TRACE = {"z1": ("linear",)}
