"""diabetes-relu in TensorFlow: 8-6-4-1, ReLU everywhere, the outputs too, with GradientTape.

May import tensorflow and `losses` only (no Keras).
"""

import tensorflow as tf

from backends.tensorflow.losses import binary_cross_entropy

LOSS = "binary-cross-entropy"


class Net(tf.Module):
    """Three dense layers, ReLU after each, the last one too; weights are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()

        def uniform(fan_in: int, *shape: int) -> tf.Variable:
            return tf.Variable(tf.random.uniform(shape, -(fan_in**-0.5), fan_in**-0.5, dtype))

        self.W1, self.b1 = uniform(8, 8, 6), uniform(8, 6)
        self.W2, self.b2 = uniform(6, 6, 4), uniform(6, 4)
        self.W3, self.b3 = uniform(4, 4, 1), uniform(4, 1)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 8) -> outputs (n, 1)."""
        return self.values(X)["outputs"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.W1 + self.b1
        h1 = tf.nn.relu(z1)
        z2 = h1 @ self.W2 + self.b2
        h2 = tf.nn.relu(z2)
        z3 = h2 @ self.W3 + self.b3
        return {"z1": z1, "h1": h1, "z2": z2, "h2": h2, "z3": z3, "outputs": tf.nn.relu(z3)}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy in nats, each logarithm at least -100; NaN above 1. Both (n, 1)."""
    return binary_cross_entropy(Y_hat, y)


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
