"""The rung accuracy: did they learn the same? Paired over seeds, against the reference's trainings.

What a training comes to, and by how much it may differ, is the workload's (`Workload.outcome`).
Equivalence within a margin needs five seeds at least (`harness/verdict/stats.py`); with fewer the
rung is inconclusive. On the real data every whole training must also lie in the bands of clean
runs, where the workload declares any.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.data import official
from harness.interface import Outcome, Workload
from harness.record.schema import Churn, Number, Record, Results, Training
from harness.text import many, short, signed
from harness.verdict.finding import Evidence, Finding
from harness.verdict.numbers import accuracy_limit
from harness.verdict.stats import HUGE, MIN_SEEDS, Equivalence, equivalence, mcnemar
from harness.workloads import WORKLOADS
from harness.workloads.reference.limits import Limit

LAST_EPOCHS = 3
# What a rung of several tests says, the worst first.
WORST = ("disagree", "inconclusive", "agree")
# How each metric is told: times this, in this unit.
UNITS = {
    "test accuracy": (100, "points"),
    "binary accuracy": (100, "points"),
    "training loss": (1, "nats"),
    "training accuracy": (100, "points"),
}


class ChurnTest(Churn, kw_only=True, forbid_unknown_fields=False, gc=False):
    """Predictions of one seed against the reference's; `p`: McNemar's exact test."""

    p: float


def check_accuracy(
    label: str,
    record: Record,
    results: Results,
    tests: dict[str, Equivalence],
    limits: tuple[Limit, ...],
) -> Finding:
    """Finite, inside the bands on the real data, and equivalent over seeds by `tests`."""
    dtype = record.plan.labels[label].dtype
    trained = trainings(results, dtype)
    finding = Finding(rung="accuracy", sentence="nothing was trained", measured=len(trained))
    if not trained:
        return finding
    bands = _bands(record)
    if wrong := _not_finite(trained) or _outside(trained, bands):
        sentence, finding.first = wrong
        finding.verdict, finding.sentence = "disagree", f"{label}, {sentence}"
        return finding
    if record.plan.steps is not None:
        finding.sentence = f"{record.plan.steps} steps are no training to judge"
        return finding
    margins = _margins(record, label, dtype, limits)
    if not margins:
        finding.verdict = "not-possible"
        finding.sentence = "the workload declares nothing that its trainings come to"
        return finding
    # One metric for the value, the limit and the sentence: of the worst word, nearest its margin.
    word = next((w for w in WORST if any(test.verdict == w for test in tests.values())), None)
    metric = _nearest(finding, {m: t for m, t in tests.items() if t.verdict == word}, margins)
    seeds = many(len(trained), "seed")
    band = "inside the sanity band of clean runs; " if bands else ""
    workload = record.plan.workload
    in_words = {name: tell(name, test, margins[name], workload) for name, test in tests.items()}
    missing = [seed for seed in record.plan.seeds if seed not in {t.seed for t in trained}]
    if missing:
        finding.sentence = f"not trained: seed {missing[0]}"
    elif metric is None or len(trained) < MIN_SEEDS:
        finding.sentence = f"{seeds}: {band}equivalence needs at least {MIN_SEEDS}"
    elif word == "agree":
        finding.verdict = "agree"
        finding.sentence = f"{seeds}: {band}" + "; ".join(in_words.values())
    elif word == "disagree":
        finding.verdict, finding.first = "disagree", finding.evidence
        finding.sentence = f"{label}, {seeds}: {in_words[metric]}"
    else:
        need = f"{tests[metric].settles or 'more than 1000'} seeds would settle it"
        finding.sentence = f"{label}, {seeds}: {in_words[metric]}; {need}"
    return finding


def equivalences(
    label: str, record: Record, results: Results, limits: tuple[Limit, ...]
) -> dict[str, Equivalence]:
    """The paired tests of a label's seeds against the reference's; empty where none is possible."""
    dtype = record.plan.labels[label].dtype
    reference = {t.seed: t for t in record.reference if t.whole}
    pairs = [(t, reference[t.seed]) for t in trainings(results, dtype) if t.seed in reference]
    if not pairs or record.plan.steps is not None:
        return {}
    tests = {}
    for metric, margin in _margins(record, label, dtype, limits).items():
        values = [(_metric(metric, own), _metric(metric, judge)) for own, judge in pairs]
        if not all(isinstance(value, float) for pair in values for value in pair):
            return {}
        differences = [float(own) - float(judge) for own, judge in values]
        if not all(abs(difference) < HUGE for difference in differences):
            return {}
        tests[metric] = equivalence(differences, margin)
    return tests


def churn_tests(results: Results) -> list[ChurnTest]:
    """Churn of every seed with McNemar's p value beside it."""
    return [
        ChurnTest(**msgspec.structs.asdict(c), p=mcnemar(c.only_here, c.only_reference))
        for c in results.churn
    ]


def unit_of(metric: str, workload: Workload) -> tuple[int, str]:
    """How a metric is told: times this, in this unit; a loss that is no cross-entropy has none."""
    size, unit = UNITS.get(metric, (1, ""))
    return size, "" if unit == "nats" and "cross-entropy" not in workload.loss else unit


def tell(name: str, test: Equivalence, margin: float, workload: Workload) -> str:
    """One test in words: mean difference, interval, margin, power."""
    size, unit = unit_of(name, workload)
    unit = f" {unit}" if unit else ""
    within = f"margin ±{short(margin * size)}"
    if test.low is None or test.high is None:
        return f"{name} differs by {signed(test.mean * size)}{unit} ({within})"
    return (
        f"{name} differs by {signed(test.mean * size)} [{signed(test.low * size)}, "
        f"{signed(test.high * size)}]{unit} (90 % interval, {within}, "
        f"power {test.power:.2f})"
    )


def _margins(record: Record, label: str, dtype: str, limits: tuple[Limit, ...]) -> dict[str, float]:
    """By how much each metric of the workload may differ: the user's limits go first."""
    own = {o.metric: accuracy_limit(label, dtype, o.metric, limits) for o in _told(record)}
    return {
        o.metric: limit.value if (limit := own[o.metric]) is not None else o.margin
        for o in _told(record)
    }


def _told(record: Record) -> tuple[Outcome, ...]:
    return record.plan.workload.outcome


def _bands(record: Record) -> dict[str, tuple[float, float]]:
    """Where clean runs end, by metric: of whole trainings, as they are declared, on real data."""
    plan, data = record.plan, record.dataset
    declared = WORKLOADS.get(plan.workload.name) if plan.provided is None else plan.workload
    if declared is None or plan.steps is not None:
        return {}
    own = plan.workload.sizes, plan.workload.epochs
    real = data is not None and official(plan.workload.data, data.sha256)
    if own != (declared.sizes, declared.epochs) or not real:
        return {}
    return {o.metric: o.band for o in _told(record) if o.band is not None}


def _metric(name: str, training: Training) -> Number:
    if name == "training accuracy":
        return (training.training_accuracy or ["nan"])[-1]
    if name.endswith("accuracy"):
        return mean_accuracy(training)
    return (training.epoch_losses or ["nan"])[-1]


def _nearest(
    finding: Finding, tests: dict[str, Equivalence], margins: dict[str, float]
) -> str | None:
    """The metric nearest its margin; value: the end of its interval that is furthest from zero."""
    if not tests:
        return None
    furthest = {
        name: max(abs(test.low), abs(test.high))
        if test.low is not None and test.high is not None
        else abs(test.mean)
        for name, test in tests.items()
    }
    name = max(furthest, key=lambda n: furthest[n] / margins[n])
    finding.value, finding.limit = furthest[name], margins[name]
    finding.evidence = Evidence(
        where=f"{tests[name].n} seeds",
        tensor=name,
        expected=0.0,
        got=tests[name].mean,
        distance=furthest[name],
        limit=margins[name],
        why="the margin of the equivalence test",
    )
    return name


def _not_finite(trained: list[Training]) -> tuple[str, Evidence] | None:
    """The first training with a loss or an accuracy that is not finite, in words too."""
    for training in trained:
        losses = [(i, v) for i, v in enumerate(training.losses) if not isinstance(v, float)]
        accuracies = [(None, v) for v in training.test_accuracy if not isinstance(v, float)]
        for name, odd in (("training loss", losses), ("test accuracy", accuracies)):
            if odd:
                step, got = odd[0]
                first = _evidence(training, name, got, "correct code stays finite", step=step)
                return f"{first.where}: the {name} is not finite", first
    return None


def _outside(
    trained: list[Training], bands: dict[str, tuple[float, float]]
) -> tuple[str, Evidence] | None:
    """The first training outside a band, in words too."""
    words = {"training loss": "last-epoch mean loss"}
    for training in trained:
        for metric, (low, high) in bands.items():
            name = words.get(metric, f"mean {metric} of the last epochs")
            value = _metric(metric, training)
            if not isinstance(value, float) or not low <= value <= high:
                why = "20 clean seeds stay inside"
                first = _evidence(training, name, value, why, expected=low, limit=high)
                band = f"outside the sanity band {low} to {high} of clean runs on this data"
                return f"{first.where}: {name} {value} {band}", first
    return None


def _evidence(training: Training, name: str, got: Number, why: str, **fields: Any) -> Evidence:
    where = f"seed {training.seed}"
    return Evidence(dtype=training.dtype, where=where, tensor=name, got=got, why=why, **fields)


def trainings(results: Results, dtype: str) -> list[Training]:
    """The whole trainings in a dtype, one a seed: a lockstep run cut short is none of them."""
    return [training for training in results.training if training.dtype == dtype and training.whole]


def mean_accuracy(training: Training) -> Number:
    """Mean test accuracy of the last three epochs (fewer where fewer were trained)."""
    last = training.test_accuracy[-LAST_EPOCHS:]
    if any(not isinstance(v, float) for v in last) or not last:
        return "nan"
    return sum(float(v) for v in last) / len(last)
