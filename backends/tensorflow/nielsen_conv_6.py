"""nielsen-conv-6 in TensorFlow: two wide dense layers, dropout (Nielsen, chapter 6).

May import tensorflow and the ladder beside it (no Keras).
"""

import tensorflow as tf

from backends.tensorflow import nielsen_ladder as ladder

LOSS = "softmax-cross-entropy"


class Net(ladder.Layers):
    """28 x 28 images; 20 and 40 kernels, pooled; dense 1000, 1000, 10; ReLU between, dropout."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__(dtype)
        self.K1, self.c1 = self.kernels(1, 20)
        self.K2, self.c2 = self.kernels(20, 40)
        self.W1, self.b1 = self.dense(640, 1000)
        self.W2, self.b2 = self.dense(1000, 1000)
        self.W3, self.b3 = self.softmax(1000)

    def forward(self, X: tf.Tensor, noise: ladder.Values, *, training: bool) -> tf.Tensor:
        """X: (n, 28, 28, 1), noise: uniform, by name -> logits (n, 10)."""
        return self.values(X, noise, training=training)["logits"]

    def values(self, X: tf.Tensor, noise: ladder.Values, *, training: bool = True) -> ladder.Values:
        """Every value on the way, by its canonical name."""

        def dropout(H: tf.Tensor, name: str) -> tf.Tensor:
            return H * tf.cast(noise[name] >= 0.5, H.dtype) / 0.5 if training else H

        first = ladder.convolved(1, X, self.K1, self.c1, tf.nn.relu)
        second = ladder.convolved(2, first["h1"], self.K2, self.c2, tf.nn.relu)
        d2 = dropout(ladder.flat(second["h2"]), "drop1")
        z3 = d2 @ self.W1 + self.b1
        h3 = tf.nn.relu(z3)
        d3 = dropout(h3, "drop2")
        z4 = d3 @ self.W2 + self.b2
        h4 = tf.nn.relu(z4)
        d4 = dropout(h4, "drop3")
        dropped = {"d2": d2, "d3": d3, "d4": d4}
        dense = {"z3": z3, "h3": h3, "z4": z4, "h4": h4}
        return {**first, **second, **dropped, **dense, "logits": d4 @ self.W3 + self.b3}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor, noise: ladder.Values) -> ladder.Values:
    """Every value on the way, by its canonical name."""
    return net.values(X, noise)
