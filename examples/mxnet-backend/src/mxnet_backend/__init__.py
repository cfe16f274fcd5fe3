"""MXNet as a backend of framework-harness: CPU only, np and npx, autograd, plain SGD.

May import mxnet, NumPy, threadpoolctl and, from the harness, `harness.interface` and the checks of
`backends.arguments`, which the harness lends to a process that has none installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import ClassVar

import mxnet as mx
import numpy as np
import numpy.typing as npt
from mxnet import npx
from threadpoolctl import threadpool_info

from backends.arguments import check_batch, check_plug_in, check_state, check_workload
from harness.interface import Array, State, Unavailable, Workload
from mxnet_backend import mlp_scratch, operators

Batch = dict[str, mx.np.ndarray]
# The one model that there is here.
MODEL = "mlp-scratch"


class Backend:
    """MXNet on the CPU. (Builds for CUDA exist; none was tried.)"""

    name: ClassVar[str] = "mxnet"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin dtype and NumPy's semantics; Unavailable where the threads are not as asked.

        OpenMP takes its threads from the environment when it loads: MXNet computes in threads of
        its engine, where no later setting reaches.
        """
        check_plug_in(self.name, device, dtype, threads, variant, precision)
        if os.environ.get("OMP_NUM_THREADS") != str(threads):
            raise Unavailable(f"mxnet has {threads} threads only where OMP_NUM_THREADS says so")
        self.dtype = dtype
        npx.set_np()

    def facts(self) -> dict[str, str]:
        """Version, device name, threads."""
        openmp = [info for info in threadpool_info() if info["user_api"] == "openmp"]
        return {
            "version:mxnet": mx.__version__,
            "device": "cpu",
            "threads": ", ".join(str(info["num_threads"]) for info in openmp),
            "precision:matmul": "ieee",  # BLAS has no reduced-precision mode for sgemm
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        if workload.model != MODEL:
            raise ValueError(f"mxnet: unknown model {workload.model!r}; known: {MODEL}")
        check_workload(self.name, workload, ("softmax-cross-entropy",), ("sgd",))
        return Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        put = [_put(a, "int32" if a.dtype.kind in "iu" else self.dtype) for a in arrays]
        given = None if weights is None else _put(weights, self.dtype)
        found = operators.value_and_derivatives(name, *put, weights=given)
        return tuple(array.asnumpy() for array in found)

    def peak_device_bytes(self) -> None:
        """The device's memory is the host's."""
        return

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b into outputs made here, and waits."""
        # np.dot has no flag for a transposed operand, so one is stored the other way round.
        put = [[_put(m, m.dtype) for m in pair] for pair in pairs]
        work = [(a, b, mx.np.dot(a, b)) for a, b in put]

        def compute() -> None:
            for a, b, out in work:
                mx.np.dot(a, b, out=out)
            npx.waitall()

        return compute


class Trainer:
    """MLPScratch in MXNet with SGD; holds the model."""

    def __init__(self, backend: Backend, workload: Workload) -> None:
        self.workload = workload
        self.dtype = backend.dtype
        self.model = mlp_scratch.MLPScratch(**workload.sizes, dtype=backend.dtype)

    def set_state(self, state: State) -> None:
        """Copy `state` in; plain SGD has none of its own. ValueError for wrong names or shapes."""
        check_state(state, self.workload)
        for name, value in state.items():
            getattr(self.model, name)[:] = value  # a copy, done on return

    def get_state(self) -> State:
        """Fresh copies of the state."""
        return {t.name: getattr(self.model, t.name).asnumpy() for t in self.workload.tensors}

    def put(self, batch: State) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int32 (n,), both copied; ValueError."""
        check_batch(batch, self.workload)
        return {"x": _put(batch["x"], self.dtype), "y": _put(batch["y"], "int32")}

    def fetch(self, batch: Batch) -> State:
        """Fresh copies of what `put` stored; y: int64."""
        return {"x": batch["x"].asnumpy(), "y": batch["y"].asnumpy().astype(np.int64)}

    def step(self, batch: Batch) -> mx.np.ndarray:
        """One SGD update, queued; the mean loss before it, still in the engine."""
        value, grads = mlp_scratch.loss_and_grads(self.model, batch["x"], batch["y"])
        for name, grad in grads.items():
            parameter = getattr(self.model, name)
            parameter -= self.workload.optimiser.lr * grad
        return value

    def wait(self, loss: mx.np.ndarray) -> float:
        """Block until the engine has nothing left to do; the mean loss in nats."""
        npx.waitall()
        return loss.item()

    def outputs(self, batch: Batch, *, training: bool) -> Array:  # noqa: ARG002 - one mode
        """Logits (n, num_outputs), fresh."""
        return self.model(batch["x"]).asnumpy()

    def loss_and_grads(self, batch: Batch) -> tuple[float, State]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = mlp_scratch.loss_and_grads(self.model, batch["x"], batch["y"])
        return value.item(), {name: grad.asnumpy() for name, grad in grads.items()}

    def close(self) -> None:
        """Drop the model."""
        del self.model


def _put(array: Array, dtype: npt.DTypeLike) -> mx.np.ndarray:
    """A copy of `array`, done on return."""
    return mx.np.array(array, dtype=dtype)
