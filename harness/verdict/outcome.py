"""The rung accuracy: did they learn the same? Paired over seeds, against the reference's trainings.

Equivalence within a margin needs five seeds at least (`harness/verdict/stats.py`); with fewer the
rung is inconclusive. On the real data every whole training must also lie in the sanity band of
clean runs.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.data.fashion_mnist import REAL_SHA256
from harness.record.schema import Churn, Number, Record, Results, Training
from harness.text import many
from harness.verdict.finding import Evidence, Finding
from harness.verdict.stats import HUGE, MIN_SEEDS, Equivalence, equivalence, mcnemar
from harness.workloads.reference.limits import (
    ACCURACY_BAND,
    BAND_EPOCHS,
    LIMITS,
    LOSS_BAND,
    METRICS,
    Limit,
    limit_for,
)

LAST_EPOCHS = 3
# What a rung of several tests says, the worst first.
WORST = ("disagree", "inconclusive", "agree")
# How each metric is told: times this, in this unit.
UNITS = {"test accuracy": (100, "points"), "training loss": (1, "nats")}


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
    """Finite, inside the sanity band on the real data, and equivalent over seeds by `tests`."""
    dtype = record.plan.labels[label].dtype
    trained = trainings(results, dtype)
    finding = Finding(rung="accuracy", sentence="nothing was trained", measured=len(trained))
    if not trained:
        return finding
    banded = (
        record.dataset is not None
        and record.dataset.sha256 == REAL_SHA256
        and record.plan.provided is None
        and record.plan.steps is None
        and record.plan.workload.epochs == BAND_EPOCHS
    )
    if wrong := _not_finite(trained) or (_outside(trained) if banded else None):
        sentence, finding.first = wrong
        finding.verdict, finding.sentence = "disagree", f"{label}, {sentence}"
        return finding
    if record.plan.steps is not None:
        finding.sentence = f"{record.plan.steps} steps are no training to judge"
        return finding
    margins = {metric: _margin(metric, dtype, limits) for metric in METRICS}
    # One metric for the value, the limit and the sentence: of the worst word, nearest its margin.
    word = next((w for w in WORST if any(test.verdict == w for test in tests.values())), None)
    metric = _nearest(finding, {m: t for m, t in tests.items() if t.verdict == word}, margins)
    seeds = many(len(trained), "seed")
    band = "inside the sanity band of clean runs; " if banded else ""
    in_words = {name: tell(name, test, margins[name]) for name, test in tests.items()}
    missing = [seed for seed in record.plan.seeds if seed not in {t.seed for t in trained}]
    if missing:
        finding.sentence = f"not trained: seed {missing[0]}"
    elif metric is None or len(trained) < MIN_SEEDS:
        finding.sentence = f"{seeds}: {band}equivalence needs at least {MIN_SEEDS}"
    elif word == "agree":
        finding.verdict = "agree"
        finding.sentence = f"{seeds}: {band}" + "; ".join(in_words[name] for name in METRICS)
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
    for metric in METRICS:
        values = [(_metric(metric, own), _metric(metric, judge)) for own, judge in pairs]
        if not all(isinstance(value, float) for pair in values for value in pair):
            return {}
        differences = [float(own) - float(judge) for own, judge in values]
        if not all(abs(difference) < HUGE for difference in differences):
            return {}
        tests[metric] = equivalence(differences, _margin(metric, dtype, limits))
    return tests


def churn_tests(results: Results) -> list[ChurnTest]:
    """Churn of every seed with McNemar's p value beside it."""
    return [
        ChurnTest(**msgspec.structs.asdict(c), p=mcnemar(c.only_here, c.only_reference))
        for c in results.churn
    ]


def tell(name: str, test: Equivalence, margin: float) -> str:
    """One test in words: mean difference, interval, margin, power."""
    size, unit = UNITS[name]
    if test.low is None or test.high is None:
        return f"{name} differs by {test.mean * size:+.3g} {unit} (margin ±{margin * size:g})"
    return (
        f"{name} differs by {test.mean * size:+.2g} [{test.low * size:+.2g}, "
        f"{test.high * size:+.2g}] {unit} (90 % interval, margin ±{margin * size:g}, "
        f"power {test.power:.2f})"
    )


def _margin(name: str, dtype: str, limits: tuple[Limit, ...]) -> float:
    limit = limit_for("accuracy", dtype, name, table=(*limits, *LIMITS))
    assert limit is not None
    return limit.value


def _metric(name: str, training: Training) -> Number:
    if name == "test accuracy":
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


def _outside(trained: list[Training]) -> tuple[str, Evidence] | None:
    """The first training outside the sanity band, in words too."""
    for training in trained:
        for name, value, (low, high) in (
            ("last-epoch mean loss", _metric("training loss", training), LOSS_BAND),
            ("mean test accuracy of the last epochs", mean_accuracy(training), ACCURACY_BAND),
        ):
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
