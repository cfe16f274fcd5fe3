"""himmelblau in JAX with Flax: (u * u + v - 11)^2 + (u + v * v - 7)^2, by autograd.

Read it beside the others: same names, same order. May import jax and flax only.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

LOSS = "output"


class Net(nn.Module):
    """One tensor, the point; there are no data."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: blank (n,) -> the function's value (n, 1), each row the same."""
        x = self.param("x", nn.initializers.zeros, (2,))
        q1 = residuals(x, len(X))
        return (q1 * q1).sum(axis=1, keepdims=True)


def residuals(x: jax.Array, n: int) -> jax.Array:
    """What the function squares. x: (2,) -> (n, 2), each row the same."""
    u, v = x
    return jnp.tile(jnp.stack([u * u + v - 11, u + v * v - 7]), (n, 1))


def loss(Y_hat: jax.Array, _: None) -> jax.Array:
    """The mean of the outputs (n, 1); there are no targets."""
    return Y_hat.mean()


def trace(net: Net, variables: dict[str, Any], X: jax.Array) -> dict[str, jax.Array]:
    """The values on the way, by name."""
    q1 = residuals(variables["params"]["x"], len(X))
    return {"q1": q1, "outputs": net.apply(variables, X)}
