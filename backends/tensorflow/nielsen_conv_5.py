"""nielsen-conv-5 in TensorFlow: the step before, one more dense layer (Nielsen, chapter 6).

May import tensorflow and the ladder beside it (no Keras).
"""

import tensorflow as tf

from backends.tensorflow import nielsen_ladder as ladder

LOSS = "softmax-cross-entropy+l2"
# λ over the full batches of an epoch, of which shifted images make five times as many.
L2 = 0.1 / 25_000


class Net(ladder.Net):
    """28 x 28 images; 20 and 40 kernels, pooled; dense 100, 100, 10; ReLU between."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__(dtype)
        self.K1, self.c1 = self.kernels(1, 20)
        self.K2, self.c2 = self.kernels(20, 40)
        self.W1, self.b1 = self.dense(640, 100)
        self.W2, self.b2 = self.dense(100, 100)
        self.W3, self.b3 = self.softmax(100)

    def values(self, X: tf.Tensor) -> ladder.Values:
        """Every value on the way, by its canonical name."""
        first = ladder.convolved(1, X, self.K1, self.c1, tf.nn.relu)
        second = ladder.convolved(2, first["h1"], self.K2, self.c2, tf.nn.relu)
        z3 = ladder.flat(second["h2"]) @ self.W1 + self.b1
        h3 = tf.nn.relu(z3)
        z4 = h3 @ self.W2 + self.b2
        h4 = tf.nn.relu(z4)
        hidden = {"z3": z3, "h3": h3, "z4": z4, "h4": h4}
        return {**first, **second, **hidden, "logits": h4 @ self.W3 + self.b3}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def penalty(net: Net) -> tf.Tensor:
    """Half of L2 times every squared kernel and weight, no bias."""
    return L2 * tf.add_n([tf.nn.l2_loss(w) for w in (net.K1, net.K2, net.W1, net.W2, net.W3)])


trace = ladder.trace
