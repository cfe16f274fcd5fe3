"""The NumPy trainer: gradients and SGD by hand.

May import NumPy, the model beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from backends.arguments import check_batch, check_params
from backends.numpy import mlp_scratch
from harness.interface import Array, Params, Workload

Batch = tuple[Array, Array]


class Trainer:
    """MLPScratch in NumPy with SGD; holds the model, which `mlp` defines."""

    mlp: ClassVar[ModuleType] = mlp_scratch

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.dtype = backend.dtype
        self.model = self.mlp.MLPScratch(
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
        value, grads = self.mlp.loss_and_grads(self.model, *batch)
        for name, grad in grads.items():
            parameter = getattr(self.model, name)
            parameter -= self.workload.lr * grad
        return value

    def wait(self, loss: float) -> float:
        """The mean loss in nats; there is nothing to wait for."""
        return loss

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return self.model.forward(batch[0]).copy()

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self.mlp.loss_and_grads(self.model, *batch)
        return value, {name: grad.copy() for name, grad in grads.items()}

    def close(self) -> None:
        """Drop the model and its buffers."""
        del self.model
