"""nielsen-network in JAX with Flax and Optax: one hidden layer, sigmoids, quadratic loss.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from functools import partial

import jax
import optax
from flax import linen as nn

LOSS = "quadratic"


class Net(nn.Module):
    """784-num_hiddens-10, all standard normal at the start."""

    num_hiddens: int

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> outputs (n, 10)."""
        normal = nn.initializers.normal(1.0)
        Dense = partial(nn.Dense, kernel_init=normal, bias_init=normal)
        H = nn.sigmoid(Dense(self.num_hiddens)(X))
        return nn.sigmoid(Dense(10)(H))


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Half the squared distance to the one-hot classes, the mean. Y_hat: (n, 10), y: int32 (n,)."""
    return optax.l2_loss(Y_hat, jax.nn.one_hot(y, 10)).sum(axis=1).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
}
TRACE = {"z1": ("Dense_0",), "z2": ("Dense_1",)}
