"""Dense layers with every activation between them."""

from collections.abc import Callable

import optax
from flax import linen as nn


class Of(nn.Module):
    function: Callable

    def __call__(self, X):
        return self.function(X)


class Net(nn.Module):
    inputs: int

    @nn.compact
    def __call__(self, X):
        for i, act in enumerate((nn.relu, nn.sigmoid, nn.tanh, nn.softmax), 1):
            X = Of(act, name=f"h{i}")(nn.Dense(5, name=f"z{i}")(X))
        return nn.Dense(3, name="z5")(X)


def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {f"W{i}": (f"z{i}.kernel",) for i in range(1, 6)}
LAYOUT |= {f"b{i}": (f"z{i}.bias",) for i in range(1, 6)}
TRACE = {f"{letter}{i}": (f"{letter}{i}",) for i in range(1, 5) for letter in "zh"}
