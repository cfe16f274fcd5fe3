"""Trains what everything is compared with; its parameters at every step looked at are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from harness.errors import HarnessError, InputError
from harness.plan.model import judged_by_label
from harness.run.judge import FileJudge, Judge, LabelJudge, ReferenceJudge
from harness.run.learning import stored_training
from harness.run.state import State
from harness.workers.pool import Key
from harness.workloads.reference.canonical import Slot, schedule
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.envelope import asymmetry, clear_batches

# Far above float64's rounding, far below what units that are not alike make of a loss.
ASYMMETRY = 1e-9


def train_judge(state: State) -> None:
    """The judge trains; its parameters at checkpoints and snapshots, and its logits, are kept.

    A label that is the reference must have started; the harness's own trains meanwhile.
    """
    # One thread while every core is busy importing: two would wait for each other far longer
    # than they compute (50 ms a step in place of 6).
    threads = threadpool_limits(1)

    def before_step(step: int) -> None:
        if step % 20 == 0 and state.pool.all_answered():
            threads.restore_original_limits()
        state.progress.advance(next(state.judge_steps))

    state.judge = _judge(state, before_step)
    _check_symmetries(state)
    keep = {
        *(c - 1 for c in state.inputs.checkpoints),
        *(s - 1 for s in state.inputs.snapshots),
        *state.inputs.late,
    }
    chosen, kind = state.plan.trajectory, state.lockstep_kind
    steps = len(state.inputs.slots) + (chosen.start_steps if chosen is not None else 0)
    steps += state.inputs.lockstep_steps if kind != "schedule" else 0
    state.progress.phase("training the reference", steps)
    state.judge_steps = itertools.count()
    try:
        _train_judge(state, "schedule", state.seed, keep, state.inputs.evaluations)
        if state.lockstep_kind != "schedule":
            _train_judge(state, state.lockstep_kind, state.seed, keep, [])
        _find_start_batches(state)
        if state.plan.trajectory is not None:
            after = {done - 1 for done in state.start_after()}
            _train_judge(state, "start", state.seed, after, [])
    finally:
        threads.restore_original_limits()


def _check_symmetries(state: State) -> None:
    """InputError where permuting the workload's units changes what its reference computes."""
    workload, inputs = state.plan.workload, state.inputs
    if not workload.symmetries or state.reference is state.judge:
        return
    rows = inputs.order[0][: state.plan.batch_size]
    at = cast(inputs.initial(state.seed)), cast(inputs.batch(rows, state.seed, 0))
    off = asymmetry(state.reference, workload, *at)
    if not off < ASYMMETRY:
        raise InputError(
            f"workload {workload.name}: permuting {', '.join(workload.symmetries)} moves its loss "
            f"by {off:.2g} of itself: one of its symmetries is none"
        )


def _judge(state: State, before_step: Callable[[int], None]) -> Judge:
    """Whoever the plan names; HarnessError for a label that did not start."""
    plan, inputs = state.plan, state.inputs
    if state.golden is not None:
        return FileJudge(state.golden, state.reference, inputs, before_step)
    if not judged_by_label(plan):
        return ReferenceJudge(state.reference, inputs, before_step)
    label, _, dtype = plan.reference.rpartition(":")
    key = Key(label, dtype)
    if key not in state.pool.workers:
        reason = state.pool.processes[key].reason
        raise HarnessError(f"the reference {plan.reference} cannot run: {reason}")
    judge = LabelJudge(state.pool, key, inputs)
    if plan.provided is not None and not plan.provided.reference:
        state.reference = judge
    return judge


def _find_start_batches(state: State) -> None:
    """The schedule of the start: the first full batches without samples near a kink."""
    chosen, inputs = state.plan.trajectory, state.inputs
    if chosen is None:
        return
    size = state.plan.batch_size
    every = schedule(inputs.epoch, size, len(inputs.order), chosen.start_steps)
    full = [slot for slot in every if slot.stop - slot.start == size]
    # Of samples that are coupled none can be replaced for its kinks. Then, and where too few have
    # none, the steps twice are still to be the same; nothing is said of the envelope.
    judge = state.reference
    state.start_clear = not (isinstance(judge, Composed) and judge.couples and judge.kinked)
    batches = [inputs.order[slot.epoch][slot.start : slot.stop] for slot in full]
    try:
        if state.start_clear:
            batches, _ = clear_batches(
                state.reference,
                state.plan.workload,
                inputs.initial(state.seed),
                lambda rows, step: inputs.batch(rows, state.seed, step),
                inputs.order,
                full,
                chosen.clearance,
            )
    except ValueError as error:
        if state.plan.workload.limits == "table":
            raise InputError(f"too few samples of the data set are usable: {error}") from None
        state.start_clear = False
    slots = [Slot(0, i * size, (i + 1) * size) for i in range(len(batches))]
    inputs.save_schedule("start", state.seed, np.concatenate(batches)[None], slots)
    state.start_steps = len(batches)


def train_reference(state: State) -> None:
    """The judge trains the other seeds too: accuracy is compared seed by seed."""
    others = state.plan.seeds[1:]
    if others:
        steps = len(others) * len(state.inputs.slots)
        state.progress.phase("training the reference from other seeds", steps)
        state.judge_steps = itertools.count()
    for seed in others:
        _train_judge(state, "schedule", seed, set(), state.inputs.evaluations)


def _train_judge(
    state: State, kind: str, seed: int, snapshots: set[int], evaluations: list[int]
) -> None:
    folder = state.judge_folder(kind, seed)
    held = [step for step in range(state.inputs.training(kind, seed)[2]) if step in snapshots]
    names = [f"state-{n}" for n in held] + [f"outputs-{n}" for n in evaluations] + ["series"]
    train = partial(state.judge.train, kind, seed, snapshots, evaluations)
    state.remembered.lay_out(state.decided_by(kind, seed), names, folder, train)
    if kind == "schedule":
        trained = stored_training(state, folder, "float64", seed, evaluations)
        state.record.reference.append(trained)
