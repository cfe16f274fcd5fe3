"""What training came to: predictions, confusion, churn, series of a free run. Judges nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.interface import Array, Workload
from harness.measure.measurement import stored_norm
from harness.record.schema import Churn, Number, Training, number
from harness.workloads.reference import canonical

# What a training took; the first two only where they were timed.
TIMES = ("gather_ns", "put_ns", "step_ns", "epoch_ns", "eval_ns")

# Of more classes than these no matrix is kept.
MOST_CLASSES = 100


def predictions(workload: Workload, outputs: Array) -> Array | None:
    """The class of each row of outputs (n, ...), int64 (n,), -1 for one with NaN; None: no classes.

    The largest output's; of one number, whether it exceeds .5.
    """
    metric = accuracy_metric(workload)
    if metric is None or outputs.ndim != 2 or outputs.shape[1:] != workload.outputs:
        return None
    if metric == "binary accuracy":
        return np.where(np.isnan(outputs[:, 0]), -1, outputs[:, 0] > 0.5)
    return largest(outputs)


def largest(outputs: Array) -> Array:
    """Where the largest of each row (n, classes) is, the first of several; -1 for one with NaN."""
    return np.where(np.isnan(outputs).any(axis=1), -1, np.argmax(outputs, axis=1))


def accuracy_metric(workload: Workload) -> str | None:
    """Which accuracy a workload counts after each epoch; None where it has none."""
    counted = ("test accuracy", "binary accuracy")
    return next((o.metric for o in workload.outcome if o.metric in counted), None)


def true_classes(workload: Workload, y: Array) -> Array:
    """The classes that predictions are held to, int64 (n,); -1 where targets are none.

    y: classes (n,), or numbers (n, ...): of one number, whether it exceeds .5.
    """
    metric = accuracy_metric(workload)
    if metric is None:
        return np.full(len(y), -1)
    return (y[:, 0] > 0.5 if metric == "binary accuracy" else y).astype(np.int64)


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


def churn(own: Array, other: Array, labels: Array, seed: int) -> Churn:
    """Predictions against the reference's, int (n,) each.

    A row that predicts nothing (-1) is right nowhere and differs from everything.
    """
    right, wanted = own == labels, other == labels
    return Churn(
        seed=seed,
        samples=len(labels),
        differ=int(np.count_nonzero((own != other) | (own < 0))),
        only_here=int(np.count_nonzero(right & ~wanted)),
        only_reference=int(np.count_nonzero(wanted & ~right)),
    )


def training(
    workload: Workload,
    series: dict[str, Array],
    outputs: list[Array],
    test_y: Array,
    rows: Array,
    ends: list[int],
    loss: Callable[[Array, Array], Array] | None = None,
    tests: int | None = None,
) -> Training:
    """One free training as it is stored (dtype, seed and whole still open).

    series: losses float64 (steps,), step_ns, epoch_ns, eval_ns int64, gather_ns and put_ns where
    they were timed, final.<name> parameters, and what `harness.workers.looks` tells;
    outputs: (samples, ...) after each evaluation, test_y: their targets; the first `tests` are of
    the test set (None: all), the others held out from training; rows: samples of each step; ends:
    the last step of each epoch; loss: of each sample, float64 (n,).
    """
    tests = len(test_y) if tests is None else tests
    held_out, test_y = true_classes(workload, test_y[tests:]), test_y[:tests]
    losses, labels = series["losses"], true_classes(workload, test_y)
    every = [predictions(workload, array) for array in outputs]
    counted = [array if array is None else array[:tests] for array in every]
    last = counted[-1] if counted else None
    classes = max(2, *workload.outputs)
    whole = last is not None and len(last) == len(labels) and max(labels, default=0) < classes
    whole &= classes <= MOST_CLASSES
    # Lockstep that a golden file cuts short may end no epoch.
    starts = [0, *(end + 1 for end in ends)]
    spans = [slice(start, end + 1) for start, end in zip(starts, ends, strict=False)]
    right, steps = series.get("right"), series.get("path.steps", np.zeros(0, int))
    return Training(
        dtype="",
        seed=0,
        whole=True,
        rows=rows.tolist(),
        losses=[number(value) for value in losses],
        epoch_losses=[number(canonical.epoch_loss(losses[s], rows[s])) for s in spans],
        test_accuracy=[_accuracy(array, labels) for array in counted],
        test_loss=[
            _loss(workload, loss, array[:tests], test_y) for array in outputs if loss is not None
        ],
        validation_accuracy=[
            _accuracy(None if array is None else array[tests:], held_out)
            for array in every
            if len(held_out)
        ],
        training_accuracy=[
            number(float(right[s].sum() / rows[s].sum())) for s in spans if right is not None
        ],
        gradient_norms={
            name: [number(value) for value in values]
            for name, values in _named(series, "gradients.").items()
        },
        path_steps=steps.tolist(),
        path=_path(workload, series["path"]) if len(steps) else {},
        final_norms={name: stored_norm(v) for name, v in _named(series, "final.").items()},
        confusion=confusion(last, labels, classes) if whole and last is not None else [],
        **{name: series[name].tolist() for name in TIMES if name in series},
    )


def _named(series: dict[str, Array], kind: str) -> dict[str, Array]:
    """The series of a kind, by the names of tensors."""
    return {name.removeprefix(kind): of for name, of in series.items() if name.startswith(kind)}


def _accuracy(predicted: Array | None, labels: Array) -> Number:
    if predicted is None or len(predicted) != len(labels):
        return "nan"
    return number(canonical.accuracy(predicted, labels))


def _loss(
    workload: Workload, loss: Callable[[Array, Array], Array], outputs: Array, y: Array
) -> Number:
    """The mean over samples; NaN where the outputs are not those of these targets."""
    if outputs.shape != (len(y), *workload.outputs):
        return "nan"
    with np.errstate(all="ignore"):
        return number(float(np.mean(loss(outputs.astype(np.float64), y))))


def _path(workload: Workload, states: Array) -> dict[str, list[list[Number]]]:
    """States float64 (n, numbers learnt), by tensor."""
    sizes = [math.prod(tensor.shape) for tensor in workload.learnt]
    parts = np.split(states, np.cumsum(sizes)[:-1], axis=1)
    return {
        tensor.name: [[number(value) for value in row] for row in part]
        for tensor, part in zip(workload.learnt, parts, strict=True)
    }
