"""cifar-net in PyTorch: two convolutions and three dense layers.

Read it beside the others: same names, same order. May import torch only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """As torch's own tutorial has it: images channels first, flattened channel by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 3, 32, 32) -> logits (n, 10)."""
        H = self.pool(F.relu(self.conv1(X)))
        H = self.pool(F.relu(self.conv2(H)))
        H = torch.flatten(H, 1)
        H = F.relu(self.fc1(H))
        H = F.relu(self.fc2(H))
        return self.fc3(H)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "x": ("x", (0, 2, 3, 1)),
    "K1": ("conv1.weight", (2, 3, 1, 0)),
    "c1": ("conv1.bias",),
    "K2": ("conv2.weight", (2, 3, 1, 0)),
    "c2": ("conv2.bias",),
    "W1": ("fc1.weight", (2, 3, 1, 0), (120, 16, 5, 5)),
    "b1": ("fc1.bias",),
    "W2": ("fc2.weight", (1, 0)),
    "b2": ("fc2.bias",),
    "W3": ("fc3.weight", (1, 0)),
    "b3": ("fc3.bias",),
}
TRACE = {
    "z1": ("conv1", (0, 2, 3, 1)),
    "z2": ("conv2", (0, 2, 3, 1)),
    "z3": ("fc1",),
    "z4": ("fc2",),
}
