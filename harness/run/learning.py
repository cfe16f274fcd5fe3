"""Trains freely, every label and seed, and finds the envelope of float32 replicas."""

from __future__ import annotations

import base64
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.interface import Array
from harness.interface import State as StateOf
from harness.measure import ladder, outcome
from harness.record.schema import Differing, Measurement, Training, number
from harness.record.schema import Replica as StoredReplica
from harness.run import judge
from harness.run.state import State
from harness.tensors import load_tensors, save_tensors
from harness.workers.pool import Key, checked
from harness.workloads.reference.composed import cast
from harness.workloads.reference.envelope import Replica, train_replica

# Enough to see what kind of image is at the edge; 1 kB each in the record.
MOST_IMAGES = 24


def train(state: State) -> None:
    """Free training of every label in its own dtype, for every seed."""
    todo = [
        (key, seed)
        for key in state.pool.live()
        for seed in state.plan.seeds
        if state.pool.own(key) and not _trained(state, key, seed)
    ]
    steps = len(state.inputs.slots)
    state.progress.phase("training every backend freely", len(todo) * steps)
    for place, (key, seed) in enumerate(todo):
        if key in state.pool.workers:
            with state.pool.containing(key):
                late = state.inputs.late if seed == state.seed else []
                out = train_worker(state, key, seed, "schedule", late, place * steps)
                for end in late if key.dtype == "float32" else []:
                    state.results(key).measurements.append(
                        ladder.trajectory(
                            "late",
                            load_tensors(f"{out}/state-{end}"),
                            state.learnt(state.judged("schedule", end + 1)),
                            process=key.dtype,
                            after=end + 1,
                        )
                    )
            if state.checkpoint is not None:
                state.checkpoint.keep(state.record, state.predicted)


def show_differing(state: State) -> None:
    """Keep some test images that the labels do not agree on."""
    images, workload = state.inputs.images, state.plan.workload
    if not state.predicted or images is None:
        return
    folder = state.judge_folder("schedule", state.seed)
    judged = load_tensors(f"{folder}/outputs-{state.inputs.ends[-1]}")["outputs"]
    reference = outcome.predictions(workload, judged)
    assert reference is not None
    reference = reference[: state.inputs.tests]
    truth = outcome.true_classes(workload, state.inputs.test_y[: state.inputs.tests])
    for index in outcome.differing(state.predicted, reference, truth, MOST_IMAGES):
        state.record.differing.append(
            Differing(
                index=index,
                true=int(truth[index]),
                reference=int(reference[index]),
                predicted={label: int(of[index]) for label, of in state.predicted.items()},
                shape=list(images.shape[1:]),
                pixels=base64.b64encode(images[index].tobytes()).decode(),
            )
        )


def _trained(state: State, key: Key, seed: int) -> bool:
    """Whether a whole training is there already: lockstep may have been one."""
    done = state.results(key).training
    return any(t.whole and (t.dtype, t.seed) == (key.dtype, seed) for t in done)


def train_worker(
    state: State, key: Key, seed: int, kind: str, snapshots: list[int], done: int
) -> Path:
    """Train one worker through "schedule" or "lockstep"; stores the series; the folder."""
    steps = len(state.inputs.slots) if kind == "schedule" else state.inputs.lockstep_steps
    # The accuracy of a training cut short says nothing, and costs a compilation.
    evaluations = state.inputs.evaluations if steps == len(state.inputs.slots) else []
    out, reached = state.training_folder(key, kind, seed)
    keep = state.inputs.ends if state.checkpoint is not None and kind == "schedule" else []
    training = state.inputs.training(kind, seed)
    held = sorted({*snapshots, *evaluations})
    state.pool.train(
        *(key, *training), snapshots=held, evaluations=evaluations, keep=keep, reached=reached,
        out=out, done=done,
    )  # fmt: skip
    results = state.results(key)
    results.training.append(stored_training(state, out, key.dtype, seed, evaluations, steps))
    results.measurements += judge_evaluations(state, key, out, seed, evaluations)
    if evaluations and state.pool.own(key):
        last, workload = f"outputs-{evaluations[-1]}", state.plan.workload
        tests = state.inputs.tests
        own, judged = (
            outcome.predictions(workload, load_tensors(f"{folder}/{last}")["outputs"][:tests])
            for folder in (out, state.judge_folder("schedule", seed))
        )
        if own is not None and judged is not None and own.shape == judged.shape:
            truth = outcome.true_classes(workload, state.inputs.test_y[:tests])
            results.churn.append(outcome.churn(own, judged, truth, seed))
            if seed == state.seed:
                state.predicted[key.label] = own
    return out


def judge_evaluations(
    state: State, key: Key, out: Path, seed: int, evaluations: list[int]
) -> list[Measurement]:
    """The outputs that accuracies were counted from, at the state as it was held then."""
    measurements = []
    for epoch, step in enumerate(evaluations):
        held = cast(load_tensors(f"{out}/state-{step}"))
        want = judge.evaluate(state.judge, held, state.inputs.test_x)
        got = load_tensors(f"{out}/outputs-{step}")["outputs"]
        where: dict[str, Any] = {"process": key.dtype, "seed": seed, "epoch": epoch, "step": step}
        measurements.append(ladder.evaluation(state.plan.workload.trace[-1], got, want, **where))
    return measurements


def stored_training(
    state: State, out: Path, dtype: str, seed: int, evaluations: list[int], steps: int | None = None
) -> Training:
    """A training as it is stored, from the files it left."""
    steps = len(state.inputs.slots) if steps is None else steps
    ends = [step for step in state.inputs.ends if step < steps]
    series = load_tensors(f"{out}/series")
    outputs = [load_tensors(f"{out}/outputs-{e}")["outputs"] for e in evaluations]
    (workload, net), inputs = (state.plan.workload, state.plan.net), state.inputs
    trained = outcome.training(
        *(workload, series, outputs, inputs.test_y, inputs.rows[:steps], ends),
        loss=None if net is None else net.loss.of_samples,
        tests=inputs.tests,
    )
    trained.dtype, trained.seed, trained.whole = dtype, seed, steps == len(state.inputs.slots)
    trained.went_on = [*map(int, series.get("went_on", ()))]
    trained.final_norms = {
        t.name: norm
        for t in workload.tensors
        if (norm := trained.final_norms.get(t.name)) is not None
    }
    return checked(trained)


def find_envelope(state: State) -> None:
    """How far replicas of the float32 reference stray: at the start, and late where asked."""
    chosen = state.plan.trajectory
    float32 = any(key.dtype == "float32" for key in state.pool.processes)
    if chosen is None or not float32 or not state.plan.workload.symmetries:
        return
    late = [end + 1 for end in state.inputs.late]
    total = chosen.replicas * (state.start_steps * state.start_clear + max(late, default=0))
    state.progress.phase("training replicas of the reference: how far rounding leads", total)
    start = state.start_after() if state.start_clear else []
    done = 0
    for regime, kind, after in (("start", "start", start), ("late", "schedule", late)):
        if not after:
            continue
        out = state.scratch / f"replicas-{kind}"
        asked = state.decided_by(kind, state.seed), after, chosen.replicas
        # As numbers: so many states of a model would be a thousand times as large.
        stray = partial(_stray, state, kind, after, done)
        state.remembered.lay_out(asked, ["strayed"], out, stray)
        done += chosen.replicas * max(after)
        state.progress.advance(done)
        strayed = load_tensors(f"{out}/strayed")
        for place, steps in itertools.product(range(chosen.replicas), after):
            distance, *each = strayed[f"{place} {steps}"].tolist()
            names = [tensor.name for tensor in state.plan.workload.learnt]
            state.record.envelope.append(
                StoredReplica(
                    regime="start" if regime == "start" else "late",
                    replica=place,
                    after=steps,
                    distance=number(distance),
                    tensors={n: number(value) for n, value in zip(names, each, strict=True)},
                )
            )


def _stray(state: State, kind: str, after: list[int], done: int, out: Path) -> None:
    """Train replicas through a schedule of the judge; how far each gets from it goes to `out`.

    "strayed" holds "REPLICA STEPS": float64 (1 + tensors,), all together and each that is learnt.
    """
    assert state.plan.trajectory is not None
    schedule, workload = state.inputs.schedule(kind, state.seed), state.plan.workload
    want = {n: state.learnt(state.judged(kind, n)) for n in after}
    strayed = {}
    for place in range(state.plan.trajectory.replicas):
        held = train_replica(
            state.reference,
            workload,
            state.inputs.initial(state.seed),
            partial(_batch, state, schedule),
            after,
            Replica(workload, state.seed, place),
        )
        done += max(after)
        state.progress.advance(done)
        for steps, replica in held.items():
            distance, each = ladder.together(replica, want[steps])
            of_tensors = [each[tensor.name] for tensor in workload.learnt]
            strayed[f"{place} {steps}"] = np.array([distance, *of_tensors])
    out.mkdir()
    save_tensors(f"{out}/strayed", strayed)


def _batch(state: State, schedule: list[Array], step: int) -> StateOf:
    return state.inputs.batch(schedule[step], state.seed, step)
