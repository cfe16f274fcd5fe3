"""mnist-mlp-concise in PyTorch: ReLU after each of three layers, all of torch's own.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """784-200-200-10; the parameters start as torch's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, 200),
            nn.ReLU(),
            nn.Linear(200, 200),
            nn.ReLU(),
            nn.Linear(200, 10),
            nn.ReLU(),
        )

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 784) -> outputs (n, 10), none below 0."""
        return self.net(X)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("net.0.weight", (1, 0)),
    "b1": ("net.0.bias",),
    "W2": ("net.2.weight", (1, 0)),
    "b2": ("net.2.bias",),
    "W3": ("net.4.weight", (1, 0)),
    "b3": ("net.4.bias",),
}
TRACE = {"z1": ("net.0",), "h1": ("net.1",), "z2": ("net.2",), "h2": ("net.3",), "z3": ("net.4",)}
