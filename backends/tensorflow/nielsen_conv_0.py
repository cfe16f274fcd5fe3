"""nielsen-conv-0 in TensorFlow: where the ladder starts, without convolution (Nielsen, chapter 6).

May import tensorflow and the ladder beside it (no Keras).
"""

import tensorflow as tf

from backends.tensorflow import nielsen_ladder as ladder

LOSS = "softmax-cross-entropy"


class Net(ladder.Net):
    """784-100-10, a sigmoid between; weights are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__(dtype)
        self.W1, self.b1 = self.dense(784, 100)
        self.W2, self.b2 = self.softmax(100)

    def values(self, X: tf.Tensor) -> ladder.Values:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.W1 + self.b1
        h1 = tf.sigmoid(z1)
        return {"z1": z1, "h1": h1, "logits": h1 @ self.W2 + self.b2}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


trace = ladder.trace
