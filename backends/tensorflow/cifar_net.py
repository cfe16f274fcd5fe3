"""cifar-net in TensorFlow: two convolutions and three dense layers, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "softmax-cross-entropy"


class Net(tf.Module):
    """conv 5 x 5 3 -> 6, ReLU, pool; conv 5 x 5 6 -> 16, ReLU, pool; dense 400, 120, 84, 10."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()

        def uniform(fan_in: int, *shape: int) -> tf.Variable:
            return tf.Variable(tf.random.uniform(shape, -(fan_in**-0.5), fan_in**-0.5, dtype))

        self.K1, self.c1 = uniform(75, 5, 5, 3, 6), uniform(75, 6)
        self.K2, self.c2 = uniform(150, 5, 5, 6, 16), uniform(150, 16)
        self.W1, self.b1 = uniform(400, 400, 120), uniform(400, 120)
        self.W2, self.b2 = uniform(120, 120, 84), uniform(120, 84)
        self.W3, self.b3 = uniform(84, 84, 10), uniform(84, 10)

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 32, 32, 3) -> logits (n, 10)."""
        return self.values(X)["logits"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = tf.nn.conv2d(X, self.K1, 1, "VALID") + self.c1
        h1 = tf.nn.relu(z1)
        p1 = tf.nn.max_pool2d(h1, 2, 2, "VALID")
        z2 = tf.nn.conv2d(p1, self.K2, 1, "VALID") + self.c2
        h2 = tf.nn.relu(z2)
        p2 = tf.nn.max_pool2d(h2, 2, 2, "VALID")
        z3 = tf.reshape(p2, (-1, 400)) @ self.W1 + self.b1
        h3 = tf.nn.relu(z3)
        z4 = h3 @ self.W2 + self.b2
        h4 = tf.nn.relu(z4)
        convolved = {"z1": z1, "h1": h1, "p1": p1, "z2": z2, "h2": h2, "p2": p2}
        dense = {"z3": z3, "h3": h3, "z4": z4, "h4": h4}
        return {**convolved, **dense, "logits": h4 @ self.W3 + self.b3}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
