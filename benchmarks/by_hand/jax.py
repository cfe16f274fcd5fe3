"""Six systems in plain JAX: functions or Flax, jit, Optax. May import jax, flax, optax, NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict


def nielsen_neuron(p: dict[str, jax.Array], X: jax.Array, y: jax.Array) -> jax.Array:
    """One sigmoid, the quadratic loss."""
    return jnp.square(jax.nn.sigmoid(X @ p["w"] + p["b"]) - y).mean() / 2


def linear_regression(p: dict[str, jax.Array], X: jax.Array, y: jax.Array) -> jax.Array:
    """A line, half the sum of the squared errors."""
    return jnp.square(X @ p["w"] + p["b"] - y).sum() / 2


def himmelblau(p: dict[str, jax.Array], _X: jax.Array, _y: None) -> jax.Array:
    """A function of two variables, Adam."""
    u, v = p["x"]
    return (u * u + v - 11) ** 2 + (u + v * v - 7) ** 2


def logistic_regression(p: dict[str, jax.Array], X: jax.Array, y: jax.Array) -> jax.Array:
    """One dense layer and a sigmoid, binary cross-entropy."""
    a = jax.nn.sigmoid(X @ p["W"] + p["b"])
    return -(y * jnp.log(a) + (1 - y) * jnp.log1p(-a)).mean()


class NielsenConv2(nn.Module):
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 100 -> 10, sigmoid."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        H = nn.Conv(20, (5, 5), padding="VALID")(X)
        H = nn.sigmoid(nn.max_pool(H, (2, 2), (2, 2)))
        H = nn.Conv(40, (5, 5), padding="VALID")(H)
        H = nn.sigmoid(nn.max_pool(H, (2, 2), (2, 2)))
        H = nn.sigmoid(nn.Dense(100)(H.reshape(len(H), -1)))
        return nn.Dense(10)(H)


class CifarNet(nn.Module):
    """32 x 32 x 3 -> 14 x 14 x 6 -> 5 x 5 x 16 -> 120 -> 84 -> 10, ReLU."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        H = nn.relu(nn.Conv(6, (5, 5), padding="VALID")(X))
        H = nn.max_pool(H, (2, 2), (2, 2))
        H = nn.relu(nn.Conv(16, (5, 5), padding="VALID")(H))
        H = nn.max_pool(H, (2, 2), (2, 2))
        H = nn.relu(nn.Dense(120)(H.reshape(len(H), -1)))
        H = nn.relu(nn.Dense(84)(H))
        return nn.Dense(10)(H)


def classified(net: nn.Module) -> Any:
    """The mean softmax cross-entropy of a net's logits."""

    def objective(p: dict[str, Any], X: jax.Array, y: jax.Array) -> jax.Array:
        logits = net.apply({"params": p}, X)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return objective


# Where Flax has them; of a function's parameters the name is the place.
PLACES = {"K1": "Conv_0.kernel", "c1": "Conv_0.bias", "K2": "Conv_1.kernel", "c2": "Conv_1.bias"}
for number in (1, 2, 3):
    PLACES |= {f"W{number}": f"Dense_{number - 1}.kernel", f"b{number}": f"Dense_{number - 1}.bias"}
CONV_2 = ("K1", "c1", "K2", "c2", "W1", "b1", "W2", "b2")
SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (nielsen_neuron, ("w", "b"), optax.sgd(0.15)),
    "linear-regression": (linear_regression, ("w", "b"), optax.sgd(0.02)),
    "himmelblau": (himmelblau, ("x",), optax.adam(0.001)),
    "logistic-regression": (logistic_regression, ("W", "b"), optax.sgd(0.1)),
    "nielsen-conv-2": (classified(NielsenConv2()), CONV_2, optax.sgd(0.1)),
    "cifar-net": (classified(CifarNet()), (*CONV_2, "W3", "b3"), optax.sgd(0.001, momentum=0.9)),
}


def loop(
    system: str, variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; `scan`: all steps as one call of lax.scan."""
    objective, names, optimizer = SYSTEMS[system]
    places = {name: PLACES.get(name, name) for name in names}
    found = {place: jnp.array(start[name]) for name, place in places.items()}
    params = unflatten_dict(found, sep=".")
    held = params, optimizer.init(params)
    every = jnp.array(x), None if y is None else jnp.array(y)
    batches = [(X, None if y is None else every[1][i]) for i, X in enumerate(every[0])]

    def update(held: Any, batch: Any) -> Any:
        params, state = held
        value, grads = jax.value_and_grad(objective)(params, *batch)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state), value

    step = jax.jit(update, donate_argnums=0)
    scan = jax.jit(lambda held, every: jax.lax.scan(update, held, every), donate_argnums=0)

    def train(steps: int) -> list[int]:
        ns = []
        nonlocal held
        if variant == "scan":
            before = time.perf_counter_ns()
            held, losses = scan(held, every)
            np.asarray(losses).tolist()
            return [(time.perf_counter_ns() - before) // len(batches)]
        for batch in batches[:steps]:
            before = time.perf_counter_ns()
            held, value = step(held, batch)
            float(value)
            ns.append(time.perf_counter_ns() - before)
        return ns

    def parameters() -> dict[str, np.ndarray]:
        found = flatten_dict(held[0], sep=".")
        return {name: np.array(found[place]) for name, place in places.items()}

    return train, parameters
