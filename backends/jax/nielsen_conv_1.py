"""nielsen-conv-1 in JAX with Flax and Optax: one convolution, one dense layer, sigmoid.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

from backends.jax.nielsen_ladder import Convolution, dense, layout, softmax, traced

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """28 x 28 -> 12 x 12 x 20 -> 100 -> 10."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 28, 28, 1) -> logits (n, 10)."""
        H = Convolution(20, nn.sigmoid)(X)
        H = H.reshape(len(H), -1)
        H = nn.sigmoid(dense(100)(H))
        return softmax()(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = layout(1, 1)
TRACE = traced(1, 1)
