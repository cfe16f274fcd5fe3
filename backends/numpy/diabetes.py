"""diabetes in NumPy: 8-6-4-1, sigmoid everywhere, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.layers import (
    binary_cross_entropy,
    binary_cross_entropy_back,
    sigmoid,
    sigmoid_back,
)
from harness.interface import Array, State

LOSS = "binary-cross-entropy"


class Net:
    """Three dense layers, a sigmoid after each; weights are inputs x outputs."""

    def __init__(self, dtype: str = "float32") -> None:
        rng = np.random.default_rng()

        def uniform(fan_in: int, *shape: int) -> Array:
            return rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(dtype)

        self.W1, self.b1 = uniform(8, 8, 6), uniform(8, 6)
        self.W2, self.b2 = uniform(6, 6, 4), uniform(6, 4)
        self.W3, self.b3 = uniform(4, 4, 1), uniform(4, 1)

    def forward(self, X: Array) -> Array:
        """X: (n, 8) -> outputs (n, 1); keeps every value for the way back."""
        self.z1 = X @ self.W1 + self.b1
        self.h1 = sigmoid(self.z1)
        self.z2 = self.h1 @ self.W2 + self.b2
        self.h2 = sigmoid(self.z2)
        self.z3 = self.h2 @ self.W3 + self.b3
        self.outputs = sigmoid(self.z3)
        return self.outputs


def loss(Y_hat: Array, y: Array) -> float:
    """Mean binary cross-entropy in nats, each logarithm at least -100. Y_hat, y: (n, 1)."""
    return binary_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    value = loss(net.forward(X), y)
    d3 = binary_cross_entropy_back(net.outputs, y)
    d2 = sigmoid_back(d3 @ net.W3.T, net.h2)
    d1 = sigmoid_back(d2 @ net.W2.T, net.h1)
    grads = {
        "W1": X.T @ d1,
        "b1": d1.sum(axis=0),
        "W2": net.h1.T @ d2,
        "b2": d2.sum(axis=0),
        "W3": net.h2.T @ d3,
        "b3": d3.sum(axis=0),
    }
    return value, grads


def trace(net: Net, X: Array) -> State:
    """Every value on the way, by its canonical name."""
    net.forward(X)
    return {name: getattr(net, name) for name in ("z1", "h1", "z2", "h2", "z3", "outputs")}
