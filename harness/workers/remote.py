"""A trainer that lives in a worker, as an object here.

Its methods are those of `interface.Trainer`. Arrays travel as files; batches and losses stay in
the worker, and are known here by a number. `harness/workers/desks/remote.py` is the other end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.interface import Array, NoFloat64, State, Unavailable, Workload
from harness.tensors import UNUSABLE, load_tensors, save_tensors
from harness.text import plain_facts
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable

# The desk that its worker is to open.
DESK = "harness.workers.desks.remote:RemoteDesk"

# What a backend may raise for its caller; anything else is a failure of its process.
RAISED: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ValueError, Unavailable, NoFloat64)
}


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
            facts = msgspec.convert(worker.answer()["facts"], dict[str, str])
            self.facts = plain_facts(facts)

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
            answer = self._worker.call(
                "remote", self._timeout_s, method=method, dropped=dropped, **fields
            )
            if "raised" not in answer:
                return answer["value"], load_tensors(str(self._out)) if receive else {}
            error = RAISED[answer["raised"]](answer["message"])
        error.add_note(f"raised in the process of {self._worker.name}:\n{answer['traceback']}")
        raise error

    @contextlib.contextmanager
    def _ending_what_failed(self) -> Iterator[None]:
        """A process that died, hung or raised is ended: nothing is known of its state."""
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
            if words := self._worker.stderr_tail():
                failure.add_note(f"the last that it wrote to stderr:\n{words}")
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

    def set_state(self, state: State) -> None:
        self._call("set_state", {name: np.asarray(value) for name, value in state.items()})

    def get_state(self) -> State:
        return self._in_order(self._call("get_state", receive=True)[1])

    def put(self, batch: State) -> Handle:
        number, _ = self._call("put", {name: np.asarray(value) for name, value in batch.items()})
        return Handle(self._connection, number)

    def fetch(self, batch: Handle) -> State:
        return self._call("fetch", receive=True, batch=self._known(batch))[1]

    def step(self, batch: Handle) -> Handle:
        number, _ = self._call("step", batch=self._known(batch))
        return Handle(self._connection, number)

    def wait(self, loss: Handle) -> float:
        return float.fromhex(self._call("wait", loss=self._known(loss))[0])

    def outputs(self, batch: Handle, *, training: bool) -> Array:
        known = self._known(batch)
        return self._call("outputs", receive=True, batch=known, training=training)[1]["outputs"]

    def trace(self, batch: Handle) -> State:
        shown = self._call("trace", receive=True, batch=self._known(batch))[1]
        return {name: shown[name] for name in self.workload.trace if name in shown} | shown

    def loss_and_grads(self, batch: Handle) -> tuple[float, State]:
        loss, grads = self._call("loss_and_grads", receive=True, batch=self._known(batch))
        return float.fromhex(loss), self._in_order(grads)

    def _in_order(self, tensors: State) -> State:
        """As the workload names them: a file has them sorted."""
        known = [t.name for t in self.workload.tensors if t.name in tensors]
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
