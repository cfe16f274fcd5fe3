"""nielsen-cross-entropy in PyTorch: 784-30-10, the cross-entropy of each output's sigmoid.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "sigmoid-cross-entropy"


class Net(nn.Module):
    """One hidden layer; the last sigmoid is in the loss."""

    def __init__(self, num_hiddens: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, num_hiddens), nn.Sigmoid(), nn.Linear(num_hiddens, 10)
        )
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.normal_(layer.bias)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 784) -> logits (n, 10)."""
        return self.net(X)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Sigmoid cross-entropy in nats, summed over the outputs, mean over the samples.

    Y_hat: logits (n, 10), y: int64 (n,).
    """
    Y = F.one_hot(y, 10).to(Y_hat.dtype)
    return F.binary_cross_entropy_with_logits(Y_hat, Y, reduction="sum") / len(Y)


LAYOUT = {
    "W1": ("net.0.weight", (1, 0)),
    "b1": ("net.0.bias",),
    "W2": ("net.2.weight", (1, 0)),
    "b2": ("net.2.bias",),
}
TRACE = {"z1": ("net.0",), "h1": ("net.1",)}
