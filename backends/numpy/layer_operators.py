"""Layers as single operators, in NumPy: value and derivatives by hand. May import NumPy only.

Read it beside the others: same names, same order.
X: images float (n, r, c, channels), of a perceptron (1, inputs), of layer norm (n, k); K: kernels
(3, 3, inputs, outputs). Windows are 3 x 3 with stride 2, one row and column padded on each side.
Batch norm is per channel; running statistics keep 0.9 of what they were, and have no gradient.
Each function gives the value and a function from weights W, of the value's shape, to the
derivative of sum(W * value) by each float argument.
"""

import math
from collections.abc import Callable

import numpy as np

from backends.numpy.images import (
    convolve,
    corners,
    images_back,
    kernels_back,
    max_pool,
    max_pool_back,
    padded,
    patches,
)
from harness.interface import Array

Operator = tuple[Array, Callable[[Array], tuple[Array, ...]]]
# Size, stride and padding of every window; what keeps a variance from 0; the share that is dropped.
WINDOW = 3, 2, 1
EPSILON, DROPPED = 1e-5, 0.25
CUBE = 0.044715


def _gelu(X: Array) -> Operator:
    """X times the normal distribution's share below X."""
    share = (1 + np.array([math.erf(x) for x in (X * math.sqrt(0.5)).flat], X.dtype)) / 2
    share = share.reshape(X.shape)
    density = np.exp(-np.square(X) / 2) / math.sqrt(2 * math.pi)
    return X * share, lambda W: (W * (share + X * density),)


def _gelu_tanh(X: Array) -> Operator:
    """The same by a formula with tanh."""
    root = math.sqrt(2 / math.pi)
    T = np.tanh(root * (X + CUBE * X**3))
    slope = root * (1 + 3 * CUBE * np.square(X))
    return X * (1 + T) / 2, lambda W: (W * (1 + T + X * (1 - np.square(T)) * slope) / 2,)


def _perceptron(X: Array, M: Array, T: Array) -> Operator:
    """Half the squared error of sigmoid(X @ M) from T."""
    A = 1 / (1 + np.exp(-(X @ M)))
    E = A - T

    def backward(W: Array) -> tuple[Array, ...]:
        D = W * E * A * (1 - A)
        return D @ M.T, X.T @ D, -W * E

    return np.square(E).sum() / 2, backward


def _chain(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Operator:
    """w2 * y1 + b2 of y1 = w1 * x + b1; dy2/dw1 is dy2/dy1 * dy1/dw1."""
    y1 = w1 * x + b1
    return w2 * y1 + b2, lambda W: (W * w2 * w1, W * w2 * x, W * w2, W * y1, W)


def _conv(X: Array, K: Array) -> Operator:
    _, stride, pad = WINDOW
    U = patches(X, *WINDOW)
    return convolve(U, K), lambda W: (images_back(W, K, X, stride, pad), kernels_back(W, U, K))


def _max_pool(X: Array) -> Operator:
    """What is padded never wins; a tie is the first's."""
    P = max_pool(X, *WINDOW)
    return P, lambda W: (max_pool_back(W, X, P, *WINDOW),)


def _avg_pool(X: Array) -> Operator:
    """What is padded counts as 0."""
    return _average(X, np.full((1, 1, 1, 1), 9, X.dtype))


def _avg_pool_inside(X: Array) -> Operator:
    """What is padded does not count."""
    return _average(X, _windows_sum(np.ones_like(X[:1, :, :, :1])))


def _windows_sum(X: Array) -> Array:
    size, stride, pad = WINDOW
    return np.asarray(sum(corners(padded(X, pad, 0), size, stride)))


def _average(X: Array, count: Array) -> Operator:
    """Sums of windows over count: (1, r, c, 1)."""
    size, stride, pad = WINDOW

    def backward(W: Array) -> tuple[Array, ...]:
        back = padded(np.zeros_like(X), pad, 0)
        for behind in corners(back, size, stride):
            np.add(behind, W / count, out=behind)
        return (back[:, pad:-pad, pad:-pad],)

    return _windows_sum(X) / count, backward


def _normed(X: Array, gamma: Array, beta: Array, over: tuple[int, ...]) -> Operator:
    """By mean and variance over these axes; the others are gamma's and beta's."""
    kept = tuple(axis for axis in range(X.ndim) if axis != X.ndim - 1)
    D = X - X.mean(over, keepdims=True)
    scale = np.sqrt(np.square(D).mean(over, keepdims=True) + EPSILON)
    U = D / scale

    def backward(W: Array) -> tuple[Array, ...]:
        G = W * gamma
        back = G - G.mean(over, keepdims=True) - U * (G * U).mean(over, keepdims=True)
        return back / scale, (W * U).sum(kept), W.sum(kept)

    return U * gamma + beta, backward


def _batch_norm(X: Array, gamma: Array, beta: Array) -> Operator:
    """In training: by the batch's own mean and variance."""
    return _normed(X, gamma, beta, (0, 1, 2))


def _batch_norm_evaluation(
    X: Array, gamma: Array, beta: Array, mean: Array, variance: Array
) -> Operator:
    scale = np.sqrt(variance + EPSILON)
    U, kept = (X - mean) / scale, (0, 1, 2)

    def backward(W: Array) -> tuple[Array, ...]:
        held = np.zeros_like(mean)
        return W * gamma / scale, (W * U).sum(kept), W.sum(kept), held, held

    return U * gamma + beta, backward


def _batch_norm_running(X: Array, mean: Array, variance: Array) -> Operator:
    """Running mean and variance after a step: (2, channels); the batch's variance over n - 1."""
    now = np.stack([X.mean((0, 1, 2)), X.var((0, 1, 2), ddof=1)])
    held = np.zeros_like(X), np.zeros_like(mean), np.zeros_like(variance)
    return 0.9 * np.stack([mean, variance]) + 0.1 * now, lambda _: held


def _dropout(X: Array, M: Array) -> Operator:
    """X where M is 1, divided by the share that is kept."""
    kept = (M / (1 - DROPPED)).astype(X.dtype)
    return X * kept, lambda W: (W * kept,)


def _layer_norm(X: Array, gamma: Array, beta: Array) -> Operator:
    """Each row by its own mean and variance."""
    return _normed(X, gamma, beta, (1,))


LAYERS: dict[str, Callable[..., Operator]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "perceptron": _perceptron,
    "perceptron_two": _perceptron,
    "chain": _chain,
    "conv": _conv,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "avg_pool_inside": _avg_pool_inside,
    "batch_norm": _batch_norm,
    "batch_norm_evaluation": _batch_norm_evaluation,
    "batch_norm_running": _batch_norm_running,
    "dropout": _dropout,
    "layer_norm": _layer_norm,
}
