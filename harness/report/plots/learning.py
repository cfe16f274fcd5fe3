"""Pictures of learning: loss and accuracy by epoch, confusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.interface import Array
from harness.record.schema import Record, Training
from harness.report.figure import Plot
from harness.report.plots import axes
from harness.report.plots.numbers import references
from harness.report.plots.picture import Series, cells, picture
from harness.report.run_tables import Run
from harness.verdict.outcome import trainings

# Above this many classes a matrix has no room for its counts, and tells nothing at a glance.
MOST_CLASSES = 20
REFERENCE = "reference"
# Pale in the middle, so that only what differs has a colour; alike in light and dark.
FEWER_MORE = [[0.0, "#eb8f73"], [0.5, "#f4f4f4"], [1.0, "#7fb2f0"]]
COUNTS = [[0.0, "#f4f4f4"], [1.0, "#7fb2f0"]]
INK = "#1a1a1a"  # at least 7:1 on each of these


def losses(run: Run) -> list[Plot]:
    """The mean training loss of every epoch."""
    title = "Training loss per epoch (nats)"
    series = _by_epoch(run.record, lambda training: axes.numeric(training.epoch_losses))
    return _epochs("epoch-loss", title, "mean training loss, nats", series)


def accuracies(run: Run) -> list[Plot]:
    """Test accuracy after every epoch."""
    title = "Test accuracy after each epoch (%)"
    series = _by_epoch(run.record, lambda training: 100 * axes.numeric(training.test_accuracy))
    return _epochs("epoch-accuracy", title, "test accuracy, %", series)


def _by_epoch(record: Record, figures: Callable[[Training], Array]) -> list[Series]:
    """A line a seed, of the reference and of every label."""
    series = []
    for name, training, first in _trained(record):
        values = figures(training)
        if len(values):
            hover = f"seed {training.seed}, epoch %{{x}}: %{{y:.5g}}"
            trace = _look(record, name, "lines+markers" if first else "lines", hover, first=first)
            ends = f"{values[0]:.5g}", f"{values[-1]:.5g}"
            row = cells(name or REFERENCE, training.seed, len(values), *ends)
            series.append(Series(trace | {"y": values}, [row]))
    return series


def _epochs(name: str, title: str, what: str, series: list[Series]) -> list[Plot]:
    caption = (
        "Where two learn the same, one line hides the other; the wide grey one below is the "
        "float64 reference's."
    )
    if len({s.rows[0][1] for s in series}) > 1:
        caption += " Thick: the first seed; thin: the others."
    if absent := sum(axes.missing(s.trace["y"]) for s in series):
        caption += f" {absent} values are not finite and are left out."
    x = axes.linear("epoch", tickformat="d")
    header = ("label", "seed", "epochs", "after the first", "after the last")
    return picture(name, title, caption, series, x, axes.linear(what), header)


def _trained(record: Record) -> list[tuple[str | None, Training, bool]]:
    """The reference's trainings (None), then the labels': whether it is the first seed of them."""
    by_name: list[tuple[str | None, Sequence[Training]]] = [(None, [*references(record).values()])]
    for name, results in record.results.items():
        by_name.append((name, trainings(results, record.plan.labels[name].dtype)))
    return [(name, t, place == 0) for name, of in by_name for place, t in enumerate(of)]


def _look(record: Record, name: str | None, mode: str, hover: str, *, first: bool) -> axes.Trace:
    """A line's looks: the reference's is wide and pale, and lies below the others."""
    if name is not None:
        return axes.line_of(record, name, mode, hover, first=first)
    return axes.scatter(
        mode,
        REFERENCE,
        hover,
        legendgroup=REFERENCE,
        showlegend=first,
        opacity=0.4 if first else 0.2,
        line={"color": axes.GREY, "width": 7},
        marker={"color": axes.GREY, "size": 3},
    )


def confusions(run: Run) -> list[Plot]:
    """The matrix of the reference, and of every label with what differs from it; first seed."""
    record = run.record
    classes = record.dataset.class_names if record.dataset is not None else []
    judged: dict[int, Array] = {}
    plots = []
    for name, training, first in _trained(record):
        counts = square(training.confusion)
        if not first or counts is None:
            continue
        base = judged.get(training.seed)
        if name is None:
            judged[training.seed] = counts
        elif base is not None and base.shape != counts.shape:
            base = None
        place = "reference" if name is None else str(axes.place_of(record, name))
        title = f"{axes.plain(name or REFERENCE)}: test samples by true and predicted class, seed "
        plots.append(
            _confusion(f"confusion-{place}", f"{title}{training.seed}", counts, base, classes)
        )
    return plots


def square(matrix: list[list[int]]) -> Array | None:
    """A confusion matrix as int64 (classes, classes); None for anything else, or a large one."""
    size = len(matrix)
    if not 2 <= size <= MOST_CLASSES or any(len(row) != size for row in matrix):
        return None
    return np.array(matrix, dtype=np.int64)


def _confusion(
    name: str, title: str, counts: Array, base: Array | None, classes: list[str]
) -> Plot:
    """Counts, coloured by what differs from `base`, or without one by size."""
    compared = base is not None
    less = counts - base if base is not None else counts
    most = max(1, int(np.max(np.abs(less))))
    changes = [[f"{n:+d}" if compared and n else "" for n in row] for row in less.tolist()]
    pairs = [[*zip(*of, strict=True)] for of in zip(counts.tolist(), changes, strict=True)]
    change = " (%{z:+d})" if compared else ""
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": less,
        "zmin": -most if compared else 0,
        "zmax": most,
        "colorscale": FEWER_MORE if compared else COUNTS,
        "showscale": False,
        "text": [[f"{n or ''}{more and f'<br>{more}'}" for n, more in row] for row in pairs],
        "texttemplate": "%{text}",
        "textfont": {"size": 10, "color": INK},
        "customdata": counts,
        "hovertemplate": f"true %{{y}}, predicted %{{x}}: %{{customdata}}{change}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
    }
    caption = (
        "Rows: the true class; columns: the predicted one; on the diagonal what is right: "
        f"{int(np.trace(counts))} of {int(counts.sum())} test samples."
    )
    if compared:
        caption += (
            " Coloured, and told below the count, is what differs from the reference: blue is "
            f"more, red less. {np.count_nonzero(less)} of {less.size} cells differ."
        )
    named = [axes.plain(classes[k] if k < len(classes) else str(k)) for k in range(len(counts))]
    axis = axes.rows_axis([axes.tick(each, 11) for each in named], tickfont={"size": 10})
    del axis["range"]  # that of the cells
    layout = axes.layout(
        axis | {"title": {"text": "predicted class"}, "tickangle": -60},
        axis | {"title": {"text": "true class"}, "autorange": "reversed"},
    )
    rows = [
        [each, *(f"{n} ({more})" if more else str(n) for n, more in row)]
        for each, row in zip(named, pairs, strict=True)
    ]
    header = ("true \\ predicted", *named)
    return Plot(name, title, caption, [trace], layout, header, rows, 150 + 31 * len(counts))
