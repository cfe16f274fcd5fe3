"""What other frameworks bring along and NumPy does not: layers and losses, and their ways back.

For the nets of this room and for a user's own. May import NumPy and harness.interface.
X: images float (n, rows, columns, channels); K: kernels (size, size, inputs, outputs); d: what came
back to a layer, of its value's shape.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from harness.interface import Array

# Where binary cross-entropy clamps its logarithms, from below, as torch does.
LEAST_LOG = -100


def relu(Z: Array) -> Array:
    """max(Z, 0), elementwise; derivative 0 at 0, NaN passes through."""
    return np.maximum(Z, 0)


def relu_back(d: Array, H: Array) -> Array:
    """H: what relu gave -> the gradient by Z; where H is NaN, it passes."""
    return np.where(H == 0, 0, d)


def sigmoid(Z: Array) -> Array:
    """1 / (1 + exp(-Z)), elementwise; 0 where exp overflows."""
    return 1 / (1 + np.exp(-Z))


def sigmoid_back(d: Array, A: Array) -> Array:
    """A: what sigmoid gave -> the gradient by Z."""
    return d * A * (1 - A)


def patches(X: Array, size: int) -> Array:
    """What a kernel sees at each position, in its own order: (n, r, c, size * size * channels)."""
    n, rows, columns, channels = X.shape
    positions = n, rows - size + 1, columns - size + 1
    at, down, right, deep = X.strides
    strides = at, down, right, down, right, deep
    seen = as_strided(X, (*positions, size, size, channels), strides, writeable=False)
    return seen.reshape(*positions, -1)


def convolve(U: Array, K: Array) -> Array:
    """U: patches -> (n, r, c, outputs): cross-correlation, stride 1, nothing padded."""
    flat = U.reshape(-1, U.shape[3]) @ K.reshape(-1, K.shape[3])
    return flat.reshape(*U.shape[:3], -1)


def kernels_back(d: Array, U: Array, K: Array) -> Array:
    """U: the patches that K saw -> the gradient by K."""
    return (U.reshape(-1, U.shape[3]).T @ d.reshape(-1, K.shape[3])).reshape(K.shape)


def images_back(d: Array, K: Array) -> Array:
    """The gradient by the images: d convolved with the flipped kernels, padded all around."""
    edge = len(K) - 1
    padded = np.pad(d, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    flipped = K[::-1, ::-1].transpose(0, 1, 3, 2)
    return convolve(patches(padded, len(K)), flipped)


def max_pool(X: Array) -> Array:
    """The largest of each 2 x 2 window: (n, rows / 2, columns / 2, channels)."""
    upper = np.maximum(X[:, 0::2, 0::2], X[:, 0::2, 1::2])
    return np.maximum(upper, np.maximum(X[:, 1::2, 0::2], X[:, 1::2, 1::2]))


def max_pool_back(d: Array, X: Array, P: Array) -> Array:
    """P: what max_pool gave of X -> the gradient by X, all to the first largest in row order."""
    back, free = np.zeros_like(X), np.ones(P.shape, bool)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = X[:, row::2, column::2]
        first = free & ((corner == P) | np.isnan(corner))
        back[:, row::2, column::2] = np.where(first, d, 0)
        free &= ~first
    return back


def softmax_cross_entropy(Y_hat: Array, y: Array) -> float:
    """The mean in nats. Y_hat: logits (n, classes), y: int (n,)."""
    Z = Y_hat - Y_hat.max(axis=1, keepdims=True)
    log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
    return -float(log_P[np.arange(len(y)), y].mean())


def softmax_cross_entropy_back(Y_hat: Array, y: Array) -> Array:
    """Its gradient by the logits: softmax less one at the label, over n."""
    E = np.exp(Y_hat - Y_hat.max(axis=1, keepdims=True))
    E /= E.sum(axis=1, keepdims=True)
    E[np.arange(len(y)), y] -= 1
    return E / len(y)


def binary_cross_entropy(A: Array, y: Array) -> float:
    """The mean over the samples in nats, each logarithm at least -100. A: of sigmoid, y: (n, 1)."""
    log_A, log_not_A = (np.maximum(log, LEAST_LOG) for log in (np.log(A), np.log1p(-A)))
    return -float((y * log_A + (1 - y) * log_not_A).mean())


def binary_cross_entropy_back(A: Array, y: Array) -> Array:
    """Its gradient by what sigmoid was given; a logarithm that is clamped has none."""
    positive = np.where(np.log(A) < LEAST_LOG, 0, y * (1 - A))
    negative = np.where(np.log1p(-A) < LEAST_LOG, 0, (1 - y) * A)
    return (negative - positive) / len(y)
