"""The rung accuracy: did they learn the same? Paired over seeds, against the reference's trainings.

Equivalence within a margin needs five seeds at least (`harness/verdict/stats.py`); with fewer the
rung is inconclusive. On the real data every whole training must also lie in the sanity band of
clean runs.
"""

from __future__ import annotations

import msgspec

from harness.data.fashion_mnist import REAL_SHA256
from harness.record.schema import Number, Record, Results, Training
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
# How each metric is told: times this, in this unit.
UNITS = {"test accuracy": (100, "points"), "training loss": (1, "nats")}


class ChurnTest(msgspec.Struct, kw_only=True):
    """Predictions of one seed against the reference's; `p`: McNemar's exact test."""

    seed: int
    samples: int
    differ: int
    only_here: int
    only_reference: int
    p: float


def check_accuracy(
    label: str,
    record: Record,
    results: Results,
    tests: dict[str, Equivalence],
    limits: tuple[Limit, ...],
) -> Finding:
    """Finite, inside the sanity band on the real data, and equivalent over seeds by `tests`."""
    trained = trainings(results, record.plan.labels[label].dtype)
    finding = Finding(rung="accuracy", verdict="inconclusive", sentence="nothing was trained")
    if not trained:
        return finding
    finding.measured = len(trained)
    seeds = f"{len(trained)} seed{'s' if len(trained) > 1 else ''}"
    for training in trained:
        odd = next((i for i, v in enumerate(training.losses) if not isinstance(v, float)), None)
        accuracies = [v for v in training.test_accuracy if not isinstance(v, float)]
        if odd is not None or accuracies:
            name = "training loss" if odd is not None else "test accuracy"
            got = training.losses[odd] if odd is not None else accuracies[0]
            finding.verdict = "disagree"
            finding.sentence = f"{label}, seed {training.seed}: the {name} is not finite"
            finding.first = _evidence(training, name, got, None, odd)
            return finding
    if record.plan.steps is not None:
        finding.sentence = f"{record.plan.steps} steps are no training to judge"
        return finding
    real = record.dataset is not None and record.dataset.sha256 == REAL_SHA256
    real = real and record.plan.provided is None
    real = real and record.plan.workload.epochs == BAND_EPOCHS
    if real and (outside := _outside(label, trained)):
        return outside
    band = "inside the sanity band of clean runs; " if real else ""
    dtype = record.plan.labels[label].dtype
    margins = {m: _margin(m, dtype, limits) for m in METRICS}
    _nearest(finding, tests, margins)
    missing = [seed for seed in record.plan.seeds if seed not in {t.seed for t in trained}]
    if missing:
        finding.sentence = f"not trained: seed {missing[0]}"
    elif not tests or len(trained) < MIN_SEEDS:
        finding.sentence = f"{seeds}: {band}equivalence needs at least {MIN_SEEDS}"
    elif all(test.verdict == "agree" for test in tests.values()):
        finding.verdict = "agree"
        finding.sentence = f"{seeds}: {band}" + "; ".join(
            tell(name, tests[name], margins[name]) for name in METRICS
        )
    else:
        worst = next((n for n in METRICS if tests[n].verdict == "disagree"), None)
        name = worst or next(n for n in METRICS if tests[n].verdict != "agree")
        finding.verdict = "disagree" if worst else "inconclusive"
        told = tell(name, tests[name], margins[name])
        more = tests[name].settles
        need = "" if worst else f"; {more or 'more than 1000'} seeds would settle it"
        finding.sentence = f"{label}, {seeds}: {told}{need}"
        if worst:
            finding.first = finding.evidence
    return finding


def equivalences(
    label: str, record: Record, results: Results, limits: tuple[Limit, ...]
) -> dict[str, Equivalence]:
    """The paired tests of a label's seeds against the reference's; empty where none is possible."""
    reference = {t.seed: t for t in record.reference if t.whole}
    pairs = [
        (training, reference[training.seed])
        for training in trainings(results, record.plan.labels[label].dtype)
        if training.seed in reference
    ]
    found = {}
    for name in METRICS:
        here, there = ([_metric(name, pair[side]) for pair in pairs] for side in (0, 1))
        if pairs and all(isinstance(v, float) for v in (*here, *there)):
            differences = [float(a) - float(b) for a, b in zip(here, there, strict=True)]
            if all(abs(d) < HUGE for d in differences):
                found[name] = equivalence(
                    differences, _margin(name, record.plan.labels[label].dtype, limits)
                )
    return found if len(found) == len(METRICS) and record.plan.steps is None else {}


def churn_tests(results: Results) -> list[ChurnTest]:
    """Churn of every seed with McNemar's p value beside it."""
    return [
        ChurnTest(
            **{f: getattr(c, f) for f in c.__struct_fields__},
            p=mcnemar(c.only_here, c.only_reference),
        )
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
    found = limit_for("accuracy", dtype, name, table=(*limits, *LIMITS))
    assert found is not None
    return found.value


def _metric(name: str, training: Training) -> Number:
    if name == "test accuracy":
        return mean_accuracy(training)
    return (training.epoch_losses or ["nan"])[-1]


def _nearest(finding: Finding, tests: dict[str, Equivalence], margins: dict[str, float]) -> None:
    """Value and limit: the interval's end furthest from zero, of the metric nearest its margin."""
    furthest = {
        name: max(abs(test.low), abs(test.high))
        if test.low is not None and test.high is not None
        else abs(test.mean)
        for name, test in tests.items()
    }
    if not furthest:
        return
    name = max(furthest, key=lambda n: furthest[n] / margins[n])
    finding.value, finding.limit = furthest[name], margins[name]
    finding.evidence = Evidence(
        dtype="",
        where=f"{tests[name].n} seeds",
        step=None,
        tensor=name,
        index=None,
        expected=0.0,
        got=tests[name].mean,
        distance=furthest[name],
        limit=margins[name],
        why="the margin of the equivalence test",
    )


def _outside(label: str, trained: list[Training]) -> Finding | None:
    """The first training outside the sanity band."""
    for training in trained:
        for name, value, band in (
            ("last-epoch mean loss", _metric("training loss", training), LOSS_BAND),
            ("mean test accuracy of the last epochs", mean_accuracy(training), ACCURACY_BAND),
        ):
            if isinstance(value, float) and band[0] <= value <= band[1]:
                continue
            return Finding(
                rung="accuracy",
                verdict="disagree",
                measured=len(trained),
                sentence=f"{label}, seed {training.seed}: {name} {value} outside the sanity band "
                f"{band[0]} to {band[1]} of clean runs on this data",
                first=_evidence(training, name, value, band, None),
            )
    return None


def _evidence(
    training: Training,
    name: str,
    got: Number,
    band: tuple[float, float] | None,
    step: int | None,
) -> Evidence:
    return Evidence(
        dtype=training.dtype,
        where=f"seed {training.seed}",
        step=step,
        tensor=name,
        index=None,
        expected=band[0] if band else None,
        got=got,
        distance=None,
        limit=band[1] if band else None,
        why="20 clean seeds stay inside" if band else "correct code stays finite",
    )


def trainings(results: Results, dtype: str) -> list[Training]:
    """The whole trainings in a dtype, one a seed: a lockstep run cut short is none of them."""
    return [training for training in results.training if training.dtype == dtype and training.whole]


def mean_accuracy(training: Training) -> Number:
    """Mean test accuracy of the last three epochs (fewer where fewer were trained)."""
    last = training.test_accuracy[-LAST_EPOCHS:]
    if any(not isinstance(v, float) for v in last) or not last:
        return "nan"
    return sum(float(v) for v in last) / len(last)
