"""The backend under test, and what checks do with it again and again.

Imports NumPy, the judge and the ladder's own measurements and limits; no framework.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.conformance import system
from harness.conformance.check import Evidence, Failed
from harness.conformance.material import material, noise, wanted
from harness.interface import Array, Backend, State, Trainer
from harness.measure import ladder, straying
from harness.measure.distance import Error, Formula, beyond_spacing
from harness.measure.measurement import identical, measure
from harness.record.schema import Measurement, Worst
from harness.verdict.numbers import evidence, limit_of, sentence_for, share
from harness.workers.desks.training import teacher_forced
from harness.workers.processes import descendants
from harness.workloads import DECLARED, DEFAULT
from harness.workloads.declare import Declared
from harness.workloads.reference.composed import cast
from harness.workloads.reference.limits import Limit, limit_for

# Where compilers align: libraries that share the caller's memory do so only if it is aligned.
ALIGNMENT = 64

# Losses and the state after a training.
Trained = tuple[list[float], State]
Judged = tuple[Measurement, Limit]


class Subject:
    """One live backend in this process: its dtype, its threads, and what was measured of it.

    `trainer` is the one that checks share (a compiled one costs seconds); a check begins by setting
    its state. After a check that failed call `renew`. `workload`: what it is to train, by name, or
    declared elsewhere. `processors`: those that the backend may be given to see how many it uses
    (default: this process's).
    """

    def __init__(
        self,
        backend: Backend,
        *,
        workload: str | Declared = DEFAULT,
        dtype: str,
        threads: int = 1,
        processors: Sequence[int] | None = None,
    ) -> None:
        self.backend = backend
        self.dtype = dtype
        self.threads = threads
        self.processors = system.processors() if processors is None else tuple(processors)
        self.declared = DECLARED[workload] if isinstance(workload, str) else workload
        self.material = material(self.declared)
        self.workload = self.material.workload
        self.judge = self.material.judge
        self.initial = cast(self.material.initial, dtype)
        self.first_threads = {*threading.enumerate()}
        self.first_children = {*descendants(os.getpid())}
        self._trainer: Trainer | None = None
        self._measured: dict[str, list[Measurement]] = {}

    @property
    def trainer(self) -> Trainer:
        """The shared trainer; its state is whatever the check before left."""
        if self._trainer is None:
            self._trainer = self.backend.trainer(self.workload)
        return self._trainer

    def started(self) -> Trainer:
        """The shared trainer, at the initial state."""
        self.trainer.set_state(copied(self.initial))
        return self.trainer

    def another_trainer(self) -> contextlib.AbstractContextManager[Trainer]:
        """One more trainer, closed at the end."""
        return contextlib.closing(self.backend.trainer(self.workload))

    def renew(self) -> None:
        """Close the shared trainer, whatever it is left in; the next check gets a fresh one."""
        made, self._trainer = self._trainer, None
        if made is not None:
            with contextlib.suppress(Exception):  # it failed already, and that was told
                made.close()

    def rows(self, step: int) -> State:
        """The batch of a step of the free training, fresh, in the dtype."""
        return cast(self.material.taken(self.material.batches[step]), self.dtype)

    def few(self, n: int, start: int = 0) -> State:
        """N samples of the pool, fresh, from `start` on, in the dtype."""
        return cast(self.material.taken(slice(start, start + n)), self.dtype)

    def limit(self, rung: str, case: str = "step 0") -> Limit:
        """The ladder's limit in this dtype."""
        limit = limit_for(rung, self.dtype, case)
        assert limit is not None, f"{rung} {case} {self.dtype}"
        return limit

    def measured(self, case: str) -> list[Measurement]:
        """Every measurement of one teacher-forced case, as a run takes them."""
        if case not in self._measured:
            want = wanted(self.declared, case, self.dtype)
            state, batch = copied(want.state), cast(self.material.cases[case].batch, self.dtype)
            two = self.workload.two_modes
            tensors = teacher_forced(self.trainer, state, batch, two_modes=two)
            found = self._measured[case] = ladder.teacher_forced(
                tensors, want, process=self.dtype, case=case, step=None, judge=self.judge
            )
            measured = self.workload.limits == "measured"
            if measured or any(share(m, self.limit_of(m)) > 1 for m in found):
                straying.grant(found, noise(self.declared, case), limits=measured)
        return self._measured[case]

    def limit_of(self, measurement: Measurement) -> Limit:
        """The limit of one measurement of a case, as a run has it."""
        limit = limit_of(measurement, "strict")
        assert limit is not None, f"{measurement.rung} {measurement.case} {self.dtype}"
        return limit

    def compared(
        self, rung: str, tensor: str, got: Any, want: Any, case: str, **own: Any
    ) -> Judged:
        """One tensor against another, at the ladder's limit; own: as `measure` takes."""
        where: dict[str, Any] = {"process": self.dtype, "case": case, "step": None}
        if rung == "loss":
            where["dtype"] = "float64"
        measurement = measure(rung, tensor, np.asarray(got), np.asarray(want), **where, **own)
        return measurement, self.limit(rung)

    def train(self, trainer: Trainer, state: State, batches: Sequence[Any]) -> Trained:
        """Set `state`, step through `batches` and wait for each: losses, the state."""
        trainer.set_state(copied(state))
        losses = [float(trainer.wait(trainer.step(batch))) for batch in batches]
        # Copies: whether what is handed out is fresh, a check of its own asks.
        return losses, {name: np.array(value) for name, value in trainer.get_state().items()}

    def same_losses(self, got: Sequence[float], want: Sequence[float], case: str) -> list[Judged]:
        """The losses of two trainings, to be the same to rounding."""
        return [
            self.compared("loss", f"loss of step {step}", one, other, case)
            for step, (one, other) in enumerate(zip(got, want, strict=True))
        ]

    def same_training(self, got: Trained, want: Trained, start: State, case: str) -> Evidence:
        """Failed unless two trainings of this backend from `start` are the same to rounding.

        Every tensor is held to the ladder's limit of an update, less the spacing that storing both
        costs, relative to what the training changed.
        """
        pairs = self.same_losses(got[0], want[0], case)
        for name, want_new in want[1].items():
            new, formula = got[1].get(name, np.zeros(0)), _stored_twice(start[name])
            pairs.append(self.compared("update", name, new, want_new, case, formula=formula))
        return judged(pairs, case)


def _stored_twice(start: Array) -> Formula:
    """What is off by more than storing both costs, relative to what was trained from `start`."""

    def formula(got: Array, want: Array) -> Error:
        new, other = got.astype(np.float64), want.astype(np.float64)
        judged = beyond_spacing(np.abs(new - other), got, want, 1.0)
        return Error(judged, other - start.astype(np.float64))

    return formula


def judged(pairs: Sequence[Judged], passed: str = "") -> Evidence:
    """The measurement nearest its limit; Failed for the first that is over it.

    passed: the message where none is (default: which measurement that is).
    """
    for measurement, limit in pairs:
        if share(measurement, limit) > 1:
            raise Failed(
                sentence_for(measurement.rung, evidence(measurement, limit)),
                value=measurement.distance,
                limit=limit.value,
                why=limit.reason,
                tensor=measurement.tensor,
                **_place(measurement.worst),
            )
    measurement, limit = max(pairs, key=lambda pair: share(*pair))
    return Evidence(
        message=passed or f"{measurement.tensor} of {measurement.case}",
        value=measurement.distance,
        limit=limit.value,
        why=limit.reason,
        tensor=measurement.tensor,
    )


def same_bits(what: str, got: Mapping[str, Any], want: Mapping[str, Array]) -> None:
    """Failed, with the first element, unless arrays are the same bit for bit, name by name.

    what: what an array is called, its name in place of {}. Arrays that are not wanted are let be.
    """
    for name, value in want.items():
        tensor, array = what.format(name), got.get(name, np.zeros(0))
        measured = identical(tensor, array, value, process="float64", case="", step=None)
        differ, worst = measured.distance, measured.worst
        if measured.problem is None and differ == 0:
            continue
        how = measured.problem or f"{differ:.0f} of {value.size} elements differ in their bits"
        first = f", first at {worst.index}: {worst.got!r} for {worst.want!r}" if worst else ""
        raise Failed(
            f"{tensor}: {how}{first}",
            value=differ,
            limit=0.0,
            why="elements; what is copied is the same bit for bit",
            tensor=tensor,
            **_place(worst),
        )


def same_batch(what: str, got: Mapping[str, Any], want: State) -> None:
    """Failed unless a batch that was fetched is this one, bit for bit; classes are int64."""
    if {*got} != {*want}:
        raise Failed(f"{what}: has {', '.join(got)} where {', '.join(want)} are wanted")
    wide = {n: v.astype(np.int64) if v.dtype.kind in "iu" else v for n, v in want.items()}
    same_bits(f"{what}: {{}}", got, wide)


def _place(worst: Worst | None) -> dict[str, Any]:
    return {} if worst is None else {"element": worst.index, "got": worst.got, "want": worst.want}


def copied(state: State) -> State:
    """Copies in memory of their own, aligned so that a library could share it."""
    return {name: aligned(value) for name, value in state.items()}


def aligned(array: Array) -> Array:
    """A copy, in C order, that begins at a multiple of ALIGNMENT bytes."""
    raw = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    made = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made
