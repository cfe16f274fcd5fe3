"""linear-regression in JAX with Flax: a line, parameters made explicit.

Read it beside the others: same names, same order. May import jax and flax only.
"""

from typing import Any

import jax
from flax import linen as nn

LOSS = "half-squared-sum"


class Net(nn.Module):
    """X @ w + b, w uniform in [0, 1) at the start; b is a row."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 1) -> outputs (n, 1)."""
        w = self.param("w", nn.initializers.uniform(1.0), (1, 1))
        b = self.param("b", nn.initializers.zeros, (1, 1))
        return X @ w + b


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Half the sum of squares, no mean. Both (n, 1)."""
    return ((Y_hat - y) ** 2 / 2).sum()


def trace(net: Net, variables: dict[str, Any], X: jax.Array) -> dict[str, jax.Array]:
    """The only value."""
    return {"outputs": net.apply(variables, X)}
