"""What training came to: predictions, confusion, churn, series of a free run. Judges nothing."""

from __future__ import annotations

import numpy as np

from harness.interface import Array
from harness.measure.measurement import stored_norm
from harness.record.schema import Churn, Training, number
from harness.workloads.reference import canonical


def predictions(logits: Array) -> Array:
    """The class of each row of logits (n, classes), int64 (n,): -1 for one with NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, np.argmax(logits, axis=1))


def confusion(predicted: Array, labels: Array, classes: int) -> list[list[int]]:
    """How often each class (a row) was taken for each (a column); -1 is counted nowhere."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    known = predicted >= 0
    np.add.at(counts, (labels[known], predicted[known]), 1)
    rows: list[list[int]] = counts.tolist()
    return rows


def differing(predicted: dict[str, Array], reference: Array, labels: Array, most: int) -> list[int]:
    """Up to `most` samples that some label does not give the reference's class.

    Those that most labels differ on come first, then the first of the test set. Classes are int
    (n,), -1 where there is none: that differs from everything.
    """
    count = np.zeros(len(labels), dtype=np.int64)
    for classes in predicted.values():
        count += (classes != reference) | (classes < 0)
    order = np.lexsort((np.arange(len(labels)), -count))[:most]
    return [int(index) for index in order if count[index]]


def churn(logits: Array, reference: Array, labels: Array, seed: int) -> Churn:
    """Predictions against the reference's: logits (n, classes) each, labels int (n,).

    A row with NaN predicts nothing: it is right nowhere and differs from everything.
    """
    own, other = predictions(logits), predictions(reference)
    right, wanted = own == labels, other == labels
    return Churn(
        seed=seed,
        samples=len(labels),
        differ=int(np.count_nonzero((own != other) | (own < 0))),
        only_here=int(np.count_nonzero(right & ~wanted)),
        only_reference=int(np.count_nonzero(wanted & ~right)),
    )


def training(
    series: dict[str, Array], logits: list[Array], test_y: Array, rows: Array, ends: list[int]
) -> Training:
    """One free training as it is stored (dtype, seed and whole still open).

    series: losses float64 (steps,), step_ns, epoch_ns, eval_ns int64, gather_ns and put_ns where
    they were timed, final.<name> parameters;
    logits: (test samples, outputs) after each evaluation; rows: samples of each step; ends: the
    last step of each epoch.
    """
    losses = series["losses"]
    last = logits[-1] if logits else np.zeros(0)
    whole = last.ndim == 2 and len(last) == len(test_y) and last.shape[1] > max(test_y, default=0)
    starts = [0, *(end + 1 for end in ends[:-1])]
    spans = [slice(start, end + 1) for start, end in zip(starts, ends, strict=True)]
    return Training(
        dtype="",
        seed=0,
        whole=True,
        rows=rows.tolist(),
        losses=[number(value) for value in losses],
        epoch_losses=[number(canonical.epoch_loss(losses[s], rows[s])) for s in spans],
        test_accuracy=[
            number(canonical.accuracy(array, test_y))
            if array.ndim == 2 and len(array) == len(test_y) and array.shape[1] > 0
            else "nan"
            for array in logits
        ],
        step_ns=series["step_ns"].tolist(),
        gather_ns=series["gather_ns"].tolist() if "gather_ns" in series else [],
        put_ns=series["put_ns"].tolist() if "put_ns" in series else [],
        epoch_ns=series["epoch_ns"].tolist(),
        eval_ns=series["eval_ns"].tolist(),
        final_norms={
            name.removeprefix("final."): stored_norm(value)
            for name, value in series.items()
            if name.startswith("final.")
        },
        confusion=confusion(predictions(last), test_y, last.shape[1]) if whole else [],
    )
