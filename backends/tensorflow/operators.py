"""Single operators by name, in TensorFlow: value, and derivatives by GradientTape, eagerly.

Read it beside the others: same names, same order. "relu" is the framework's own, "relu/scratch" the
expression of Dive into Deep Learning for the same mathematics. May import tensorflow only.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,), of
"matmul" (n, k) and (k, m); P: probabilities (n, k). Softmaxes and entropies (bits) are over a row,
losses means over rows: (), in nats. Layers stand in the file beside this one.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from backends.tensorflow.layer_operators import LAYERS


def _softmax_scratch(X: tf.Tensor) -> tf.Tensor:
    """Without the shift that keeps exp from overflowing."""
    X_exp = tf.exp(X)
    return X_exp / tf.reduce_sum(X_exp, 1, keepdims=True)


def _cross_entropy(X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=X))


def _log_nll(P: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    chosen = tf.boolean_mask(P, tf.one_hot(y, depth=P.shape[-1]))
    return -tf.reduce_mean(tf.math.log(chosen))


OPERATORS: dict[str, Callable[..., tf.Tensor]] = {
    "matmul": lambda a, b: a @ b,
    "step": lambda X: tf.experimental.numpy.heaviside(X, tf.zeros_like(X)),
    "relu": tf.nn.relu,
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "softmax": lambda X: tf.nn.softmax(X, axis=1),
    "log_softmax": lambda X: tf.nn.log_softmax(X, axis=1),
    "cross_entropy": _cross_entropy,
    "softmax_log_nll": lambda X, y: _log_nll(tf.nn.softmax(X, axis=1), y),
    "squared_error": lambda a, b: tf.reduce_mean(tf.math.squared_difference(a, b)) / 2,
    "entropy": lambda P: -tf.reduce_sum(tf.math.xlogy(P, P), 1) / math.log(2),
    "sum": tf.reduce_sum,
    "mean": tf.reduce_mean,
    "norm": tf.norm,
    "relu/scratch": lambda X: tf.math.maximum(X, 0),
    "sigmoid/scratch": lambda X: 1 / (1 + tf.exp(-X)),
    "tanh/scratch": lambda X: (1 - tf.exp(-2 * X)) / (1 + tf.exp(-2 * X)),
    "softmax/scratch": _softmax_scratch,
    "log_softmax/scratch": lambda X: tf.math.log(_softmax_scratch(X)),
    "cross_entropy/scratch": lambda X, y: _log_nll(_softmax_scratch(X), y),
    "squared_error/scratch": lambda a, b: tf.reduce_mean((a - b) ** 2 / 2),
    **LAYERS,
}


def value_and_derivatives(
    function: Callable[..., tf.Tensor], *arrays: tf.Tensor, weights: tf.Tensor | None = None
) -> tuple[tf.Tensor, ...]:
    """Value of the function, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default; ValueError for another.
    """
    floats = [a for a in arrays if a.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        value = function(*arrays)
    weights = tf.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {tuple(weights.shape)}, value {tuple(value.shape)}")
    # What no way leads back to has the derivative 0.
    return value, *tape.gradient(value, floats, weights, tf.UnconnectedGradients.ZERO)
