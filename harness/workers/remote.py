"""A trainer that lives in a worker, as an object here: both ends of it.

Its methods are those of `interface.Trainer`. Arrays travel as files; batches and losses stay in
the worker, and are known here by a number. `Served` runs in a worker: it imports NumPy and what
tensors are written with, and so does this module.
"""

from __future__ import annotations

import contextlib
import itertools
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness.interface import Array, Backend, NoFloat64, Params, Trainer, Unavailable, Workload
from harness.tensors import load_tensors, save_tensors
from harness.text import plain_facts

if TYPE_CHECKING:
    from harness.workers.launch import Worker

# What a backend may raise for its caller; anything else is a failure of its process.
RAISED: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ValueError, Unavailable, NoFloat64)
}


class Served:
    """The worker's end: its trainers, batches and losses by number."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._held: dict[int, Any] = {}
        self._numbers = itertools.count()

    def call(self, method: str, dropped: list[int], **fields: Any) -> dict[str, Any]:
        """One method of a trainer; what it returns as `value`, or what it raised for its caller.

        dropped: batches and losses that nobody holds any more.
        """
        for number in dropped:
            self._held.pop(number, None)
        try:
            return {"value": getattr(self, f"_{method}")(**fields)}
        except (ValueError, Unavailable) as error:
            kind = next(k for k in (NoFloat64, Unavailable, ValueError) if isinstance(error, k))
            told = traceback.format_exc()
            return {"raised": kind.__name__, "message": str(error), "traceback": told}

    def _keep(self, thing: Any) -> int:
        number = next(self._numbers)
        self._held[number] = thing
        return number

    def _make(self, workload: dict[str, Any]) -> int:
        return self._keep(self._backend.trainer(msgspec.convert(workload, Workload)))

    def _set_params(self, trainer: int, given: str) -> None:
        self._trainer(trainer).set_params(load_tensors(given))

    def _get_params(self, trainer: int, out: str) -> None:
        save_tensors(out, self._trainer(trainer).get_params())

    def _put(self, trainer: int, given: str) -> int:
        arrays = load_tensors(given)
        return self._keep(self._trainer(trainer).put(arrays["x"], arrays["y"]))

    def _fetch(self, trainer: int, batch: int, out: str) -> None:
        x, y = self._trainer(trainer).fetch(self._held[batch])
        save_tensors(out, {"x": x, "y": y})

    def _step(self, trainer: int, batch: int) -> int:
        return self._keep(self._trainer(trainer).step(self._held[batch]))

    def _wait(self, trainer: int, loss: int) -> str:
        return float(self._trainer(trainer).wait(self._held[loss])).hex()

    def _logits(self, trainer: int, batch: int, out: str) -> None:
        save_tensors(out, {"logits": self._trainer(trainer).logits(self._held[batch])})

    def _loss_and_grads(self, trainer: int, batch: int, out: str) -> str:
        loss, grads = self._trainer(trainer).loss_and_grads(self._held[batch])
        save_tensors(out, grads)
        return float(loss).hex()

    def _close(self, trainer: int) -> None:
        self._held.pop(trainer).close()

    def _trainer(self, number: int) -> Trainer:
        found: Trainer = self._held[number]
        return found


class Connection:
    """The parent's end: a live worker that has started, and the files that arrays travel in.

    `failed`: why its process is gone, or None. `facts`: what the backend said of itself.
    """

    def __init__(self, worker: Worker, folder: Path, timeout_s: float) -> None:
        """Wait until the worker has started (see `pool.open_worker`); folder: one of its own.

        Raises WorkerFailed or WorkerUnavailable, with the worker ended.
        """
        self.failed: str | None = None
        self.dropped: list[int] = []
        self._worker = worker
        self._given, self._out = folder / "given", folder / "out"
        self._timeout_s = timeout_s
        with self._ending_what_failed():
            told = msgspec.convert(worker.answer()["facts"], dict[str, str])
            self.facts = plain_facts(told)

    def call(
        self,
        method: str,
        send: Mapping[str, Array] | None = None,
        receive: bool = False,
        **fields: Any,
    ) -> tuple[Any, dict[str, Array]]:
        """What a method returned in the worker, and the arrays that it wrote where it `receive`s.

        Raises what the backend did if that is for its caller (RAISED), else WorkerFailed; the
        process is then at its end.
        """
        from harness.workers.launch import WorkerFailed

        if self.failed is not None:
            raise WorkerFailed(f"{self._worker.name}: its process is gone: {self.failed}")
        if send is not None:
            save_tensors(str(self._given), send)
            fields["given"] = str(self._given)
        if receive:
            self._out.unlink(missing_ok=True)  # what was left there is no answer
            fields["out"] = str(self._out)
        dropped, self.dropped = self.dropped, []
        with self._ending_what_failed():
            said = self._worker.call(
                "remote", self._timeout_s, method=method, dropped=dropped, **fields
            )
            if "raised" not in said:
                return said["value"], load_tensors(str(self._out)) if receive else {}
            error = RAISED[said["raised"]](said["message"])
        error.add_note(f"raised in the process of {self._worker.name}:\n{said['traceback']}")
        raise error

    @contextlib.contextmanager
    def _ending_what_failed(self) -> Iterator[None]:
        """A process that died, hung or raised is ended: nothing is known of its state."""
        from harness.tensors import UNUSABLE
        from harness.workers.launch import WorkerFailed, WorkerUnavailable

        try:
            yield
        except WorkerUnavailable as error:
            self._end(str(error))
            raise
        except (WorkerFailed, *UNUSABLE) as error:
            reason = str(error)
            if not isinstance(error, WorkerFailed):
                reason = f"unusable answer: {type(error).__name__}: {error}"
            self._end(reason)
            failure = WorkerFailed(f"{self._worker.name}: {reason}")
            if said := self._worker.stderr_tail():
                failure.add_note(f"the last that it wrote to stderr:\n{said}")
            raise failure from None

    def _end(self, reason: str) -> None:
        self.failed = " ".join(reason.split())
        self._worker.end(grace_s=0)

    def close(self) -> None:
        """End the process. Idempotent."""
        if self.failed is None:
            self.failed = "it was ended"
            self._worker.end(grace_s=2.0)


class Handle:
    """A batch or a loss that lives in the worker, until it is dropped here."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number

    def __del__(self) -> None:
        self.connection.dropped.append(self.number)


class RemoteTrainer:
    """The parent's end of one trainer: the methods of `interface.Trainer`, done in the worker."""

    def __init__(self, connection: Connection, workload: Workload, dtype: str) -> None:
        """Make one there; ValueError where the backend does not know the workload."""
        self.workload = workload
        self.dtype = dtype
        self._connection = connection
        self._number, _ = connection.call("make", workload=msgspec.to_builtins(workload))
        self._closed = False

    def set_params(self, params: Params) -> None:
        self._call("set_params", {name: np.asarray(value) for name, value in params.items()})

    def get_params(self) -> Params:
        return self._in_order(self._call("get_params", receive=True)[1])

    def put(self, x: Array, y: Array) -> Handle:
        number, _ = self._call("put", {"x": np.asarray(x), "y": np.asarray(y)})
        return Handle(self._connection, number)

    def fetch(self, batch: Handle) -> tuple[Array, Array]:
        _, found = self._call("fetch", receive=True, batch=self._known(batch))
        return found["x"], found["y"]

    def step(self, batch: Handle) -> Handle:
        number, _ = self._call("step", batch=self._known(batch))
        return Handle(self._connection, number)

    def wait(self, loss: Handle) -> float:
        return float.fromhex(self._call("wait", loss=self._known(loss))[0])

    def logits(self, batch: Handle) -> Array:
        return self._call("logits", receive=True, batch=self._known(batch))[1]["logits"]

    def loss_and_grads(self, batch: Handle) -> tuple[float, Params]:
        loss, grads = self._call("loss_and_grads", receive=True, batch=self._known(batch))
        return float.fromhex(loss), self._in_order(grads)

    def _in_order(self, tensors: Params) -> Params:
        """As the workload names them: a file has them sorted."""
        known = [p.name for p in self.workload.parameters if p.name in tensors]
        return {name: tensors[name] for name in known} | tensors

    def close(self) -> None:
        """Give back what the trainer holds; nothing to do where its process is gone. Idempotent."""
        if not self._closed and self._connection.failed is None:
            self._call("close")
        self._closed = True

    def _call(
        self,
        method: str,
        send: Mapping[str, Array] | None = None,
        receive: bool = False,
        **fields: Any,
    ) -> tuple[Any, dict[str, Array]]:
        if self._closed:
            raise ValueError("this trainer is closed")
        return self._connection.call(method, send, receive, trainer=self._number, **fields)

    def _known(self, handle: Handle) -> int:
        """A handle's number; TypeError for what did not come from this very process."""
        if not isinstance(handle, Handle) or handle.connection is not self._connection:
            raise TypeError("a batch is what put, a loss what step of this backend returned")
        return handle.number
