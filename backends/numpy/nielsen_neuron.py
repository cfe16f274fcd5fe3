"""nielsen-neuron in NumPy: Nielsen, chapter 3, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.layers import quadratic, quadratic_back, sigmoid, sigmoid_back
from harness.interface import Array, State

LOSS = "quadratic"


class Net:
    """sigmoid(X @ w + b), of one input and far off at first."""

    def __init__(self, dtype: str = "float32") -> None:
        self.w = np.full((1, 1), 2, dtype)
        self.b = np.full(1, 2, dtype)

    def forward(self, X: Array) -> Array:
        """X: (n, 1) -> outputs (n, 1); keeps every value for the way back."""
        self.z1 = X @ self.w + self.b
        self.outputs = sigmoid(self.z1)
        return self.outputs


def loss(Y_hat: Array, y: Array) -> float:
    """Mean of half the squared error. Y_hat, y: (n, 1)."""
    return quadratic(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    value = loss(net.forward(X), y)
    d = sigmoid_back(quadratic_back(net.outputs, y), net.outputs)
    return value, {"w": X.T @ d, "b": d.sum(axis=0)}


def trace(net: Net, X: Array) -> State:
    """Every value on the way, by its canonical name."""
    net.forward(X)
    return {"z1": net.z1, "outputs": net.outputs}
