"""Single operators by name, in TensorFlow: value, and derivatives by GradientTape, eagerly.

Read it beside the others: same names, same order. `OPERATORS` are the framework's own,
`SCRATCH` the expressions of Dive into Deep Learning, for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,).
May import tensorflow only.
"""

from collections.abc import Callable

import tensorflow as tf


def matmul(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b


def relu(X: tf.Tensor) -> tf.Tensor:
    """max(X, 0)."""
    return tf.nn.relu(X)


def sigmoid(X: tf.Tensor) -> tf.Tensor:
    """1 / (1 + exp(-X))."""
    return tf.nn.sigmoid(X)


def tanh(X: tf.Tensor) -> tf.Tensor:
    """Hyperbolic tangent."""
    return tf.nn.tanh(X)


def softmax(X: tf.Tensor) -> tf.Tensor:
    """exp(X) over its row's sum: (n, k)."""
    return tf.nn.softmax(X, axis=1)


def log_softmax(X: tf.Tensor) -> tf.Tensor:
    """Logarithm of the softmax: (n, k)."""
    return tf.nn.log_softmax(X, axis=1)


def cross_entropy(X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean over rows of -log softmax(X)[row, y[row]], in nats: ()."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=X))


def squared_error(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean of (a - b)² / 2: ()."""
    return tf.reduce_mean(tf.math.squared_difference(a, b)) / 2


def relu_scratch(X: tf.Tensor) -> tf.Tensor:
    """The larger of X and 0."""
    return tf.math.maximum(X, 0)


def sigmoid_scratch(X: tf.Tensor) -> tf.Tensor:
    """As written in the book."""
    return 1 / (1 + tf.exp(-X))


def tanh_scratch(X: tf.Tensor) -> tf.Tensor:
    """As written in the book."""
    return (1 - tf.exp(-2 * X)) / (1 + tf.exp(-2 * X))


def softmax_scratch(X: tf.Tensor) -> tf.Tensor:
    """Without the shift that keeps exp from overflowing."""
    X_exp = tf.exp(X)
    return X_exp / tf.reduce_sum(X_exp, 1, keepdims=True)


def log_softmax_scratch(X: tf.Tensor) -> tf.Tensor:
    """Logarithm of the softmax above."""
    return tf.math.log(softmax_scratch(X))


def cross_entropy_scratch(X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """From the softmax above."""
    chosen = tf.boolean_mask(softmax_scratch(X), tf.one_hot(y, depth=X.shape[-1]))
    return -tf.reduce_mean(tf.math.log(chosen))


def squared_error_scratch(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """As written in the book."""
    return tf.reduce_mean((a - b) ** 2 / 2)


OPERATORS: dict[str, Callable[..., tf.Tensor]] = {
    "matmul": matmul,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}
SCRATCH: dict[str, Callable[..., tf.Tensor]] = {
    "relu/scratch": relu_scratch,
    "sigmoid/scratch": sigmoid_scratch,
    "tanh/scratch": tanh_scratch,
    "softmax/scratch": softmax_scratch,
    "log_softmax/scratch": log_softmax_scratch,
    "cross_entropy/scratch": cross_entropy_scratch,
    "squared_error/scratch": squared_error_scratch,
}


def value_and_derivatives(
    name: str, *arrays: tf.Tensor, weights: tf.Tensor | None = None
) -> tuple[tf.Tensor, ...]:
    """Value of the operator, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default. Raises ValueError for an unknown name, or for
    weights of another shape.
    """
    known = OPERATORS | SCRATCH
    if name not in known:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(known)}")
    floats = [a for a in arrays if a.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        value = known[name](*arrays)
    weights = tf.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {tuple(weights.shape)}, value {tuple(value.shape)}")
    return value, *tape.gradient(value, floats, weights)
