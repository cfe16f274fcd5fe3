"""The variant `cuda-graph` of the PyTorch backend: the eager step captured once, then replayed.

May import torch, the trainer beside it and, from the harness, `interface` only. Written from
PyTorch's documentation ("CUDA semantics", "Whole-network capture"); not tried on a GPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from backends.torch.trainer import Batch, Trainer
from harness.interface import Workload

WARMUP_STEPS = 3  # as in the documentation: what initialises itself at its first use does so here


class Captured(NamedTuple):
    """A step of one batch size: it reads X and y and writes the loss, always in the same places."""

    graph: torch.cuda.CUDAGraph
    X: Tensor
    y: Tensor
    loss: Tensor


class CudaGraphTrainer(Trainer):
    """The eager trainer, whose step is one launch: a graph for each batch size."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        super().__init__(backend, workload)
        self._captured: dict[int, Captured] = {}

    def step(self, batch: Batch) -> Tensor:
        """One SGD update, queued; the mean loss before it, still on the device."""
        X, y = batch
        if len(X) not in self._captured:
            self._captured[len(X)] = self._capture(X, y)
        captured = self._captured[len(X)]
        captured.X.copy_(X)
        captured.y.copy_(y)
        captured.graph.replay()
        return captured.loss.clone()  # the next replay overwrites it

    def _capture(self, X: Tensor, y: Tensor) -> Captured:
        """The eager step as a graph; the parameters are left as they were."""
        static = X.clone(), y.clone()
        before = [p.detach().clone() for p in self.model.parameters()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP_STEPS):
                super().step(static)
            with torch.no_grad():
                for parameter, value in zip(self.model.parameters(), before, strict=True):
                    parameter.copy_(value)
        torch.cuda.current_stream().wait_stream(side)
        # The step drops the old gradients first, so that the graph allocates its own.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # records, computes nothing
            loss = super().step(static)
        return Captured(graph, *static, loss)

    def close(self) -> None:
        """Drop the graphs, the model and the optimiser."""
        del self._captured
        super().close()
