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
from harness.errors import InputError
from harness.interface import Array, Params
from harness.plan.model import Plan, checkpoint_steps, small_steps
from harness.tensors import load_tensors, save_tensors
from harness.workloads.reference import canonical
from harness.workloads.reference.canonical import Slot
from harness.workloads.reference.pieces import Reference
from harness.workloads.reference.screening import clear, screen


class Inputs:
    """Data and schedules of a plan.

    x, test_x: float32 pixels (n, inputs), mapped; y, test_y: int64 labels. `image_shape`: rows and
    columns of an image. `slots`: every step of the schedule; `ends`: the last step of each epoch.
    `order`: int64 (epochs, n), of the first seed. `lockstep_steps`: how many steps lockstep takes;
    `snapshots`: numbers of steps done after which it compares.
    """

    def __init__(self, plan: Plan, dataset: data.Dataset, scratch: Path) -> None:
        self.plan = plan
        self.scratch = scratch
        train, test = (
            reserve(scratch / f"{name}.npy", (len(images), images[0].size))
            for name, images in (("x", dataset.train_images), ("test_x", dataset.test_images))
        )
        self.image_shape = dataset.test_images.shape[1:]
        self.x, self.y = data.training_set(dataset, train)
        self.test_x, self.test_y = data.evaluation_set(dataset, test)
        np.save(self.file("y.npy"), self.y)
        np.save(self.file("test_y.npy"), self.test_y)
        names = {"train_x": "x", "train_y": "y", "test_x": "test_x", "test_y": "test_y"}
        self._data = {field: self.file(f"{name}.npy") for field, name in names.items()}
        self._schedule(plan)

    def resized(self, plan: Plan, scratch: Path) -> Inputs:
        """The same data for a plan with another size of the workload; its files go to `scratch`."""
        made = copy.copy(self)
        made.plan, made.scratch = plan, scratch
        made._schedule(plan)
        return made

    def _schedule(self, plan: Plan) -> None:
        """Every step that the plan asks for, and those that are looked at; written for workers."""
        workload, n = plan.workload, len(self.x)
        self.slots: list[Slot] = canonical.schedule(
            n, workload.batch_size, workload.epochs, plan.steps
        )
        self.rows = np.array([slot.stop - slot.start for slot in self.slots])
        epochs = max(slot.epoch for slot in self.slots) + 1
        self.ends = [
            step
            for step, slot in enumerate(self.slots)
            if step + 1 == len(self.slots) or self.slots[step + 1].epoch != slot.epoch
        ]
        cut = plan.steps is not None
        last = len(self.slots) - 1 if cut else self.ends[min(plan.lockstep_epochs, epochs) - 1]
        self.checkpoints = checkpoint_steps(plan, len(self.slots))
        self.small = small_steps(plan, len(self.slots))
        late = plan.trajectory.late_from if plan.trajectory is not None else None
        self.late = self.ends[late - 1 :] if late is not None and plan.steps is None else []
        for seed in plan.seeds:
            order = np.stack([canonical.epoch_order(seed, e, n) for e in range(epochs)])
            if seed == plan.seeds[0]:
                self.order = order
            self.save_schedule("schedule", seed, order, self.slots)
            save_tensors(self.file(f"initial-{seed}"), self.initial(seed))
        inside = [c for c in self.checkpoints if 0 < c <= last]
        self.follow(sorted({*inside, *(e + 1 for e in self.ends if e <= last), last + 1}))

    def follow(self, after: list[int]) -> None:
        """Take lockstep as far as the last of `after`; it compares after each: steps, ascending.

        InputError where the schedule has not so many.
        """
        if after[-1] > len(self.slots):
            raise InputError(f"after {after[-1]} steps: the schedule has {len(self.slots)}")
        self.snapshots, self.lockstep_steps = after, after[-1]
        self.save_schedule("lockstep", self.plan.seeds[0], self.order, self.slots[: after[-1]])

    def data(self) -> dict[str, str]:
        """The files that every worker maps, as its command `data` takes them."""
        return self._data

    def file(self, name: str) -> str:
        """A file of the scratch folder."""
        return str(self.scratch / name)

    def initial(self, seed: int) -> Params:
        """The parameters every dtype starts from, float32."""
        return canonical.initial_params(self.plan.workload, seed)

    def training(self, kind: str, seed: int) -> tuple[str, str, int]:
        """The files of initial parameters and of a saved schedule, and how many steps it has."""
        steps = len(self.schedule(kind, seed))
        return self.file(f"initial-{seed}"), self.file(f"{kind}-{seed}"), steps

    def save_schedule(self, kind: str, seed: int, order: Array, slots: list[Slot]) -> None:
        """A schedule as workers read it: order int64 (epochs, samples), slots int64 (steps, 3)."""
        schedule = {"order": order, "slots": np.array(slots, dtype=np.int64)}
        save_tensors(self.file(f"{kind}-{seed}"), schedule)

    def schedule(self, kind: str, seed: int) -> list[Array]:
        """The rows of each step of a schedule that was saved."""
        schedule = load_tensors(self.file(f"{kind}-{seed}"))
        return [schedule["order"][e, start:stop] for e, start, stop in schedule["slots"].tolist()]

    def screened(self, step: int, params: Params, judge: Reference) -> tuple[Array, int]:
        """The rows of a checkpoint's batch without kinks, and how many were replaced.

        params: float32. InputError where the data set has too few samples.
        """
        slot = self.slots[step]
        try:
            return screen(
                self.order[slot.epoch],
                slot.start,
                slot.stop,
                lambda rows: self.clear(params, self.x[rows], judge),
            )
        except ValueError as error:
            raise InputError(f"too few samples of the data set are usable: {error}") from None

    def clear(self, params: Params, x: Array, judge: Reference) -> Array:
        """Which rows of x have no pre-activation within rounding of a kink: bool (n,)."""
        return clear(judge, params, x, self.plan.screen_margin)


def reserve(path: Path, shape: tuple[int, int]) -> Array:
    """A mapped float32 .npy file with its room on the disk taken; OSError where there is none."""
    array = open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):
        # A sparse file that runs out of disk while it is filled ends the process, without a word.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
