"""nielsen-cross-entropy in TensorFlow: 784-30-10, sigmoids, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "sigmoid-cross-entropy"


class Net(tf.Module):
    """Two dense layers, a sigmoid between; the last is the loss's. Weights: inputs x outputs."""

    def __init__(self, num_hiddens: int, dtype: tf.DType = tf.float32) -> None:
        super().__init__()

        def normal(stddev: float, *shape: int) -> tf.Variable:
            return tf.Variable(tf.random.normal(shape, stddev=stddev, dtype=dtype))

        self.W1, self.b1 = normal(784**-0.5, 784, num_hiddens), normal(1, num_hiddens)
        self.W2, self.b2 = normal(num_hiddens**-0.5, num_hiddens, 10), normal(1, 10)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 784) -> logits (n, 10)."""
        return self.values(X)["logits"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.W1 + self.b1
        h1 = tf.sigmoid(z1)
        return {"z1": z1, "h1": h1, "logits": h1 @ self.W2 + self.b2}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Sigmoid cross-entropy in nats, summed over the outputs, mean over the samples.

    Y_hat: logits (n, 10), y: int32 (n,).
    """
    Y = tf.one_hot(y, 10, dtype=Y_hat.dtype)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=Y, logits=Y_hat)
    return tf.reduce_mean(tf.reduce_sum(losses, axis=1))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
