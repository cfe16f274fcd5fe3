"""The JAX trainer: one jitted step with donated state, and optax.sgd.

May import jax, optax, NumPy, the model beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpy.typing as npt
import optax

from backends.arguments import check_batch, check_params
from backends.jax import mlp_scratch
from harness.interface import Array, Params, Workload

Batch = tuple[jax.Array, jax.Array]


class Trainer:
    """MLPScratch in Flax with optax.sgd; holds the parameters and the optimiser's state."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        model = self.model = mlp_scratch.MLPScratch(
            **workload.sizes, sigma=workload.sigma, dtype=backend.dtype
        )
        self.optimizer = optax.sgd(workload.lr)

        def step(params: Any, state: Any, X: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
            value, grads = mlp_scratch.loss_and_grads(model, params, X, y)
            updates, state = self.optimizer.update(grads, state)
            return optax.apply_updates(params, updates), state, value

        def logits(params: Any, X: jax.Array) -> Any:
            return model.apply({"params": params}, X, method="forward")

        def loss_and_grads(params: Any, X: jax.Array, y: jax.Array) -> Any:
            return mlp_scratch.loss_and_grads(model, params, X, y)

        self._step = jax.jit(step, donate_argnums=(0, 1))
        self._logits = jax.jit(logits)
        self._loss_and_grads = jax.jit(loss_and_grads)
        self.params: dict[str, jax.Array] = {}
        self.state: Any = None

    def set_params(self, params: Params) -> None:
        """Copy `params` in, with a fresh optimiser state. ValueError for wrong names or shapes."""
        check_params(params, self.workload)
        self.params = {n: to_device(value, self.dtype, self.device) for n, value in params.items()}
        self.state = self.optimizer.init(self.params)

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {p.name: np.array(self.params[p.name]) for p in self.workload.parameters}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int32 (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        return to_device(x, self.dtype, self.device), to_device(y, np.int32, self.device)

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored; y: int64."""
        X, y = batch
        return np.array(X), np.array(y, np.int64)

    def step(self, batch: Batch) -> jax.Array:
        """One SGD update, queued; the mean loss before it, still on the device."""
        self.params, self.state, value = self._step(self.params, self.state, *batch)
        return value

    def wait(self, loss: jax.Array) -> float:
        """Block until the newest parameters are there; the mean loss in nats."""
        jax.block_until_ready(self.params)
        return float(loss)

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return np.array(self._logits(self.params, batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self._loss_and_grads(self.params, *batch)
        return float(value), {p.name: np.array(grads[p.name]) for p in self.workload.parameters}

    def close(self) -> None:
        """Drop the parameters and the compiled functions."""
        del self.params, self.state, self._step, self._logits, self._loss_and_grads


def to_device(array: Array, dtype: npt.DTypeLike, device: jax.Device) -> jax.Array:
    """A copy of `array` on the device, finished; jax.device_put may share the host's memory."""
    # may_alias=False does not keep it from that on a CPU (jax 0.10.2), so the copy is made here.
    return jax.device_put(np.array(array, dtype, order="C"), device).block_until_ready()
