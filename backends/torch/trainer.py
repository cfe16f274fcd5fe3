"""The PyTorch trainer: autograd, and torch.optim.SGD.

May import torch, NumPy, the model beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from backends.arguments import check_batch, check_params
from backends.torch import mlp_scratch
from harness.interface import Array, Params, Workload

Batch = tuple[torch.Tensor, torch.Tensor]


class Trainer:
    """MLPScratch in PyTorch with torch.optim.SGD; holds the model and the optimiser."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        self.model = mlp_scratch.MLPScratch(
            **workload.sizes, sigma=workload.sigma, dtype=backend.dtype
        ).to(backend.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=workload.lr)

    def set_params(self, params: Params) -> None:
        """Copy `params` in, with a fresh optimiser. ValueError for wrong names or shapes."""
        check_params(params, self.workload)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(to_device(params[name], self.dtype, self.device))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.workload.lr)

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {name: to_host(p) for name, p in self.model.named_parameters()}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int64 (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        X = to_device(x, self.dtype, self.device)
        labels = to_device(y, torch.int64, self.device)
        synchronize(self.device)
        return X, labels

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored; y: int64."""
        X, y = batch
        return to_host(X), to_host(y)

    def step(self, batch: Batch) -> torch.Tensor:
        """One SGD update; the mean loss before it, still on the device."""
        value, _ = mlp_scratch.loss_and_grads(self.model, *batch)
        self.optimizer.step()
        return value

    def wait(self, loss: torch.Tensor) -> float:
        """Block until all work on the device is done; the mean loss in nats."""
        synchronize(self.device)
        return loss.item()

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        with torch.no_grad():
            return to_host(self.model(batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = mlp_scratch.loss_and_grads(self.model, *batch)
        return value.item(), {name: to_host(g) for name, g in grads.items() if g is not None}

    def close(self) -> None:
        """Drop the model and the optimiser."""
        del self.model, self.optimizer


def to_device(array: Array, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A copy of `array` on the device; torch.from_numpy would share the host's memory."""
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype, device=device)


def to_host(tensor: torch.Tensor) -> Array:
    """A copy on the host that shares no memory with `tensor`."""
    return np.array(tensor.detach().cpu().numpy())


def synchronize(device: torch.device) -> None:
    """Wait for the GPU; on the CPU every call is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
