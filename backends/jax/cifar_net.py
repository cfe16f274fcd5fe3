"""cifar-net in JAX with Flax and Optax: two convolutions and three dense layers.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """Images channels last, flattened row by row."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 32, 32, 3) -> logits (n, 10)."""
        H = nn.relu(nn.Conv(6, (5, 5), padding="VALID")(X))
        H = nn.max_pool(H, (2, 2), (2, 2))
        H = nn.relu(nn.Conv(16, (5, 5), padding="VALID")(H))
        H = nn.max_pool(H, (2, 2), (2, 2))
        H = H.reshape(len(H), -1)
        H = nn.relu(nn.Dense(120)(H))
        H = nn.relu(nn.Dense(84)(H))
        return nn.Dense(10)(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "K1": ("Conv_0.kernel",),
    "c1": ("Conv_0.bias",),
    "K2": ("Conv_1.kernel",),
    "c2": ("Conv_1.bias",),
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
    "W3": ("Dense_2.kernel",),
    "b3": ("Dense_2.bias",),
}
TRACE = {
    "z1": ("Conv_0",),
    "z2": ("Conv_1",),
    "z3": ("Dense_0",),
    "z4": ("Dense_1",),
}
