"""nielsen-conv-6 in JAX with Flax and Optax: two wide dense layers, dropout.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

from backends.jax.nielsen_ladder import Convolution, Dropout, dense, layout, softmax, traced

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 1000 -> 1000 -> 10."""

    @nn.compact
    def __call__(self, X: jax.Array, noise: dict[str, jax.Array], training: bool) -> jax.Array:
        """X: (n, 28, 28, 1), noise: (n, units) by name -> logits (n, 10)."""
        H = Convolution(20, nn.relu)(X)
        H = Convolution(40, nn.relu)(H)
        H = H.reshape(len(H), -1)
        H = Dropout(training)(H, noise["drop1"])
        H = nn.relu(dense(1000)(H))
        H = Dropout(training)(H, noise["drop2"])
        H = nn.relu(dense(1000)(H))
        H = Dropout(training)(H, noise["drop3"])
        return softmax()(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = layout(2, 2)
TRACE = traced(2, 2) | {"d2": ("Dropout_0",), "d3": ("Dropout_1",), "d4": ("Dropout_2",)}
