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
from harness.conformance.material import material, wanted
from harness.interface import Array, Backend, Params, Trainer, Workload
from harness.measure import ladder
from harness.measure.distance import Error, Formula, beyond_spacing
from harness.measure.measurement import identical, measure
from harness.record.schema import Measurement, Worst
from harness.verdict.numbers import evidence, sentence_for, share
from harness.workers.desks.training import teacher_forced
from harness.workers.processes import descendants
from harness.workloads.reference.limits import Limit, limit_for
from harness.workloads.reference.pieces import cast

# Where compilers align: libraries that share the caller's memory do so only if it is aligned.
ALIGNMENT = 64

# Losses and parameters after a training.
Trained = tuple[list[float], Params]
Judged = tuple[Measurement, Limit]


class Subject:
    """One live backend in this process: its dtype, its threads, and what was measured of it.

    `trainer` is the one that checks share (a compiled one costs seconds); a check begins by setting
    its parameters. After a check that failed call `renew`. `processors`: those that the backend
    may be given to see how many it uses (default: this process's). `workload`: its name.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        dtype: str,
        threads: int = 1,
        processors: Sequence[int] | None = None,
        workload: str = "mlp-scratch",
    ) -> None:
        self.backend = backend
        self.dtype = dtype
        self.threads = threads
        self.processors = system.processors() if processors is None else tuple(processors)
        self.material = material(workload)
        self.workload = self.material.workload
        self.reference = self.material.reference
        self.initial = cast(self.material.initial, dtype)
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

    def started(self) -> Trainer:
        """The shared trainer, at the initial parameters."""
        self.trainer.set_params(copied(self.initial))
        return self.trainer

    def another_trainer(
        self, workload: Workload | None = None
    ) -> contextlib.AbstractContextManager[Trainer]:
        """One more trainer (of another workload, where given), closed at the end."""
        return contextlib.closing(self.backend.trainer(workload or self.workload))

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
        limit = limit_for(rung, self.dtype, case)
        assert limit is not None, f"{rung} {case} {self.dtype}"
        return limit

    def measured(self, case: str) -> list[Measurement]:
        """Every measurement of one teacher-forced case, as a run takes them."""
        if case not in self._measured:
            want, y = wanted(self.workload.name, case, self.dtype), self.material.cases[case].y
            self._measured[case] = ladder.teacher_forced(
                teacher_forced(self.trainer, copied(want.params), want.x.copy(), y.copy()),
                want,
                y=y,
                lr=self.workload.lr,
                process=self.dtype,
                case=case,
                step=None,
            )
        return self._measured[case]

    def compared(
        self, rung: str, tensor: str, got: Any, want: Any, case: str, **own: Any
    ) -> Judged:
        """One tensor against another, at the ladder's limit; own: as `measure` takes."""
        where: dict[str, Any] = {"process": self.dtype, "case": case, "step": None}
        if rung == "loss":
            where["dtype"] = "float64"
        measurement = measure(rung, tensor, np.asarray(got), np.asarray(want), **where, **own)
        return measurement, self.limit(rung)

    def train(self, trainer: Trainer, params: Params, batches: Sequence[Any]) -> Trained:
        """Set `params`, step through `batches` and wait for each: losses, parameters."""
        trainer.set_params(copied(params))
        losses = [float(trainer.wait(trainer.step(batch))) for batch in batches]
        return losses, trainer.get_params()

    def same_losses(self, got: Sequence[float], want: Sequence[float], case: str) -> list[Judged]:
        """The losses of two trainings, to be the same to rounding."""
        return [
            self.compared("loss", f"loss of step {step}", one, other, case)
            for step, (one, other) in enumerate(zip(got, want, strict=True))
        ]

    def same_training(self, got: Trained, want: Trained, start: Params, case: str) -> Evidence:
        """Failed unless two trainings of this backend from `start` are the same to rounding.

        Parameters are held to the ladder's limit of an update, less the spacing that storing both
        costs, relative to what was trained.
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


def same_batch(what: str, got: tuple[Array, Array], x: Array, y: Array) -> None:
    """Failed unless a batch that was fetched is x and y, bit for bit; labels are int64."""
    wanted = {"x": x, "y": y.astype(np.int64)}
    same_bits(f"{what}: {{}}", dict(zip("xy", got, strict=True)), wanted)


def _place(worst: Worst | None) -> dict[str, Any]:
    return {} if worst is None else {"element": worst.index, "got": worst.got, "want": worst.want}


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
