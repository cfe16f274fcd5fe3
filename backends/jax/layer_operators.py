"""Layers as single operators, in JAX with Flax and Optax. May import jax, flax and optax only.

Read it beside the others: same names, same order.
X: images float (n, r, c, channels), of a perceptron (1, inputs), of layer norm (n, k); K: kernels
(3, 3, inputs, outputs). Windows are 3 x 3 with stride 2, one row and column padded on each side.
Batch norm is per channel; running statistics keep 0.9 of what they were, and have no gradient.
"""

from collections.abc import Callable
from functools import partial

import jax
import optax
from flax import linen as nn
from jax import numpy as jnp

# Size, stride and padding of every window; the share that is dropped.
WINDOW = {"window_shape": (3, 3), "strides": (2, 2), "padding": ((1, 1), (1, 1))}
DROPPED = 0.25


def _perceptron(X: jax.Array, W: jax.Array, T: jax.Array) -> jax.Array:
    """Half the squared error of sigmoid(X @ W) from T."""
    return optax.l2_loss(jax.nn.sigmoid(X @ W), T).sum()


def _conv(X: jax.Array, K: jax.Array) -> jax.Array:
    kinds = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(X, K, (2, 2), ((1, 1), (1, 1)), dimension_numbers=kinds)


def _batch_norm(X: jax.Array, gamma: jax.Array, beta: jax.Array) -> jax.Array:
    """In training: by the batch's own mean and variance."""
    zeros = jnp.zeros_like(gamma)
    return _applied(X, gamma, beta, zeros, zeros, training=True)[0]


def _batch_norm_evaluation(
    X: jax.Array, gamma: jax.Array, beta: jax.Array, mean: jax.Array, variance: jax.Array
) -> jax.Array:
    running = jax.lax.stop_gradient((mean, variance))
    return _applied(X, gamma, beta, *running, training=False)[0]


def _batch_norm_running(X: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    """Running mean and variance after a step: (2, channels); Flax's variance is over n."""
    X, mean, variance = jax.lax.stop_gradient((X, mean, variance))
    ones = jnp.ones_like(mean)
    _, new = _applied(X, ones, ones, mean, variance, training=True)
    return jnp.stack([new["batch_stats"]["mean"], new["batch_stats"]["var"]])


def _applied(
    X: jax.Array, gamma: jax.Array, beta: jax.Array, *running: jax.Array, training: bool
) -> tuple[jax.Array, dict[str, dict[str, jax.Array]]]:
    layer = nn.BatchNorm(use_running_average=not training, momentum=0.9, epsilon=1e-5)
    held = {
        "params": {"scale": gamma, "bias": beta},
        "batch_stats": dict(zip(("mean", "var"), running, strict=True)),
    }
    return layer.apply(held, X, mutable=["batch_stats"])


def _layer_norm(X: jax.Array, gamma: jax.Array, beta: jax.Array) -> jax.Array:
    """Each row by its own mean and variance."""
    return nn.LayerNorm(epsilon=1e-5).apply({"params": {"scale": gamma, "bias": beta}}, X)


LAYERS: dict[str, Callable[..., jax.Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "perceptron": _perceptron,
    "perceptron_two": _perceptron,
    "chain": lambda x, w1, b1, w2, b2: w2 * (w1 * x + b1) + b2,
    "conv": _conv,
    "max_pool": partial(nn.max_pool, **WINDOW),
    "avg_pool": partial(nn.avg_pool, **WINDOW),
    "avg_pool_inside": partial(nn.avg_pool, **WINDOW, count_include_pad=False),
    "batch_norm": _batch_norm,
    "batch_norm_evaluation": _batch_norm_evaluation,
    "batch_norm_running": _batch_norm_running,
    "dropout": lambda X, M: X * M / (1 - DROPPED),
    "layer_norm": _layer_norm,
}
