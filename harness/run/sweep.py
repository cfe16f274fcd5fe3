"""Many runs: a grid of workloads, labels and seeds, each cell a run of its own that is done once.

A cell is known by all that decides its numbers: its plan, its data, the versions of its packages,
the harness's own files and the user's. What is finished under that key is not run again, whoever
asked for it, and however the sweep before ended. Imports no framework.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from harness import files
from harness.errors import InputError
from harness.plan.choices import Choices
from harness.plan.make import available_threads, make_plan
from harness.plan.model import Plan
from harness.progress import Progress
from harness.record.facts import describe_dataset
from harness.record.schema import DatasetFacts
from harness.record.store import check_folder
from harness.run import cell, identity, session
from harness.text import many
from harness.workers import providers

CELLS = "cells"
# Of a key's letters, 4 bits each: two of a million cells have the same once in 10^17 sweeps.
KEY_LETTERS = 24
# How often a cell that failed is tried.
TRIES = 2


class Cell(NamedTuple):
    """A run of the grid. `label`, `seed`: whose numbers it finds; None, None: it times all."""

    workload: str
    label: str | None
    seed: int | None
    plan: Plan
    folder: Path

    @property
    def name(self) -> str:
        """In a few words."""
        if self.label is None:
            return f"{self.workload}, timing"
        return f"{self.workload}, {self.label}, seed {self.seed}"


class Grid(NamedTuple):
    """All cells, and why labels take no part: by workload and label."""

    cells: list[Cell]
    skipped: dict[str, dict[str, str]]


def make(
    choices: Choices, workloads: Iterable[str | None], results_dir: Path, progress: Progress
) -> Grid:
    """The grid of these workloads, every label of the choices, and every seed.

    A cell of numbers is one label at one seed, in one thread unless the choices say otherwise.
    Where sessions are chosen, each workload has a cell of times too: all its labels, on the whole
    machine. InputError where a plan cannot be made.
    """
    check_folder(results_dir / CELLS)
    threads = 1 if choices.threads is None else choices.threads
    of_numbers = msgspec.structs.replace(choices, sessions=None, threads=threads)
    grid, keys = Grid([], {}), _Keys(progress)
    for spec in workloads:
        found = providers.find(spec)
        plan = make_plan(of_numbers, *found)
        name = plan.workload.name
        grid.skipped[name] = plan.skipped
        plans: list[tuple[str | None, int | None, Plan]] = [
            (label, seed, _alone(plan, label, seed))
            for label in plan.labels
            if label not in plan.skipped
            for seed in plan.seeds
        ]
        if choices.sessions is not None:
            timed = make_plan(choices, *found)
            plans.append((None, None, msgspec.structs.replace(timed, seeds=timed.seeds[:1])))
        for label, seed, own in plans:
            folder = results_dir / CELLS / keys.of(own)
            grid.cells.append(Cell(name, label, seed, own, folder))
    return grid


def _alone(plan: Plan, label: str, seed: int) -> Plan:
    """The plan of one label at one seed, without its times."""
    return msgspec.structs.replace(
        plan,
        labels={label: plan.labels[label]},
        seeds=(seed,),
        skipped={},
        timing=msgspec.structs.replace(plan.timing, sessions=0, again=None),
    )


class _Keys:
    """The keys of plans; data that several have are looked at once."""

    def __init__(self, progress: Progress) -> None:
        self._data: dict[tuple[object, ...], DatasetFacts] = {}
        self._progress = progress

    def of(self, plan: Plan) -> str:
        """A name for all that decides what a plan's run gives."""
        return identity.of(plan, self._dataset(plan)).digest[:KEY_LETTERS]

    def _dataset(self, plan: Plan) -> DatasetFacts:
        # Made data follow from the seed, which is in the plan.
        of = (plan.workload.data, plan.workload.x, plan.dataset, plan.data_dir)
        if of not in self._data:
            _, dataset = session.load_dataset(plan, self._progress)
            self._data[of] = describe_dataset(dataset)
        return self._data[of]


class Place(Protocol):
    """Where cells are carried out."""

    @property
    def processors(self) -> int:
        """How many there are."""

    def carry_out(self, folder: Path, processors: int | None) -> str:
        """Do what lies in a cell's folder, with so many processors (None: alone on a machine)."""


def run(grid: Grid, place: Place, jobs: int | None, progress: Progress) -> None:
    """Carry out what is not finished; what fails is tried once more, and told.

    Those of numbers side by side, `jobs` at a time (default: as many as have a processor for each
    of their threads); then those of times, one after another. KeyboardInterrupt leaves what is
    done; the rest is done by the next sweep.
    """
    todo = []
    for each in grid.cells:
        run, wrong = cell.done(each.folder)
        if run is None or wrong:
            todo.append(each)
        if wrong:
            progress.note(f"{each.name}: {wrong}; it is measured anew")
    progress.note(f"{len(grid.cells)} cells, {len(grid.cells) - len(todo)} of them done before")
    numbers = [each for each in todo if each.label is not None]
    threads = max((each.plan.threads for each in numbers), default=1)
    jobs = jobs or max(1, place.processors // threads)
    _side_by_side(numbers, jobs, place, progress, "cells")
    timed = [each for each in todo if each.label is None]
    _side_by_side(timed, 1, place, progress, "cells of times")


def _side_by_side(
    cells: list[Cell], jobs: int, place: Place, progress: Progress, name: str
) -> None:
    if not cells:
        return
    progress.phase(name, len(cells))
    pool = ThreadPoolExecutor(jobs)
    try:
        asked: dict[Future[str], Cell] = {
            pool.submit(_tried, each, place): each for each in _distinct(cells)
        }
        for done, future in enumerate(as_completed(asked), 1):
            if said := future.result():
                progress.note(f"{asked[future].name}: {said}; tried {TRIES} times")
            progress.advance(done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def so_far(grid: Grid) -> str:
    """How many cells are done, in words."""
    done = sum(cell.finished(each.folder) is not None for each in grid.cells)
    return f"{done} of {many(len(grid.cells), 'cell')} done"


def _distinct(cells: list[Cell]) -> list[Cell]:
    """A cell that is asked for twice is done once."""
    return [*{each.folder: each for each in cells}.values()]


def _tried(each: Cell, place: Place) -> str:
    """Why it failed; empty where it did not."""
    try:
        each.folder.mkdir(parents=True, exist_ok=True)
        files.write_atomic(each.folder / cell.PLAN, msgspec.json.encode(each.plan))
    except OSError as error:
        return f"cannot make {each.folder}: {files.why(error)}"
    except InputError as error:
        return str(error)
    said = ""
    for _ in range(TRIES):
        said = place.carry_out(each.folder, each.plan.threads if each.label else None)
        if cell.finished(each.folder) is not None:
            return ""
    return said or "failed"


class Local:
    """Cells as processes of this machine, which end with this one; `words`: each is given."""

    processors = available_threads()

    def __init__(self, *words: str) -> None:
        self._words = words
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def carry_out(self, folder: Path, processors: int | None) -> str:  # noqa: ARG002 - as Place's
        """Wait for a cell's process; what it said last, or what ended it."""
        with (folder / cell.LOG).open("wb") as file:
            with self._lock:
                if self._closed:
                    return "stopped"
                words = (os.path.abspath(folder), *self._words)
                process = subprocess.Popen(
                    [sys.executable, "-m", "harness.run.cell", *words],
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
                self._running.add(process)
            process.wait()
            cell.tell_signal(file, process.returncode)
        with self._lock:
            self._running.discard(process)
            assert process.stdin is not None
            process.stdin.close()
        return cell.said(folder)

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of those that still run, and wait until they have stored what they have."""
        with self._lock:
            self._closed, running = True, [*self._running]
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        for process in running:
            process.wait()
