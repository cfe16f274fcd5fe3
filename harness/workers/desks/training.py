"""The desk of training: one batch at given parameters, whole trainings, single operators."""

from __future__ import annotations

import itertools
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from harness.interface import Applies, Array, RunsMany, State, Traces, Trainer, Unavailable
from harness.tensors import load_tensors, save_tensors
from harness.text import described
from harness.workers.desks.backend import BackendDesk, clock
from harness.workers.desks.reached import Reached
from harness.workers.loading import load_object
from harness.workers.looks import Looks
from harness.workloads.reference import canonical

# Progress goes out at most so often: enough for a smooth bar, too seldom to disturb a step.
PROGRESS_INTERVAL_NS = 200_000_000
EVALUATION_ROWS = 10_000
# So many light steps are queued before they are waited for: waking up after each costs a tenth.
QUEUED = 8

# Rows and their batch on the device; how many rows a step had, the loss before it, nanoseconds.
Given = tuple[Array, Any]
Done = tuple[int, float, int]


def teacher_forced(
    trainer: Trainer,
    state: State,
    batch: State,
    step: Callable[[Any], float] | None = None,
    *,
    two_modes: bool = False,
) -> dict[str, Array]:
    """One batch at a given state: what is held, outputs, loss, gradients, and one update.

    state, batch: in the trainer's dtype. Tensors: "x", "y", noise by name, "held.NAME", "outputs",
    with `two_modes` "outputs, training", "trace.NAME" where the trainer shows any, "loss",
    "grad.NAME", "step loss", "new.NAME". `step` takes the one step, finished.
    """
    trainer.set_state(state)
    put = trainer.put(batch)
    tensors = dict(trainer.fetch(put))
    tensors["outputs"] = trainer.outputs(put, training=False)
    if two_modes:
        tensors["outputs, training"] = trainer.outputs(put, training=True)
    if isinstance(trainer, Traces):
        tensors |= {f"trace.{name}": value for name, value in trainer.trace(put).items()}
    tensors |= {f"held.{name}": value for name, value in trainer.get_state().items()}
    loss, grads = trainer.loss_and_grads(put)
    tensors |= {f"grad.{name}": value for name, value in grads.items()}
    tensors["loss"] = np.array(loss, dtype=np.float64)
    step_loss = step(put) if step is not None else trainer.wait(trainer.step(put))
    tensors["step loss"] = np.array(step_loss, dtype=np.float64)
    return tensors | {f"new.{name}": value for name, value in trainer.get_state().items()}


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
        self._schedules: dict[str, tuple[Array, Array, int]] = {}

    def _forget(self) -> None:
        self._test, self._gathered, self._first_step_ns = [], {}, {}

    @property
    def _batch_size(self) -> int:
        """Samples of a full batch: all there are where the workload says no number."""
        return self._workload.batch_size or len(self._x)

    def data(self, train_x: str, train_y: str, test_x: str, test_y: str) -> dict[str, Any]:
        """Map the data, read only: x float32 (n, ...), y classes int64 (n,) or numbers float32."""
        self._x, self._y, self._test_x, self._test_y = (
            np.asarray(np.load(path, mmap_mode="r")) for path in (train_x, train_y, test_x, test_y)
        )
        self._gathered = {}
        return {}

    def case(self, state: str, batch: str, out: str) -> dict[str, Any]:
        """One teacher-forced batch ("rows" of the data, or "x", "y"); its tensors go to `out`."""
        given = load_tensors(batch)
        if "rows" in given:
            rows = given.pop("rows")
            given |= self._rows(rows)
        batch_ = self._typed(given)
        tensors = teacher_forced(
            self._trainer,
            load_tensors(state),
            batch_,
            lambda held: self._step(held, len(batch_["x"])),
            two_modes=self._workload.two_modes,
        )
        shown = {name.removeprefix("trace.") for name in tensors if name.startswith("trace.")}
        if unknown := sorted(shown - {*self._workload.trace}):
            names = ", ".join(self._workload.trace)
            raise ValueError(f"trace shows {', '.join(unknown)}, and may show {names}")
        save_tensors(out, tensors)
        return {}

    def tell(self, state: str, batch: str, out: str) -> dict[str, Any]:
        """What comes of a batch that no loss may be defined for, as far as it goes; to `out`.

        Tensors as those of a case; `raised`: what the framework said, where it refused.
        """
        trainer, raised = self._trainer, None
        trainer.set_state(self._typed(load_tensors(state)))
        put = trainer.put(self._typed(self._rows(load_tensors(batch)["rows"])))
        tensors = {"outputs": trainer.outputs(put, training=False)}
        if isinstance(trainer, Traces):
            tensors |= {f"trace.{name}": value for name, value in trainer.trace(put).items()}
        try:
            loss, grads = trainer.loss_and_grads(put)
        except Exception as error:
            raised = described(error)
        else:
            tensors["loss"] = np.array(loss, dtype=np.float64)
            tensors |= {f"grad.{name}": value for name, value in grads.items()}
        save_tensors(out, tensors)
        return {"raised": raised}

    def _rows(self, rows: Array | slice, x: Array | None = None) -> State:
        """Samples of the training set (x: where they are gathered already), with their targets."""
        samples = {"x": self._x[rows] if x is None else x}
        return samples if self._workload.y == "none" else samples | {"y": self._y[rows]}

    def _typed(self, batch: State) -> State:
        """A batch in the process's dtype, classes as they are."""
        classes = self._workload.y == "class"
        return {
            name: value if name == "y" and classes else value.astype(self._dtype, copy=False)
            for name, value in batch.items()
        }

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
        size = f"{self._batch_size} x {len(batches)}"
        self._first_step_ns.setdefault(size, clock() - before)
        return losses

    def train(
        self,
        state: str,
        schedule: str,
        snapshots: list[int],
        evaluations: list[int],
        at_once: int,
        out: str,
        keep: Sequence[int] = (),
        reached: str = "",
    ) -> dict[str, Any]:
        """Train freely from `state` through a schedule (see `_schedule`).

        After each step in `snapshots` the state goes to out/state-<step>, after each in
        `evaluations` the test set's outputs to out/outputs-<step>; the series to out/series.
        `step_ns`: step and wait; `epoch_ns`: the loop between evaluations, gather and put included,
        saving, telling and looking left out. A trainer with `run` makes `at_once` full steps at
        once wherever none of them is looked at; any other trainer's are queued (see `_queue`).
        keep: epochs' last steps, after which it may be written down; `reached`: the file of one
        that was cut off and goes on (see `reached.py`).
        """
        trainer, slots = self._trainer, self._schedule(schedule)[1]
        looks = Looks(self._workload, slots[:, 2] - slots[:, 1])
        far = Reached(out, reached, keep, looks)
        trainer.set_state(far.state or load_tensors(state))
        save_after, evaluate_after = set(snapshots), set(evaluations)
        looked_at = save_after | evaluate_after | {*keep}
        sizes = (slots[:, 2] - slots[:, 1]).tolist()
        groups = self._groups(sizes, far.done, looked_at, 1 if looks.every_step else at_once)
        if not far.done:
            looks.at_gradients(self._gradients)
            looks.at_state(0, trainer.get_state)
        last_report = epoch_started = clock()
        coming = Ahead(self._batches(schedule, itertools.chain(*groups), far.times))
        runs_many = isinstance(trainer, RunsMany)  # asked once: it takes as long as a small step
        for group in groups:
            if runs_many and len(group) > 1:
                done = self._at_once([next(coming) for _ in group])
            else:
                done = self._queue(group, coming, looks, ahead=group[-1] not in looked_at)
            far.losses += [loss / rows if self._workload.summed else loss for rows, loss, _ in done]
            far.times["step_ns"] += [taken for _, _, taken in done]
            after, number = clock(), group[-1]
            epoch_started += looks.last_ns
            looks.at_state(number + 1, trainer.get_state)
            if number in evaluate_after:
                far.times["epoch_ns"].append(after - epoch_started)
                epoch_started = after
                far.save(f"outputs-{number}", {"outputs": self._evaluate()})
                far.times["eval_ns"].append(clock() - after)
                looks.at_gradients(self._gradients)
            if number in save_after:
                far.save(f"state-{number}", trainer.get_state())
            far.keep(group, trainer.get_state)
            if after - last_report > PROGRESS_INTERVAL_NS:
                self._progress(number + 1, len(slots))
                last_report = clock()
            epoch_started += clock() - after  # what is looked at between steps is no training
        save_tensors(f"{out}/series", far.series(trainer.get_state()))
        return {}

    def _gradients(self) -> State:
        """The gradients of the first training rows, as many as the workload says."""
        first = self._typed(self._rows(slice(0, self._workload.gradients_of)))
        return self._trainer.loss_and_grads(self._trainer.put(first))[1]

    def _groups(
        self, sizes: list[int], begun: int, looked_at: set[int], at_once: int
    ) -> list[range]:
        """The steps from `begun` on, of these sizes: those that are made, or queued, together.

        Queued are light ones, but not the first of a size that is new here, which compiles.
        """
        if not isinstance(self._trainer, RunsMany):
            new = {size: step for step, size in reversed([*enumerate(sizes)][begun:])}
            first = [step for size, step in new.items() if str(size) not in self._first_step_ns]
            looked_at = looked_at.union(first, (step - 1 for step in first))
            queued = self._workload.light and not self._workload.tiny
            at_once = QUEUED if queued and at_once > 1 else 1
        full = [size == self._batch_size for size in sizes]
        return [of for of in step_groups(full, looked_at, at_once) if of.start >= begun]

    def _batches(
        self, schedule: str, steps: Iterable[int], times: dict[str, list[int]]
    ) -> Iterator[Given]:
        """Of each of these steps its rows, and its batch on the device."""
        orders, slots, _ = self._schedule(schedule)
        places = slots.tolist()
        for number in steps:
            epoch, start, stop = places[number]
            rows = orders[epoch, start:stop]
            yield rows, self._put(schedule, number, rows, times)

    def _at_once(self, given: list[Given]) -> list[Done]:
        """Steps as one call; each takes its share of it."""
        before = clock()
        losses = self._run([batch for _, batch in given])
        taken = shared(clock() - before, len(given))
        return [(len(r), loss, ns) for (r, _), loss, ns in zip(given, losses, taken, strict=True)]

    def _queue(self, group: range, coming: Ahead, looks: Looks, *, ahead: bool) -> list[Done]:
        """Steps one behind the other, then waited for: each takes its call and its share of that.

        The next batch is put while those before it may be computing; `ahead`: that of the next
        group too. One alone that is the first of its size is kept: it has compiled.
        """
        trainer, rows, handles, called = self._trainer, [], [], []
        for _ in group:
            own, batch = next(coming)
            before = clock()
            if looks.every_step:
                looks.at_outputs(trainer.outputs(batch, training=True), self._y[own])
            looks.last_ns, before = clock() - before, clock()
            handles.append(trainer.step(batch))
            called.append(clock() - before)
            rows.append(len(own))
            del batch  # the next lies in the same place, where nothing reads this one any more
        if ahead:
            coming.prepare()
        before = clock()
        losses = [trainer.wait(handle) for handle in handles]
        waited = shared(clock() - before, len(group))
        taken = [sum(parts) for parts in zip(called, waited, strict=True)]
        if len(group) == 1:
            self._first_step_ns.setdefault(str(rows[0]), taken[0])
        return [*zip(rows, losses, taken, strict=True)]

    def _schedule(self, path: str) -> tuple[Array, Array, int]:
        """Orders int64 (epochs, samples), slots int64 (steps, 3): epoch, start, stop; the seed."""
        if path not in self._schedules:
            schedule = load_tensors(path)
            self._schedules = {path: (schedule["order"], schedule["slots"], int(schedule["seed"]))}
        return self._schedules[path]

    def _put(self, schedule: str, step: int, rows: Array, times: dict[str, list[int]]) -> Any:
        """A step's batch on the device; what took how long is added to gather_ns, put_ns."""
        t0 = clock()
        gathered = self._gather(schedule, step, rows)
        t1 = clock()
        batch = self._trainer.put(gathered)
        t2 = clock()
        times["gather_ns"].append(t1 - t0)
        times["put_ns"].append(t2 - t1)
        return batch

    def _gather(self, schedule: str, step: int, rows: Array) -> State:
        """The batch of these rows in the process's dtype, valid until the next call.

        A fresh array of 0.8 MB costs twice as much: the system hands out its pages one by one.
        """
        x = self._gathered.get(len(rows))
        if x is None:
            x = self._gathered[len(rows)] = np.empty((len(rows), *self._x.shape[1:]), self._x.dtype)
        # "clip" writes straight to `out`; "raise" would go through an array in between.
        np.take(self._x, rows, axis=0, out=x, mode="clip")
        batch = self._rows(rows, x)
        if self._workload.noise:
            batch |= canonical.noise(self._workload, self._schedule(schedule)[2], step, len(rows))
        return self._typed(batch)

    def _evaluate(self) -> Array:
        """Outputs of the whole test set, float (n, ...); its batches stay on the device."""
        if not self._test:
            # What a convolution's windows see is many times an image.
            most = EVALUATION_ROWS if self._test_x.ndim == 2 else EVALUATION_ROWS // 10
            for start in range(0, len(self._test_x), most):
                rows = slice(start, start + most)
                batch = {"x": np.array(self._test_x[rows])}
                if self._workload.y != "none":
                    batch["y"] = np.array(self._test_y[rows])
                batch |= canonical.noise(self._workload, 0, 0, len(batch["x"]))  # to no effect
                self._test.append(self._trainer.put(self._typed(batch)))
        return np.concatenate([self._trainer.outputs(put, training=False) for put in self._test])

    def op(
        self, name: str, given: str, out: str, function: str = "", *, known: bool = True
    ) -> dict[str, Any]:
        """One operator: arguments "0", "1", ... and perhaps "weights" are `given` in a file.

        Value and derivatives go to a file as "0", "1", ...; `absent` is the reason where the
        framework does not have the operator, else None. function: of one that a package brings
        for this framework, its place; known: False of one that the backend need not know of.
        """
        tensors = load_tensors(given)
        weights = tensors.pop("weights", None)
        arrays = [tensors[str(i)] for i in range(len(tensors))]
        absent = (Unavailable,) if known else (Unavailable, ValueError)
        try:
            if function and isinstance(self._backend, Applies):
                results = self._backend.apply(load_object(function), *arrays, weights=weights)
            else:
                results = self._backend.op(name, *arrays, weights=weights)
        except absent as error:
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


class Ahead:
    """Batches in their order, of which the next, if there is one, may be made before its turn."""

    def __init__(self, batches: Iterator[Given]) -> None:
        self._batches = batches
        self._made: list[Given] = []

    def prepare(self) -> None:
        """Make it now, once."""
        self._made += itertools.islice(self._batches, not self._made)

    def __next__(self) -> Given:
        return self._made.pop() if self._made else next(self._batches)


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
