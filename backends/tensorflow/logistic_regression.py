"""logistic-regression in TensorFlow: 8-1 and a sigmoid, with GradientTape.

May import tensorflow and `losses` only (no Keras).
"""

import tensorflow as tf

from backends.tensorflow.losses import binary_cross_entropy

LOSS = "binary-cross-entropy"


class Net(tf.Module):
    """One dense layer and a sigmoid; weights are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()

        def uniform(fan_in: int, *shape: int) -> tf.Variable:
            return tf.Variable(tf.random.uniform(shape, -(fan_in**-0.5), fan_in**-0.5, dtype))

        self.W, self.b = uniform(8, 8, 1), uniform(8, 1)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 8) -> outputs (n, 1)."""
        return self.values(X)["outputs"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.W + self.b
        return {"z1": z1, "outputs": tf.sigmoid(z1)}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy in nats, each logarithm at least -100. Y_hat, y: (n, 1)."""
    return binary_cross_entropy(Y_hat, y)


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
