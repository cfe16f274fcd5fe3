"""softmax-regression in PyTorch: Dive into Deep Learning 4.4, with autograd.

Read it beside the others: same names, same order. May import torch only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """One dense layer: X @ W + b; weights are inputs x outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(784, 10) * 0.01)
        self.b = nn.Parameter(torch.zeros(10))

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 784) -> logits (n, 10)."""
        return X @ self.W + self.b


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


def trace(net: Net, X: Tensor) -> dict[str, Tensor]:
    """The values on the way, by name."""
    return {"logits": net(X)}
