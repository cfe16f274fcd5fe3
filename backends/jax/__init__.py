"""The JAX backend: Flax, Optax, one jitted step with donated state, precision pinned.

May import jax, flax, optax, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax
import jax
import jaxlib
import numpy as np
import numpy.typing as npt
import optax

from backends.arguments import check_backend, check_batch, check_params, check_workload
from backends.jax import mlp_scratch, operators
from harness.interface import Array, Params, Unavailable, Workload

Batch = tuple[jax.Array, jax.Array]

# What jax_default_matmul_precision is for each profile. The reduced ones are dot algorithms, which
# name the computation: the level "bfloat16" means TF32 on a GPU. From JAX's documentation
# (docs.jax.dev, "Matmul precision"); not tried on a GPU.
MATMUL = {"strict": "highest", "tf32": "TF32_TF32_F32", "bfloat16": "BF16_BF16_F32"}


class Backend:
    """JAX on the CPU or on the first GPU."""

    name: ClassVar[str] = "jax"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin device, dtype and precision; Unavailable without a GPU, reduced on a CPU.

        XLA has as many threads as its process has processors: the worker's affinity sets them.
        """
        check_backend(self.name, device, dtype, threads, variant, precision)
        if device == "cpu":
            jax.config.update("jax_platforms", "cpu")  # do not even look for a GPU
        jax.config.update("jax_enable_x64", dtype == "float64")
        jax.config.update("jax_default_matmul_precision", MATMUL[precision])
        try:
            self.device = jax.devices(device)[0]
        except RuntimeError as error:
            raise Unavailable(f"jax {jax.__version__} finds no {device} device") from error
        self.dtype = np.dtype(dtype)
        self.variant = variant

    def facts(self) -> dict[str, str]:
        """Versions, device name, threads, precision modes in force."""
        return {
            "version:jax": jax.__version__,
            "version:jaxlib": jaxlib.__version__,
            "version:flax": flax.__version__,
            "version:optax": optax.__version__,
            "device": "cpu" if self.device.platform == "cpu" else self.device.device_kind,
            "threads": str(_processors()),
            "precision:matmul": str(jax.config.jax_default_matmul_precision),
            "precision:x64": str(jax.config.jax_enable_x64),
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_workload(self.name, workload)
        if self.variant == "scan":
            from backends.jax.scan import ScanTrainer  # it extends Trainer, below

            return ScanTrainer(self, workload)
        return Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        put = [
            _put(a, np.int32 if a.dtype.kind in "iu" else self.dtype, self.device) for a in arrays
        ]
        given = None if weights is None else _put(weights, self.dtype, self.device)
        found = operators.value_and_derivatives(name, *put, weights=given)
        return tuple(np.array(array) for array in found)

    def peak_device_bytes(self) -> int | None:
        """Most bytes that JAX held on the GPU; None on the CPU."""
        told = (self.device.memory_stats() or {}) if self.device.platform != "cpu" else {}
        return told.get("peak_bytes_in_use")

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b in one call, and waits."""
        put = [tuple(_put(m, m.dtype, self.device) for m in pair) for pair in pairs]
        matmuls = jax.jit(lambda pairs: [a @ b for a, b in pairs])
        jax.block_until_ready(matmuls(put))  # compiled here

        def compute() -> None:
            jax.block_until_ready(matmuls(put))

        return compute


class Trainer:
    """MLPScratch in Flax with optax.sgd; holds the parameters and the optimiser's state."""

    def __init__(self, backend: Backend, workload: Workload) -> None:
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
        self.params = {n: _put(value, self.dtype, self.device) for n, value in params.items()}
        self.state = self.optimizer.init(self.params)

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {p.name: np.array(self.params[p.name]) for p in self.workload.parameters}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int32 (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        return _put(x, self.dtype, self.device), _put(y, np.int32, self.device)

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


def _processors() -> int | None:
    """Processors of this process, which is how many threads XLA has on a CPU."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _put(array: Array, dtype: npt.DTypeLike, device: jax.Device) -> jax.Array:
    """A copy of `array` on the device, finished; jax.device_put may share the host's memory."""
    # may_alias=False does not keep it from that on a CPU (jax 0.10.2), so the copy is made here.
    return jax.device_put(np.array(array, dtype, order="C"), device).block_until_ready()
