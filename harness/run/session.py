"""Drives workers through a plan and fills one Record; each phase is a module beside.

The order: known answers of the shared code; all workers import at once while the judge trains;
then one worker computes at a time: a product that must not round, the same training twice,
teacher-forced batches, float64 lockstep, single operators, free training, and timing in
interleaved rounds. A worker that fails leaves what it measured; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from harness import __version__, data
from harness.errors import HarnessError, InputError
from harness.plan.model import Plan, judged_by_file, judged_by_label
from harness.progress import Progress
from harness.record.facts import describe_dataset, describe_machine, now
from harness.record.schema import FINISHED, Record, Results
from harness.record.store import check_folder, complete, new_run_folder
from harness.run import checkpoint, failing, golden_file, identity, known_answers
from harness.run.agreement import batches, lockstep, probe_precision, start_twice, teacher_force
from harness.run.ending import stored
from harness.run.inputs import Inputs
from harness.run.judging import train_judge, train_reference
from harness.run.learning import find_envelope, show_differing, train
from harness.run.memo import Memo
from harness.run.operators import single_operators
from harness.run.state import State
from harness.run.timing import end_twins, time_steps
from harness.signals import undisturbed
from harness.verdict import timing_stats
from harness.workers.scratch import scratch_bytes, scratch_folder
from harness.workloads.declare import of_batches


def check_answers(record: Record, dataset: data.Dataset, scratch: Path) -> Inputs:
    """The known answers of the shared code, and the inputs of the record's plan, made by it.

    HarnessError where an answer is wrong.
    """
    record.known_answers = known_answers.check_shared_code()
    _refuse_wrong_answers(record)
    record.dataset = describe_dataset(dataset)
    inputs = Inputs(record.plan, dataset, scratch)
    record.known_answers += known_answers.check_data(
        dataset, record.plan.workload.normalise, *inputs.sets(dataset)
    )
    _refuse_wrong_answers(record)
    return inputs


def begin(state: State, dataset: data.Dataset) -> None:
    """Everything before the first measurement; new workers import meanwhile."""
    alive = bool(state.pool.processes)  # since the run before
    if not alive:
        state.pool.start(state.record)
    state.inputs = inputs = check_answers(state.record, dataset, state.scratch)
    state.start_reference()
    failing.foresee(state)
    state.record.lockstep_steps = [done - 1 for done in inputs.snapshots]
    if alive:
        state.pool.go_on(state.plan, state.record, inputs.data())
    if judged_by_label(state.plan):
        state.pool.await_started(inputs.data())
        train_judge(state)
    else:
        train_judge(state)
        state.pool.await_started(inputs.data())


def _refuse_wrong_answers(record: Record) -> None:
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        raise HarnessError(
            f"known answers of the shared code: {'; '.join(wrong)}: not what is pinned; "
            "nothing was compared, since every backend would share the mistake"
        )


def phases(plan: Plan) -> int:
    """How many phases a run of this plan tells its progress of: those of `measure_all`."""
    timing, start = plan.timing, plan.trajectory is not None
    replicas = start and any(label.dtype == "float32" for label in plan.labels.values())
    # Workers, reference, single batches, lockstep and free training are in every run.
    once = 5 + start + (len(plan.seeds) > 1) + replicas + plan.operators
    # Every session but the first starts its workers; the first one only A against A's second.
    return once + 2 * timing.sessions - (timing.again is None)


def measure_numbers(state: State) -> None:
    """The rungs up to lockstep, and the trajectory's start."""
    probe_precision(state)
    start_twice(state)
    teacher_force(state)
    lockstep(state)


def measure_all(state: State, dataset: data.Dataset) -> None:
    """Every phase in order; what a run that was cut off has finished is not done again."""
    begin(state, dataset)
    if (kept := state.checkpoint) is not None:
        state.predicted = kept.restore(state.record, state.pool, state.progress.note)
    with ThreadPoolExecutor(1) as beside:
        if state.plan.timing.sessions:
            beside.submit(timing_stats.load)
        _once(state, measure_numbers)
    failing.tell(state)
    train_reference(state)
    _once(state, single_operators)
    end_twins(state)
    train(state)
    end_twins(state, judge=True)
    show_differing(state)
    find_envelope(state)
    time_steps(state)


def _once(state: State, phase: Callable[[State], None]) -> None:
    """Go through a phase unless it is done, and keep what it found."""
    kept = state.checkpoint
    if kept is None:
        phase(state)
    elif phase.__name__ not in kept.phases:
        phase(state)
        kept.keep(state.record, state.predicted, phase.__name__)


class Live:
    """A session that has begun: any number of trials in the same workers."""

    def __init__(self, state: State) -> None:
        self._state = state

    def trial(self, plants: dict[str, str | None]) -> Record:
        """The rungs up to lockstep for some labels; a record of those.

        Each label has a fault planted (None: clean) in its workers as they live.
        """
        state, whole = self._state, self._state.record
        state.trials += 1
        labels = {
            label: msgspec.structs.replace(state.plan.labels[label], plant=plant)
            for label, plant in plants.items()
        }
        state.record = msgspec.structs.replace(
            whole,
            plan=msgspec.structs.replace(state.plan, labels=labels, skipped={}),
            cases=[],
            kept=[],
            results={label: Results(processes=whole.results[label].processes) for label in labels},
        )
        state.pool.only = labels
        try:
            self._plant(plants)
            measure_numbers(state)
            return msgspec.convert(msgspec.to_builtins(state.record), Record)
        finally:
            self._plant(dict.fromkeys(plants))
            state.pool.only = None
            state.record = whole

    def _plant(self, plants: dict[str, str | None]) -> None:
        pool = self._state.pool
        for key in pool.live():
            with pool.containing(key):
                pool.call(key, "plant", plant=plants[key.label])


def load_dataset(plan: Plan, progress: Progress) -> tuple[Plan, data.Dataset]:
    """The plan's data, and the plan with its batch size, if that is all rows.

    InputError where there are none, too few, or they are not what the workload takes.
    """
    workload = plan.workload
    if plan.net is not None and plan.net.can_fail and len(plan.seeds) > 1:
        progress.note(f"{workload.name} may fail: only seed {plan.seeds[0]} is trained")
        plan = msgspec.structs.replace(plan, seeds=plan.seeds[:1])
    directory = Path(plan.data_dir) if plan.data_dir is not None else None
    dataset = data.of_workload(
        *(workload, plan.dataset, directory),
        seeds=plan.seeds,
        steps=plan.steps,
        warn=progress.note,
    )
    n = len(dataset.train_x) // max(1, len(dataset.made_for)) - workload.validation
    if workload.batch_size is None:
        workload = of_batches(workload, plan.net, n)
        return msgspec.structs.replace(plan, workload=workload), dataset
    if n < 2 * workload.batch_size:
        raise InputError(
            f"data set {dataset.source}: {n} training samples, and two batches need "
            f"{2 * workload.batch_size}"
        )
    last = n % workload.batch_size or workload.batch_size
    if plan.net is not None and last < plan.net.least:
        raise InputError(
            f"data set {dataset.source}: {n} training samples in batches of {workload.batch_size} "
            f"leave a last one of {last}, and a step needs {plan.net.least}: a variance of one "
            "value is none; choose another batch_size"
        )
    return plan, dataset


def empty_record(plan: Plan, run: str) -> Record:
    """A record of this name that holds nothing yet."""
    return Record(
        run=run,
        started=now(),
        seconds=0.0,
        ended=FINISHED,
        harness_version=__version__,
        plan=plan,
        machine=describe_machine(),
        dataset=None,
        results={},
    )


@contextmanager
def unstored(
    plan: Plan, progress: Progress, folder: Path | None = None
) -> Iterator[tuple[State, data.Dataset]]:
    """A session whose record nobody stores; its logs go to `folder`, or with the scratch folder."""
    plan, dataset = load_dataset(plan, progress)
    with scratch_folder(scratch_bytes(plan, len(dataset))) as scratch:
        folder = folder or scratch
        state = State(plan, empty_record(plan, folder.name), folder, scratch, progress)
        try:
            yield state, dataset
        finally:
            with undisturbed():
                state.end_all()


@contextmanager
def live(plan: Plan, folder: Path, progress: Progress) -> Iterator[Live]:
    """A session that has begun, for any number of trials; its logs go to `folder`."""
    with unstored(plan, progress, folder) as (state, dataset):
        begin(state, dataset)
        find_envelope(state)
        state.batches = list(batches(state))
        yield Live(state)


def run(
    plan: Plan,
    results_dir: Path,
    progress: Progress,
    memo: Memo | None = None,
    left: Path | None = None,
) -> tuple[Record, Path]:
    """Carry out a plan and store its record; the record and its folder.

    memo: where results of the judge are kept; None: nowhere.
    Whatever stops the run (a signal, the harness's own failure), no process is left and what was
    measured is stored; the record says what happened. left: the folder of a run that was cut off,
    from which it goes on. Raises InputError, with nothing written, where the data, the results
    directory or a backend asked for by name cannot be used, or where one cannot go on from `left`.
    """
    check_folder(results_dir)
    if judged_by_file(plan):
        golden_file.read(Path(plan.reference))  # refused now, if at all
    asked, (plan, dataset) = plan, load_dataset(plan, progress)
    own = identity.of(asked, describe_dataset(dataset))
    with (
        checkpoint.claimed(left, own) as of,
        scratch_folder(scratch_bytes(plan, len(dataset))) as scratch,
    ):
        folder = new_run_folder(results_dir)
        record = empty_record(plan, folder.name.removeprefix("."))
        state = State(plan, record, folder, scratch, progress, memo=memo or Memo())
        state.checkpoint = kept = checkpoint.Checkpoint(folder, of, left)
        done = folder.with_name(record.run)

        def write() -> None:
            checkpoint.leave_out_memory(record)
            complete(record, folder)
            kept.end(done, finished=record.ended == FINISHED)

        with stored(
            *(record, folder, scratch), end_all=state.end_all, write=write, worth=kept.worth
        ):
            measure_all(state, dataset)
    return record, done
