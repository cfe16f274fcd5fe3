"""Two dense layers."""

import optax
from flax import linen as nn


class Net(nn.Module):
    @nn.compact
    def __call__(self, X):
        H = nn.sigmoid(nn.Dense(4)(X))
        return nn.Dense(3)(H)


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
}
