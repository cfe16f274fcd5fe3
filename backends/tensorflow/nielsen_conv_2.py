"""nielsen-conv-2 in TensorFlow: two convolutions, one dense layer, sigmoid (Nielsen, chapter 6).

May import tensorflow and the ladder beside it (no Keras).
"""

import tensorflow as tf

from backends.tensorflow import nielsen_ladder as ladder

LOSS = "softmax-cross-entropy"


class Net(ladder.Net):
    """28 x 28 images; 20 and 40 kernels, pooled; dense 100, 10; sigmoid between."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__(dtype)
        self.K1, self.c1 = self.kernels(1, 20)
        self.K2, self.c2 = self.kernels(20, 40)
        self.W1, self.b1 = self.dense(640, 100)
        self.W2, self.b2 = self.softmax(100)

    def values(self, X: tf.Tensor) -> ladder.Values:
        """Every value on the way, by its canonical name."""
        first = ladder.convolved(1, X, self.K1, self.c1, tf.sigmoid)
        second = ladder.convolved(2, first["h1"], self.K2, self.c2, tf.sigmoid)
        z3 = ladder.flat(second["h2"]) @ self.W1 + self.b1
        h3 = tf.sigmoid(z3)
        return {**first, **second, "z3": z3, "h3": h3, "logits": h3 @ self.W2 + self.b2}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


trace = ladder.trace
