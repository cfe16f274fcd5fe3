"""diabetes-relu in JAX with Flax: 8-6-4-1, ReLU everywhere, the outputs too.

Read it beside the others: same names, same order. May import jax, flax and `losses` only.
"""

import jax
from flax import linen as nn

from backends.jax.losses import binary_cross_entropy

LOSS = "binary-cross-entropy"


class Net(nn.Module):
    """Three dense layers, each with ReLU: nothing keeps the outputs from 0 or below 1."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 8) -> outputs (n, 1), none below 0."""
        H = nn.relu(nn.Dense(6)(X))
        H = nn.relu(nn.Dense(4)(H))
        return nn.relu(nn.Dense(1)(H))


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean binary cross-entropy in nats, each logarithm -100 at least; NaN above 1. Both (n, 1)."""
    return binary_cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
    "W3": ("Dense_2.kernel",),
    "b3": ("Dense_2.bias",),
}
TRACE = {"z1": ("Dense_0",), "z2": ("Dense_1",), "z3": ("Dense_2",)}
