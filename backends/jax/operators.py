"""Single operators by name, in JAX: value, and derivatives by jax.vjp. May import jax and optax.

Read it beside the others: same names, same order. `OPERATORS` are the framework's own,
`SCRATCH` the expressions of Dive into Deep Learning, for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b


def relu(X: jax.Array) -> jax.Array:
    """max(X, 0)."""
    return jax.nn.relu(X)


def sigmoid(X: jax.Array) -> jax.Array:
    """1 / (1 + exp(-X))."""
    return jax.nn.sigmoid(X)


def tanh(X: jax.Array) -> jax.Array:
    """Hyperbolic tangent."""
    return jnp.tanh(X)


def softmax(X: jax.Array) -> jax.Array:
    """exp(X) over its row's sum: (n, k)."""
    return jax.nn.softmax(X, axis=1)


def log_softmax(X: jax.Array) -> jax.Array:
    """Logarithm of the softmax: (n, k)."""
    return jax.nn.log_softmax(X, axis=1)


def cross_entropy(X: jax.Array, y: jax.Array) -> jax.Array:
    """Mean over rows of -log softmax(X)[row, y[row]], in nats: ()."""
    return optax.softmax_cross_entropy_with_integer_labels(X, y).mean()


def squared_error(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean of (a - b)² / 2: ()."""
    return optax.l2_loss(a, b).mean()


def relu_scratch(X: jax.Array) -> jax.Array:
    """The larger of X and 0."""
    return jnp.maximum(X, 0)


def sigmoid_scratch(X: jax.Array) -> jax.Array:
    """As written in the book."""
    return 1 / (1 + jnp.exp(-X))


def tanh_scratch(X: jax.Array) -> jax.Array:
    """As written in the book."""
    return (1 - jnp.exp(-2 * X)) / (1 + jnp.exp(-2 * X))


def softmax_scratch(X: jax.Array) -> jax.Array:
    """Without the shift that keeps exp from overflowing."""
    X_exp = jnp.exp(X)
    return X_exp / X_exp.sum(1, keepdims=True)


def log_softmax_scratch(X: jax.Array) -> jax.Array:
    """Logarithm of the softmax above."""
    return jnp.log(softmax_scratch(X))


def cross_entropy_scratch(X: jax.Array, y: jax.Array) -> jax.Array:
    """From the softmax above."""
    return -jnp.log(softmax_scratch(X)[jnp.arange(len(y)), y]).mean()


def squared_error_scratch(a: jax.Array, b: jax.Array) -> jax.Array:
    """As written in the book."""
    return ((a - b) ** 2 / 2).mean()


OPERATORS: dict[str, Callable[..., jax.Array]] = {
    "matmul": matmul,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}
SCRATCH: dict[str, Callable[..., jax.Array]] = {
    "relu/scratch": relu_scratch,
    "sigmoid/scratch": sigmoid_scratch,
    "tanh/scratch": tanh_scratch,
    "softmax/scratch": softmax_scratch,
    "log_softmax/scratch": log_softmax_scratch,
    "cross_entropy/scratch": cross_entropy_scratch,
    "squared_error/scratch": squared_error_scratch,
}


def value_and_derivatives(
    name: str, *arrays: jax.Array, weights: jax.Array | None = None
) -> tuple[jax.Array, ...]:
    """Value of the operator, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default. Raises ValueError for an unknown name, or for
    weights of another shape.
    """
    known = OPERATORS | SCRATCH
    if name not in known:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(known)}")
    return _compiled(known[name], *arrays, weights=weights)


@partial(jax.jit, static_argnums=0)
def _compiled(
    operator: Callable[..., jax.Array], *arrays: jax.Array, weights: jax.Array | None
) -> tuple[jax.Array, ...]:
    value, pull_back = jax.vjp(operator, *arrays)
    weights = jnp.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {weights.shape}, value {value.shape}")
    derivatives = zip(arrays, pull_back(weights), strict=True)
    return value, *(d for a, d in derivatives if jnp.issubdtype(a.dtype, jnp.floating))
