"""mnist-mlp in TensorFlow: 784-200-200-10, ReLU after every layer, with GradientTape.

May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "softmax-cross-entropy"


class Net(tf.Module):
    """relu(relu(relu(X @ W1 + b1) @ W2 + b2) @ W3 + b3); weights are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()

        def normal(inputs: int, outputs: int) -> tf.Variable:
            stddev = (2 / inputs) ** 0.5
            return tf.Variable(tf.random.normal((inputs, outputs), stddev=stddev, dtype=dtype))

        self.W1, self.b1 = normal(784, 200), tf.Variable(tf.zeros(200, dtype))
        self.W2, self.b2 = normal(200, 200), tf.Variable(tf.zeros(200, dtype))
        self.W3, self.b3 = normal(200, 10), tf.Variable(tf.zeros(10, dtype))

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 784) -> outputs (n, 10)."""
        return self.values(X)["outputs"]

    def values(self, X: tf.Tensor) -> dict[str, tf.Tensor]:
        """Every value on the way, by its canonical name."""
        z1 = X @ self.W1 + self.b1
        h1 = tf.nn.relu(z1)
        z2 = h1 @ self.W2 + self.b2
        h2 = tf.nn.relu(z2)
        z3 = h2 @ self.W3 + self.b3
        return {"z1": z1, "h1": h1, "z2": z2, "h2": h2, "z3": z3, "outputs": tf.nn.relu(z3)}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: outputs (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    return net.values(X)
