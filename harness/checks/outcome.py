"""The rungs trajectory and accuracy: did they learn the same?

Accuracy of few seeds is judged against the sanity band, and only where the data is the real one
and the schedule whole; everything else is reported and called inconclusive.
"""

from __future__ import annotations

from harness.checks.finding import Evidence, Finding
from harness.known_answers import REAL_SHA256
from harness.limits import ACCURACY_BAND, LOSS_BAND
from harness.record import Number, Record, Results, Training

LAST_EPOCHS = 3


def check_trajectory() -> Finding:
    """Free-running float32 against float64: reported, not judged (no envelope was measured)."""
    sentence = "not judged: no envelope of rounding replicas was measured"
    return Finding(rung="trajectory", verdict="inconclusive", sentence=sentence)


def check_accuracy(label: str, record: Record, results: Results) -> Finding:
    """Last-epoch mean loss and mean accuracy of the last three epochs, each seed, in the band."""
    trained = trainings(results, record.plan.labels[label].dtype)
    finding = Finding(rung="accuracy", verdict="inconclusive", sentence="nothing was trained")
    if not trained:
        return finding
    finding.measured = len(trained)
    means = [mean_accuracy(t) for t in trained]
    finding.value = means[0] if len(means) == 1 else None
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
    if record.dataset is None or record.dataset.sha256 != REAL_SHA256:
        finding.sentence = f"{seeds}, and the sanity band is known for the real data only"
        return finding
    if record.plan.steps is not None:
        finding.sentence = f"{seeds}, and the sanity band is known for whole trainings only"
        return finding
    outside = [
        (t, name, value, band)
        for t in trained
        for name, value, band in (
            ("last-epoch mean loss", (t.epoch_losses or ["nan"])[-1], LOSS_BAND),
            ("mean test accuracy of the last epochs", mean_accuracy(t), ACCURACY_BAND),
        )
        if not (isinstance(value, float) and band[0] <= value <= band[1])
    ]
    if outside:
        training, name, value, band = outside[0]
        finding.verdict = "disagree"
        finding.sentence = (
            f"{label}, seed {training.seed}: {name} {value} outside the sanity band "
            f"{band[0]} to {band[1]} of clean runs on this data"
        )
        finding.first = _evidence(training, name, value, band, None)
        return finding
    finding.verdict = "agree"
    finding.sentence = f"{seeds} inside the sanity band of clean runs on this data"
    return finding


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
