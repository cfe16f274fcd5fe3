"""nielsen-neuron-cross-entropy in NumPy: Nielsen, chapter 3, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.layers import sigmoid_cross_entropy, sigmoid_cross_entropy_back
from harness.interface import Array, State

LOSS = "sigmoid-cross-entropy"


class Net:
    """X @ w + b, of one input and far off at first; the sigmoid is in the loss."""

    def __init__(self, dtype: str = "float32") -> None:
        self.w = np.full((1, 1), 2, dtype)
        self.b = np.full(1, 2, dtype)

    def forward(self, X: Array) -> Array:
        """X: (n, 1) -> logits (n, 1)."""
        return X @ self.w + self.b


def loss(Y_hat: Array, y: Array) -> float:
    """Mean cross-entropy of the sigmoid in nats. Y_hat: logits, y: both (n, 1)."""
    return sigmoid_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    d = sigmoid_cross_entropy_back(Y_hat, y)
    return loss(Y_hat, y), {"w": X.T @ d, "b": d.sum(axis=0)}


def trace(net: Net, X: Array) -> State:
    """The only value on the way, by its canonical name."""
    return {"logits": net.forward(X)}
