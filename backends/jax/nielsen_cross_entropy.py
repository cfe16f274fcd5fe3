"""nielsen-cross-entropy in JAX with Flax and Optax: one hidden layer, cross-entropy, decay.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from functools import partial

import jax
import optax
from flax import linen as nn

LOSS = "sigmoid-cross-entropy"


class Net(nn.Module):
    """784-num_hiddens-10, the last sigmoid in the loss."""

    num_hiddens: int

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> logits (n, 10)."""
        fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        Dense = partial(nn.Dense, kernel_init=fan_in, bias_init=nn.initializers.normal(1.0))
        H = nn.sigmoid(Dense(self.num_hiddens)(X))
        return Dense(10)(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Sigmoid cross-entropy in nats, the sum over classes, the mean. (n, 10), y: int32 (n,)."""
    each = optax.sigmoid_binary_cross_entropy(Y_hat, jax.nn.one_hot(y, 10))
    return each.sum(axis=1).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
}
TRACE = {"z1": ("Dense_0",)}
