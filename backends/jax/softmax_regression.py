"""softmax-regression in JAX with Flax and Optax: Dive into Deep Learning 4.4, by hand.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from typing import Any

import jax
import optax
from flax import linen as nn

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """X @ W + b; weights are inputs x outputs."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> logits (n, 10)."""
        W = self.param("W", nn.initializers.normal(0.01), (784, 10))
        b = self.param("b", nn.initializers.zeros, (10,))
        return X @ W + b


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


def trace(net: Net, variables: dict[str, Any], X: jax.Array) -> dict[str, jax.Array]:
    """The only value."""
    return {"logits": net.apply(variables, X)}
