"""himmelblau in PyTorch: a function of two variables, with autograd.

Read it beside the others: same names, same order. May import torch only.
"""

import torch
from torch import Tensor, nn

LOSS = "output"


def residuals(x: Tensor) -> Tensor:
    """x: u and v (2,) -> u² + v - 11 and u + v² - 7 (2,)."""
    u, v = x
    return torch.stack((u * u + v - 11, u + v * v - 7))


class Net(nn.Module):
    """The sum of the residuals' squares at x, which is what is learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(2))

    def forward(self, X: Tensor) -> Tensor:
        """X: blank (n,) -> f, the same in each row (n, 1)."""
        q = residuals(self.x)
        return (q * q).sum().expand(len(X), 1)


def loss(Y_hat: Tensor, _: None) -> Tensor:
    """The mean of the outputs (n, 1); there are no targets."""
    return Y_hat.mean()


def trace(net: Net, X: Tensor) -> dict[str, Tensor]:
    """The values on the way, by name."""
    return {"q1": residuals(net.x).expand(len(X), 2), "outputs": net(X)}
