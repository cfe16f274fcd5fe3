"""What the steps of Nielsen's convolutional ladder share (chapter 6).

A layer of it: convolve 5 x 5, take the largest of each 2 x 2, then add the bias, then activate. May
import tensorflow only (no Keras).
"""

from collections.abc import Callable

import tensorflow as tf

Values = dict[str, tf.Tensor]
Activation = Callable[[tf.Tensor], tf.Tensor]


class Layers(tf.Module):
    """The tensors of a step's layers, as each begins."""

    def __init__(self, dtype: tf.DType) -> None:
        super().__init__()
        self.dtype = dtype

    def kernels(self, inputs: int, outputs: int) -> tuple[tf.Variable, tf.Variable]:
        """Kernels 5 x 5 and their biases."""
        K = self._normal((4 / 25 / outputs) ** 0.5, 5, 5, inputs, outputs)
        return K, self._normal(1, outputs)

    def dense(self, inputs: int, outputs: int) -> tuple[tf.Variable, tf.Variable]:
        """Weights, inputs x outputs, and biases."""
        return self._normal(outputs**-0.5, inputs, outputs), self._normal(1, outputs)

    def softmax(self, inputs: int) -> tuple[tf.Variable, tf.Variable]:
        """Those of the layer before the softmax, which starts at 0."""
        zeros = tf.zeros((inputs, 10), self.dtype), tf.zeros(10, self.dtype)
        return tf.Variable(zeros[0]), tf.Variable(zeros[1])

    def _normal(self, stddev: float, *shape: int) -> tf.Variable:
        return tf.Variable(tf.random.normal(shape, stddev=stddev, dtype=self.dtype))


class Net(Layers):
    """The logits, of a step's `values(X)`."""

    def forward(self, X: tf.Tensor) -> tf.Tensor:
        """X: (n, 28, 28, 1) or (n, 784) -> logits (n, 10)."""
        return self.values(X)["logits"]

    def values(self, X: tf.Tensor) -> Values:
        """Every value on the way, by its canonical name."""
        raise NotImplementedError


def convolved(
    number: int, X: tf.Tensor, K: tf.Variable, c: tf.Variable, activation: Activation
) -> Values:
    """X: (n, r, c, inputs) -> the values of a layer; h: (n, (r - 4) / 2, (c - 4) / 2, outputs)."""
    z = tf.nn.conv2d(X, K, 1, "VALID")
    p = tf.nn.max_pool2d(z, 2, 2, "VALID")
    s = p + c
    return {f"z{number}": z, f"p{number}": p, f"s{number}": s, f"h{number}": activation(s)}


def flat(X: tf.Tensor) -> tf.Tensor:
    """(n, r, c, channels) -> (n, r * c * channels)."""
    return tf.reshape(X, (-1, X.shape[1] * X.shape[2] * X.shape[3]))


def trace(net: Net, X: tf.Tensor) -> Values:
    """Every value on the way, by its canonical name."""
    return net.values(X)
