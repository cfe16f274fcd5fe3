"""Keeps the tensors of each label's first divergence, so that it can be reproduced.

What is kept is chosen by the built-in limits; the verdict is found later, from the record.
"""

from __future__ import annotations

import numpy as np

from harness.files import sync
from harness.interface import Array
from harness.interface import State as StateOf
from harness.measure.ladder import Wanted, allowed, inside
from harness.record.schema import LONGEST_KEPT, OWN, Kept, Measurement
from harness.run.state import State
from harness.tensors import save_tensors
from harness.verdict.numbers import limit_of, within
from harness.workers.pool import Key
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.limits import RUNGS


def keep_if_off(
    state: State,
    key: Key,
    measurements: list[Measurement],
    wanted: Wanted,
    got: dict[str, Array],
) -> None:
    """Keep what a teacher-forced case was given and gave, if it is this label's first."""
    worst = _first_off(state, key, measurements)
    if worst is None:
        return
    tensors = {f"given.{n}": v for n, v in wanted.state.items()} | wanted.batch
    want = {"want.outputs": wanted.outputs, "want.loss": np.array(wanted.loss)}
    if wanted.training is not None:
        want["want.outputs, training"] = wanted.training
    for what, of in (("grad", wanted.grads), ("change", wanted.changes), ("new", wanted.after)):
        want |= {f"want.{what}.{name}": value for name, value in of.items()}
    for name in wanted.grads:
        if (free := allowed(wanted, name)) is not None:
            want[f"want.allowed.{name}"] = free
    if worst.tensor.endswith(OWN) and isinstance(state.reference, Composed):
        want |= {f"want.trace.{n}": v for n, v, _ in inside(got, wanted, state.reference)}
    same = () if worst.rung == "inputs" else tuple(wanted.batch)
    kept_got = {f"got.{name}": value for name, value in got.items() if name not in same}
    _keep(state, key, worst, tensors | want | kept_got)


def keep_lockstep_if_off(
    state: State, key: Key, measurements: list[Measurement], after: int, held: StateOf
) -> None:
    """Keep the first steps' batches if lockstep is this label's first divergence."""
    worst = _first_off(state, key, measurements)
    if worst is None or after > LONGEST_KEPT or state.plan.workload.noise:
        return
    batches = state.inputs.schedule("lockstep", state.seed)[:after]
    rows = np.concatenate(batches)
    tensors = {f"given.{n}": v for n, v in state.inputs.initial(state.seed).items()}
    tensors |= {
        **_samples(state, rows),
        "sizes": np.array([len(batch) for batch in batches]),
    }
    tensors |= {f"want.{n}": v for n, v in state.judged(state.lockstep_kind, after).items()}
    tensors |= {f"got.{n}": v for n, v in held.items()}
    _keep(state, key, worst, tensors)


def _samples(state: State, rows: Array) -> StateOf:
    """Samples as they are kept: images as the pixels of 8 bits that x is made of."""
    inputs = state.inputs
    pixels = inputs.pixels
    x = {"x": inputs.x[rows]} if pixels is None else {"images": pixels[rows]}
    return x | ({} if state.plan.workload.y == "none" else {"y": inputs.y[rows]})


def first_off(state: State, key: Key, measurements: list[Measurement]) -> Measurement | None:
    """The lowest rung's measurement over its limit; None where all are within."""
    off = [
        m
        for m in measurements
        if (limit := limit_of(m, state.pool.precision(key))) is not None and not within(m, limit)
    ]
    return min(off, key=lambda m: RUNGS.index(m.rung), default=None)


def _first_off(state: State, key: Key, measurements: list[Measurement]) -> Measurement | None:
    """The same, if none so low was kept for the label."""
    first = first_off(state, key, measurements)
    kept = [k for k in state.record.kept if k.label == key.label]
    if first is None or any(RUNGS.index(first.rung) >= RUNGS.index(k.rung) for k in kept):
        return None
    return first


def _keep(state: State, key: Key, first: Measurement, tensors: dict[str, Array]) -> None:
    folder = state.folder / "tensors"
    folder.mkdir(exist_ok=True)
    others = []
    for kept in state.record.kept:
        if kept.label == key.label:
            (state.folder / kept.file).unlink()
        else:
            others.append(kept)
    place = list(state.plan.labels).index(key.label)
    # Labels are no file names; and a trial's tensors must not be taken for another's.
    file = f"tensors/{state.trials}-{place}-{key.dtype}.safetensors"
    save_tensors(str(state.folder / file), tensors)
    # Before the record that names it: a power cut must not leave the one without the other.
    sync(state.folder / file)
    sync(folder)
    kept = Kept(label=key.label, dtype=key.dtype, rung=first.rung, case=first.case, file=file)
    state.record.kept = [*others, kept]
