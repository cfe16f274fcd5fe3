"""cifar-net in NumPy: two convolutions and three dense layers, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.images import (
    convolve,
    images_back,
    kernels_back,
    max_pool,
    max_pool_back,
    patches,
)
from backends.numpy.layers import (
    relu,
    relu_back,
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net:
    """conv 5 x 5 3 -> 6, ReLU, pool; conv 5 x 5 6 -> 16, ReLU, pool; dense 400, 120, 84, 10."""

    def __init__(self, dtype: str = "float32") -> None:
        rng = np.random.default_rng()

        def uniform(fan_in: int, *shape: int) -> Array:
            return rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(dtype)

        self.K1, self.c1 = uniform(75, 5, 5, 3, 6), uniform(75, 6)
        self.K2, self.c2 = uniform(150, 5, 5, 6, 16), uniform(150, 16)
        self.W1, self.b1 = uniform(400, 400, 120), uniform(400, 120)
        self.W2, self.b2 = uniform(120, 120, 84), uniform(120, 84)
        self.W3, self.b3 = uniform(84, 84, 10), uniform(84, 10)

    def forward(self, X: Array) -> Array:
        """X: (n, 32, 32, 3) -> logits (n, 10); keeps every value for the way back."""
        self.u1 = patches(X, 5)
        self.z1 = convolve(self.u1, self.K1) + self.c1
        self.h1 = relu(self.z1)
        self.p1 = max_pool(self.h1)
        self.u2 = patches(self.p1, 5)
        self.z2 = convolve(self.u2, self.K2) + self.c2
        self.h2 = relu(self.z2)
        self.p2 = max_pool(self.h2)
        self.flat = self.p2.reshape(len(X), -1)
        self.z3 = self.flat @ self.W1 + self.b1
        self.h3 = relu(self.z3)
        self.z4 = self.h3 @ self.W2 + self.b2
        self.h4 = relu(self.z4)
        self.logits = self.h4 @ self.W3 + self.b3
        return self.logits


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    value = loss(net.forward(X), y)
    d5 = softmax_cross_entropy_back(net.logits, y)
    d4 = relu_back(d5 @ net.W3.T, net.h4)
    d3 = relu_back(d4 @ net.W2.T, net.h3)
    p2 = (d3 @ net.W1.T).reshape(net.p2.shape)
    d2 = relu_back(max_pool_back(p2, net.h2, net.p2), net.h2)
    d1 = relu_back(max_pool_back(images_back(d2, net.K2, net.p1), net.h1, net.p1), net.h1)
    grads = {
        "K1": kernels_back(d1, net.u1, net.K1),
        "c1": d1.sum(axis=(0, 1, 2)),
        "K2": kernels_back(d2, net.u2, net.K2),
        "c2": d2.sum(axis=(0, 1, 2)),
        "W1": net.flat.T @ d3,
        "b1": d3.sum(axis=0),
        "W2": net.h3.T @ d4,
        "b2": d4.sum(axis=0),
        "W3": net.h4.T @ d5,
        "b3": d5.sum(axis=0),
    }
    return value, grads


def trace(net: Net, X: Array) -> State:
    """Every value on the way, by its canonical name."""
    net.forward(X)
    names = ("z1", "h1", "p1", "z2", "h2", "p2", "z3", "h3", "z4", "h4", "logits")
    return {name: getattr(net, name) for name in names}
