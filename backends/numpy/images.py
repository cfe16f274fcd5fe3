"""Layers of images, for the nets of this room: convolution, pools, batch norm, and their ways back.

May import NumPy and harness.interface.
X: images float (n, rows, columns, channels); K: kernels (size, size, inputs, outputs); d: what came
back to a layer, of its value's shape. pad: rows and columns added on each side.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from harness.interface import Array, State


def patches(X: Array, size: int, stride: int = 1, pad: int = 0) -> Array:
    """What a kernel sees at each position, in its own order: (n, r, c, size * size * channels)."""
    X = padded(X, pad, 0)
    n, rows, columns, channels = X.shape
    positions = n, (rows - size) // stride + 1, (columns - size) // stride + 1
    at, down, right, deep = X.strides
    strides = at, stride * down, stride * right, down, right, deep
    seen = as_strided(X, (*positions, size, size, channels), strides, writeable=False)
    return seen.reshape(*positions, -1)


def convolve(U: Array, K: Array) -> Array:
    """U: patches -> (n, r, c, outputs): cross-correlation."""
    flat = U.reshape(-1, U.shape[3]) @ K.reshape(-1, K.shape[3])
    return flat.reshape(*U.shape[:3], -1)


def kernels_back(d: Array, U: Array, K: Array) -> Array:
    """U: the patches that K saw -> the gradient by K."""
    return (U.reshape(-1, U.shape[3]).T @ d.reshape(-1, K.shape[3])).reshape(K.shape)


def images_back(d: Array, K: Array, X: Array, stride: int = 1, pad: int = 0) -> Array:
    """The gradient by the images X: what comes back to each patch, added up where they overlap."""
    U = (d.reshape(-1, K.shape[3]) @ K.reshape(-1, K.shape[3]).T).reshape(*d.shape[:3], -1)
    n, rows, columns, channels = X.shape
    whole = np.zeros((n, rows + 2 * pad, columns + 2 * pad, channels), d.dtype)
    for place, corner in enumerate(corners(whole, len(K), stride)):
        own = U[:, :, :, place * channels : (place + 1) * channels]
        np.add(corner, own, out=corner)
    return whole[:, pad : pad + rows, pad : pad + columns]


def max_pool(X: Array, size: int = 2, stride: int = 2, pad: int = 0) -> Array:
    """The largest of each window, in which what is padded never wins: (n, r, c, channels)."""
    first, *others = corners(padded(X, pad, -np.inf), size, stride)
    largest = first.copy()
    for corner in others:
        np.maximum(largest, corner, out=largest)
    return largest


def max_pool_back(
    d: Array, X: Array, P: Array, size: int = 2, stride: int = 2, pad: int = 0
) -> Array:
    """P: what max_pool gave of X -> the gradient by X, all to the first largest in row order."""
    X = padded(X, pad, -np.inf)
    back, free = np.zeros_like(X), np.ones(P.shape, bool)
    for corner, behind in zip(corners(X, size, stride), corners(back, size, stride), strict=True):
        first = (corner == P) | np.isnan(corner)
        first &= free
        free ^= first
        np.add(behind, np.where(first, d, 0), out=behind)
    return back[:, pad : len(back[0]) - pad, pad : len(back[0, 0]) - pad]


def corners(X: Array, size: int, stride: int) -> Iterator[Array]:
    """Views of one place of all windows, (n, r, c, channels), place after place in row order."""
    down, right = ((length - size) // stride * stride + 1 for length in X.shape[1:3])
    for row in range(size):
        for column in range(size):
            yield X[:, row : row + down : stride, column : column + right : stride]


class BatchNorm:
    """(X - mean) / sqrt(variance + 1e-5) * gamma + beta, per channel.

    Mean and variance are the batch's in training, which moves the running ones by a tenth towards
    them (the variance n / (n - 1) times, n samples and positions), and the running ones else.
    """

    def __init__(self, channels: int, dtype: str) -> None:
        self.gamma, self.beta = np.ones(channels, dtype), np.zeros(channels, dtype)
        self.mean, self.variance = np.zeros(channels, dtype), np.ones(channels, dtype)

    def forward(self, X: Array, *, training: bool) -> Array:
        mean, variance = self.mean, self.variance
        if training:
            n = X.size // len(self.gamma)
            mean = by_channel(X) / n
            variance = by_channel(np.square(X - mean)) / n
            self.mean = 0.9 * self.mean + 0.1 * mean
            self.variance = 0.9 * self.variance + 0.1 * n / (n - 1) * variance
        self.scale = np.sqrt(variance + 1e-5)
        self.unit = (X - mean) / self.scale
        return self.unit * self.gamma + self.beta

    def back(self, d: Array) -> tuple[Array, State]:
        """The gradient by X in training, and that by gamma and beta."""
        n = d.size // len(self.gamma)
        gamma, beta = by_channel(d * self.unit), by_channel(d)
        shared = self.unit * (gamma / n) + beta / n
        return (d - shared) * (self.gamma / self.scale), {"gamma": gamma, "beta": beta}


def by_channel(X: Array) -> Array:
    """Sums over samples and positions, a row each first: one long sum rounds more."""
    return X.sum(axis=2).sum(axis=(0, 1))


def padded(X: Array, pad: int, value: float) -> Array:
    """X with that many rows and columns of `value` on each side."""
    around = (0, 0), (pad, pad), (pad, pad), (0, 0)
    return np.pad(X, around, constant_values=value) if pad else X
