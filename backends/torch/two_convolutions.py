"""Two convolutions of a chosen width in PyTorch, on images of a chosen side.

Read it beside the others: same names, same order. May import torch only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """Average pool to the side; conv 3 x 3, ReLU, twice; the mean of each channel; dense."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.shrink = nn.AvgPool2d(32 // side)
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.average = nn.AvgPool2d(side)
        self.fc = nn.Linear(channels, 10)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 3, 32, 32) -> logits (n, 10)."""
        H = F.relu(self.conv1(self.shrink(X)))
        H = F.relu(self.conv2(H))
        return self.fc(torch.flatten(self.average(H), 1))


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "x": ("x", (0, 2, 3, 1)),
    "K1": ("conv1.weight", (2, 3, 1, 0)),
    "c1": ("conv1.bias",),
    "K2": ("conv2.weight", (2, 3, 1, 0)),
    "c2": ("conv2.bias",),
    "W": ("fc.weight", (1, 0)),
    "b": ("fc.bias",),
}
TRACE = {
    "p0": ("shrink", (0, 2, 3, 1)),
    "z1": ("conv1", (0, 2, 3, 1)),
    "z2": ("conv2", (0, 2, 3, 1)),
    "p2": ("average", (0, 2, 3, 1)),
}
