"""What the steps of Nielsen's convolutional ladder share (chapter 6).

A layer of it: convolve 5 x 5, take the largest of each 2 x 2, then add the bias, then activate. May
import NumPy, the layers beside it and harness.interface.
"""

from operator import attrgetter
from typing import Any

import numpy as np

from backends.numpy.images import (
    convolve,
    images_back,
    kernels_back,
    max_pool,
    max_pool_back,
    patches,
)
from backends.numpy.layers import Chain, Dense, Layer, Learnt
from harness.interface import Array, State


class Conv(Learnt):
    """Kernels 5 x 5 over whole images, no bias: (n, r, c, inputs) -> (n, r - 4, c - 4, outputs)."""

    def __init__(self, inputs: int, outputs: int, dtype: str) -> None:
        start = np.random.default_rng().normal(
            0, (4 / 25 / outputs) ** 0.5, (5, 5, inputs, outputs)
        )
        self.K = start.astype(dtype)

    def forward(self, X: Array) -> Array:
        self.X, self.U = X, patches(X, 5)
        return convolve(self.U, self.K)

    def back(self, d: Array, _: Array) -> Array:
        return images_back(d, self.K, self.X)

    def grads(self, _: Array, d: Array) -> State:
        return {"K": kernels_back(d, self.U, self.K)}


class MaxPool:
    """The largest of each 2 x 2: (n, r, c, channels) -> (n, r / 2, c / 2, channels)."""

    def forward(self, X: Array) -> Array:
        self.X = X
        return max_pool(X)

    def back(self, d: Array, P: Array) -> Array:
        return max_pool_back(d, self.X, P)


class Bias(Learnt):
    """One number a channel is added."""

    def __init__(self, channels: int, dtype: str) -> None:
        self.c = np.random.default_rng().standard_normal(channels).astype(dtype)

    def forward(self, X: Array) -> Array:
        return X + self.c

    def back(self, d: Array, _: Array) -> Array:
        return d

    def grads(self, _: Array, d: Array) -> State:
        return {"c": d.sum(axis=(0, 1, 2))}


class Flatten:
    """(n, r, c, channels) -> (n, r * c * channels)."""

    def forward(self, X: Array) -> Array:
        self.shape = X.shape
        return X.reshape(len(X), -1)

    def back(self, d: Array, _: Array) -> Array:
        return d.reshape(self.shape)


class Net(Chain):
    """A chain whose value `flat`, the images as rows, is not shown."""

    def trace(self, *given: Any) -> State:
        """Every value on the way, by its canonical name. given: what `forward` takes."""
        self.forward(*given)
        values = zip(self.layers, self.values[1:], strict=True)
        return {name: value for name, value in values if name != "flat"}


def convolution(
    number: int, inputs: int, outputs: int, activation: Layer, dtype: str
) -> dict[str, Layer]:
    """One layer of the ladder, as four of a chain."""
    layers = Conv(inputs, outputs, dtype), MaxPool(), Bias(outputs, dtype), activation
    return dict(zip((f"{letter}{number}" for letter in "zpsh"), layers, strict=True))


def dense(inputs: int, outputs: int, dtype: str) -> Dense:
    """Starts normal: weights of scale 1 / sqrt(outputs), biases of scale 1."""
    return Dense(inputs, outputs, dtype, w=outputs**-0.5, b=1)


def softmax(inputs: int, dtype: str) -> Dense:
    """The layer before the softmax, which starts at 0."""
    layer = Dense(inputs, 10, dtype)
    layer.W[:] = layer.b[:] = 0
    return layer


def with_l2(net: Chain, value: float, grads: State, share: float) -> tuple[float, State]:
    """Loss and gradients with `share` / 2 times every squared kernel and weight added, no bias."""
    for name in (name for name in grads if name.endswith((".K", ".W"))):
        weights = attrgetter(name)(net)
        value += share / 2 * float(np.vdot(weights, weights))
        grads[name] += share * weights
    return value, grads
