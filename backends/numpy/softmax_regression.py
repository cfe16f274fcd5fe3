"""softmax-regression in NumPy: Dive into Deep Learning 4.4, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.layers import softmax_cross_entropy, softmax_cross_entropy_back
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net:
    """X @ W + b; weights are inputs x outputs."""

    def __init__(self, dtype: str = "float32") -> None:
        self.W = np.random.default_rng().normal(0, 0.01, (784, 10)).astype(dtype)
        self.b = np.zeros(10, dtype)

    def forward(self, X: Array) -> Array:
        """X: (n, 784) -> logits (n, 10)."""
        return X @ self.W + self.b


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    d = softmax_cross_entropy_back(Y_hat, y)
    return loss(Y_hat, y), {"W": X.T @ d, "b": d.sum(axis=0)}


def trace(net: Net, X: Array) -> State:
    """The only value on the way, by its canonical name."""
    return {"logits": net.forward(X)}
