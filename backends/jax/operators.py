"""Single operators by name, in JAX: value, and derivatives by jax.vjp. May import jax and optax.

Read it beside the others: same names, same order. "relu" is the framework's own, "relu/scratch" the
expression of Dive into Deep Learning for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,), of
"matmul" (n, k) and (k, m); P: probabilities (n, k). Softmaxes and entropies (bits) are over a row,
losses means over rows: (), in nats. Layers stand in the file beside this one.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from backends.jax.layer_operators import LAYERS


def _softmax_scratch(X: jax.Array) -> jax.Array:
    """Without the shift that keeps exp from overflowing."""
    X_exp = jnp.exp(X)
    return X_exp / X_exp.sum(1, keepdims=True)


OPERATORS: dict[str, Callable[..., jax.Array]] = {
    "matmul": lambda a, b: a @ b,
    "step": lambda X: jnp.heaviside(X, 0),
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softmax": lambda X: jax.nn.softmax(X, axis=1),
    "log_softmax": lambda X: jax.nn.log_softmax(X, axis=1),
    "cross_entropy": lambda X, y: optax.softmax_cross_entropy_with_integer_labels(X, y).mean(),
    "softmax_log_nll": lambda X, y: (
        -jnp.log(jax.nn.softmax(X, axis=1))[jnp.arange(len(y)), y].mean()
    ),
    "squared_error": lambda a, b: optax.l2_loss(a, b).mean(),
    "entropy": lambda P: jax.scipy.special.entr(P).sum(1) / math.log(2),
    "sum": jnp.sum,
    "mean": jnp.mean,
    "norm": jnp.linalg.norm,
    "relu/scratch": lambda X: jnp.maximum(X, 0),
    "sigmoid/scratch": lambda X: 1 / (1 + jnp.exp(-X)),
    "tanh/scratch": lambda X: (1 - jnp.exp(-2 * X)) / (1 + jnp.exp(-2 * X)),
    "softmax/scratch": _softmax_scratch,
    "log_softmax/scratch": lambda X: jnp.log(_softmax_scratch(X)),
    "cross_entropy/scratch": lambda X, y: (
        -jnp.log(_softmax_scratch(X)[jnp.arange(len(y)), y]).mean()
    ),
    "squared_error/scratch": lambda a, b: ((a - b) ** 2 / 2).mean(),
    **LAYERS,
}


@partial(jax.jit, static_argnums=0)
def value_and_derivatives(
    function: Callable[..., jax.Array], *arrays: jax.Array, weights: jax.Array | None = None
) -> tuple[jax.Array, ...]:
    """Value of the function, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default; ValueError for another.
    """
    value, pull_back = jax.vjp(function, *arrays)
    weights = jnp.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {weights.shape}, value {value.shape}")
    derivatives = zip(arrays, pull_back(weights), strict=True)
    return value, *(d for a, d in derivatives if jnp.issubdtype(a.dtype, jnp.floating))
