"""resnet34 in TensorFlow: 34 layers, residual blocks, batch norm, with GradientTape.

May import tensorflow only (no Keras).
"""

from collections.abc import Iterator

import tensorflow as tf

LOSS = "softmax-cross-entropy"

# Of each of the four layers: blocks, and channels.
LAYERS = ((3, 64), (4, 128), (6, 256), (3, 512))

Values = dict[str, tf.Tensor]


def blocks() -> Iterator[tuple[str, int, int, int]]:
    """Of each block: name, inputs, outputs, stride."""
    inputs = 64
    for layer, (number, outputs) in enumerate(LAYERS, 1):
        for k in range(number):
            yield f"l{layer}b{k}", inputs, outputs, 2 if k == 0 and layer > 1 else 1
            inputs = outputs


def uniform(fan_in: int, shape: tuple[int, ...], dtype: tf.DType) -> tf.Variable:
    """At first every kernel and weight lies within 1 / sqrt(fan-in)."""
    return tf.Variable(tf.random.uniform(shape, -(fan_in**-0.5), fan_in**-0.5, dtype))


def around(pad: int) -> list[list[int]]:
    """That many rows and columns on each side of images."""
    return [[0, 0], [pad, pad], [pad, pad], [0, 0]]


class BatchNorm(tf.Module):
    """Per channel; Keras' own has its running variance over n, ours is over n - 1."""

    def __init__(self, channels: int, dtype: tf.DType) -> None:
        super().__init__()
        ones, zeros = tf.ones(channels, dtype), tf.zeros(channels, dtype)
        self.gamma, self.beta = tf.Variable(ones), tf.Variable(zeros)
        self.mean = tf.Variable(zeros, trainable=False)
        self.variance = tf.Variable(ones, trainable=False)

    def __call__(self, X: tf.Tensor, *, training: bool) -> tf.Tensor:
        """X: (n, r, c, channels); a training pass moves the running ones by a tenth."""
        mean, variance = self.mean, self.variance
        if training:
            n = tf.cast(tf.size(X) // X.shape[3], X.dtype)
            mean, variance = tf.nn.moments(X, [0, 1, 2])
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign(0.9 * self.variance + 0.1 * variance * n / (n - 1))
        return tf.nn.batch_normalization(X, mean, variance, self.beta, self.gamma, 1e-5)


class Normed(tf.Module):
    """A convolution without bias, padded by half its size, and the batch norm behind it."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, dtype: tf.DType) -> None:
        super().__init__()
        self.K = uniform(size * size * inputs, (size, size, inputs, outputs), dtype)
        self.norm = BatchNorm(outputs, dtype)
        self.stride, self.pad = stride, size // 2

    def __call__(self, X: tf.Tensor, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """X: (n, r, c, inputs) -> z and n, (n, r / stride, c / stride, outputs)."""
        z = tf.nn.conv2d(X, self.K, self.stride, around(self.pad))
        return z, self.norm(z, training=training)


class Block(tf.Module):
    """Two such, 3 x 3, and what came in added: as it is, or in a first block through a 1 x 1."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, dtype: tf.DType, *, first: bool
    ) -> None:
        super().__init__()
        self.first = Normed(inputs, outputs, 3, stride, dtype)
        self.second = Normed(outputs, outputs, 3, 1, dtype)
        self.shortcut = Normed(inputs, outputs, 1, stride, dtype) if first else None

    def values(self, X: tf.Tensor, *, training: bool) -> Values:
        """The values on the way, by their names within the block; r: what is added up."""
        values = {}
        values["z1"], values["n1"] = self.first(X, training=training)
        values["h1"] = tf.nn.relu(values["n1"])
        values["z2"], values["n2"] = self.second(values["h1"], training=training)
        if self.shortcut is not None:
            values["zs"], values["ns"] = self.shortcut(X, training=training)
        return {**values, "r": values["n2"] + values.get("ns", X)}


class Net(tf.Module):
    """Each pixel 7 x 7; conv 7 x 7, batch norm, ReLU, pool; 16 blocks; average, dense 1000."""

    def __init__(self, dtype: tf.DType = tf.float32) -> None:
        super().__init__()
        self.pre = Normed(3, 64, 7, 2, dtype)
        for name, inputs, outputs, stride in blocks():
            setattr(self, name, Block(inputs, outputs, stride, dtype, first=name.endswith("b0")))
        self.W, self.b = uniform(512, (512, 1000), dtype), uniform(512, (1000,), dtype)

    def forward(self, X: tf.Tensor, *, training: bool) -> tf.Tensor:
        """X: (n, 32, 32, 3) -> logits (n, 1000)."""
        return self.values(X, training=training)["logits"]

    def values(self, X: tf.Tensor, *, training: bool) -> Values:
        """Every value on the way, by its canonical name."""
        e0 = tf.repeat(tf.repeat(X, 7, axis=1), 7, axis=2)
        z1, n1 = self.pre(e0, training=training)
        h1 = tf.nn.relu(n1)
        padded = tf.pad(h1, around(1), constant_values=float("-inf"))
        p1 = H = tf.nn.max_pool2d(padded, 3, 2, "VALID")
        values = {"e0": e0, "z1": z1, "n1": n1, "h1": h1, "p1": p1}
        for k, (name, *_) in enumerate(blocks(), 2):
            own = getattr(self, name).values(H, training=training)
            r = values[f"r{k}"] = own.pop("r")
            H = values[f"h{k}"] = tf.nn.relu(r)
            values |= {f"{name}.{value}": tensor for value, tensor in own.items()}
        p17 = tf.nn.avg_pool2d(H, 7, 7, "VALID")
        return {**values, "p17": p17, "logits": tf.reshape(p17, (-1, 512)) @ self.W + self.b}


def loss(Y_hat: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 1000), y: int32 (n,)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=Y_hat))


def trace(net: Net, X: tf.Tensor) -> Values:
    """Every value on the way, by its canonical name."""
    return net.values(X, training=True)


# What a convolution and its batch norm hold is named after the block and its number in it.
OWN = {"K": "K", "g": "norm.gamma", "b": "norm.beta", "mean": "norm.mean", "var": "norm.variance"}
LAYOUT = {
    f"{block}.{name}{number}": (f"{block}.{part}.{own}",)
    for block, *_ in blocks()
    for number, part in (("1", "first"), ("2", "second"), ("s", "shortcut"))
    for name, own in OWN.items()
} | {
    "pre.gamma": ("pre.norm.gamma",),
    "pre.beta": ("pre.norm.beta",),
    "pre.mean": ("pre.norm.mean",),
    "pre.var": ("pre.norm.variance",),
}
