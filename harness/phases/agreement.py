"""The rungs up to lockstep, the trajectory's start, and each process against itself."""

from __future__ import annotations

import numpy as np

from harness import measure
from harness.exchange import load_tensors, save_tensors
from harness.interface import Array, Params
from harness.launch import WorkerUnavailable
from harness.measure import Wanted
from harness.phases.beside import ask_operator
from harness.phases.keeping import keep_if_off, keep_lockstep_if_off
from harness.phases.learning import train_worker
from harness.phases.state import State
from harness.plan import SMALL_LEAST_LOSS
from harness.record import Case
from harness.workloads import PROBES

# Probe batches are chosen from so many samples: enough for 256 clear and bright ones.
PROBE_POOL = 4096


def probe_precision(state: State) -> None:
    """A product that must not round beyond the plan's precision, in every process.

    A process whose reduced precision is not in force is set aside (see `measure.not_in_force`).
    """
    for key in state.crew.live():
        precision = state.crew.precision(key)
        with state.crew.containing(key):
            if precision != "strict":
                full = {
                    name: (ask_operator(state, key, "matmul", {"0": a, "1": b})["0"], want)
                    for name, a, b, want in measure.precision_operands(key[1])
                }
                if (reason := measure.not_in_force(precision, full)) is not None:
                    raise WorkerUnavailable(reason)
            for name, a, b, want in measure.precision_operands(key[1], precision):
                found = measure.identical(
                    f"product, {name}",
                    ask_operator(state, key, "matmul", {"0": a, "1": b})["0"],
                    want,
                    process=key[1],
                    case="precision",
                    step=None,
                    rung="forward",
                )
                state.results(key).measurements.append(found)


def start_twice(state: State) -> None:
    """A against A, in every process; the first of the two is also the trajectory's start."""
    if state.plan.trajectory is None:
        return
    after = state.start_after()
    want = {done: state.judged("start", done) for done in after}
    keys = state.crew.live()
    state.progress.phase("the start, twice", 2 * state.start_steps * len(keys))
    for place, key in enumerate(keys):
        with state.crew.containing(key):
            series = []
            for turn in range(2):
                out = state.fresh_folder()
                state.crew.train(
                    key,
                    state.course.file(f"initial-{state.seed}"),
                    state.course.file(f"start-{state.seed}"),
                    steps=state.start_steps,
                    snapshots=[done - 1 for done in after],
                    evaluations=[],
                    out=out,
                    done=(2 * place + turn) * state.start_steps,
                )
                series.append(load_tensors(f"{out}/series"))
                if turn == 0 and key[1] == "float32":
                    state.results(key).measurements += [
                        measure.trajectory(
                            "start",
                            load_tensors(f"{out}/params-{done - 1}"),
                            want[done],
                            process=key[1],
                            after=done,
                        )
                        for done in after
                    ]
            first, second = series
            state.results(key).repeats.append(measure.repeat(first, second, key[1]))


def teacher_force(state: State) -> None:
    """Every checkpoint, small batch and probe, in every process, at the judge's parameters."""
    course = state.course
    pool = course.order[0][:PROBE_POOL]
    probes = PROBES[state.plan.workload.name](
        course.initial(state.seed),
        course.x[pool],
        course.y[pool],
        lambda params, x: course.clear(params, x, state.reference),
    )
    state.progress.phase("teacher-forced", len(course.checkpoints) + len(probes))
    for done, step in enumerate(course.checkpoints, 1):
        params = state.judged("schedule", step)
        rounded = {name: value.astype(np.float32) for name, value in params.items()}
        rows, replaced = course.screened(step, rounded, state.reference)
        case = Case(case=f"step {step}", step=step, rows=len(rows), replaced=replaced)
        _case(state, case, params, course.x[rows], course.y[rows], {"rows": rows})
        if step in course.small:
            _small_cases(state, step, params, rows)
        state.progress.advance(done)
    for done, probe in enumerate(probes, len(course.checkpoints) + 1):
        case = Case(case=probe.case, step=None, rows=len(probe.y), replaced=0)
        given = {"x": probe.x, "y": probe.y}
        _case(state, case, probe.params, probe.x, probe.y, given, centred=probe.centred)
        state.progress.advance(done)


def _small_cases(state: State, step: int, params: Params, rows: Array) -> None:
    """Small batches of a checkpoint's samples that the reference is not confident of."""
    x, y = state.course.x[rows].astype(np.float64), state.course.y[rows]
    logits = state.reference.logits(params, x)
    top = logits.max(axis=1)
    losses = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    losses -= logits[np.arange(len(y)), y]
    usable = rows[losses >= SMALL_LEAST_LOSS]
    for size in state.plan.small_sizes:
        if size <= len(usable):
            chosen = usable[:size]
            name = f"step {step}, batch of {size}"
            case = Case(case=name, step=step, rows=size, replaced=0)
            given = {"rows": chosen}
            _case(state, case, params, state.course.x[chosen], state.course.y[chosen], given)


def _case(
    state: State,
    case: Case,
    params: Params,
    x: Array,
    y: Array,
    given: dict[str, Array],
    *,
    centred: bool = False,
) -> None:
    """One batch at given parameters, in every live process, against the judge."""
    state.record.cases.append(case)
    batch = state.course.file("batch")
    save_tensors(batch, given)
    wanted: dict[str, Wanted] = {}
    for key in state.crew.live():
        if key[1] not in wanted:
            wanted[key[1]] = _wanted(state, params, x, y, key[1], centred=centred)
        with state.crew.containing(key):
            got = state.crew.answer(
                key, "case", params=state.course.file(f"params-{key[1]}"), batch=batch
            )
            found = measure.teacher_forced(
                got,
                wanted[key[1]],
                y=y,
                lr=state.plan.workload.lr,
                process=key[1],
                case=case.case,
                step=case.step,
            )
            state.results(key).measurements += found
            keep_if_off(state, key, found, wanted[key[1]], y, got)


def _wanted(
    state: State, params: Params, x: Array, y: Array, dtype: str, *, centred: bool
) -> Wanted:
    """What processes of a dtype are given, and the judge's word on those very values."""
    held = {name: value.astype(dtype) for name, value in params.items()}
    save_tensors(state.course.file(f"params-{dtype}"), held)
    wide = {name: value.astype(np.float64) for name, value in held.items()}
    logits, loss, grads = state.judge.values(wide, x.astype(np.float64), y)
    return Wanted(held, x.astype(dtype), logits, loss, grads, centred)


def lockstep(state: State) -> None:
    """Float64, free-running from step 0, in every float64 process, against the judge."""
    course = state.course
    keys = state.crew.live("float64")
    state.progress.phase("lockstep", len(keys) * course.lockstep_steps)
    judged = load_tensors(f"{state.judge_folder('schedule', state.seed)}/series")["losses"]
    for place, key in enumerate(keys):
        with state.crew.containing(key):
            snapshots = [done - 1 for done in course.snapshots]
            out = train_worker(
                state, key, state.seed, "lockstep", snapshots, place * course.lockstep_steps
            )
            losses = load_tensors(f"{out}/series")["losses"]
            before = 0
            for after in course.snapshots:
                params = load_tensors(f"{out}/params-{after - 1}")
                found = measure.lockstep(
                    params,
                    state.judged("schedule", after),
                    losses[before:after],
                    judged[before:after],
                    before,
                )
                state.results(key).measurements += found
                keep_lockstep_if_off(state, key, found, after, params)
                before = after
