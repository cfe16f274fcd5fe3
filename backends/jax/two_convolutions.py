"""Two convolutions of a chosen width in JAX with Flax and Optax, on images of a chosen side.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

import jax
import optax
from flax import linen as nn

LOSS = "softmax-cross-entropy"


class Net(nn.Module):
    """Average pool to the side; conv 3 x 3, ReLU, twice; the mean of each channel; dense."""

    channels: int
    side: int

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        """X: (n, 32, 32, 3) -> logits (n, 10)."""
        window = (32 // self.side, 32 // self.side)
        H = nn.avg_pool(X, window, window)
        H = nn.relu(nn.Conv(self.channels, (3, 3), padding=1)(H))
        H = nn.relu(nn.Conv(self.channels, (3, 3), padding=1)(H))
        H = nn.avg_pool(H, (self.side, self.side)).reshape(len(H), -1)
        return nn.Dense(10)(H)


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "K1": ("Conv_0.kernel",),
    "c1": ("Conv_0.bias",),
    "K2": ("Conv_1.kernel",),
    "c2": ("Conv_1.bias",),
    "W": ("Dense_0.kernel",),
    "b": ("Dense_0.bias",),
}
TRACE = {
    "z1": ("Conv_0",),
    "z2": ("Conv_1",),
}
