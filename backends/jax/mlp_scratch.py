"""MLPScratch in JAX with Flax and Optax: Dive into Deep Learning 5.2, parameters made explicit.

Read it beside the others: same names, same order. May import jax, flax and optax only.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

LOSS = "softmax-cross-entropy"


def relu(X: jax.Array) -> jax.Array:
    """max(X, 0), elementwise; derivative 0 at 0, NaN passes through."""
    # jax.nn.relu has derivative 0 at NaN, so a NaN would not reach b1's gradient as in torch.
    return jnp.where(X <= 0, 0, X)


class MLPScratch(nn.Module):
    """One hidden layer: relu(X @ W1 + b1) @ W2 + b2; weights are inputs x outputs."""

    num_inputs: int
    num_outputs: int
    num_hiddens: int
    sigma: float = 0.01

    @nn.compact
    def forward(self, X: jax.Array) -> jax.Array:
        """X: (n, num_inputs) -> logits (n, num_outputs)."""
        normal, zeros = nn.initializers.normal(self.sigma), nn.initializers.zeros
        W1 = self.param("W1", normal, (self.num_inputs, self.num_hiddens))
        b1 = self.param("b1", zeros, (self.num_hiddens,))
        W2 = self.param("W2", normal, (self.num_hiddens, self.num_outputs))
        b2 = self.param("b2", zeros, (self.num_outputs,))
        H = relu(X @ W1 + b1)
        return H @ W2 + b2

    def __call__(self, X: jax.Array) -> jax.Array:
        """The book's `forward`: Flax calls a model like this."""
        return self.forward(X)


Net = MLPScratch


def loss(Y_hat: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, num_outputs), y: int32 (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()


def trace(_: MLPScratch, variables: dict[str, Any], X: jax.Array) -> dict[str, jax.Array]:
    """The values on the way, by name."""
    params = variables["params"]
    z1 = X @ params["W1"] + params["b1"]
    h1 = relu(z1)
    return {"z1": z1, "h1": h1, "logits": h1 @ params["W2"] + params["b2"]}
