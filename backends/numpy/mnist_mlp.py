"""mnist-mlp in NumPy: 784-200-200-10, ReLU after every layer, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.layers import (
    relu,
    relu_back,
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net:
    """relu(relu(relu(X @ W1 + b1) @ W2 + b2) @ W3 + b3); weights are inputs x outputs."""

    def __init__(self, dtype: str = "float32") -> None:
        normal = np.random.default_rng().standard_normal
        self.W1 = (normal((784, 200)) * (2 / 784) ** 0.5).astype(dtype)
        self.b1 = np.zeros(200, dtype)
        self.W2 = (normal((200, 200)) * (2 / 200) ** 0.5).astype(dtype)
        self.b2 = np.zeros(200, dtype)
        self.W3 = (normal((200, 10)) * (2 / 200) ** 0.5).astype(dtype)
        self.b3 = np.zeros(10, dtype)

    def forward(self, X: Array) -> Array:
        """X: (n, 784) -> outputs (n, 10); keeps every value for the way back."""
        self.z1 = X @ self.W1 + self.b1
        self.h1 = relu(self.z1)
        self.z2 = self.h1 @ self.W2 + self.b2
        self.h2 = relu(self.z2)
        self.z3 = self.h2 @ self.W3 + self.b3
        self.outputs = relu(self.z3)
        return self.outputs


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: outputs (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    value = loss(net.forward(X), y)
    d3 = relu_back(softmax_cross_entropy_back(net.outputs, y), net.outputs)
    d2 = relu_back(d3 @ net.W3.T, net.h2)
    d1 = relu_back(d2 @ net.W2.T, net.h1)
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
