"""nielsen-network in PyTorch: 784-30-10, sigmoid everywhere, the quadratic loss.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "quadratic"


class Net(nn.Module):
    """One hidden layer; every parameter starts standard normal."""

    def __init__(self, num_hiddens: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, num_hiddens), nn.Sigmoid(), nn.Linear(num_hiddens, 10), nn.Sigmoid()
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter)

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
}
TRACE = {"z1": ("net.0",), "h1": ("net.1",), "z2": ("net.2",)}
