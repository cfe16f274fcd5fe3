"""Trains freely, every label and seed, and finds the envelope of float32 replicas."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path

import numpy as np

from harness.interface import Array
from harness.measure import ladder, outcome
from harness.record.schema import Differing, Measurement, Training, number
from harness.record.schema import Replica as StoredReplica
from harness.run import judge
from harness.run.state import State
from harness.tensors import load_tensors
from harness.workers.pool import Key, checked
from harness.workloads.reference.envelope import Replica, train_replica
from harness.workloads.reference.pieces import cast

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
                            load_tensors(f"{out}/params-{end}"),
                            state.judged("schedule", end + 1),
                            process=key.dtype,
                            after=end + 1,
                        )
                    )


def show_differing(state: State) -> None:
    """Keep some test images that the labels do not agree on."""
    folder = state.judge_folder("schedule", state.seed)
    judged = folder / f"logits-{state.inputs.ends[-1]}"
    if not state.predicted:
        return
    reference = outcome.predictions(load_tensors(str(judged))["logits"])
    truth = state.inputs.test_y
    for index in outcome.differing(state.predicted, reference, truth, MOST_IMAGES):
        pixels = np.rint(state.inputs.test_x[index] * np.float32(255)).astype(np.uint8)
        state.record.differing.append(
            Differing(
                index=index,
                true=int(truth[index]),
                reference=int(reference[index]),
                predicted={label: int(of[index]) for label, of in state.predicted.items()},
                shape=list(state.inputs.image_shape),
                pixels=base64.b64encode(pixels.tobytes()).decode(),
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
    ends = [step for step in state.inputs.ends if step < steps]
    # The accuracy of a training cut short says nothing, and costs a compilation.
    evaluations = ends if steps == len(state.inputs.slots) else []
    out = state.fresh_folder()
    training = state.inputs.training(kind, seed)
    held = sorted({*snapshots, *evaluations})
    state.pool.train(key, *training, snapshots=held, evaluations=evaluations, out=out, done=done)
    results = state.results(key)
    results.training.append(stored_training(state, out, key.dtype, seed, evaluations, steps))
    results.measurements += judge_evaluations(state, key, out, seed, evaluations)
    if evaluations and state.pool.own(key):
        last = f"logits-{evaluations[-1]}"
        logits = load_tensors(f"{out}/{last}")["logits"]
        judged = load_tensors(f"{state.judge_folder('schedule', seed)}/{last}")["logits"]
        if logits.shape == judged.shape:
            results.churn.append(outcome.churn(logits, judged, state.inputs.test_y, seed))
            if seed == state.seed:
                state.predicted[key.label] = outcome.predictions(logits)
    return out


def judge_evaluations(
    state: State, key: Key, out: Path, seed: int, evaluations: list[int]
) -> list[Measurement]:
    """The outputs that accuracies were counted from, at the parameters as they were held then."""
    measurements = []
    for epoch, step in enumerate(evaluations):
        params = cast(load_tensors(f"{out}/params-{step}"))
        want = judge.evaluate(state.judge, params, state.inputs.test_x)
        got = load_tensors(f"{out}/logits-{step}")["logits"]
        measurements.append(
            ladder.evaluation(got, want, process=key.dtype, seed=seed, epoch=epoch, step=step)
        )
    return measurements


def stored_training(
    state: State, out: Path, dtype: str, seed: int, evaluations: list[int], steps: int | None = None
) -> Training:
    """A training as it is stored, from the files it left."""
    steps = len(state.inputs.slots) if steps is None else steps
    ends = [step for step in state.inputs.ends if step < steps]
    series = load_tensors(f"{out}/series")
    logits = [load_tensors(f"{out}/logits-{e}")["logits"] for e in evaluations]
    trained = outcome.training(series, logits, state.inputs.test_y, state.inputs.rows[:steps], ends)
    trained.dtype, trained.seed, trained.whole = dtype, seed, steps == len(state.inputs.slots)
    names = [parameter.name for parameter in state.plan.workload.parameters]
    trained.final_norms = {
        name: norm for name in names if (norm := trained.final_norms.get(name)) is not None
    }
    return checked(trained)


def find_envelope(state: State) -> None:
    """How far replicas of the float32 reference stray: at the start, and late where asked."""
    chosen = state.plan.trajectory
    if chosen is None or not any(key.dtype == "float32" for key in state.pool.processes):
        return
    late = [end + 1 for end in state.inputs.late]
    total = chosen.replicas * (state.start_steps + max(late, default=0))
    state.progress.phase("training replicas of the reference: how far rounding leads", total)
    done = 0
    regimes = [("start", "start", state.start_after()), ("late", "schedule", late)]
    for regime, kind, after in regimes:
        if not after:
            continue
        schedule = state.inputs.schedule(kind, state.seed)
        want = {n: state.judged(kind, n) for n in after}
        for place in range(chosen.replicas):
            held = train_replica(
                state.reference,
                state.plan.workload,
                state.inputs.initial(state.seed),
                partial(_batch, state, schedule),
                after,
                Replica(state.plan.workload, state.seed, place),
            )
            done += max(after)
            state.progress.advance(done)
            for steps, params in held.items():
                distance, each = ladder.together(params, want[steps])
                state.record.envelope.append(
                    StoredReplica(
                        regime="start" if regime == "start" else "late",
                        replica=place,
                        after=steps,
                        distance=number(distance),
                        tensors={name: number(value) for name, value in each.items()},
                    )
                )


def _batch(state: State, schedule: list[Array], step: int) -> tuple[Array, Array]:
    rows = schedule[step]
    return state.inputs.x[rows], state.inputs.y[rows]
