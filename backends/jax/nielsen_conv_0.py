"""nielsen-conv-0 in JAX with Flax and Optax: 784-100-10, sigmoid.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

from backends.jax.nielsen_ladder import dense, layout, softmax, traced

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """784-100-10."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 784) -> logits (n, 10)."""
        H = nn.sigmoid(dense(100)(X))
        return softmax()(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = layout(0, 1)
TRACE = traced(0, 1)
