"""linear-regression in TensorFlow: a line, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "half-squared-sum"


class Net(tf.Module):
    """X @ w + b."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.w = tf.Variable(tf.random.uniform((1, 1), dtype=dtype))
        self.b = tf.Variable(tf.zeros((1, 1), dtype))

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 1) -> outputs (n, 1)."""
        return X @ self.w + self.b


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Half the sum of the squared errors, no mean. Y_hat, y: (n, 1)."""
    return tf.reduce_sum(tf.square(Y_hat - y)) / 2


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """The value on the way, by its canonical name."""
    return {"outputs": net.forward(X)}
