"""Two convolutions of a chosen width in NumPy, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

import numpy as np

from backends.numpy.images import convolve, images_back, kernels_back, patches
from backends.numpy.layers import (
    relu,
    relu_back,
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net:
    """Average pool to the side; conv 3 x 3, ReLU, twice; the mean of each channel; dense."""

    def __init__(self, channels: int, side: int, dtype: str = "float32") -> None:
        rng = np.random.default_rng()
        self.side = side

        def uniform(fan_in: int, *shape: int) -> Array:
            return rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(dtype)

        self.K1, self.c1 = uniform(27, 3, 3, 3, channels), uniform(27, channels)
        wide = 9 * channels
        self.K2, self.c2 = uniform(wide, 3, 3, channels, channels), uniform(wide, channels)
        self.W, self.b = uniform(channels, channels, 10), uniform(channels, 10)

    def forward(self, X: Array) -> Array:
        """X: (n, 32, 32, 3) -> logits (n, 10); keeps every value for the way back."""
        window = 32 // self.side
        self.p0 = X.reshape(len(X), self.side, window, self.side, window, 3).mean(axis=(2, 4))
        self.u1 = patches(self.p0, 3, pad=1)
        self.z1 = convolve(self.u1, self.K1) + self.c1
        self.h1 = relu(self.z1)
        self.u2 = patches(self.h1, 3, pad=1)
        self.z2 = convolve(self.u2, self.K2) + self.c2
        self.h2 = relu(self.z2)
        self.p2 = self.h2.mean(axis=(1, 2), keepdims=True)
        self.flat = self.p2.reshape(len(X), -1)
        self.logits = self.flat @ self.W + self.b
        return self.logits


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    value = loss(net.forward(X), y)
    d3 = softmax_cross_entropy_back(net.logits, y)
    each = (d3 @ net.W.T / net.side**2).reshape(net.p2.shape)
    d2 = relu_back(np.broadcast_to(each, net.h2.shape), net.h2)
    d1 = relu_back(images_back(d2, net.K2, net.h1, pad=1), net.h1)
    grads = {
        "K1": kernels_back(d1, net.u1, net.K1),
        "c1": d1.sum(axis=(0, 1, 2)),
        "K2": kernels_back(d2, net.u2, net.K2),
        "c2": d2.sum(axis=(0, 1, 2)),
        "W": net.flat.T @ d3,
        "b": d3.sum(axis=0),
    }
    return value, grads


def trace(net: Net, X: Array) -> State:
    """Every value on the way, by its canonical name."""
    net.forward(X)
    return {name: getattr(net, name) for name in ("p0", "z1", "h1", "z2", "h2", "p2", "logits")}
