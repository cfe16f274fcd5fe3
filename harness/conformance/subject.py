"""The backend under test, and what checks do with it again and again.

Imports NumPy, the judge and the ladder's own measurements and limits; no framework.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.material import Material, material, wanted
from harness.interface import Array, Backend, Params, Trainer, Workload
from harness.measure import distance as measure
from harness.measure import ladder
from harness.record.schema import Measurement, number
from harness.verdict.numbers import evidence, sentence_for, share
from harness.workers.processes import descendants
from harness.workloads.reference.limits import Limit, limit_for

# Where compilers align: libraries that share the caller's memory do so only if it is aligned.
ALIGNMENT = 64


class Subject:
    """One live backend in this process: its dtype, its threads, and what was measured of it.

    `trainer` is the one that checks share (a compiled one costs seconds); a check begins by setting
    its parameters. After a check that failed call `renew`. `processors`: those that the backend
    may be given to see how many it uses (default: this process's).
    """

    def __init__(
        self,
        backend: Backend,
        *,
        dtype: str,
        threads: int = 1,
        processors: Sequence[int] | None = None,
    ) -> None:
        self.backend = backend
        self.dtype = dtype
        self.threads = threads
        if processors is None:
            processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()
        self.processors = tuple(processors)
        self.material: Material = material()
        self.workload = self.material.workload
        self.reference = self.material.reference
        self.initial: Params = {n: v.astype(dtype) for n, v in self.material.initial.items()}
        self.first_threads = {*threading.enumerate()}
        self.first_children = {*descendants(os.getpid())}
        self._trainer: Trainer | None = None
        self._measured: dict[str, list[Measurement]] = {}

    @property
    def trainer(self) -> Trainer:
        """The shared trainer; its parameters are whatever the check before left."""
        if self._trainer is None:
            self._trainer = self.backend.trainer(self.workload)
        return self._trainer

    @contextlib.contextmanager
    def another_trainer(self, workload: Workload | None = None) -> Iterator[Trainer]:
        """One more trainer (of another workload, where given), closed at the end."""
        made = self.backend.trainer(workload or self.workload)
        try:
            yield made
        finally:
            made.close()

    def renew(self) -> None:
        """Close the shared trainer, whatever it is left in; the next check gets a fresh one."""
        made, self._trainer = self._trainer, None
        if made is not None:
            with contextlib.suppress(Exception):  # it failed already, and that was told
                made.close()

    def rows(self, step: int) -> tuple[Array, Array]:
        """The batch of a step of the free training, fresh: x (n, inputs) in the dtype, y int64."""
        rows = self.material.batches[step]
        return self.material.x[rows].astype(self.dtype), self.material.y[rows]

    def few(self, n: int, start: int = 0) -> tuple[Array, Array]:
        """N samples of the pool, fresh, from `start` on: x (n, inputs) in the dtype, y int64."""
        place = slice(start, start + n)
        return self.material.x[place].astype(self.dtype), self.material.y[place].copy()

    def limit(self, rung: str, case: str = "step 0") -> Limit:
        """The ladder's limit in this dtype."""
        found = limit_for(rung, self.dtype, case)
        assert found is not None, f"{rung} {case} {self.dtype}"
        return found

    def measured(self, case: str) -> list[Measurement]:
        """Every measurement of one teacher-forced case, as a run takes them."""
        if case not in self._measured:
            given, y = wanted(case, self.dtype), self.material.cases[case].y
            self._measured[case] = ladder.teacher_forced(
                teacher_forced(self.trainer, given.params, given.x, y),
                given,
                y=y,
                lr=self.workload.lr,
                process=self.dtype,
                case=case,
                step=None,
            )
        return self._measured[case]

    def train(
        self, trainer: Trainer, params: Params, batches: Sequence[Any]
    ) -> tuple[list[float], Params]:
        """Set `params`, step through `batches` and wait for each: losses, parameters."""
        trainer.set_params(copied(params))
        losses = [float(trainer.wait(trainer.step(batch))) for batch in batches]
        return losses, trainer.get_params()


def teacher_forced(trainer: Trainer, params: Params, x: Array, y: Array) -> dict[str, Array]:
    """What a trainer makes of one batch, named as the worker's command `case` names it."""
    trainer.set_params(copied(params))
    batch = trainer.put(x.copy(), y.copy())
    held_x, held_y = trainer.fetch(batch)
    tensors = {"x": held_x, "y": held_y, "logits": trainer.logits(batch)}
    tensors |= {f"held.{name}": value for name, value in trainer.get_params().items()}
    loss, grads = trainer.loss_and_grads(batch)
    tensors |= {f"grad.{name}": value for name, value in grads.items()}
    tensors["loss"] = np.array(loss, dtype=np.float64)
    tensors["step loss"] = np.array(trainer.wait(trainer.step(batch)), dtype=np.float64)
    tensors |= {f"new.{name}": value for name, value in trainer.get_params().items()}
    return tensors


def judged(found: list[tuple[Measurement, Limit]]) -> Evidence:
    """The measurement nearest its limit; Failed for the first that is over it."""
    for measurement, limit in found:
        if share(measurement, limit) > 1:
            at = evidence(measurement, limit)
            raise Failed(
                sentence_for(measurement.rung, at),
                value=at.distance,
                limit=limit.value,
                why=limit.reason,
                tensor=at.tensor,
                element=at.index,
                got=at.got,
                want=at.expected,
            )
    measurement, limit = max(found, key=lambda pair: share(*pair))
    return Evidence(
        message=f"{measurement.tensor} of {measurement.case}",
        value=measurement.distance,
        limit=limit.value,
        why=limit.reason,
        tensor=measurement.tensor,
    )


def same_bits(what: str, got: Array, want: Array, dtype: str) -> None:
    """Failed, with the first element, unless two arrays are the same bit for bit."""
    found = measure.identical(what, got, want, process=dtype, case="", step=None)
    if found.problem is None and found.distance == 0:
        return
    worst = found.worst
    how = found.problem or f"{found.distance:.0f} of {want.size} elements differ in their bits"
    place = f", first at {worst.index}: {worst.got!r} for {worst.want!r}" if worst else ""
    raise Failed(
        f"{what}: {how}{place}",
        value=found.distance,
        limit=0.0,
        why="elements; what is copied is the same bit for bit",
        tensor=what,
        element=worst.index if worst else None,
        got=worst.got if worst else None,
        want=worst.want if worst else None,
    )


def same_training(
    subject: Subject,
    got: tuple[Sequence[float], Params],
    want: tuple[Sequence[float], Params],
    start: Params,
    what: str,
) -> Evidence:
    """Failed unless two trainings of one backend from `start` are the same to rounding.

    got, want: losses and parameters. Losses are held to the ladder's limit of a loss, parameters to
    that of an update, less the spacing that storing both costs, in units of what was trained.
    """
    limit = subject.limit("loss")
    for step, (here, there) in enumerate(zip(got[0], want[0], strict=True)):
        off = measure.relative(np.array(here - there), np.array(there))
        if not off <= limit.value:
            raise Failed(
                f"{what}: the loss of step {step} is {here!r} and not {there!r}",
                value=number(off),
                limit=limit.value,
                why=f"of the loss itself; {limit.reason}",
                tensor="loss",
                element=[step],
                got=number(here),
                want=number(there),
            )
    limit = subject.limit("update")
    furthest = Evidence(message=what, value=0.0, limit=limit.value, why=limit.reason)
    for name, want_new in want[1].items():
        new = got[1].get(name, np.zeros(0))
        if (problem := measure.mismatch(new, want_new, subject.dtype)) is not None:
            raise Failed(f"{what}: {name}: {problem}", tensor=name)
        error = np.abs(new.astype(np.float64) - want_new.astype(np.float64))
        spacing = np.spacing(np.maximum(np.abs(new), np.abs(want_new))).astype(np.float64)
        change = want_new.astype(np.float64) - start[name].astype(np.float64)
        off = measure.relative(np.maximum(0.0, error - spacing), change)
        worst = measure.worst_element(new, want_new, error)
        if not off <= limit.value:
            raise Failed(
                f"{what}: {name} is off by {off:.3g} of what was trained, "
                f"worst at {worst.index if worst else None}",
                value=number(off),
                limit=limit.value,
                why=f"of the change of {name}; {limit.reason}",
                tensor=name,
                element=worst.index if worst else None,
                got=worst.got if worst else None,
                want=worst.want if worst else None,
            )
        if off > float(furthest.value or 0):
            furthest = Evidence(
                message=what, value=number(off), limit=limit.value, why=limit.reason, tensor=name
            )
    return furthest


def copied(params: Params) -> Params:
    """Copies in memory of their own, aligned so that a library could share it."""
    return {name: aligned(value) for name, value in params.items()}


def aligned(array: Array) -> Array:
    """A copy, in C order, that begins at a multiple of ALIGNMENT bytes."""
    raw = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    made = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made
