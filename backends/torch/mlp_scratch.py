"""MLPScratch in PyTorch: Dive into Deep Learning 5.2, with autograd.

Read it beside the others: same names, same order. May import torch only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


def relu(X: Tensor) -> Tensor:
    """max(X, 0), elementwise; derivative 0 at 0, NaN passes through."""
    # The book's torch.max(X, 0) has derivative 1/2 at 0.
    return torch.relu(X)


class MLPScratch(nn.Module):
    """One hidden layer: relu(X @ W1 + b1) @ W2 + b2; weights are inputs x outputs."""

    def __init__(
        self, num_inputs: int, num_outputs: int, num_hiddens: int, sigma: float = 0.01
    ) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs
        self.num_hiddens = num_hiddens
        self.sigma = sigma
        self.W1 = nn.Parameter(torch.randn(num_inputs, num_hiddens) * sigma)
        self.b1 = nn.Parameter(torch.zeros(num_hiddens))
        self.W2 = nn.Parameter(torch.randn(num_hiddens, num_outputs) * sigma)
        self.b2 = nn.Parameter(torch.zeros(num_outputs))

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, num_inputs) -> logits (n, num_outputs)."""
        H = relu(X @ self.W1 + self.b1)
        return H @ self.W2 + self.b2


Net = MLPScratch


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, num_outputs), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


def trace(net: MLPScratch, X: Tensor) -> dict[str, Tensor]:
    """The values on the way, by name."""
    z1 = X @ net.W1 + net.b1
    h1 = relu(z1)
    return {"z1": z1, "h1": h1, "logits": h1 @ net.W2 + net.b2}
