"""Two convolutions of a chosen width in TensorFlow, on images of a chosen side.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "softmax-cross-entropy"


class Net(tf.Module):
    """Average pool to the side; conv 3 x 3, ReLU, twice; the mean of each channel; dense."""

    def __init__(self, channels: int, side: int, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.side = side

        def uniform(fan_in: int, *shape: int) -> tf.Variable:
            return tf.Variable(tf.random.uniform(shape, -(fan_in**-0.5), fan_in**-0.5, dtype))

        self.K1, self.c1 = uniform(27, 3, 3, 3, channels), uniform(27, channels)
        wide = 9 * channels
        self.K2, self.c2 = uniform(wide, 3, 3, channels, channels), uniform(wide, channels)
        self.W, self.b = uniform(channels, channels, 10), uniform(channels, 10)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 32, 32, 3) -> logits (n, 10)."""
        return self.values(X)["logits"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        p0 = tf.nn.avg_pool2d(X, 32 // self.side, 32 // self.side, "VALID")
        z1 = tf.nn.conv2d(p0, self.K1, 1, "SAME") + self.c1
        h1 = tf.nn.relu(z1)
        z2 = tf.nn.conv2d(h1, self.K2, 1, "SAME") + self.c2
        h2 = tf.nn.relu(z2)
        p2 = tf.nn.avg_pool2d(h2, self.side, self.side, "VALID")
        logits = tf.reshape(p2, (len(p2), -1)) @ self.W + self.b
        return {"p0": p0, "z1": z1, "h1": h1, "z2": z2, "h2": h2, "p2": p2, "logits": logits}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
