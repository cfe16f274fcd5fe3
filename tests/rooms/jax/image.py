"""Two convolutions, a pool, a dense layer."""

from collections.abc import Callable

import optax
from flax import linen as nn

AROUND = ((1, 1), (1, 1))


def pool(X):
    return nn.avg_pool(X, (3, 3), (2, 2), AROUND, count_include_pad=False)


class Of(nn.Module):
    function: Callable

    def __call__(self, X):
        return self.function(X)


class Net(nn.Module):
    @nn.compact
    def __call__(self, X):
        H = nn.relu(nn.Conv(4, (3, 3), padding=AROUND, name="z1")(X))
        H = nn.tanh(nn.Conv(4, (3, 3), strides=2, padding=AROUND, name="z2")(H))
        H = Of(lambda X: X.reshape(len(X), -1), name="flat")(Of(pool, name="p2")(H))
        return nn.Dense(3, name="z3")(H)


def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "K1": ("z1.kernel",),
    "c1": ("z1.bias",),
    "K2": ("z2.kernel",),
    "c2": ("z2.bias",),
    "W3": ("z3.kernel",),
    "b3": ("z3.bias",),
}
TRACE = {name: (name,) for name in ("z1", "z2", "p2")}
