"""The variant `cuda-graph` of the PyTorch backend: the eager step captured once, then replayed.

May import torch, the trainer beside it and, from the harness, `interface` only. Written from
PyTorch's documentation ("CUDA semantics", "Whole-network capture"); on an H100 it
trained Nielsen's ladder (results/reports/ladder.md).
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from backends.torch.trainer import Batch, Trainer
from harness.interface import Workload

WARMUP_STEPS = 3  # as in the documentation: what initialises itself at its first use does so here


class Captured(NamedTuple):
    """A step of one batch size: it reads a batch and writes the loss, always in the same places."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    loss: Tensor


class CudaGraphTrainer(Trainer):
    """The eager trainer, whose step is one launch: a graph for each batch size."""

    capturable: ClassVar[bool] = True

    def __init__(self, backend: Any, workload: Workload) -> None:
        super().__init__(backend, workload)
        self._captured: dict[int, Captured] = {}

    def step(self, batch: Batch) -> Tensor:
        """One update, queued; the mean loss before it, still on the device."""
        n = len(batch.X)
        if n not in self._captured:
            self._captured[n] = self._capture(batch)
        captured = self._captured[n]
        for static, tensor in zip(_tensors(captured.batch), _tensors(batch), strict=True):
            static.copy_(tensor)
        captured.graph.replay()
        return captured.loss.clone()  # the next replay overwrites it

    def close(self) -> None:
        """Drop the graphs, the model and the optimiser."""
        del self._captured
        super().close()

    def _capture(self, batch: Batch) -> Captured:
        """The eager step as a graph; the state is left as it was."""
        y = None if batch.y is None else batch.y.clone()
        static = Batch(batch.X.clone(), y, {n: u.clone() for n, u in batch.noise.items()})
        held = [*self.model.buffers(), *(t for tensors in self.tensors.values() for t in tensors)]
        before = [tensor.detach().clone() for tensor in held]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP_STEPS):
                super().step(static)
            with torch.no_grad():
                for tensor, value in zip(held, before, strict=True):
                    tensor.copy_(value)
        torch.cuda.current_stream().wait_stream(side)
        # The step drops the old gradients first, so that the graph allocates its own.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):  # records, computes nothing
            loss = super().step(static)
        return Captured(graph, static, loss)


def _tensors(batch: Batch) -> list[Tensor]:
    """All that a batch holds, in one order."""
    return [t for t in (batch.X, batch.y, *batch.noise.values()) if t is not None]
