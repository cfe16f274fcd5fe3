"""nielsen-neuron in TensorFlow: one sigmoid and the quadratic loss, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "quadratic"


class Net(tf.Module):
    """One neuron, sigmoid(X @ w + b); both its parameters start at 2."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.w = tf.Variable([[2.0]], dtype=dtype)
        self.b = tf.Variable([2.0], dtype=dtype)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 1) -> outputs (n, 1)."""
        return self.values(X)["outputs"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.w + self.b
        return {"z1": z1, "outputs": tf.sigmoid(z1)}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean over the samples of (Y_hat - y)² / 2. Y_hat, y: (n, 1)."""
    return tf.reduce_mean(tf.square(Y_hat - y)) / 2


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
