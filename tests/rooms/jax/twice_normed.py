"""Two dense layers with batch norm, dropout by noise, a dense layer; none is shown."""

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
        return H * (U >= 0.3) / 0.7 if training else H


class Net(nn.Module):
    @nn.compact
    def __call__(self, X, noise, training):
        H = nn.sigmoid(Norm(name="bn1")(nn.Dense(6, use_bias=False)(X), training))
        H = Norm(name="bn2")(nn.Dense(4, use_bias=False)(H), training)
        return nn.Dense(3)(Dropout(name="drop")(H, noise["U"], training))


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


LAYOUT = {
    "W1": ("Dense_0.kernel",),
    "gamma1": ("bn1.gamma",),
    "beta1": ("bn1.beta",),
    "mean1": ("bn1.mean",),
    "var1": ("bn1.var",),
    "W2": ("Dense_1.kernel",),
    "gamma2": ("bn2.gamma",),
    "beta2": ("bn2.beta",),
    "mean2": ("bn2.mean",),
    "var2": ("bn2.var",),
    "W3": ("Dense_2.kernel",),
    "b3": ("Dense_2.bias",),
}
