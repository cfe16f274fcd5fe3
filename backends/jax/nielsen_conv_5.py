"""nielsen-conv-5 in JAX with Flax and Optax: one more dense layer, on the shifted images too.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from typing import Any

import jax
import optax
from flax import linen as nn

from backends.jax.nielsen_ladder import Convolution, dense, l2, layout, softmax, traced

LOSS = "softmax-cross-entropy+l2"


class Net(nn.Module):
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 100 -> 100 -> 10."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 28, 28, 1) -> logits (n, 10)."""
        H = Convolution(20, nn.relu)(X)
        H = Convolution(40, nn.relu)(H)
        H = H.reshape(len(H), -1)
        H = nn.relu(dense(100)(H))
        H = nn.relu(dense(100)(H))
        return softmax()(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


def penalty(parameters: dict[str, Any]) -> jax.Array:
    """The L2 term: half of .1 / 25 000 · Σ w²."""
    return l2(parameters, 0.1 / 25_000)


LAYOUT = layout(2, 2)
TRACE = traced(2, 2)
