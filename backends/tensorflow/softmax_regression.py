"""softmax-regression in TensorFlow: Dive into Deep Learning 4.4, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "softmax-cross-entropy"


class Net(tf.Module):
    """One dense layer: X @ W + b; weights are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.W = tf.Variable(tf.random.normal((784, 10), stddev=0.01, dtype=dtype))
        self.b = tf.Variable(tf.zeros(10, dtype))

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 784) -> logits (n, 10)."""
        return X @ self.W + self.b


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """The value on the way, by its canonical name."""
    return {"logits": net.forward(X)}
