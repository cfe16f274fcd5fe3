"""mlp-concise in PyTorch: Dive into Deep Learning 5.2, from torch's own layers.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """One hidden layer; the book sets the weights, and leaves the biases to torch."""

    def __init__(self, num_hiddens: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(784, num_hiddens), nn.ReLU(), nn.Linear(num_hiddens, 10)
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 784) -> logits (n, 10)."""
        return self.net(X)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("net.1.weight", (1, 0)),
    "b1": ("net.1.bias",),
    "W2": ("net.3.weight", (1, 0)),
    "b2": ("net.3.bias",),
}
TRACE = {"z1": ("net.1",), "h1": ("net.2",)}
