"""Several workloads one after another: each has a run and a record of its own.

In the profile smoke their workers live on from one to the next, since starting a framework takes
longer than asking it: memory and imports are then those of all so far. In the others every run
starts its own. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from harness.data import Dataset
from harness.errors import InputError
from harness.plan.model import Plan
from harness.progress import Progress
from harness.record.schema import INTERRUPTED, Record
from harness.record.store import check_folder, complete, new_run_folder
from harness.run import session
from harness.run.ending import stored
from harness.run.memo import Memo
from harness.run.state import State
from harness.workers.pool import Pool
from harness.workers.scratch import scratch_bytes, scratch_folder

# The profile in which workers live on.
LIVING = "smoke"


class NotRun(NamedTuple):
    """A workload that could not be compared, and why."""

    workload: str
    reason: str


# A record and its folder, or what could not be run.
Each = tuple[Record, Path] | NotRun


def run(plans: list[Plan], results_dir: Path, progress: Progress, memo: Memo) -> Generator[Each]:
    """Carry out the plans, one after another; each record and its folder once it is stored.

    memo: where results of the judge are kept. Whatever ends one run does not end the others, but
    for Ctrl-C. InputError, before anything is measured, where the data of one of them or the
    results directory cannot be used.
    """
    check_folder(results_dir)
    loaded = [session.load_dataset(plan, progress) for plan in plans]
    needed = max(scratch_bytes(plan, len(dataset)) for plan, dataset in loaded)
    with scratch_folder(needed) as scratch, _crew(progress) as crew:
        for number, (plan, dataset) in enumerate(loaded):
            progress.note(f"{plan.workload.name}, {number + 1} of {len(plans)}")
            try:
                if plan.profile == LIVING:
                    place = scratch / str(number)
                    done = _with_crew(plan, dataset, crew, results_dir, place, memo)
                else:
                    done = session.run(plan, results_dir, progress, memo)
            except InputError as error:
                yield NotRun(plan.workload.name, str(error))
                continue
            yield done
            if done[0].ended == INTERRUPTED:
                return


class _Crew(list[Pool]):
    """The pool whose workers live on, once there is one; and how far they are."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress


def _with_crew(
    plan: Plan, dataset: Dataset, crew: _Crew, results_dir: Path, scratch: Path, memo: Memo
) -> tuple[Record, Path]:
    """As `session.run`, in workers that are there already, where they are."""
    folder = new_run_folder(results_dir)
    record = session.empty_record(plan, folder.name.removeprefix("."))
    scratch.mkdir()
    state = State(plan, record, folder, scratch, crew.progress, memo=memo)
    state.pool, state.crew = crew[0] if crew else state.pool, True
    crew[:] = [state.pool]
    write = partial(complete, record, folder)
    with stored(record, folder, scratch, end_all=state.end_own, write=write):
        session.measure_all(state, dataset)
    return record, folder.with_name(record.run)


@contextmanager
def _crew(progress: Progress) -> Iterator[_Crew]:
    """No pool yet; the one that comes is ended in any case."""
    crew = _Crew(progress)
    try:
        yield crew
    finally:
        for pool in crew:
            pool.end_all()
