"""The desk that serves a trainer to another process, method by method.

`harness/workers/remote.py` is the other end.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from harness.interface import NoFloat64, Traces, Trainer, Unavailable, Workload
from harness.tensors import load_tensors, save_tensors
from harness.workers.desks.backend import BackendDesk


class RemoteDesk(BackendDesk):
    """Trainers, batches and losses by number."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        super().__init__(started_ns, progress)
        self._held: dict[int, Any] = {}
        self._numbers = itertools.count()

    def remote(self, method: str, dropped: list[int], **fields: Any) -> dict[str, Any]:
        """One method of a trainer; what it returns as `value`, or what it raised for its caller.

        dropped: batches and losses that nobody holds any more.
        """
        for number in dropped:
            self._held.pop(number, None)
        try:
            return {"value": getattr(self, f"_do_{method}")(**fields)}
        except (ValueError, Unavailable) as error:
            kind = next(k for k in (NoFloat64, Unavailable, ValueError) if isinstance(error, k))
            text = traceback.format_exc()
            return {"raised": kind.__name__, "message": str(error), "traceback": text}

    def _keep(self, thing: Any) -> int:
        number = next(self._numbers)
        self._held[number] = thing
        return number

    def _do_make(self, workload: dict[str, Any]) -> int:
        return self._keep(self._backend.trainer(msgspec.convert(workload, Workload)))

    def _do_set_state(self, trainer: int, given: str) -> None:
        self._one(trainer).set_state(load_tensors(given))

    def _do_get_state(self, trainer: int, out: str) -> None:
        save_tensors(out, self._one(trainer).get_state())

    def _do_put(self, trainer: int, given: str) -> int:
        return self._keep(self._one(trainer).put(load_tensors(given)))

    def _do_fetch(self, trainer: int, batch: int, out: str) -> None:
        save_tensors(out, self._one(trainer).fetch(self._held[batch]))

    def _do_step(self, trainer: int, batch: int) -> int:
        return self._keep(self._one(trainer).step(self._held[batch]))

    def _do_wait(self, trainer: int, loss: int) -> str:
        return float(self._one(trainer).wait(self._held[loss])).hex()

    def _do_outputs(self, trainer: int, batch: int, training: bool, out: str) -> None:
        outputs = self._one(trainer).outputs(self._held[batch], training=training)
        save_tensors(out, {"outputs": outputs})

    def _do_trace(self, trainer: int, batch: int, out: str) -> None:
        one = self._one(trainer)
        save_tensors(out, one.trace(self._held[batch]) if isinstance(one, Traces) else {})

    def _do_loss_and_grads(self, trainer: int, batch: int, out: str) -> str:
        loss, grads = self._one(trainer).loss_and_grads(self._held[batch])
        save_tensors(out, grads)
        return float(loss).hex()

    def _do_close(self, trainer: int) -> None:
        self._held.pop(trainer).close()

    def _one(self, number: int) -> Trainer:
        held: Trainer = self._held[number]
        return held
