"""mnist-mlp-concise in JAX with Flax and Optax: three dense layers, ReLU after each.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """784-200-200-10."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> outputs (n, 10), none below 0."""
        for units in (200, 200, 10):
            X = nn.relu(nn.Dense(units)(X))
        return X


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
    "W3": ("Dense_2.kernel",),
    "b3": ("Dense_2.bias",),
}
TRACE = {"z1": ("Dense_0",), "z2": ("Dense_1",), "z3": ("Dense_2",)}
