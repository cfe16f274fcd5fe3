"""Single operators by name, in NumPy: value and derivatives by hand. May import NumPy only.

Read it beside the others: same names, same order. "relu" is what a NumPy user writes with care
(NumPy itself has np.tanh and np.maximum only), "relu/scratch" the expression of Dive into Deep
Learning with the derivative that the chain rule gives for that very expression.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,), of
"matmul" (n, k) and (k, m); P: probabilities (n, k). Softmaxes and entropies (bits) are over a row,
losses means over rows: (), in nats. Layers stand in the file beside this one.
Each function gives the value and a function from weights W, of the value's shape, to the
derivative of sum(W * value) by each float argument.
"""

import math
from collections.abc import Callable

import numpy as np

from backends.numpy.layer_operators import LAYERS, Operator
from harness.interface import Array


def _matmul(a: Array, b: Array) -> Operator:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b, lambda W: (W @ b.T, a.T @ W)


def _step(X: Array) -> Operator:
    """1 where X > 0; derivative 0."""
    return np.heaviside(X, 0), lambda W: (np.zeros_like(W),)


def _relu(X: Array) -> Operator:
    """max(X, 0); derivative 0 at 0, 1 at NaN, which so passes through."""
    value = np.maximum(X, 0)
    return value, lambda W: (W * (value != 0),)


def _sigmoid(X: Array) -> Operator:
    """1 / (1 + exp(-X)), from exp(-|X|), which cannot overflow."""
    small = np.exp(-np.abs(X))
    value = np.where(X >= 0, 1, small) / (1 + small)
    return value, lambda W: (W * (small / (1 + small) ** 2),)


def _tanh(X: Array) -> Operator:
    """Hyperbolic tangent."""
    value = np.tanh(X)
    return value, lambda W: (W * (1 - value**2),)


def _softmax(X: Array) -> Operator:
    """exp(X) over its row's sum: (n, k)."""
    P = np.exp(X - X.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    return P, lambda W: (P * (W - (W * P).sum(axis=1, keepdims=True)),)


def _log_softmax(X: Array) -> Operator:
    """Logarithm of the softmax: (n, k)."""
    Z = X - X.max(axis=1, keepdims=True)
    value = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
    return value, lambda W: (W - np.exp(value) * W.sum(axis=1, keepdims=True),)


def _cross_entropy(X: Array, y: Array) -> Operator:
    """Mean over rows of -log softmax(X)[row, y[row]], in nats: ()."""
    log_P, backward = _log_softmax(X)
    chosen = np.arange(X.shape[1]) == y[:, None]
    return -log_P[chosen].mean(), lambda W: backward(-W / len(y) * chosen)


def _squared_error(a: Array, b: Array) -> Operator:
    """Mean of (a - b)² / 2: ()."""
    error = a - b
    return np.square(error).mean() / 2, lambda W: (W / a.size * error, -W / a.size * error)


def _entropy(P: Array) -> Operator:
    """Of each row in bits, as it stands: it need not sum to 1."""
    log_P = np.log2(P)
    return -(P * log_P).sum(1), lambda W: (-W[:, None] * (log_P + 1 / math.log(2)),)


def _sum(X: Array) -> Operator:
    return X.sum(), lambda W: (W * np.ones_like(X),)


def _mean(X: Array) -> Operator:
    return X.mean(), lambda W: (W / X.size * np.ones_like(X),)


def _norm(X: Array) -> Operator:
    """The 2-norm; derivative 0 at 0."""
    value = np.asarray(np.linalg.norm(X))
    return value, lambda W: (W * X / value if value != 0 else np.zeros_like(X),)


def _relu_scratch(X: Array) -> Operator:
    """The larger of X and 0; at the tie, the mean of the two one-sided derivatives: 1/2."""
    return np.maximum(X, 0), lambda W: (W * (1 + np.sign(X)) / 2,)


def _sigmoid_scratch(X: Array) -> Operator:
    X_exp = np.exp(-X)
    return 1 / (1 + X_exp), lambda W: (X_exp * (W / (1 + X_exp) ** 2),)


def _tanh_scratch(X: Array) -> Operator:
    X_exp = np.exp(-2 * X)
    top, bottom = 1 - X_exp, 1 + X_exp
    return top / bottom, lambda W: (2 * X_exp * (W / bottom + W * top / bottom**2),)


def _softmax_scratch(X: Array) -> Operator:
    """Without the shift that keeps exp from overflowing."""
    X_exp = np.exp(X)
    P = X_exp / (total := X_exp.sum(1, keepdims=True))
    return P, lambda W: (X_exp * (W / total - (W * P / total).sum(1, keepdims=True)),)


def _log_softmax_scratch(X: Array) -> Operator:
    """Logarithm of the softmax above."""
    P, backward = _softmax_scratch(X)
    return np.log(P), lambda W: backward(W / P)


def _cross_entropy_scratch(X: Array, y: Array) -> Operator:
    """From the softmax above."""
    return _log_nll(_softmax_scratch(X), y)


def _softmax_log_nll(X: Array, y: Array) -> Operator:
    """Softmax, logarithm and mean one after another."""
    return _log_nll(_softmax(X), y)


def _log_nll(softmax: Operator, y: Array) -> Operator:
    P, backward = softmax
    chosen = np.arange(P.shape[1]) == y[:, None]
    # Only the chosen elements take part: 0 / 0 at another is not in the expression.
    part = np.divide(-1 / len(y), P, out=np.zeros_like(P), where=chosen)
    return -np.log(P[chosen]).mean(), lambda W: backward(W * part)


def _squared_error_scratch(a: Array, b: Array) -> Operator:
    error = a - b
    return (error**2 / 2).mean(), lambda W: (W / a.size * error, -W / a.size * error)


OPERATORS: dict[str, Callable[..., Operator]] = {
    "matmul": _matmul,
    "step": _step,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "softmax_log_nll": _softmax_log_nll,
    "squared_error": _squared_error,
    "entropy": _entropy,
    "sum": _sum,
    "mean": _mean,
    "norm": _norm,
    "relu/scratch": _relu_scratch,
    "sigmoid/scratch": _sigmoid_scratch,
    "tanh/scratch": _tanh_scratch,
    "softmax/scratch": _softmax_scratch,
    "log_softmax/scratch": _log_softmax_scratch,
    "cross_entropy/scratch": _cross_entropy_scratch,
    "squared_error/scratch": _squared_error_scratch,
    **LAYERS,
}


def value_and_derivatives(
    function: Callable[..., Operator], *arrays: Array, weights: Array | None = None
) -> tuple[Array, ...]:
    """Value of the function, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default; ValueError for another.
    """
    value, backward = function(*arrays)
    value = np.asarray(value)  # a mean is a NumPy scalar
    weights = np.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {weights.shape}, value {value.shape}")
    return value, *backward(weights)
