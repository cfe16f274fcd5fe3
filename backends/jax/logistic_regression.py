"""logistic-regression in JAX with Flax: one dense layer and a sigmoid.

Read it beside the others: same names, same order. May import jax, flax and `losses` only.
"""

import jax
from flax import linen as nn

from backends.jax.losses import binary_cross_entropy

LOSS = "binary-cross-entropy"


class Net(nn.Module):
    """8-1."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 8) -> probabilities (n, 1)."""
        return nn.sigmoid(nn.Dense(1)(X))


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean binary cross-entropy in nats, each logarithm -100 at least. Both (n, 1)."""
    return binary_cross_entropy(Y_hat, y)


LAYOUT = {"W": ("Dense_0.kernel",), "b": ("Dense_0.bias",)}
TRACE = {"z1": ("Dense_0",)}
