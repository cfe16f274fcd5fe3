"""The loss that Optax has from logits only: of probabilities. May import jax only."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# What torch clamps the logarithms of a binary cross-entropy to, from below.
LEAST_LOG = -100


def binary_cross_entropy(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """The mean in nats, each logarithm -100 at least. Y_hat: probabilities, y: both (n, 1)."""
    log_p, log_not_p = clamped(jnp.log, Y_hat), clamped(jnp.log1p, -Y_hat)
    return -(y * log_p + (1 - y) * log_not_p).mean()


def clamped(log: Callable[[jax.Array], jax.Array], P: jax.Array) -> jax.Array:
    """log(P), at least -100, with derivative 0 there, elementwise; NaN passes through."""
    least = log(P) <= LEAST_LOG
    # What is clamped must not reach the logarithm: 0 times its derivative at 0 would be NaN.
    return jnp.where(least, LEAST_LOG, log(jnp.where(least, 1, P)))
