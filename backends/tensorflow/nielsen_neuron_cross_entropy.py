"""nielsen-neuron-cross-entropy in TensorFlow: one sigmoid, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "sigmoid-cross-entropy"


class Net(tf.Module):
    """One neuron, X @ w + b, its sigmoid the loss's; both its parameters start at 2."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.w = tf.Variable([[2.0]], dtype=dtype)
        self.b = tf.Variable([2.0], dtype=dtype)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 1) -> logits (n, 1)."""
        return X @ self.w + self.b


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean sigmoid cross-entropy in nats. Y_hat: logits (n, 1), y: (n, 1)."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """The value on the way, by its canonical name."""
    return {"logits": net.forward(X)}
