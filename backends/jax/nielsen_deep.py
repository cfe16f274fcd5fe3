"""nielsen-deep in JAX with Flax and Optax: three hidden layers of sigmoids, quadratic loss.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from functools import partial

import jax
import optax
from flax import linen as nn

LOSS = "quadratic"


class Net(nn.Module):
    """784-30-30-30-10."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> outputs (n, 10)."""
        fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        Dense = partial(nn.Dense, kernel_init=fan_in, bias_init=nn.initializers.normal(1.0))
        for units in (30, 30, 30, 10):
            X = nn.sigmoid(Dense(units)(X))
        return X


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Half the squared distance to the one-hot classes, the mean. Y_hat: (n, 10), y: int32 (n,)."""
    return optax.l2_loss(Y_hat, jax.nn.one_hot(y, 10)).sum(axis=1).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
    "W3": ("Dense_2.kernel",),
    "b3": ("Dense_2.bias",),
    "W4": ("Dense_3.kernel",),
    "b4": ("Dense_3.bias",),
}
TRACE = {
    "z1": ("Dense_0",),
    "z2": ("Dense_1",),
    "z3": ("Dense_2",),
    "z4": ("Dense_3",),
}
