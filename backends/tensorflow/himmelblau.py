"""himmelblau in TensorFlow: a function of two variables, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "output"


class Net(tf.Module):
    """The sum of the residuals' squares at x (2,), which is what is learnt."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.x = tf.Variable(tf.zeros(2, dtype))

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: blank (n,) -> f, the same in each row (n, 1)."""
        return self.values(X)["outputs"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        u, v = tf.unstack(self.x)
        residuals = tf.stack([u * u + v - 11, u + v * v - 7])
        q1 = tf.broadcast_to(residuals, (tf.size(X), 2))
        return {"q1": q1, "outputs": tf.reduce_sum(tf.square(q1), axis=1, keepdims=True)}


def loss(Y_hat: tf.Tensor) -> tf.Tensor:
    """The mean of the outputs (n, 1); there are no targets."""
    return tf.reduce_mean(Y_hat)


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
