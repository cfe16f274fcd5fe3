"""A plug-in that behaves: the NumPy backend as somebody else's. The others spoil one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backends.numpy import Backend as NumPy
from backends.numpy import Trainer as NumPyTrainer


class Backend(NumPy):
    """NumPy; `Trainer` is what it trains with."""

    Trainer: type[NumPyTrainer] = NumPyTrainer

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        if variant != "default":
            raise ValueError(f"unknown variant {variant!r}")
        super().__init__(device, dtype, threads, "buffered", precision)

    def trainer(self, workload: Any) -> NumPyTrainer:
        super().trainer(workload)
        return self.Trainer(self, workload)


def replying(change: Callable[[int, bytes], None]) -> None:
    """From here on `change` is given every message of this worker, and the pipe, to send it."""
    from harness.workers import worker

    worker.send = change
