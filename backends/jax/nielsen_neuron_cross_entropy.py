"""nielsen-neuron-cross-entropy in JAX with Flax and Optax: one sigmoid, cross-entropy.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

LOSS = "sigmoid-cross-entropy"


class Net(nn.Module):
    """One neuron, both its parameters 2 at the start, its sigmoid in the loss."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 1) -> logits (n, 1)."""
        two = nn.initializers.constant(2.0)
        return nn.Dense(1, kernel_init=two, bias_init=two)(X)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean sigmoid cross-entropy in nats. Y_hat: logits, y: both (n, 1)."""
    return optax.sigmoid_binary_cross_entropy(Y_hat, y).sum(axis=1).mean()


LAYOUT = {"w": ("Dense_0.kernel",), "b": ("Dense_0.bias",)}
TRACE = {"logits": ("Dense_0",)}
