"""mlp-concise in JAX with Flax and Optax: Dive into Deep Learning 5.2, from layers.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """784-num_hiddens-10."""

    num_hiddens: int

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> logits (n, 10)."""
        normal = nn.initializers.normal(0.01)
        H = nn.relu(nn.Dense(self.num_hiddens, kernel_init=normal)(X))
        return nn.Dense(10, kernel_init=normal)(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
}
TRACE = {"z1": ("Dense_0",)}
