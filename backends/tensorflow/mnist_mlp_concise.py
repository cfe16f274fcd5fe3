"""mnist-mlp-concise in TensorFlow: 784-200-200-10, ReLU after every one of Keras' layers.

May import tensorflow only: the layers are those of tf.keras.
"""

import tensorflow as tf

LOSS = "softmax-cross-entropy"


class Net(tf.Module):
    """Three dense layers, which start as torch's do; kernels are inputs x outputs."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        layers, initializers = tf.keras.layers, tf.keras.initializers

        def uniform(fan_in: int) -> tf.keras.initializers.Initializer:
            return initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)

        def dense(inputs: int, outputs: int) -> tf.keras.layers.Dense:
            return layers.Dense(
                outputs,
                kernel_initializer=uniform(inputs),
                bias_initializer=uniform(inputs),
                dtype=dtype,
            )

        self.fc1 = dense(784, 200)
        self.fc2 = dense(200, 200)
        self.fc3 = dense(200, 10)
        self.net = tf.keras.Sequential(
            [
                tf.keras.Input((784,), dtype=dtype),
                self.fc1,
                layers.ReLU(dtype=dtype),
                self.fc2,
                layers.ReLU(dtype=dtype),
                self.fc3,
                layers.ReLU(dtype=dtype),
            ]
        )

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 784) -> outputs (n, 10)."""
        return self.net(X)


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: outputs (n, 10), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> dict[str, tf.Tensor]:
    """Every value on the way, by its canonical name."""
    values = {}
    for name, layer in zip(("z1", "h1", "z2", "h2", "z3", "outputs"), net.net.layers, strict=True):
        values[name] = X = layer(X)
    return values


# A Keras variable's value is TensorFlow's own.
LAYOUT = {
    "W1": ("fc1.kernel.value",),
    "b1": ("fc1.bias.value",),
    "W2": ("fc2.kernel.value",),
    "b2": ("fc2.bias.value",),
    "W3": ("fc3.kernel.value",),
    "b3": ("fc3.bias.value",),
}
