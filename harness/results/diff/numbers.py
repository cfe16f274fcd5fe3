"""Results and trainings of one label in two runs: which are the same, bit for bit. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from typing import TypeVar

from harness.record.schema import Measurement, Number, Record, Results, Training, number
from harness.results.diff.document import At, Judged, RungDiff, TrainingDiff
from harness.results.diff.sides import Of, same_data
from harness.verdict.finding import Finding
from harness.verdict.numbers import PRECISION
from harness.workloads.reference.limits import RUNGS

# Free-running rungs: what they are given is the start, the data and the order of the batches.
FREE = ("lockstep", "trajectory")
# A float64 training of the reference is not the same to the last bit from run to run (the sums of a
# threaded product); what moves by less is no movement. The limit of the rung lockstep, which
# correct code keeps by a factor of 500.
WOBBLE = 1e-12

T = TypeVar("T")
# One measurement's place in a run; the last tells apart those that a record holds twice.
Key = tuple[str, str, str, str, int]  # dtype, rung, case, tensor
Given = dict[tuple[str, str], dict[str, str]]  # by dtype and case: digests by tensor
# Test images of another class than the reference's, by dtype and seed.
ChurnBy = dict[tuple[str, int], int]


def rungs_of(then: Of, now: Of) -> list[RungDiff]:
    """Every rung: how it is judged in both runs, and what became of its results."""
    rungs = {
        rung: RungDiff(
            rung=rung,
            then=_judged(then.judged.findings.get(rung)),
            now=_judged(now.judged.findings.get(rung)),
        )
        for rung in RUNGS
    }
    same_judge = then.record.plan.reference == now.record.plan.reference
    before, after = _keyed(then.results), _keyed(now.results)
    given = _given(then.results), _given(now.results)
    moved: dict[str, list[tuple[Measurement, Measurement]]] = {rung: [] for rung in RUNGS}
    shifted: dict[str, list[tuple[float, At]]] = {rung: [] for rung in RUNGS}
    for key in {**before, **after}:
        rung = rungs.get(key[1])
        if rung is None:  # a record of somebody else's making: no rung of ours
            continue
        if key not in before or key not in after:
            rung.only_then += key in before
            rung.only_now += key in after
            continue
        old, new = before[key], after[key]
        shift = _apart(old, new) if same_judge else 0.0
        if (old.digest, old.shape) == (new.digest, new.shape):
            rung.identical += 1
            shift = shift if shift > WOBBLE else 0.0
            rung.judge_moved += shift > 0
        elif not _given_the_same(old, new, then.record, now.record, given):
            rung.given_other += 1
            continue
        else:
            rung.moved += 1
            moved[rung.rung].append((old, new))
        if shift > 0:
            shifted[rung.rung].append((shift, _at(old, new)))
    for name, rung in rungs.items():
        if moved[name]:
            # The earliest step first, made batches last.
            pairs = sorted(moved[name], key=lambda pair: (pair[0].step is None, pair[0].step or 0))
            rung.first = _at(*pairs[0])
        if shifted[name]:
            rung.largest = max(shifted[name], key=lambda item: item[0])[1]
    return list(rungs.values())


def _judged(finding: Finding | None) -> Judged | None:
    if finding is None:
        return None
    has_share = finding.value is not None and finding.limit
    return Judged(
        verdict=finding.verdict,
        value=finding.value,
        limit=finding.limit,
        share=number(float(finding.value or 0) / (finding.limit or 1)) if has_share else None,
        declared=finding.expected is not None,
    )


def _keyed(results: Results) -> dict[Key, Measurement]:
    """Measurements by place."""
    seen: Counter[tuple[str, str, str, str]] = Counter()
    keyed: dict[Key, Measurement] = {}
    for m in results.measurements:
        place = m.dtype, m.rung, m.case, m.tensor
        keyed[*place, seen[place]] = m
        seen[place] += 1
    return keyed


def _given(results: Results) -> Given:
    """By dtype and case: the digests of parameters and batch, as the device held them."""
    given: Given = {}
    for m in results.measurements:
        if m.rung == "inputs":
            given.setdefault((m.dtype, m.case), {})[m.tensor] = m.digest
    return given


def _given_the_same(
    old: Measurement, new: Measurement, then: Record, now: Record, given: tuple[Given, Given]
) -> bool:
    """Whether two results were surely made of the same numbers."""
    if old.rung in FREE:
        return (
            same_data(then, now)
            and then.plan.seeds[0] == now.plan.seeds[0]
            and (old.rung == "lockstep" or then.plan.trajectory == now.plan.trajectory)
        )
    if old.rung == "inputs" or old.case == PRECISION[0]:
        # What is wanted of these is what was given, and a distance of 0 says that it came back.
        return not (old.distance == 0 and new.distance == 0)
    before, after = (side.get((old.dtype, old.case), {}) for side in given)
    return bool(before) and before == after


def _apart(old: Measurement, new: Measurement) -> float:
    """How far the distance moved; infinite where only one has a finite one."""
    sizes = [
        float(m.distance) if m.problem is None and m.distance is not None else math.nan
        for m in (old, new)
    ]
    if all(map(math.isfinite, sizes)):
        return abs(sizes[1] - sizes[0])
    alike = sizes[0] == sizes[1] or all(map(math.isnan, sizes))
    return 0.0 if alike else math.inf


def _at(old: Measurement, new: Measurement) -> At:
    return At(
        dtype=old.dtype,
        case=old.case,
        step=old.step,
        tensor=old.tensor,
        distances=[old.distance, new.distance],
    )


def churn_of(of: Of) -> ChurnBy:
    """A label's churn by dtype and seed: it is that of the trainings in the label's own dtype."""
    dtype = of.record.plan.labels[of.label].dtype
    return {(dtype, churn.seed): churn.differ for churn in of.results.churn}


def trainings_of(
    then: list[Training], now: list[Training], churn: tuple[ChurnBy, ChurnBy] = ({}, {})
) -> list[TrainingDiff]:
    """The trainings, by dtype and seed, that both runs have some common step of."""
    after = {(t.dtype, t.seed, t.whole): t for t in now}
    # A whole one first: the other side may have cut its lockstep short.
    for training in now:
        after.setdefault((training.dtype, training.seed, not training.whole), training)
    pairs = ((old, after.get((old.dtype, old.seed, old.whole))) for old in then)
    return [
        _training(old, new, steps, churn)
        for old, new in pairs
        if new is not None and (steps := _common_steps(old, new))
    ]


def _training(
    old: Training, new: Training, steps: int, churn: tuple[ChurnBy, ChurnBy]
) -> TrainingDiff:
    """Two trainings that have so many steps in common."""
    losses = [*zip(old.losses[:steps], new.losses[:steps], strict=True)]
    first = next((i for i, (a, b) in enumerate(losses) if a != b), None)
    alike = old.rows == new.rows
    epochs = [
        *zip(old.epoch_losses, new.epoch_losses, strict=False),
        *zip(old.test_accuracy, new.test_accuracy, strict=False),
    ]
    differ = [
        side.get((t.dtype, t.seed)) if t.whole else None
        for side, t in zip(churn, (old, new), strict=True)
    ]
    figures_differ = any(a != b for a, b in epochs) or len({*differ} - {None}) == 2
    return TrainingDiff(
        dtype=old.dtype,
        seed=old.seed,
        steps=steps,
        first_step=first,
        furthest=number(max(_relative(a, b) for a, b in losses)),
        alike=alike,
        identical=first is None and not (alike and figures_differ),
        loss=[_last(old.epoch_losses), _last(new.epoch_losses)],
        accuracy=[_last(old.test_accuracy), _last(new.test_accuracy)],
        churn=differ,
    )


def _common_steps(old: Training, new: Training) -> int:
    """Steps from the first on that saw as many samples in both, and whose losses both have."""
    most = min(len(old.losses), len(new.losses))
    sizes = zip(old.rows[:most], new.rows[:most], strict=False)
    return len([*takewhile(lambda pair: pair[0] == pair[1], sizes)])


def _relative(then: Number, now: Number) -> float:
    """|now - then| / |then|; infinite where only one is finite, or only `then` is zero."""
    if then == now:
        return 0.0
    a, b = float(then), float(now)
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0:
        return math.inf
    return abs(b - a) / abs(a)


def _last(values: Sequence[T]) -> T | None:
    return values[-1] if values else None
