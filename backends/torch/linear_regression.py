"""linear-regression in PyTorch: a line, with autograd.

Read it beside the others: same names, same order. May import torch only.
"""

import torch
from torch import Tensor, nn

LOSS = "half-squared-sum"


class Net(nn.Module):
    """X @ w + b."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.rand(1, 1))
        self.b = nn.Parameter(torch.zeros(1, 1))

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 1) -> outputs (n, 1)."""
        return X @ self.w + self.b


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Half the sum of the squared errors, no mean. Both (n, 1)."""
    return (0.5 * (Y_hat - y) ** 2).sum()


def trace(net: Net, X: Tensor) -> dict[str, Tensor]:
    """The values on the way, by name."""
    return {"outputs": net(X)}
