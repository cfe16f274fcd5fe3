"""resnet34 in JAX with Flax and Optax: 34 layers, residual blocks, batch norm.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from flax import linen as nn
from jax import numpy as jnp

LOSS = "softmax-cross-entropy"


class Shape(NamedTuple):
    """What a block makes; the first of its layer has a shortcut with a convolution."""

    outputs: int
    stride: int
    first: bool


BLOCKS = {
    f"l{layer}b{k}": Shape(outputs, 1 if k else stride, k == 0)
    for layer, (blocks, outputs, stride) in enumerate(
        ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)), 1
    )
    for k in range(blocks)
}
# U(1 / √fan-in), as torch has it.
uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
Conv = partial(nn.Conv, use_bias=False, kernel_init=uniform)


class BatchNorm(nn.Module):
    """By channel; its running variance is over n - 1, as elsewhere: nn.BatchNorm's is over n."""

    training: bool

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, rows, columns, channels) -> the same shape."""
        shape = X.shape[-1:]
        gamma = self.param("scale", nn.initializers.ones, shape, X.dtype)
        beta = self.param("bias", nn.initializers.zeros, shape, X.dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, X.dtype)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, X.dtype)
        mean, var = running_mean.value, running_var.value
        if self.training:
            mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
            if not self.is_initializing():
                n = X.size // X.shape[-1]
                running_mean.value = 0.9 * running_mean.value + 0.1 * mean
                running_var.value = 0.9 * running_var.value + 0.1 * var * n / (n - 1)
        return (X - mean) * (gamma * jax.lax.rsqrt(var + 1e-5)) + beta


class Block(nn.Module):
    """Two convolutions and the shortcut, added; the ReLU after that is the network's."""

    outputs: int
    stride: int
    first: bool
    training: bool

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, rows, columns, inputs) -> (n, rows / stride, columns / stride, outputs)."""
        norm = partial(BatchNorm, self.training)
        H = Conv(self.outputs, (3, 3), self.stride, padding=1, name="conv1")(X)
        H = nn.relu(norm(name="bn1")(H))
        H = Conv(self.outputs, (3, 3), padding=1, name="conv2")(H)
        H = norm(name="bn2")(H)
        if self.first:
            X = Conv(self.outputs, (1, 1), self.stride, name="convs")(X)
            X = norm(name="bns")(X)
        return H + X


class Net(nn.Module):
    """Each pixel enlarged to 7 x 7, then the network for images of 224 x 224."""

    @nn.compact
    def __call__(self, X: jax.Array, training: bool) -> jax.Array:
        """X: (n, 32, 32, 3) -> logits (n, 1000)."""
        X = X.repeat(7, axis=1).repeat(7, axis=2)
        H = Conv(64, (7, 7), 2, padding=3, name="conv")(X)
        H = nn.relu(BatchNorm(training, name="bn")(H))
        H = nn.max_pool(H, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for name, shape in BLOCKS.items():
            H = nn.relu(Block(*shape, training, name=name)(H))
        H = nn.avg_pool(H, (7, 7)).reshape(len(H), -1)
        bias = partial(jax.random.uniform, minval=-(512**-0.5), maxval=512**-0.5)
        return nn.Dense(1000, kernel_init=uniform, bias_init=bias, name="fc")(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 1000), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


def _layout() -> dict[str, tuple[Any, ...]]:
    table: dict[str, tuple[Any, ...]] = {
        "pre.K": ("conv.kernel",),
        "pre.gamma": ("bn.scale",),
        "pre.beta": ("bn.bias",),
        "pre.mean": ("bn.mean",),
        "pre.var": ("bn.var",),
        "W": ("fc.kernel",),
        "b": ("fc.bias",),
    }
    for block in BLOCKS:
        for part in ("1", "2", "s"):
            table |= {
                f"{block}.K{part}": (f"{block}.conv{part}.kernel",),
                f"{block}.g{part}": (f"{block}.bn{part}.scale",),
                f"{block}.b{part}": (f"{block}.bn{part}.bias",),
                f"{block}.mean{part}": (f"{block}.bn{part}.mean",),
                f"{block}.var{part}": (f"{block}.bn{part}.var",),
            }
    return table


def _traced() -> dict[str, tuple[str]]:
    found = {"z1": ("conv",), "n1": ("bn",)}
    for k, (block, shape) in enumerate(BLOCKS.items(), 2):
        for part in ("1", "2", "s") if shape.first else ("1", "2"):
            found[f"{block}.z{part}"] = (f"{block}.conv{part}",)
            found[f"{block}.n{part}"] = (f"{block}.bn{part}",)
        found[f"r{k}"] = (block,)
    return found


LAYOUT = _layout()
TRACE = _traced()
