"""nielsen-deep in PyTorch: three hidden layers of 30 sigmoids, the quadratic loss.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "quadratic"


class Net(nn.Module):
    """784-30-30-30-10."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, 30),
            nn.Sigmoid(),
            nn.Linear(30, 30),
            nn.Sigmoid(),
            nn.Linear(30, 30),
            nn.Sigmoid(),
            nn.Linear(30, 10),
            nn.Sigmoid(),
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.normal_(layer.bias)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 784) -> outputs (n, 10)."""
        return self.net(X)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean over the samples of |Y_hat - one-hot|² / 2. Y_hat: (n, 10), y: int64 (n,)."""
    Y = F.one_hot(y, 10).to(Y_hat.dtype)
    return F.mse_loss(Y_hat, Y, reduction="sum") / (2 * len(Y))


LAYOUT = {
    "W1": ("net.0.weight", (1, 0)),
    "b1": ("net.0.bias",),
    "W2": ("net.2.weight", (1, 0)),
    "b2": ("net.2.bias",),
    "W3": ("net.4.weight", (1, 0)),
    "b3": ("net.4.bias",),
    "W4": ("net.6.weight", (1, 0)),
    "b4": ("net.6.bias",),
}
TRACE = {
    "z1": ("net.0",),
    "h1": ("net.1",),
    "z2": ("net.2",),
    "h2": ("net.3",),
    "z3": ("net.4",),
    "h3": ("net.5",),
    "z4": ("net.6",),
}
