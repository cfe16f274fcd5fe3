"""The NumPy backend: CPU only, BLAS threads limited, gradients by hand.

May import NumPy, threadpoolctl and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backends.arguments import check_backend, check_batch, check_params, check_workload
from backends.numpy import mlp_plain, mlp_scratch, operators
from harness.interface import Array, Params, Workload

Batch = tuple[Array, Array]


class Backend:
    """NumPy on the CPU."""

    name: ClassVar[str] = "numpy"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin dtype and BLAS threads; Unavailable for a reduced precision: BLAS has none."""
        check_backend(self.name, device, dtype, threads, variant, precision)
        self.device = device
        self.dtype = dtype
        self.variant = variant
        threadpool_limits(limits=threads)  # stays in force: it is undone only as a context
        # As the others: what is not finite shows in the numbers, not on stderr.
        np.seterr(invalid="ignore", over="ignore", divide="ignore")

    def facts(self) -> dict[str, str]:
        """Versions, the BLAS in use, device name, threads."""
        blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
        return {
            "version:numpy": np.__version__,
            "blas": ", ".join(f"{info['internal_api']} {info['version']}" for info in blas),
            "device": "cpu",
            "threads": ", ".join(str(info["num_threads"]) for info in blas),
            "precision:matmul": "ieee",  # BLAS has no reduced-precision mode for sgemm
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_workload(self.name, workload)
        return Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        put = [np.array(a, np.intp if a.dtype.kind in "iu" else self.dtype) for a in arrays]
        given = None if weights is None else np.array(weights, self.dtype)
        return operators.value_and_derivatives(name, *put, weights=given)

    def peak_device_bytes(self) -> None:
        """The device's memory is the host's."""
        return

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b into outputs made here."""
        # np.array keeps the order in memory, so a transposed view stays one, as in the model.
        put = [(np.array(a), np.array(b)) for a, b in pairs]
        work = [(a, b, a @ b) for a, b in put]

        def compute() -> None:
            for a, b, out in work:
                np.matmul(a, b, out=out)

        return compute


class Trainer:
    """MLPScratch in NumPy with SGD; holds the model (and its buffers, in the default variant)."""

    def __init__(self, backend: Backend, workload: Workload) -> None:
        self.workload = workload
        self.dtype = backend.dtype
        self._mlp = mlp_plain if backend.variant == "plain" else mlp_scratch
        self.model = self._mlp.MLPScratch(
            **workload.sizes, sigma=workload.sigma, dtype=backend.dtype
        )

    def set_params(self, params: Params) -> None:
        """Copy `params` in; plain SGD has no state. ValueError for wrong names or shapes."""
        check_params(params, self.workload)
        for name, value in params.items():
            np.copyto(getattr(self.model, name), value)

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {p.name: getattr(self.model, p.name).copy() for p in self.workload.parameters}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: intp (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        return np.array(x, self.dtype, order="C"), np.array(y, np.intp)

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored; y: int64."""
        X, y = batch
        return X.copy(), y.astype(np.int64)

    def step(self, batch: Batch) -> float:
        """One SGD update, done on return; the mean loss before it."""
        value, updates = self._mlp.loss_and_grads(self.model, *batch, scale=self.workload.lr)
        for name, update in updates.items():
            parameter = getattr(self.model, name)
            parameter -= update
        return value

    def wait(self, loss: float) -> float:
        """The mean loss in nats; there is nothing to wait for."""
        return loss

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return self.model.forward(batch[0]).copy()

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self._mlp.loss_and_grads(self.model, *batch)
        return value, {name: grad.copy() for name, grad in grads.items()}

    def close(self) -> None:
        """Drop the model and its buffers."""
        del self.model
