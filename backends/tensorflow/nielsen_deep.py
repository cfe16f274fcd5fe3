"""nielsen-deep in TensorFlow: 784-30-30-30-10, sigmoid everywhere, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "quadratic"


class Net(tf.Module):
    """Four dense layers, a sigmoid after each; weights are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()

        def normal(stddev: float, *shape: int) -> tf.Variable:
            return tf.Variable(tf.random.normal(shape, stddev=stddev, dtype=dtype))

        self.W1, self.b1 = normal(784**-0.5, 784, 30), normal(1, 30)
        self.W2, self.b2 = normal(30**-0.5, 30, 30), normal(1, 30)
        self.W3, self.b3 = normal(30**-0.5, 30, 30), normal(1, 30)
        self.W4, self.b4 = normal(30**-0.5, 30, 10), normal(1, 10)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 784) -> outputs (n, 10)."""
        return self.values(X)["outputs"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.W1 + self.b1
        h1 = tf.sigmoid(z1)
        z2 = h1 @ self.W2 + self.b2
        h2 = tf.sigmoid(z2)
        z3 = h2 @ self.W3 + self.b3
        h3 = tf.sigmoid(z3)
        z4 = h3 @ self.W4 + self.b4
        hidden = {"z1": z1, "h1": h1, "z2": z2, "h2": h2, "z3": z3, "h3": h3}
        return {**hidden, "z4": z4, "outputs": tf.sigmoid(z4)}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean over the samples of |Y_hat - one-hot|² / 2. Y_hat: outputs (n, 10), y: int32 (n,)."""
    Y = tf.one_hot(y, 10, dtype=Y_hat.dtype)
    return tf.reduce_mean(tf.reduce_sum(tf.square(Y_hat - Y), axis=1)) / 2


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
