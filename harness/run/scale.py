"""How time per step grows with the work: the phases of a run at every size of a grid.

A size is a width (hidden units, or channels), a batch size and, of images, a side. Workers stay
alive from one to the next: each builds a trainer of that size, is judged on it under the limits of
every run, and is timed in interleaved rounds. Every size has an ordinary record of its own, below
one folder for the grid; what is made of them all is in `harness/results/scale.py`. Imports no
framework.
"""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.data import Dataset
from harness.errors import InputError
from harness.files import sync
from harness.plan.choices import MOST_UNITS, Choices, check_choice
from harness.plan.make import make_plan
from harness.plan.model import CONTROL, Plan, Trajectory
from harness.plan.profiles import in_blocks
from harness.progress import Progress
from harness.record.facts import now
from harness.record.schema import FINISHED
from harness.record.store import check_folder, new_run_folder, write
from harness.run.ending import stored
from harness.run.inputs import Inputs
from harness.run.judging import train_judge
from harness.run.learning import find_envelope
from harness.run.memo import Memo
from harness.run.session import check_answers, empty_record, load_dataset, measure_numbers
from harness.run.state import State
from harness.run.timing import measure_roofs, time_rounds
from harness.text import many
from harness.workers.pool import Key, Pool
from harness.workers.scratch import scratch_bytes, scratch_folder
from harness.workloads import DEFAULT, NETS, SIZED, WORKLOADS, side_of, width_of

WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (32, 64, 128, 256, 512, 1024)
# Of convolutions; the largest is about as much work as the largest above.
CHANNELS, IMAGES, SIDES = (8, 16, 32, 64), (4, 16, 64), (8, 16, 32)
# Four times the largest size of the default grid: a step of the judge then takes a second.
MOST = MOST_UNITS
# A median of eight rounds; the default grid then takes some five minutes.
ROUNDS = 8
# Teacher-forced in every size: the first two full batches, the second after a step.
CHECKPOINTS = (0, 1)


def parse_sizes(option: str, text: str) -> tuple[int, ...]:
    """Sizes from text like 64,256: ascending, each once, 1 to MOST; InputError otherwise."""
    sizes = []
    for part in text.split(","):
        digits = part.strip()
        if not (digits.isascii() and digits.isdecimal()):
            raise InputError(f"{option} {text!r}: expected numbers like 64,256")
        if len(digits) > len(str(MOST)) or not 1 <= int(digits) <= MOST:
            raise InputError(f"{option} {text!r}: each from 1 to {MOST}")
        sizes.append(int(digits))
    if len({*sizes}) < len(sizes):
        raise InputError(f"{option} {text!r}: every number once")
    return tuple(sorted(sizes))


def make_plans(
    choices: Choices,
    widths: str | None = None,
    batches: str | None = None,
    threads: str | None = None,
    workload: str | None = None,
    sides: str | None = None,
) -> list[Plan]:
    """A plan a size, by number of threads; InputError where a word cannot be used.

    The least work first: a worker that fails at a size leaves the smaller ones. NumPy always
    enters: its products are the floor.
    """
    named = choices.backends
    chosen = msgspec.structs.replace(
        choices,
        profile="smoke",
        backends=(CONTROL, *named) if named and CONTROL not in named else named,
        rounds=ROUNDS if choices.rounds is None else choices.rounds,
        sessions=1 if choices.sessions is None else choices.sessions,
    )
    workload = DEFAULT if workload is None else workload
    check_choice("--workload", workload, tuple(SIZED))
    counts = parse_sizes("--threads", threads) if threads is not None else (None,)
    named_so = WORKLOADS[workload], NETS[workload]
    plans = [
        make_plan(msgspec.structs.replace(chosen, threads=count), *named_so) for count in counts
    ]
    of_images = side_of(WORKLOADS[workload]) > 0
    if sides is not None and not of_images:
        raise InputError(f"--sides: {workload} has no images whose side can be chosen")
    axes = [("--widths", widths, WIDTHS), ("--batches", batches, BATCHES)]
    if of_images:
        axes = [("--widths", widths, CHANNELS), ("--batches", batches, IMAGES)]
        axes.append(("--sides", sides, SIDES))
    values = [default if text is None else parse_sizes(of, text) for of, text, default in axes]
    sizes = [*itertools.product(*values)]
    return [
        one
        for plan in plans
        for one in sorted((_sized(plan, *size) for size in sizes), key=lambda p: p.workload.work)
    ]


def _sized(plan: Plan, width: int, batch: int, *side: int) -> Plan:
    """The plan of one size: its workload, two batches, a start as long as a block, its rounds.

    Only the label's own process is timed, and once: lockstep and A against A are for `compare`.
    """
    try:
        sized = SIZED[plan.workload.name](width, batch, *side)
    except ValueError as error:
        raise InputError(f"--sides: {error}") from None
    timing = in_blocks(plan.timing, sized.workload)
    return msgspec.structs.replace(
        plan,
        profile="scale",
        workload=sized.workload,
        net=sized.net,
        labels={n: msgspec.structs.replace(k, twin=False) for n, k in plan.labels.items()},
        steps=len(CHECKPOINTS),
        checkpoints=CHECKPOINTS,
        small_sizes=(),
        small_steps=(),
        timing=msgspec.structs.replace(
            timing, rounds=plan.timing.rounds, burst_steps=0, again=None
        ),
        trajectory=Trajectory(timing.steps, (timing.steps,)),
    )


def run(plans: list[Plan], results_dir: Path, progress: Progress, memo: Memo | None = None) -> Path:
    """Carry out the plans of a grid and store a record each; the folder results_dir/scale/<name>.

    As `session.run`: whatever stops it, no process is left and what was measured is stored; sizes
    that were not reached have a record that says so. memo: as `session.run`'s.
    """
    check_folder(results_dir)
    _, dataset = load_dataset(max(plans, key=lambda plan: plan.batch_size), progress)
    with scratch_folder(max(scratch_bytes(plan, len(dataset)) for plan in plans)) as scratch:
        folder = new_run_folder(results_dir, "scale")
        grid = _Grid(folder, scratch, progress, memo or Memo())
        with stored(grid, folder, scratch, end_all=grid.end, write=grid.store):
            grid.measure(plans, dataset)
    return folder.with_name(grid.name)


class _Quiet:
    """The progress of one size, of which only the notes are shown."""

    def __init__(self, progress: Progress) -> None:
        self.note = progress.note

    def phase(self, name: str, total: int) -> None:
        """Not shown."""

    def advance(self, done: int) -> None:
        """Not shown."""


@dataclass
class _Grid:
    """A grid being measured: its sizes, and the workers of the present session.

    `ended`, `seconds`: as those of a Record; a size's own record has none until it is finished.
    """

    folder: Path
    scratch: Path
    progress: Progress
    memo: Memo
    ended: str = FINISHED
    seconds: float = 0.0
    states: list[State] = field(default_factory=list)
    pool: Pool | None = None

    @property
    def name(self) -> str:
        """The folder's name once the grid is whole."""
        return self.folder.name.removeprefix(".")

    def measure(self, plans: list[Plan], dataset: Dataset) -> None:
        """Every size in every session, for every number of threads."""
        self.states = [self._state(plan) for plan in plans]
        first, *others = (state.record for state in self.states)
        inputs = check_answers(first, dataset, self.scratch)
        for record in others:
            record.dataset, record.known_answers = first.dataset, first.known_answers
        for threads, sizes in itertools.groupby(self.states, lambda state: state.plan.threads):
            states, keys = [*sizes], None
            sessions = states[0].plan.timing.sessions
            for session in range(sessions):
                pool = self._start(states[0].plan, session, keys, inputs)
                of = f", session {session + 1} of {sessions}" if sessions > 1 else ""
                self.progress.phase(
                    f"sizes of the model, {many(threads, 'thread')}{of}", len(states)
                )
                for done, state in enumerate(states, 1):
                    _measure(state, pool, inputs, session)
                    if session + 1 == sessions:
                        state.record.ended = state.record.ended or FINISHED
                    self.progress.advance(done)
                keys = pool.live()
                for key in keys:
                    pool.say_goodbye(key)

    def _state(self, plan: Plan) -> State:
        """A size that nothing was measured of; its files go to places of its own."""
        side = side_of(plan.workload)
        of_side = f"x{side}" if side else ""
        place = f"{width_of(plan.workload)}x{plan.batch_size}{of_side}-{plan.threads}"
        record = empty_record(plan, f"{self.name}-{place}")
        record.ended, folder = "", self.folder / "runs" / place
        folder.mkdir(parents=True)
        quiet = _Quiet(self.progress)
        return State(plan, record, folder, self.scratch / place, quiet, memo=self.memo)

    def _start(self, plan: Plan, session: int, keys: list[Key] | None, inputs: Inputs) -> Pool:
        """A session's processes, all importing at once; of later sessions only these."""
        logs = self.folder / "logs" / str(plan.threads)
        pool = Pool(plan, self.name, logs, self.scratch, _Quiet(self.progress), session)
        self.pool = pool
        self.progress.phase(
            "starting the backends", len(plan.labels) if keys is None else len(keys)
        )
        entered = empty_record(plan, self.name)  # every size enters them in its own: `turn_to`
        if keys is None:
            pool.start(entered)
        for key in keys or ():
            pool.start_one(entered, key)
        pool.await_started(inputs.data())
        return pool

    def store(self) -> None:
        """Store every size, one that is not finished with how the grid ended; name the folder."""
        for state in self.states:
            state.record.ended = state.record.ended or self.ended
            write(state.record, state.folder)
        self.folder.rename(self.folder.with_name(self.name))
        sync(self.folder.parent)

    def end(self) -> None:
        """End whatever process still lives."""
        if self.pool is not None:
            self.pool.end_all()


def _measure(state: State, pool: Pool, inputs: Inputs, session: int) -> None:
    """One size in one session; its numbers in the first only. A size that cannot be ends alone."""
    began = time.monotonic()
    state.scratch.mkdir()
    try:
        state.pool, state.inputs = pool, inputs.resized(state.plan, state.scratch)
        pool.turn_to(state.plan, state.record)
        if pool.live() and session == 0:
            state.record.started = now()
            state.start_reference()
            train_judge(state)
            measure_numbers(state)
            find_envelope(state)
            if side_of(state.plan.workload):
                measure_roofs(state)
        time_rounds(state, session)
        for key in pool.live():
            with pool.containing(key):
                pool.note_usage(key)
    except InputError as error:
        state.record.ended = str(error)
    finally:
        state.record.seconds += time.monotonic() - began
        shutil.rmtree(state.scratch)
