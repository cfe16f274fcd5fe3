"""The desk of training: one batch at given parameters, whole trainings, single operators."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.interface import Array, Params, RunsMany, Trainer, Unavailable
from harness.tensors import load_tensors, save_tensors
from harness.text import described
from harness.workers.desks.backend import BackendDesk, clock

# Progress goes out at most so often: enough for a smooth bar, too seldom to disturb a step.
PROGRESS_INTERVAL_NS = 200_000_000
EVALUATION_ROWS = 10_000


def teacher_forced(
    trainer: Trainer,
    params: Params,
    x: Array,
    y: Array,
    step: Callable[[Any], float] | None = None,
) -> dict[str, Array]:
    """One batch at given parameters: what is held, logits, loss, gradients, and one update.

    params, x (n, inputs) in the trainer's dtype, y (n,). Tensors: "x", "y", "held.NAME", "logits",
    "loss", "grad.NAME", "step loss", "new.NAME". `step` takes the one step, finished.
    """
    trainer.set_params(params)
    batch = trainer.put(x, y)
    held_x, held_y = trainer.fetch(batch)
    tensors = {"x": held_x, "y": held_y, "logits": trainer.logits(batch)}
    tensors |= {f"held.{name}": value for name, value in trainer.get_params().items()}
    loss, grads = trainer.loss_and_grads(batch)
    tensors |= {f"grad.{name}": value for name, value in grads.items()}
    tensors["loss"] = np.array(loss, dtype=np.float64)
    step_loss = step(batch) if step is not None else trainer.wait(trainer.step(batch))
    tensors["step loss"] = np.array(step_loss, dtype=np.float64)
    return tensors | {f"new.{name}": value for name, value in trainer.get_params().items()}


class TrainingDesk(BackendDesk):
    """Trains on mapped data, and answers for single batches and operators."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        super().__init__(started_ns, progress)
        self._x: Array
        self._y: Array
        self._test_x: Array
        self._test_y: Array
        self._test: list[Any] = []
        self._gathered: dict[int, Array] = {}
        self._first_step_ns: dict[str, int] = {}
        self._schedules: dict[str, tuple[Array, Array]] = {}

    def _forget(self) -> None:
        self._test, self._gathered, self._first_step_ns = [], {}, {}

    def data(self, train_x: str, train_y: str, test_x: str, test_y: str) -> dict[str, Any]:
        """Map the data, read only: pixels float32 (n, inputs), labels int64 (n,)."""
        self._x, self._y, self._test_x, self._test_y = (
            np.asarray(np.load(path, mmap_mode="r")) for path in (train_x, train_y, test_x, test_y)
        )
        self._gathered = {}
        return {}

    def case(self, params: str, batch: str, out: str) -> dict[str, Any]:
        """One teacher-forced batch; its tensors go to `out`."""
        arrays = load_tensors(batch)
        if "rows" in arrays:
            arrays = {"x": self._x[arrays["rows"]], "y": self._y[arrays["rows"]]}
        x, y = arrays["x"].astype(self._dtype), arrays["y"]
        tensors = teacher_forced(
            self._trainer, load_tensors(params), x, y, lambda held: self._step(held, len(y))
        )
        save_tensors(out, tensors)
        return {}

    def _step(self, batch: Any, rows: int) -> float:
        """One step, finished; the first of each batch size is kept: compilation shows there."""
        before = clock()
        loss = self._trainer.wait(self._trainer.step(batch))
        self._first_step_ns.setdefault(str(rows), clock() - before)
        return loss

    def _run(self, batches: list[Any]) -> list[float]:
        """Many full steps as one call, finished; the first call is kept, as a first step is."""
        assert isinstance(self._trainer, RunsMany)
        before = clock()
        losses = self._trainer.run(batches)
        size = f"{self._workload.batch_size} x {len(batches)}"
        self._first_step_ns.setdefault(size, clock() - before)
        return losses

    def train(
        self,
        params: str,
        schedule: str,
        snapshots: list[int],
        evaluations: list[int],
        at_once: int,
        out: str,
    ) -> dict[str, Any]:
        """Train freely from `params` through a schedule (see `_schedule`).

        After each step in `snapshots` the parameters go to out/params-<step>, after each in
        `evaluations` the test set's logits to out/logits-<step>; the series to out/series.
        `step_ns`: step and wait; `epoch_ns`: the loop between evaluations, gather and put included,
        saving and telling left out.
        A trainer with `run` makes `at_once` full steps at once wherever none of them is looked at.
        """
        trainer, size = self._trainer, self._workload.batch_size
        trainer.set_params(load_tensors(params))
        orders, slots = self._schedule(schedule)
        losses: list[float] = []
        times: dict[str, list[int]] = {
            name: [] for name in ("step_ns", "gather_ns", "put_ns", "epoch_ns", "eval_ns")
        }
        save_after, evaluate_after = set(snapshots), set(evaluations)
        full = (slots[:, 2] - slots[:, 1] == size).tolist()
        at_once = at_once if isinstance(trainer, RunsMany) else 1
        groups = step_groups(full, save_after | evaluate_after, at_once)
        places = slots.tolist()
        last_report = epoch_started = clock()
        for group in groups:
            losses += self._take(
                [
                    orders[epoch, start:stop]
                    for epoch, start, stop in places[group.start : group.stop]
                ],
                times,
            )
            after, number = clock(), group[-1]
            if number in evaluate_after:
                times["epoch_ns"].append(after - epoch_started)
                epoch_started = after
                save_tensors(f"{out}/logits-{number}", {"logits": self._evaluate()})
                times["eval_ns"].append(clock() - after)
            if number in save_after:
                save_tensors(f"{out}/params-{number}", trainer.get_params())
            if after - last_report > PROGRESS_INTERVAL_NS:
                self._progress(number + 1, len(slots))
                last_report = clock()
            epoch_started += clock() - after  # what is looked at between steps is no training
        series = {name: np.array(ns, dtype=np.int64) for name, ns in times.items()}
        final = {f"final.{name}": value for name, value in trainer.get_params().items()}
        save_tensors(f"{out}/series", {"losses": np.array(losses, np.float64)} | series | final)
        return {}

    def _take(self, rows: list[Array], times: dict[str, list[int]]) -> list[float]:
        """The steps on batches of these rows, several as one call; the loss before each."""
        batches = [self._put(each, times) for each in rows]
        before = clock()
        many = len(batches) > 1
        losses = self._run(batches) if many else [self._step(batches[0], len(rows[0]))]
        times["step_ns"] += shared(clock() - before, len(batches))
        return losses

    def _schedule(self, path: str) -> tuple[Array, Array]:
        """Orders int64 (epochs, samples) and slots int64 (steps, 3): epoch, start, stop."""
        if path not in self._schedules:
            schedule = load_tensors(path)
            self._schedules = {path: (schedule["order"], schedule["slots"])}
        return self._schedules[path]

    def _put(self, rows: Array, times: dict[str, list[int]]) -> Any:
        """A batch of these rows on the device; what took how long is added to gather_ns, put_ns."""
        t0 = clock()
        x, y = self._gather(rows)
        t1 = clock()
        batch = self._trainer.put(x, y)
        t2 = clock()
        times["gather_ns"].append(t1 - t0)
        times["put_ns"].append(t2 - t1)
        return batch

    def _gather(self, rows: Array) -> tuple[Array, Array]:
        """Pixels in the process's dtype and labels of these rows, valid until the next call.

        A fresh array of 0.8 MB costs twice as much: the system hands out its pages one by one.
        """
        x = self._gathered.get(len(rows))
        if x is None:
            x = self._gathered[len(rows)] = np.empty((len(rows), *self._x.shape[1:]), self._x.dtype)
        # "clip" writes straight to `out`; "raise" would go through an array in between.
        np.take(self._x, rows, axis=0, out=x, mode="clip")
        return x.astype(self._dtype, copy=False), self._y[rows]

    def _evaluate(self) -> Array:
        """Logits of the whole test set, float (n, outputs); its batches stay on the device."""
        if not self._test:
            for start in range(0, len(self._test_x), EVALUATION_ROWS):
                rows = slice(start, start + EVALUATION_ROWS)
                x = np.array(self._test_x[rows], dtype=self._dtype)
                self._test.append(self._trainer.put(x, np.array(self._test_y[rows])))
        return np.concatenate([self._trainer.logits(batch) for batch in self._test])

    def op(self, name: str, given: str, out: str) -> dict[str, Any]:
        """One operator: arguments "0", "1", ... and perhaps "weights" are `given` in a file.

        Value and derivatives go to a file as "0", "1", ...; `absent` is the reason where the
        framework does not have the operator, else None.
        """
        tensors = load_tensors(given)
        weights = tensors.pop("weights", None)
        arrays = [tensors[str(i)] for i in range(len(tensors))]
        try:
            results = self._backend.op(name, *arrays, weights=weights)
        except Unavailable as error:
            return {"absent": described(error)}
        save_tensors(out, {str(i): value for i, value in enumerate(results)})
        return {"absent": None}

    def usage(self) -> dict[str, Any]:
        """Peak memory in bytes, the host's and the device's; each batch size's first step."""
        return {
            "peak_rss_bytes": _peak_memory(),
            "peak_device_bytes": self._built.peak_device_bytes(),
            "first_step_ns": self._first_step_ns,
        }


def step_groups(full: list[bool], looked_at: set[int], at_once: int) -> list[range]:
    """The steps of a schedule in order, `at_once` together where all are full batches.

    Nobody looks at the parameters between steps that are made as one.
    """
    groups, number = [], 0
    while number < len(full):
        many = range(number, number + at_once)
        possible = (
            at_once > 1
            and len(full[number : many.stop]) == at_once
            and all(full[number : many.stop])
            and not looked_at & {*many[:-1]}
        )
        groups.append(many if possible else range(number, number + 1))
        number = groups[-1].stop
    return groups


def shared(total: int, parts: int) -> list[int]:
    """A whole number in so many parts, as equal as can be, that add up to it."""
    return [total // parts + (place < total % parts) for place in range(parts)]


def _peak_memory() -> int:
    """Most bytes this process has held in memory so far."""
    try:
        # Not ru_maxrss: across fork and exec that keeps the parent's peak.
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, kilobytes elsewhere
