"""nielsen-neuron-cross-entropy in PyTorch: one sigmoid, its cross-entropy.

Read it beside the others: same names, same order. May import torch only.
"""

from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "sigmoid-cross-entropy"


class Net(nn.Module):
    """One input, one output, its sigmoid in the loss; both parameters start at 2."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 2.0)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 1) -> logits (n, 1)."""
        return self.linear(X)


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean sigmoid cross-entropy in nats. Y_hat: logits (n, 1), y: (n, 1)."""
    return F.binary_cross_entropy_with_logits(Y_hat, y)


LAYOUT = {"w": ("linear.weight", (1, 0)), "b": ("linear.bias",)}
TRACE = {"logits": ("linear",)}
