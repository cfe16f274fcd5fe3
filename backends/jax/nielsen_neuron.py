"""nielsen-neuron in JAX with Flax and Optax: one sigmoid, quadratic loss.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

LOSS = "quadratic"


class Net(nn.Module):
    """One neuron, both its parameters 2 at the start."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 1) -> outputs (n, 1)."""
        two = nn.initializers.constant(2.0)
        return nn.sigmoid(nn.Dense(1, kernel_init=two, bias_init=two)(X))


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Half the squared distance, the mean over the samples. Both (n, 1)."""
    return optax.l2_loss(Y_hat, y).sum(axis=1).mean()


LAYOUT = {"w": ("Dense_0.kernel",), "b": ("Dense_0.bias",)}
TRACE = {"z1": ("Dense_0",)}
