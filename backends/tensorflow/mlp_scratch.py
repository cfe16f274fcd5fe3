"""MLPScratch in TensorFlow: Dive into Deep Learning 5.2, with GradientTape.

Read it beside the others: same names, same order. May import tensorflow only (no Keras).
"""

import tensorflow as tf

LOSS = "softmax-cross-entropy"


def relu(X: tf.Tensor) -> tf.Tensor:
    """max(X, 0), elementwise; derivative 0 at 0, NaN passes through."""
    # tf.nn.relu has derivative 0 at NaN, so a NaN would not reach b1's gradient as in torch.
    return tf.where(X <= 0, tf.zeros((), X.dtype), X)


class MLPScratch(tf.Module):
    """One hidden layer: relu(X @ W1 + b1) @ W2 + b2; weights are inputs x outputs."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: int,
        sigma: float = 0.01,
        dtype: tf.DType = tf.float32,
    ) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs
        self.num_hiddens = num_hiddens
        self.sigma = sigma
        self.W1 = tf.Variable(
            tf.random.normal((num_inputs, num_hiddens), stddev=sigma, dtype=dtype)
        )
        self.b1 = tf.Variable(tf.zeros(num_hiddens, dtype))
        self.W2 = tf.Variable(
            tf.random.normal((num_hiddens, num_outputs), stddev=sigma, dtype=dtype)
        )
        self.b2 = tf.Variable(tf.zeros(num_outputs, dtype))

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, num_inputs) -> logits (n, num_outputs)."""
        H = relu(X @ self.W1 + self.b1)
        return H @ self.W2 + self.b2


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, num_outputs), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


Net = MLPScratch


def trace(model: MLPScratch, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    Z = X @ model.W1 + model.b1
    H = relu(Z)
    return {"z1": Z, "h1": H, "logits": H @ model.W2 + model.b2}
