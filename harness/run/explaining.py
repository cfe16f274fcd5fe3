"""Seeks what explains each label's first divergence, where its tensors are at hand."""

from __future__ import annotations

from pathlib import Path

from harness.explain import search
from harness.explain.hypothesis import Looked
from harness.explain.lockstep import Trained
from harness.explain.seen import HEAVY, Seen
from harness.interface import State as StateOf
from harness.measure.ladder import Wanted
from harness.plan.model import judged_by_label
from harness.record.schema import LONGEST_KEPT, Explained, Measurement
from harness.run.keeping import first_off
from harness.run.state import State
from harness.tensors import load_tensors
from harness.verdict.numbers import limit_of, within
from harness.workers.pool import Key
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.limits import RUNGS


def explain_if_off(
    state: State,
    key: Key,
    measurements: list[Measurement],
    wanted: Wanted,
    got: StateOf,
) -> None:
    """Seek what explains a teacher-forced case, if it is this label's first or its next alike."""
    first = first_off(state, key, measurements)
    if first is None or not isinstance(state.reference, Composed) or judged_by_label(state.plan):
        return
    _seek(
        state, key, first, Seen.of(state.reference, wanted, got, _limited(state, key, measurements))
    )


def explain_lockstep_if_off(
    state: State,
    key: Key,
    measurements: list[Measurement],
    held: StateOf,
    out: Path,
    want: Path,
) -> None:
    """Seek what explains a training that goes astray, from its first steps."""
    first, workload = first_off(state, key, measurements), state.plan.workload
    known = isinstance(state.reference, Composed) and not judged_by_label(state.plan)
    if first is None or first.step is None or not known or workload.work >= HEAVY:
        return
    assert isinstance(state.reference, Composed)
    losses, judged = (load_tensors(f"{folder}/series")["losses"] for folder in (out, want))
    steps = min(first.step + 1, LONGEST_KEPT)
    rows = state.inputs.schedule("lockstep", state.seed)
    trained = Trained.of(
        state.reference,
        workload,
        state.inputs.initial(state.seed),
        lambda step: cast(state.inputs.batch(rows[step], state.seed, step)),
        (losses[:steps], judged[:steps]),
        held,
        _limited(state, key, measurements),
    )
    if trained.seen:
        _seek(state, key, first, trained)


def _limited(
    state: State, key: Key, measurements: list[Measurement]
) -> list[tuple[Measurement, float, bool]]:
    """Those that have a limit, with it and whether they lie within."""
    precision = state.pool.precision(key)
    limited = [(m, limit) for m in measurements if (limit := limit_of(m, precision)) is not None]
    return [(m, limit.value, within(m, limit)) for m, limit in limited]


def _seek(state: State, key: Key, first: Measurement, looked: Looked) -> None:
    """Seek it at the label's lowest rung; of later batches take what they contradict away.

    The first batch is explained by its float64 process, where that is off too.
    """
    before = next((one for one in state.record.explained if one.label == key.label), None)
    if before is None or RUNGS.index(first.rung) < RUNGS.index(before.rung):
        found = search.find(looked)
    elif first.rung != before.rung:
        return
    elif (first.case, before.dtype) == (before.case, "float32") and key.dtype == "float64":
        found = search.find(looked)
    elif before.found and key.dtype == before.dtype:
        earlier = state.explained[key.label]
        ids = {part.hypothesis.id for one in earlier for part in one}
        found = search.again(earlier, search.find(looked, ids))
        before.found, state.explained[key.label] = [*map(search.told, found)], found
        return
    elif not before.found and first.rung == "lockstep" and (first.step or 0) < LONGEST_KEPT:
        # What happens every k-th step shows where two of them were seen.
        state.explained[key.label] = found = search.find(looked)
        before.found = [*map(search.told, found)]
        return
    else:
        return
    state.explained[key.label] = found
    told = Explained(label=key.label, dtype=key.dtype, rung=first.rung, case=first.case,
                     found=[*map(search.told, found)])  # fmt: skip
    others = [one for one in state.record.explained if one.label != key.label]
    state.record.explained = [*others, told]
