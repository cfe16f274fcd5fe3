"""resnet34 in NumPy: 34 layers, residual blocks, batch norm, forward and backward by hand.

May import NumPy, the layers beside it and harness.interface.
"""

from collections.abc import Iterator

import numpy as np

from backends.numpy.images import (
    BatchNorm,
    convolve,
    images_back,
    kernels_back,
    max_pool,
    max_pool_back,
    patches,
)
from backends.numpy.layers import (
    relu,
    relu_back,
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"

# Of each of the four layers: blocks, and channels.
LAYERS = ((3, 64), (4, 128), (6, 256), (3, 512))


def blocks() -> Iterator[tuple[str, int, int, int]]:
    """Of each block: name, inputs, outputs, stride."""
    inputs = 64
    for layer, (number, outputs) in enumerate(LAYERS, 1):
        for k in range(number):
            yield f"l{layer}b{k}", inputs, outputs, 2 if k == 0 and layer > 1 else 1
            inputs = outputs


def uniform(fan_in: int, shape: tuple[int, ...], dtype: str) -> Array:
    """At first every kernel and weight lies within 1 / sqrt(fan-in)."""
    return np.random.default_rng().uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(dtype)


class Normed:
    """A convolution without bias, z, and the batch norm behind it, n; padded by half its size."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, dtype: str) -> None:
        self.K = uniform(size * size * inputs, (size, size, inputs, outputs), dtype)
        self.norm = BatchNorm(outputs, dtype)
        self.size, self.stride, self.pad = size, stride, size // 2

    def forward(self, X: Array, *, training: bool) -> Array:
        """X: (n, r, c, inputs) -> (n, r / stride, c / stride, outputs)."""
        self.X = X
        self.z = convolve(patches(X, self.size, self.stride, self.pad), self.K)
        self.n = self.norm.forward(self.z, training=training)
        return self.n

    def tensors_back(self, d: Array) -> Array:
        """The gradient by z; those by the tensors are kept, by their names."""
        d, own = self.norm.back(d)
        # Made once more: kept, the patches of all layers would take 400 MB.
        seen = patches(self.X, self.size, self.stride, self.pad)
        self.grads = {"K": kernels_back(d, seen, self.K)}
        self.grads |= {f"norm.{name}": grad for name, grad in own.items()}
        return d

    def back(self, d: Array) -> Array:
        """The gradient by X."""
        return images_back(self.tensors_back(d), self.K, self.X, self.stride, self.pad)


class Block:
    """Two such, 3 x 3, and what came in added: as it is, or in a first block through a 1 x 1."""

    def __init__(self, inputs: int, outputs: int, stride: int, dtype: str, *, first: bool) -> None:
        self.first = Normed(inputs, outputs, 3, stride, dtype)
        self.second = Normed(outputs, outputs, 3, 1, dtype)
        self.parts = {"first": self.first, "second": self.second}
        if first:
            self.parts["shortcut"] = self.shortcut = Normed(inputs, outputs, 1, stride, dtype)

    def forward(self, X: Array, *, training: bool) -> Array:
        """X: (n, r, c, inputs) -> (n, r / stride, c / stride, outputs)."""
        through = "shortcut" in self.parts
        beside = self.shortcut.forward(X, training=training) if through else X
        self.h1 = relu(self.first.forward(X, training=training))
        self.r = self.second.forward(self.h1, training=training) + beside
        self.h = relu(self.r)
        return self.h

    def back(self, d: Array) -> Array:
        """The gradient by X."""
        d = relu_back(d, self.h)
        beside = self.shortcut.back(d) if "shortcut" in self.parts else d
        return self.first.back(relu_back(self.second.back(d), self.h1)) + beside

    def trace(self) -> State:
        """The values on the way, by their names within the block."""
        numbers = zip("12s", self.parts.values(), strict=False)
        values = {f"{v}{k}": getattr(part, v) for k, part in numbers for v in "zn"}
        return {**values, "h1": self.h1}


class Net:
    """Each pixel 7 x 7; conv 7 x 7, batch norm, ReLU, pool; 16 blocks; average, dense 1000."""

    def __init__(self, dtype: str = "float32") -> None:
        self.pre = Normed(3, 64, 7, 2, dtype)
        self.blocks = {
            name: Block(inputs, outputs, stride, dtype, first=name.endswith("b0"))
            for name, inputs, outputs, stride in blocks()
        }
        vars(self).update(self.blocks)
        self.W, self.b = uniform(512, (512, 1000), dtype), uniform(512, (1000,), dtype)

    def forward(self, X: Array, *, training: bool = True) -> Array:
        """X: (n, 32, 32, 3) -> logits (n, 1000); keeps every value for the way back."""
        self.e0 = X.repeat(7, axis=1).repeat(7, axis=2)
        self.h1 = relu(self.pre.forward(self.e0, training=training))
        H = self.p1 = max_pool(self.h1, 3, 2, pad=1)
        for block in self.blocks.values():
            H = block.forward(H, training=training)
        self.p17 = H.mean(axis=(1, 2), keepdims=True)
        self.logits = self.p17.reshape(len(X), -1) @ self.W + self.b
        return self.logits

    def grads(self, d: Array) -> State:
        """d: the gradient by the logits -> that by each tensor."""
        grads = {"W": self.p17.reshape(len(d), -1).T @ d, "b": d.sum(axis=0)}
        d = np.repeat((d @ self.W.T / 49)[:, None], 49, axis=1).reshape(len(d), 7, 7, -1)
        for block in reversed(self.blocks.values()):
            d = block.back(d)
        d = max_pool_back(d, self.h1, self.p1, 3, 2, pad=1)
        self.pre.tensors_back(relu_back(d, self.h1))
        parts = {"pre": self.pre} | {
            f"{name}.{part}": normed
            for name, block in self.blocks.items()
            for part, normed in block.parts.items()
        }
        own = {f"{at}.{name}": g for at, part in parts.items() for name, g in part.grads.items()}
        return grads | own


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 1000), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    return loss(Y_hat, y), net.grads(softmax_cross_entropy_back(Y_hat, y))


def trace(net: Net, X: Array) -> State:
    """Every value on the way, by its canonical name."""
    net.forward(X)
    values = {"e0": net.e0, "z1": net.pre.z, "n1": net.pre.n, "h1": net.h1, "p1": net.p1}
    for k, (name, block) in enumerate(net.blocks.items(), 2):
        values |= {f"{name}.{own}": value for own, value in block.trace().items()}
        values |= {f"r{k}": block.r, f"h{k}": block.h}
    return {**values, "p17": net.p17, "logits": net.logits}


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
