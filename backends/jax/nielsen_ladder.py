"""What the steps of Nielsen's convolutional ladder share in JAX with Flax (chapter 6).

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from jax import numpy as jnp

Table = dict[str, tuple[Any, ...]]
normal = nn.initializers.normal


class Bias(nn.Module):
    """One number a channel, added to images."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, rows, columns, channels) -> the same shape."""
        return X + self.param("bias", normal(1.0), X.shape[-1:])


class Dropout(nn.Module):
    """In training a unit is kept where its noise is .5 or more, and doubled."""

    training: bool

    @nn.compact
    def __call__(self, X: jax.Array, U: jax.Array) -> jax.Array:
        """X, U: (n, units) -> (n, units)."""
        return jnp.where(U >= 0.5, X / 0.5, 0) if self.training else X


class Convolution(nn.Module):
    """5 x 5, pooled by 2, then the bias and the activation."""

    outputs: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, rows, columns, inputs) -> (n, (rows - 4) / 2, (columns - 4) / 2, outputs)."""
        init = normal((4 / (25 * self.outputs)) ** 0.5)
        H = nn.Conv(self.outputs, (5, 5), padding="VALID", use_bias=False, kernel_init=init)(X)
        H = nn.max_pool(H, (2, 2), (2, 2))
        return self.activation(Bias()(H))


def dense(outputs: int) -> nn.Dense:
    """All to all."""
    return nn.Dense(outputs, kernel_init=normal(outputs**-0.5), bias_init=normal(1.0))


def softmax() -> nn.Dense:
    """The last layer, which starts at 0; the softmax itself is the loss's."""
    return nn.Dense(10, kernel_init=nn.initializers.zeros)


def l2(parameters: dict[str, Any], factor: float) -> jax.Array:
    """Half of factor · Σ w² over kernels and weights; biases, which have one axis, are left out."""
    weights = (w for w in jax.tree.leaves(parameters) if w.ndim > 1)
    return factor / 2 * sum(jnp.square(w).sum() for w in weights)


def layout(convolutions: int, hidden: int) -> Table:
    """Where the tensors lie."""
    table: Table = {}
    for k in range(convolutions):
        at = f"Convolution_{k}"
        table |= {f"K{k + 1}": (f"{at}.Conv_0.kernel",), f"c{k + 1}": (f"{at}.Bias_0.bias",)}
    for k in range(hidden + 1):
        table |= {f"W{k + 1}": (f"Dense_{k}.kernel",), f"b{k + 1}": (f"Dense_{k}.bias",)}
    return table


def traced(convolutions: int, hidden: int) -> Table:
    """The values that are a module's."""
    table: Table = {}
    for k in range(convolutions):
        at = f"Convolution_{k}"
        table |= {f"z{k + 1}": (f"{at}.Conv_0",), f"s{k + 1}": (f"{at}.Bias_0",)}
        table |= {f"h{k + 1}": (at,)}
    return table | {f"z{convolutions + k + 1}": (f"Dense_{k}",) for k in range(hidden)}
