"""Pictures of learning: loss and accuracy by epoch, equivalence over seeds, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from harness.interface import Array
from harness.record.schema import Record, Training
from harness.report import run_tables
from harness.report.figure import Plot, style
from harness.report.plots import axes
from harness.report.plots.numbers import references
from harness.report.plots.picture import Series, cells, interval, picture
from harness.report.run_tables import Run
from harness.verdict.outcome import UNITS, trainings
from harness.workloads.reference.limits import LIMITS, METRICS, limit_for

# Above this many classes a matrix has no room for its counts, and tells nothing at a glance.
MOST_CLASSES = 20
REFERENCE = "reference"
# Pale in the middle, so that only what differs has a colour; alike in light and dark.
FEWER_MORE = [[0.0, "#eb8f73"], [0.5, "#f4f4f4"], [1.0, "#7fb2f0"]]
COUNTS = [[0.0, "#f4f4f4"], [1.0, "#7fb2f0"]]
INK = "#1a1a1a"  # at least 7:1 on each of these


def losses(run: Run) -> list[Plot]:
    """The mean training loss of every epoch."""
    return _epochs(run.record, "epoch_losses")


def accuracies(run: Run) -> list[Plot]:
    """Test accuracy after every epoch."""
    return _epochs(run.record, "test_accuracy")


def _epochs(record: Record, field: Literal["epoch_losses", "test_accuracy"]) -> list[Plot]:
    """A figure after every epoch: a line a seed, of the reference and of every label."""
    percent = field == "test_accuracy"
    size, what = (100.0, "test accuracy, %") if percent else (1.0, "mean training loss, nats")
    series, absent = [], 0
    for name, training, first in _trained(record):
        values = size * axes.numeric(getattr(training, field))
        if len(values):
            absent += axes.missing(values)
            hover = f"seed {training.seed}, epoch %{{x}}: %{{y:.5g}}"
            trace = _look(record, name, "lines+markers" if first else "lines", hover, first=first)
            ends = f"{values[0]:.5g}", f"{values[-1]:.5g}"
            row = cells(name or REFERENCE, training.seed, len(values), *ends)
            series.append(Series(trace | {"y": values}, [row]))
    caption = (
        "Where two learn the same, one line hides the other; the wide grey one below is the "
        "float64 reference's."
    )
    if len({s.rows[0][1] for s in series}) > 1:
        caption += " Thick: the first seed; thin: the others."
    if absent:
        caption += f" {absent} values are not finite and are left out."
    return picture(
        "epoch-accuracy" if percent else "epoch-loss",
        "Test accuracy after each epoch (%)" if percent else "Training loss per epoch (nats)",
        caption,
        series,
        axes.linear("epoch", tickformat="d"),
        axes.linear(what),
        ("label", "seed", "epochs", "after the first", "after the last"),
    )


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
    return {
        "type": "scatter",
        "name": REFERENCE,
        "legendgroup": REFERENCE,
        "showlegend": first,
        "opacity": 0.4 if first else 0.2,
        "line": {"color": axes.GREY, "width": 7},
        "marker": {"color": axes.GREY, "size": 3},
        "mode": mode,
        "hovertemplate": hover,
    }


def equivalence(run: Run) -> list[Plot]:
    """The mean difference from the reference over seeds, with its interval and the margin."""
    return [plot for metric in METRICS for plot in _equivalence(run, metric)]


def _equivalence(run: Run, metric: str) -> list[Plot]:
    verdict = run.verdict
    tests = {
        name: label.equivalence[metric]
        for name, label in verdict.labels.items()
        if metric in label.equivalence
    }
    size, unit = UNITS[metric]
    table = run_tables.equivalence(run)
    rows = [row for row in table.texts if row[1].startswith(f"{metric},")]
    series, ends = [], [0.0]
    for row, (name, test) in enumerate(tests.items()):
        low, value, high = (
            size * (test.mean if end is None else end) for end in (test.low, test.mean, test.high)
        )
        ends += [abs(low), abs(value), abs(high)]
        look = style([*verdict.labels].index(name))["marker"] | {"size": 10}
        trace = interval(name, row, value, (low, high), look) | {
            "mode": "markers",
            "hovertemplate": f"%{{x:+.3g}} {unit}, {test.verdict}",
        }
        series.append(Series(trace, [[axes.plain(name), *rows[row][1:]]]))
    caption = "The mean over seeds of label less reference, paired, with its 90 % interval. "
    shapes = [axes.line(x=0.0, line={"dash": "solid", "width": 0.7})]
    limit = limit_for("accuracy", "float32", metric, table=LIMITS)
    if limit is not None and verdict.other_limits is None:
        margin = size * limit.value
        ends.append(margin)
        shapes += [axes.line(x=-margin), axes.line(x=margin)]
        caption += (
            f"Dashed: the margin, ±{margin:g} {unit}. Equivalent is what lies between the two "
            "lines with its whole interval; a point without one is a single seed."
        )
    reach = 1.15 * max(ends) or 1.0
    return picture(
        f"equivalence-{metric.replace(' ', '-')}",
        f"Equivalence over seeds: {metric} less the reference's ({unit})",
        caption,
        series,
        axes.linear(f"difference, {unit}", range=[-reach, reach]),
        axes.rows_axis([axes.tick(name) for name in tests]),
        tuple(map(str, table.header)),
        height=100 + 36 * len(tests),
        shapes=shapes,
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
    pairs = [
        [
            (count, f"{more:+d}" if compared and more else "")
            for count, more in zip(*of, strict=True)
        ]
        for of in zip(counts.tolist(), less.tolist(), strict=True)
    ]
    change = " (%{z:+d})" if compared else ""
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": less,
        "zmin": -most if compared else 0,
        "zmax": most,
        "colorscale": FEWER_MORE if compared else COUNTS,
        "showscale": False,
        "text": [
            [(str(count) if count else "") + (more and f"<br>{more}") for count, more in row]
            for row in pairs
        ],
        "texttemplate": "%{text}",
        "textfont": {"size": 10, "color": INK},
        "customdata": counts,
        "hovertemplate": f"true %{{y}}, predicted %{{x}}: %{{customdata}}{change}<extra></extra>",
    } | dict.fromkeys(("xgap", "ygap"), 1)
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
    return Plot(
        name=name,
        title=title,
        caption=caption,
        traces=[trace],
        layout=axes.layout(
            axis | {"title": {"text": "predicted class"}, "tickangle": -60},
            axis | {"title": {"text": "true class"}, "autorange": "reversed"},
        ),
        header=("true \\ predicted", *named),
        rows=[
            [each, *(f"{count} ({more})" if more else str(count) for count, more in row)]
            for each, row in zip(named, pairs, strict=True)
        ],
        height=150 + 31 * len(counts),
    )
