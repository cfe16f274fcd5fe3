"""Layers as single operators, in TensorFlow. May import tensorflow only (no Keras).

Read it beside the others: same names, same order.
X: images float (n, r, c, channels), of a perceptron (1, inputs), of layer norm (n, k); K: kernels
(3, 3, inputs, outputs). Windows are 3 x 3 with stride 2, one row and column padded on each side.
Batch norm is per channel; running statistics keep 0.9 of what they were, and have no gradient.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

# Rows and columns around images; what keeps a variance from 0; the share that is dropped.
AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]
EPSILON, DROPPED = 1e-5, 0.25


def _perceptron(X: tf.Tensor, W: tf.Tensor, T: tf.Tensor) -> tf.Tensor:
    """Half the squared error of sigmoid(X @ W) from T."""
    return tf.nn.l2_loss(tf.sigmoid(X @ W) - T)


def _normed(X: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, over: Sequence[int]) -> tf.Tensor:
    """By mean and variance over these axes."""
    mean, variance = tf.nn.moments(X, over, keepdims=True)
    return tf.nn.batch_normalization(X, mean, variance, beta, gamma, EPSILON)


def _batch_norm_evaluation(
    X: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
) -> tf.Tensor:
    mean, variance = tf.stop_gradient(mean), tf.stop_gradient(variance)
    return tf.nn.batch_normalization(X, mean, variance, beta, gamma, EPSILON)


def _batch_norm_running(X: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
    """Running mean and variance after a step: (2, channels); the batch's variance over n - 1."""
    n = tf.cast(tf.size(X) // X.shape[3], X.dtype)
    batch_mean, batch_variance = tf.nn.moments(X, [0, 1, 2])
    now = tf.stack([batch_mean, batch_variance * n / (n - 1)])
    return tf.stop_gradient(0.9 * tf.stack([mean, variance]) + 0.1 * now)


LAYERS: dict[str, Callable[..., tf.Tensor]] = {
    "gelu": tf.nn.gelu,
    "gelu_tanh": lambda X: tf.nn.gelu(X, approximate=True),
    "perceptron": _perceptron,
    "perceptron_two": _perceptron,
    "chain": lambda x, w1, b1, w2, b2: w2 * (w1 * x + b1) + b2,
    "conv": lambda X, K: tf.nn.conv2d(X, K, 2, AROUND),
    "max_pool": lambda X: tf.nn.max_pool2d(X, 3, 2, AROUND),
    "avg_pool": lambda X: tf.nn.avg_pool2d(tf.pad(X, AROUND), 3, 2, "VALID"),
    # Of odd images "SAME" pads as the others do, and counts what is inside.
    "avg_pool_inside": lambda X: tf.nn.avg_pool2d(X, 3, 2, "SAME"),
    "batch_norm": lambda X, gamma, beta: _normed(X, gamma, beta, [0, 1, 2]),
    "batch_norm_evaluation": _batch_norm_evaluation,
    "batch_norm_running": _batch_norm_running,
    "dropout": lambda X, M: X * tf.cast(M, X.dtype) / (1 - DROPPED),
    "layer_norm": lambda X, gamma, beta: _normed(X, gamma, beta, [1]),
}
