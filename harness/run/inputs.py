"""The numbers of one run, made once: data, schedules, and the steps that are looked at.

Everything a worker needs of them lies as files in the run's scratch folder. Imports no framework.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from harness import data
from harness.data import Dataset
from harness.errors import InputError
from harness.interface import Array, State
from harness.measure import outcome
from harness.plan.model import Plan, checkpoint_steps, small_steps
from harness.tensors import load_tensors, save_tensors
from harness.workloads.reference import canonical
from harness.workloads.reference.canonical import Slot
from harness.workloads.reference.composed import Composed, Reference
from harness.workloads.reference.screening import clear, screen

# Lockstep takes so many steps at least, where epochs are shorter.
LEAST_LOCKSTEP = 100
FEW_EVALUATED = 1000


class Inputs:
    """Data and schedules of a plan.

    x, test_x: float32 (n, *workload.x), mapped; y, test_y: classes int64 (n,) or numbers float32;
    behind the `tests` samples of the test set stand those that are held out for validation.
    `data_sha256`: their identity. `epoch`: samples of an epoch. `pixels`, `images`: training and
    test samples as pixels of 8 bits; None where they are none.
    `slots`: every step of the schedule; `ends`: the last step of each epoch;
    `evaluations`: those after which an accuracy is counted.
    `order`: int64 (epochs, n), of the first seed. `lockstep_steps`: how many steps lockstep takes;
    `snapshots`: numbers of steps done after which it compares.
    """

    def __init__(self, plan: Plan, dataset: Dataset, scratch: Path) -> None:
        self.plan = plan
        self.scratch = scratch
        workload = plan.workload
        self.pixels: Array | None = dataset.train_x if dataset.images else None
        self.images: Array | None = dataset.test_x if dataset.images else None
        held_out, most = workload.validation, most_evaluated(plan)
        self.tests = len(dataset.test_x[: workload.tests][:most])
        train, test = (
            reserve(scratch / f"{name}.npy", (rows, *workload.x))
            for name, rows in (
                ("x", len(dataset.train_x) - held_out),
                ("test_x", self.tests + (held_out if most is None else min(held_out, most))),
            )
        )
        self.x, self.y = data.training_set(dataset, workload, train)
        self.test_x, self.test_y = data.evaluation_set(dataset, workload, test, most=most)
        np.save(self.file("y.npy"), self.y)
        np.save(self.file("test_y.npy"), self.test_y)
        self._made_for = dataset.made_for
        self.data_sha256 = dataset.sha256
        self.epoch = len(self.x) // max(1, len(self._made_for))
        names = {"train_x": "x", "train_y": "y", "test_x": "test_x", "test_y": "test_y"}
        self._data = {field: self.file(f"{name}.npy") for field, name in names.items()}
        self._schedule(plan)

    def resized(self, plan: Plan, scratch: Path) -> Inputs:
        """The same data for a plan with another size of the workload; its files go to `scratch`."""
        made = copy.copy(self)
        made.plan, made.scratch = plan, scratch
        made._schedule(plan)
        return made

    def _schedule(self, plan: Plan, most: int | None = None) -> None:
        """Every step that the plan asks for, and those that are looked at; written for workers."""
        workload, size = plan.workload, plan.batch_size
        self.slots: list[Slot] = canonical.schedule(self.epoch, size, workload.epochs, plan.steps)[
            :most
        ]
        self.rows = np.array([slot.stop - slot.start for slot in self.slots])
        epochs = max(slot.epoch for slot in self.slots) + 1
        self.ends = [
            step
            for step, slot in enumerate(self.slots)
            if step + 1 == len(self.slots) or self.slots[step + 1].epoch != slot.epoch
        ]
        counts = outcome.accuracy_metric(workload) is not None
        self.evaluations = self.ends if counts else []
        cut = plan.steps is not None
        whole = self.ends[min(plan.lockstep_epochs, epochs) - 1]
        last = len(self.slots) - 1 if cut else max(whole, min(LEAST_LOCKSTEP, len(self.slots)) - 1)
        self.checkpoints = checkpoint_steps(plan, len(self.slots))
        self.small = small_steps(plan, len(self.slots))
        late = plan.trajectory.late_from if plan.trajectory is not None else None
        self.late = self.ends[late - 1 :] if late is not None and plan.steps is None else []
        for seed in plan.seeds:
            order = self.orders(seed, epochs)
            if seed == plan.seeds[0]:
                self.order = order
            self.save_schedule("schedule", seed, order, self.slots)
            save_tensors(self.file(f"initial-{seed}"), self.initial(seed))
        inside = [c for c in self.checkpoints if 0 < c <= last]
        self.follow(sorted({*inside, *(e + 1 for e in self.ends if e <= last), last + 1}))

    def cut(self, steps: int) -> None:
        """Take no more than the first steps of the schedule."""
        self._schedule(self.plan, steps)

    def follow(self, after: list[int]) -> None:
        """Take lockstep as far as the last of `after`; it compares after each: steps, ascending.

        InputError where the schedule has not so many.
        """
        if after[-1] > len(self.slots):
            raise InputError(f"after {after[-1]} steps: the schedule has {len(self.slots)}")
        self.snapshots, self.lockstep_steps = after, after[-1]
        self.save_schedule("lockstep", self.plan.seeds[0], self.order, self.slots[: after[-1]])

    def orders(self, seed: int, epochs: int) -> Array:
        """The rows of each epoch of a training: int64 (epochs, samples of one)."""
        if self._made_for:
            first = self._made_for.index(seed) * self.epoch
            return np.tile(np.arange(first, first + self.epoch), (epochs, 1))
        size = self.plan.batch_size
        return np.stack([canonical.epoch_order(seed, e, self.epoch, size) for e in range(epochs)])

    def data(self) -> dict[str, str]:
        """The files that every worker maps, as its command `data` takes them."""
        return self._data

    def sets(self, dataset: Dataset) -> tuple[Array, Array]:
        """The whole training set and the whole test set, as models are given them."""
        workload, held_out = self.plan.workload, self.test_x[self.tests :]
        if (len(held_out), self.tests) != (workload.validation, len(dataset.test_x)):
            of = workload.x, workload.normalise
            return data.prepared(dataset.train_x, *of), data.prepared(dataset.test_x, *of)
        whole = np.concatenate([self.x, held_out]) if len(held_out) else self.x
        return whole, self.test_x[: self.tests]

    def file(self, name: str) -> str:
        """A file of the scratch folder."""
        return str(self.scratch / name)

    def initial(self, seed: int) -> State:
        """The state every dtype starts from, float32."""
        return canonical.initial_state(self.plan.workload, seed)

    def batch(self, rows: Array | slice, seed: int, step: int) -> State:
        """The batch of these rows at a step of a training: x float32, y, noise."""
        workload, batch = self.plan.workload, {"x": self.x[rows]}
        if workload.y != "none":
            batch["y"] = self.y[rows]
        return batch | canonical.noise(workload, seed, step, len(batch["x"]))

    def training(self, kind: str, seed: int) -> tuple[str, str, int]:
        """The files of an initial state and of a saved schedule, and how many steps it has."""
        steps = len(self.schedule(kind, seed))
        return self.file(f"initial-{seed}"), self.file(f"{kind}-{seed}"), steps

    def save_schedule(self, kind: str, seed: int, order: Array, slots: list[Slot]) -> None:
        """A schedule as workers read it: order int64 (epochs, samples), slots int64 (steps, 3)."""
        places, of = np.array(slots, dtype=np.int64), np.array(seed)
        save_tensors(self.file(f"{kind}-{seed}"), {"order": order, "slots": places, "seed": of})

    def schedule(self, kind: str, seed: int) -> list[Array]:
        """The rows of each step of a schedule that was saved."""
        schedule = load_tensors(self.file(f"{kind}-{seed}"))
        return [schedule["order"][e, start:stop] for e, start, stop in schedule["slots"].tolist()]

    def screened(self, step: int, state: State, judge: Reference) -> tuple[Array, int]:
        """The rows of a checkpoint's batch without kinks, and how many were replaced.

        state: float32. Where the samples are coupled (batch norm), or too few have none, the rows
        as they are: what their kinks can move is then part of the limits. InputError where limits
        are a table's.
        """
        slot, measured = self.slots[step], self.plan.workload.limits == "measured"
        order = self.order[slot.epoch]
        if measured and isinstance(judge, Composed) and judge.couples:
            return np.array(order[slot.start : slot.stop]), 0
        try:
            return screen(
                order,
                slot.start,
                slot.stop,
                lambda rows: self.clear(state, self.batch(rows, self.plan.seeds[0], step), judge),
            )
        except ValueError as error:
            if measured and isinstance(judge, Composed):
                return np.array(order[slot.start : slot.stop]), 0
            raise InputError(f"too few samples of the data set are usable: {error}") from None

    def clear(self, state: State, batch: State, judge: Reference) -> Array:
        """Which rows of a batch have nothing within rounding of a kink: bool (n,)."""
        return clear(judge, state, batch, self.plan.screen_margin)


def most_evaluated(plan: Plan) -> int | None:
    """Of test samples and of those held out so many are evaluated; None: all.

    The accuracy of a training cut short says nothing, and thousands of images through convolutions
    take the judge longer than all its steps.
    """
    convolves = any(not product.bound for product in plan.workload.products)
    return FEW_EVALUATED if convolves and plan.steps is not None else None


def reserve(path: Path, shape: tuple[int, ...]) -> Array:
    """A mapped float32 .npy file with its room on the disk taken; OSError where there is none."""
    array = open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):
        # A sparse file that runs out of disk while it is filled ends the process, without a word.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
