"""Four small systems in plain JAX: functions, jit, Optax. May import jax, optax, NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


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


SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (nielsen_neuron, ("w", "b"), optax.sgd(0.15)),
    "linear-regression": (linear_regression, ("w", "b"), optax.sgd(0.02)),
    "himmelblau": (himmelblau, ("x",), optax.adam(0.001)),
    "logistic-regression": (logistic_regression, ("W", "b"), optax.sgd(0.1)),
}


def loop(
    system: str, variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; `scan`: all steps as one call of lax.scan."""
    objective, names, optimizer = SYSTEMS[system]
    params = {name: jnp.array(start[name]) for name in names}
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
        return {name: np.array(held[0][name]) for name in names}

    return train, parameters
