"""A dense layer, batch norm, dropout by noise, a dense layer."""

import jax.numpy as jnp
import optax
from flax import linen as nn


class Norm(nn.Module):  # flax's own keeps the variance over n, not over n - 1
    @nn.compact
    def __call__(self, X, training):
        gamma = self.param("gamma", nn.initializers.ones, X.shape[1:])
        beta = self.param("beta", nn.initializers.zeros, X.shape[1:])
        mean = self.variable("batch_stats", "mean", jnp.zeros, X.shape[1:])
        var = self.variable("batch_stats", "var", jnp.ones, X.shape[1:])
        m, v, n = X.mean(0), X.var(0), len(X)
        if not training:
            m, v = mean.value, var.value
        elif not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * m
            var.value = 0.9 * var.value + 0.1 * v * n / (n - 1)
        return (X - m) / jnp.sqrt(v + 1e-5) * gamma + beta


class Dropout(nn.Module):
    def __call__(self, H, U, training):
        return H * (U >= 0.25) / 0.75 if training else H


class Net(nn.Module):
    bias: int = 1

    @nn.compact
    def __call__(self, X, noise, training):
        H = nn.sigmoid(Norm(name="bn")(nn.Dense(6, use_bias=bool(self.bias))(X), training))
        return nn.Dense(3)(Dropout(name="drop")(H, noise["U"], training))


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "b1": ("Dense_0.bias",),
    "gamma": ("bn.gamma",),
    "beta": ("bn.beta",),
    "mean": ("bn.mean",),
    "var": ("bn.var",),
    "W2": ("Dense_1.kernel",),
    "b2": ("Dense_1.bias",),
}
TRACE = {"z1": ("Dense_0",), "n1": ("bn",)}
