"""The rungs up to lockstep, the trajectory's start, and each process against itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.interface import Array
from harness.interface import State as StateOf
from harness.measure import ladder, straying
from harness.measure.distance import relative
from harness.measure.ladder import Wanted
from harness.measure.measurement import identical
from harness.measure.precision import not_in_force, precision_operands
from harness.measure.straying import Noise
from harness.plan.model import judged_by_label
from harness.record.schema import Case, Measurement
from harness.run.explaining import explain_if_off, explain_lockstep_if_off
from harness.run.keeping import first_off, keep_if_off, keep_lockstep_if_off
from harness.run.learning import train_worker
from harness.run.operators import ask_operator
from harness.run.state import Batch, State
from harness.tensors import load_tensors, save_tensors
from harness.workers.launch import WorkerUnavailable
from harness.workers.pool import Key
from harness.workloads.reference.composed import Composed, Opened, cast
from harness.workloads.reference.envelope import Replica, train_replica
from harness.workloads.reference.screening import SMALL_LEAST_LOSS, UNIT_ROUNDOFF


def probe_precision(state: State) -> None:
    """A product that must not round beyond the plan's precision, in every process.

    A process whose reduced precision is not in force is set aside (see `not_in_force`).
    """
    for key in state.pool.live():
        precision = state.pool.precision(key)
        with state.pool.containing(key):
            if precision != "strict":
                full = {
                    name: (ask_operator(state, key, "matmul", {"0": a, "1": b})["0"], want)
                    for name, a, b, want in precision_operands(key.dtype)
                }
                if (reason := not_in_force(precision, full)) is not None:
                    raise WorkerUnavailable(reason)
            for name, a, b, want in precision_operands(key.dtype, precision):
                measurement = identical(
                    f"product, {name}",
                    ask_operator(state, key, "matmul", {"0": a, "1": b})["0"],
                    want,
                    process=key.dtype,
                    case="precision",
                    step=None,
                    rung="forward",
                )
                state.results(key).measurements.append(measurement)


def start_twice(state: State) -> None:
    """A against A, in every process; the first of the two is also the trajectory's start.

    Only float32 has a trajectory: elsewhere, and in the second run, the first stretch is enough.
    """
    if state.plan.trajectory is None:
        return
    after = state.start_after()
    want = {done: state.judged("start", done) for done in after}
    again = after[0]
    todo = [
        (key, steps)
        for key in state.pool.live()
        for steps in (after[-1] if key.dtype == "float32" else again, again)
    ]
    state.progress.phase(
        "the first steps, twice: does each repeat itself?", sum(steps for _, steps in todo)
    )
    first: dict[Key, tuple[Array, StateOf]] = {}
    done = 0
    for key, steps in todo:
        if key not in state.pool.workers:
            continue
        with state.pool.containing(key):
            out = state.fresh_folder()
            initial, schedule, _ = state.inputs.training("start", state.seed)
            snapshots = [n - 1 for n in after if n <= steps]
            state.pool.train(key, initial, schedule, steps, snapshots=snapshots, out=out, done=done)
            done += steps
            series = load_tensors(f"{out}/series")["losses"][:again]
            held = load_tensors(f"{out}/state-{again - 1}")
            if key in first:
                repeat = ladder.repeat(*first[key], series, held, key.dtype)
                state.results(key).repeats.append(repeat)
                continue
            first[key] = series, held
            if key.dtype == "float32":
                for n in after:
                    got = load_tensors(f"{out}/state-{n - 1}")
                    measurement = ladder.trajectory(
                        "start", got, state.learnt(want[n]), process=key.dtype, after=n
                    )
                    state.results(key).measurements.append(measurement)


def teacher_force(state: State) -> None:
    """Every checkpoint, small batch and probe, in every process, at the judge's state.

    One process computes at a time; meanwhile the parent measures what the one before made. Small
    batches go to all at once, and so does the first, where each has made its steps before and they
    are light: there is little to compute, but much to compile.
    """
    state.progress.phase(
        "outputs, loss, gradients and update, batch by batch", len(state.inputs.checkpoints)
    )
    chosen = batches(state) if state.batches is None else state.batches
    # A first step's time is told, and has its process alone.
    compiles = state.plan.trajectory is not None and state.plan.workload.light
    done = 0
    before: list[tuple[Batch, Key, Path]] = []
    for turn, batch in enumerate(chosen):
        state.record.cases.append(batch.case)
        file = state.inputs.file(f"batch-{turn % 2}")
        save_tensors(file, batch.given)
        held: dict[str, str] = {}
        keys = state.pool.live()
        for dtype in dict.fromkeys(key.dtype for key in keys):
            if dtype not in batch.wanted:
                at = state.plan.workload, batch.state, batch.batch
                batch.wanted[dtype] = Wanted.of(state.judge, *at, dtype, batch.centred)
            held[dtype] = state.inputs.file(f"state-{dtype}-{turn % 2}")
            save_tensors(held[dtype], batch.wanted[dtype].state)
        outs = {key: state.scratch / f"case-{turn % 2}-{place}" for place, key in enumerate(keys)}
        at_once = batch.case.rows in state.plan.small_sizes or (turn == 0 and compiles)
        for group in [keys] if at_once else [[key] for key in keys]:
            for key in group:
                outs[key].unlink(missing_ok=True)  # what another left there is no answer
                with state.pool.containing(key):
                    words = {"state": held[key.dtype], "batch": file, "out": str(outs[key])}
                    state.pool.ask(key, "case", **words)
            for earlier in before:
                _measure(state, *earlier)
            before = []
            for key in group:
                if key in state.pool.workers:
                    with state.pool.containing(key):
                        state.pool.workers[key].answer()
                    before.append((batch, key, outs[key]))
        done += batch.case.case == f"step {batch.case.step}"
        state.progress.advance(done)
    for earlier in before:
        _measure(state, *earlier)


def batches(state: State) -> Iterator[Batch]:
    """The teacher-forced batches of a run, in order; nothing of a backend decides them."""
    inputs = state.inputs
    for step in inputs.checkpoints:
        judged = state.judged("schedule", step)
        rows, replaced = inputs.screened(step, cast(judged, "float32"), state.reference)
        case = Case(case=f"step {step}", step=step, rows=len(rows), replaced=replaced)
        yield _of_rows(state, case, judged, rows)
        if step in inputs.small:
            yield from _small(state, step, judged, rows)
    for probe in state.probes():
        case = Case(case=probe.case, step=None, rows=len(probe.batch["x"]), replaced=0)
        yield Batch(case, probe.state, probe.batch, probe.batch, centred=probe.centred)


def _of_rows(state: State, case: Case, judged: StateOf, rows: Array) -> Batch:
    """A batch of the data, which workers have too: they are told the rows."""
    assert case.step is not None
    batch = state.inputs.batch(rows, state.seed, case.step)
    given = {name: value for name, value in batch.items() if name not in ("x", "y")}
    return Batch(case, judged, batch, given | {"rows": rows})


def _small(state: State, step: int, judged: StateOf, rows: Array) -> Iterator[Batch]:
    """Small batches of a checkpoint's samples that the reference is not confident of."""
    usable = rows[_unsure(state, judged, state.inputs.batch(rows, state.seed, step))]
    least = 1 if state.plan.net is None else state.plan.net.least
    for size in state.plan.small_sizes:
        if least <= size <= len(usable) and size < len(rows):
            case = Case(case=f"step {step}, batch of {size}", step=step, rows=size, replaced=0)
            yield _of_rows(state, case, judged, usable[:size])


def _unsure(state: State, judged: StateOf, batch: StateOf) -> Array:
    """Which rows of a batch the reference is not sure of; of a loss that is no likelihood all."""
    net = state.plan.net
    if net is None:
        return np.full(len(batch["x"]), True)
    outputs = state.reference.outputs(judged, cast(batch))
    return net.loss.of_samples(outputs, batch.get("y", np.zeros(0))) >= SMALL_LEAST_LOSS


def _measure(state: State, batch: Batch, key: Key, out: Path) -> None:
    """What a process made of a batch, against the judge."""
    if key not in state.pool.workers:
        return
    with state.pool.containing(key):
        got, wanted = load_tensors(str(out)), batch.wanted[key.dtype]
        layers = None if judged_by_label(state.plan) else state.reference
        where: dict[str, Any] = {
            "process": key.dtype,
            "case": batch.case.case,
            "step": batch.case.step,
        }
        measurements = ladder.teacher_forced(got, wanted, judge=layers, **where)
        state.results(key).measurements += measurements
        measured = state.plan.workload.limits == "measured"
        if measured or first_off(state, key, measurements) is not None:
            jumps = _jumps(state, batch) if measured else {}
            straying.grant(measurements, _noise(state, batch), limits=measured, jumps=jumps)
        if first_off(state, key, measurements) is not None:
            keep_if_off(state, key, measurements, wanted, got)
            explain_if_off(state, key, measurements, wanted, got)


def _noise(state: State, batch: Batch) -> Noise:
    """What rounding comes to on a batch, found when it is asked for. A label has none."""
    if batch.noise is None:
        batch.noise = {}
        if state.reference is not state.judge:
            at = batch.state, batch.batch, batch.centred
            batch.noise = straying.find_noise(state.reference, state.plan.workload, *at)
    return batch.noise


def _jumps(state: State, batch: Batch) -> dict[str, float]:
    """What units of a batch near a kink can move, where screening left any."""
    if batch.jumps is None:
        batch.jumps = {}
        if isinstance(state.reference, Composed):
            margin = state.plan.screen_margin * UNIT_ROUNDOFF
            batch.jumps = straying.find_jumps(state.reference, batch.state, batch.batch, margin)
    return batch.jumps


def lockstep(state: State) -> None:
    """Float64, free-running from step 0, in every float64 process, against the judge."""
    inputs = state.inputs
    keys = state.pool.live("float64")
    state.progress.phase(
        "training in float64, held to the reference at every step",
        len(keys) * inputs.lockstep_steps,
    )
    want = state.judge_folder(state.lockstep_kind, state.seed)
    for place, key in enumerate(keys):
        with state.pool.containing(key):
            snapshots = [done - 1 for done in inputs.snapshots]
            out = train_worker(
                state, key, state.seed, "lockstep", snapshots, place * inputs.lockstep_steps
            )
            for after, held, measurements in in_lockstep(state, out, want):
                state.results(key).measurements += measurements
                if first_off(state, key, measurements) is not None:
                    _grant_lockstep(state, measurements, after)
                    keep_lockstep_if_off(state, key, measurements, after, held)
                    explain_lockstep_if_off(state, key, measurements, held, out, want)


def _grant_lockstep(state: State, measurements: list[Measurement], after: int) -> None:
    """Give them what a permuted float64 replica strays by then: rounding grows in some models."""
    if state.replayed is None:
        state.replayed = {}
        if not judged_by_label(state.plan) and state.golden is None:
            state.replayed = _replayed(state)
    for m in measurements:
        m.noise = state.replayed.get(after, {}).get(m.tensor)


def _replayed(state: State) -> dict[int, dict[str, float]]:
    """How far replicas of the judge get from it at most, at every snapshot and by tensor.

    Its units and samples permuted, as it is and by the formulas that frameworks use.
    """
    inputs, workload, forms = state.inputs, state.plan.workload, [state.reference]
    if isinstance(state.reference, Opened):
        forms += [state.reference.textbook(up) for up in (True, False)]
    rows = inputs.schedule("lockstep", state.seed)
    judged = load_tensors(f"{state.judge_folder('schedule', state.seed)}/series")["losses"]
    found: dict[int, dict[str, float]] = {after: {} for after in inputs.snapshots}
    for number, form in enumerate(forms, 1):
        losses: list[float] = []
        states = train_replica(
            form,
            workload,
            cast(inputs.initial(state.seed)),
            lambda step: cast(inputs.batch(rows[step], state.seed, step)),
            inputs.snapshots,
            Replica(workload, state.seed, number),
            losses,
        )
        before = 0
        for after in inputs.snapshots:
            want = state.learnt(state.judged("schedule", after))
            _, strayed = ladder.together(states[after], want)
            span = slice(before, after)
            strayed["losses"] = relative(np.array(losses[span]) - judged[span], judged[span])
            for name, distance in strayed.items():
                found[after][name] = max(distance, found[after].get(name, 0.0))
            before = after
    return found


def in_lockstep(
    state: State, out: Path, want: Path
) -> Iterator[tuple[int, StateOf, list[Measurement]]]:
    """What two trainings left, compared at every snapshot; with the state of the first."""
    losses, judged = (load_tensors(f"{folder}/series")["losses"] for folder in (out, want))
    # A function that is minimised may end at 0.
    least = abs(float(judged[0])) if state.plan.workload.y == "none" else 0.0
    before = 0
    for after in state.inputs.snapshots:
        held, right = (load_tensors(f"{folder}/state-{after - 1}") for folder in (out, want))
        parts = losses[before:after], judged[before:after]
        yield after, held, ladder.lockstep(held, state.learnt(right), *parts, before, least)
        before = after
