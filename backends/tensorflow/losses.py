"""The loss that TensorFlow has from logits only: of probabilities. May import tensorflow only."""

import tensorflow as tf

# What torch clamps the logarithms of a binary cross-entropy to, from below.
LEAST_LOG = -100


def binary_cross_entropy(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The mean in nats, each logarithm at least -100. Y_hat: probabilities, y: both (n, 1)."""
    return -tf.reduce_mean(y * log(Y_hat) + (1 - y) * log(1 - Y_hat))


def log(P: tf.Tensor) -> tf.Tensor:
    """At least -100, with derivative 0 there, elementwise; NaN passes through."""
    least = tf.cast(LEAST_LOG, P.dtype)
    clamped = tf.math.log(P) <= least
    # What is clamped must not reach the logarithm: 0 times its derivative at 0 would be NaN.
    return tf.where(clamped, least, tf.math.log(tf.where(clamped, tf.ones_like(P), P)))
