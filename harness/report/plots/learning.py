"""Pictures of learning: loss and accuracy, equivalence, churn, confusion."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from harness.interface import Array
from harness.record.schema import Record, Training
from harness.report import run_tables
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.drift import references
from harness.verdict.outcome import UNITS, trainings
from harness.verdict.stats import Equivalence
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import LIMITS, METRICS, limit_for

# Above this many classes a matrix has no room for its counts, and tells nothing at a glance.
MOST_CLASSES = 20
REFERENCE = "reference"
# What two predictions differ in: its name, its pattern where colours cannot be told.
CHURN = (
    ("only the label is right", "#3c8f4c", ""),
    ("only the reference is right", "#c9512e", "/"),
    ("both are wrong", "#7d7d7d", "."),
)
# Pale in the middle, so that only what differs has a colour; alike in light and dark.
FEWER_MORE = [[0.0, "#eb8f73"], [0.5, "#f4f4f4"], [1.0, "#7fb2f0"]]
COUNTS = [[0.0, "#f4f4f4"], [1.0, "#7fb2f0"]]
INK = "#1a1a1a"  # at least 7:1 on each of these


def learning(record: Record, verdict: Verdict) -> list[Plot]:
    """Loss and accuracy per epoch, loss per step, equivalence, churn, confusion matrices."""
    found = [
        epochs(record, "epoch_losses"),
        epochs(record, "test_accuracy"),
        steps(record),
        *(equivalence(verdict, metric) for metric in METRICS),
        churn(verdict),
        *confusions(record),
    ]
    return [plot for plot in found if plot is not None]


def epochs(record: Record, series: Literal["epoch_losses", "test_accuracy"]) -> Plot | None:
    """A figure after every epoch: a line a seed, of the reference and of every label."""
    percent = series == "test_accuracy"
    size, what = (100.0, "test accuracy, %") if percent else (1.0, "mean training loss, nats")
    traces: list[axes.Trace] = []
    rows: list[list[str]] = []
    lost = 0
    for name, training, first in _trained(record):
        values = size * axes.numeric(getattr(training, series))
        if not len(values):
            continue
        lost += axes.missing(values)
        traces.append(
            _look(record, name, first=first)
            | {
                "mode": "lines+markers" if first else "lines",
                "x0": 1,
                "dx": 1,
                "y": axes.drawn(values),
                "hovertemplate": f"seed {training.seed}, epoch %{{x}}: %{{y:.5g}}",
            }
        )
        rows.append(
            [
                axes.plain(name or REFERENCE),
                str(training.seed),
                str(len(values)),
                *(f"{value:.5g}" for value in (values[0], values[-1])),
            ]
        )
    if not traces:
        return None
    told = (
        "Where two learn the same, one line hides the other; the wide grey one below is the "
        "float64 reference's."
    )
    if len({of[1] for of in rows}) > 1:
        told += " Thick: the first seed; thin: the others."
    told += f" {lost} values are not finite and are left out." if lost else ""
    return Plot(
        name="epoch-accuracy" if percent else "epoch-loss",
        title="Test accuracy after each epoch (%)" if percent else "Training loss per epoch (nats)",
        caption=told,
        traces=traces,
        layout=axes.layout(axes.linear("epoch", tickformat="d"), axes.linear(what)),
        header=("label", "seed", "epochs", "after the first", "after the last"),
        rows=rows,
        height=axes.tall(traces, 320),
    )


def _trained(record: Record) -> list[tuple[str | None, Training, bool]]:
    """The reference's trainings (None), then the labels': whether it is the first seed of them."""
    found: list[tuple[str | None, Training, bool]] = [
        (None, training, place == 0) for place, training in enumerate(references(record).values())
    ]
    for name, results in record.results.items():
        own = trainings(results, record.plan.labels[name].dtype)
        found += [(name, training, place == 0) for place, training in enumerate(own)]
    return found


def _look(record: Record, name: str | None, *, first: bool) -> axes.Trace:
    """A line's looks: the reference's is wide and pale, and lies below the others."""
    if name is not None:
        return axes.line_of(record, name, first=first)
    return {
        "type": "scatter",
        "name": REFERENCE,
        "legendgroup": REFERENCE,
        "showlegend": first,
        "opacity": 0.4 if first else 0.2,
        "line": {"color": axes.GREY, "width": 7},
        "marker": {"color": axes.GREY, "size": 3},
    }


def steps(record: Record) -> Plot | None:
    """The loss of every step, first seed."""
    found = [(name, training) for name, training, first in _trained(record)
             if first and training.losses]  # fmt: skip
    if not found:
        return None
    traces, rows = [], []
    for name, training in found:
        losses = axes.numeric(training.losses)
        traces.append(
            _look(record, name, first=True)
            | {
                "mode": "lines",
                "x0": 1,
                "dx": 1,
                "y": axes.drawn(losses),
                "hovertemplate": "step %{x}: %{y:.5g} nats",
            }
        )
        traces[-1]["line"] = traces[-1]["line"] | {"width": 1 if name is not None else 4}
        finite = losses[np.isfinite(losses)]
        rows.append(
            [
                axes.plain(name or REFERENCE),
                str(training.seed),
                str(len(losses)),
                *(f"{value:.5g}" for value in (losses[0], losses[-1])),
                f"{finite.min():.5g}" if len(finite) else "–",
                str(axes.missing(losses)),
            ]
        )
    seeds = sorted({row[1] for row in rows})
    return Plot(
        name="step-loss",
        title=f"Training loss of every step, seed {', '.join(seeds)} (nats)",
        caption="Mean cross-entropy of each batch before its update. The batches are the same in "
        "the same order, so the teeth of the lines coincide where the same is computed.",
        traces=traces,
        layout=axes.layout(axes.linear("training step"), axes.linear("loss, nats")),
        header=("label", "seed", "steps", "first", "last", "smallest", "not finite"),
        rows=rows,
        height=axes.tall(traces, 320),
    )


def equivalence(verdict: Verdict, metric: str) -> Plot | None:
    """The mean difference from the reference over seeds, with its interval and the margin."""
    found = [(name, label.equivalence[metric]) for name, label in verdict.labels.items()
             if metric in label.equivalence]  # fmt: skip
    if not found:
        return None
    size, called = UNITS[metric]
    places = {name: place for place, name in enumerate(verdict.labels)}
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": text(name),
            "x": [size * test.mean],
            "y": [row],
            "marker": style(places[name])["marker"] | {"size": 10},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [size * ((test.high if test.high is not None else test.mean) - test.mean)],
                "arrayminus": [
                    size * (test.mean - (test.low if test.low is not None else test.mean))
                ],
                "color": style(places[name])["marker"]["color"],
                "thickness": 2,
            },
            "showlegend": False,
            "hovertemplate": f"%{{x:+.3g}} {called}, {test.verdict}",
        }
        for row, (name, test) in enumerate(found)
    ]
    limit = limit_for("accuracy", "float32", metric, table=LIMITS)
    margin = size * limit.value if limit is not None and verdict.other_limits is None else None
    reach = 1.15 * max(margin or 0.0, *(size * _reach(test) for _, test in found)) or 1.0
    shapes = [axes.line(x=0.0, line={"dash": "solid", "width": 0.7})]
    told = "The mean over seeds of label less reference, paired, with its 90 % interval. "
    if margin is not None:
        shapes += [axes.line(x=-margin), axes.line(x=margin)]
        told += (
            f"Dashed: the margin, ±{margin:g} {called}. Equivalent is what lies between the two "
            "lines with its whole interval; a point without one is a single seed."
        )
    return Plot(
        name=f"equivalence-{metric.replace(' ', '-')}",
        title=f"Equivalence over seeds: {metric} less the reference's ({called})",
        caption=told,
        traces=traces,
        layout=axes.layout(
            axes.linear(f"difference, {called}", range=[-reach, reach]),
            axes.rows_axis([axes.tick(name) for name, _ in found]),
            shapes=shapes,
        ),
        header=tuple(run_tables.equivalence(verdict).header),
        rows=[[axes.plain(row[0]), *row[1:]] for row in run_tables.equivalence(verdict).texts
              if row[1].startswith(f"{metric},")],
        height=100 + 36 * len(found),
    )  # fmt: skip


def _reach(test: Equivalence) -> float:
    """How far from zero its interval goes."""
    return max(abs(end) for end in (test.low, test.mean, test.high) if end is not None)


def churn(verdict: Verdict) -> Plot | None:
    """Test samples that get another class than from the reference: who is right on them."""
    found = [(name, of) for name, label in verdict.labels.items() for of in label.churn]
    if not found:
        return None
    counts = [
        [of.only_here, of.only_reference, max(0, of.differ - of.only_here - of.only_reference)]
        for _, of in found
    ]
    several = len({of.seed for _, of in found}) > 1
    names = [f"{axes.tick(name, 10)}, {of.seed}" if several else axes.tick(name)
             for name, of in found]  # fmt: skip
    traces: list[axes.Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": what,
            "x": axes.whole(of[part] for of in counts),
            "y": np.arange(len(found)),
            "marker": axes.filled(colour, shape),
            "text": [str(of[part]) if of[part] else "" for of in counts],
            "textposition": "inside",
            "textangle": 0,
            "insidetextanchor": "middle",
            "hovertemplate": "%{x} samples",
        }
        for part, (what, colour, shape) in enumerate(CHURN)
    ]
    samples = sorted({of.samples for _, of in found})
    told = (
        f"Of {', '.join(map(str, samples))} test samples, those that the label puts into another "
        "class than the reference after the last step. Equal first and second parts are chance: "
        "two trainings that part ways by rounding."
    )
    return Plot(
        name="churn",
        title="Predictions that differ from the reference's (test samples)",
        caption=told + (" One bar a label and seed." if several else ""),
        traces=traces,
        layout=axes.layout(
            axes.linear("test samples", rangemode="tozero"),
            axes.rows_axis(names),
            barmode="stack",
            bargap=0.3,
        ),
        header=tuple(run_tables.churn(verdict).header),
        rows=[[axes.plain(row[0]), *row[1:]] for row in run_tables.churn(verdict).texts],
        height=axes.tall(traces, 90 + 26 * len(found)),
    )


def confusions(record: Record) -> list[Plot]:
    """The matrix of the reference, and of every label with what differs from it; first seed."""
    found = {}
    for name, training, first in _trained(record):
        matrix = square(training.confusion)
        if first and matrix is not None:
            found[name] = training, matrix
    judged = {training.seed: matrix for name, (training, matrix) in found.items() if name is None}
    names = record.dataset.class_names if record.dataset is not None else []
    plots = []
    for name, (training, matrix) in found.items():
        base = judged.get(training.seed) if name is not None else None
        if base is not None and base.shape != matrix.shape:
            base = None
        place = "reference" if name is None else str(axes.place_of(record, name))
        plots.append(
            _confusion(axes.plain(name or REFERENCE), place, training.seed, matrix, base, names)
        )
    return plots


def square(matrix: list[list[int]]) -> Array | None:
    """A confusion matrix as int64 (classes, classes); None for anything else, or a large one."""
    size = len(matrix)
    if not 2 <= size <= MOST_CLASSES or any(len(row) != size for row in matrix):
        return None
    return np.array(matrix, dtype=np.int64)


def _confusion(
    name: str, place: str, seed: int, matrix: Array, base: Array | None, names: list[str]
) -> Plot:
    classes = [_class(number, names) for number in range(len(matrix))]
    less = matrix - base if base is not None else matrix
    most = max(1, int(np.max(np.abs(less))))
    shown = [
        [
            (str(count) if count else "") + (f"<br>{more:+d}" if base is not None and more else "")
            for count, more in zip(*pair, strict=True)
        ]
        for pair in zip(matrix.tolist(), less.tolist(), strict=True)
    ]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": less,
        "zmin": -most if base is not None else 0,
        "zmax": most,
        "colorscale": FEWER_MORE if base is not None else COUNTS,
        "showscale": False,
        "text": shown,
        "texttemplate": "%{text}",
        "textfont": {"size": 10, "color": INK},
        "customdata": matrix,
        "hovertemplate": "true %{y}, predicted %{x}: %{customdata}"
        + (" (%{z:+d})" if base is not None else "")
        + "<extra></extra>",
        "xgap": 1,
        "ygap": 1,
    }
    right = int(np.trace(matrix))
    told = (
        "Rows: the true class; columns: the predicted one; on the diagonal what is right: "
        f"{right} of {int(matrix.sum())} test samples."
    )
    if base is not None:
        told += (
            " Coloured, and told below the count, is what differs from the reference: blue is "
            f"more, red less. {np.count_nonzero(less)} of {less.size} cells differ."
        )
    axis = {
        "tickmode": "array",
        "tickvals": list(range(len(classes))),
        "ticktext": classes,
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "tickfont": {"size": 10},
    }
    return Plot(
        name=f"confusion-{place}",
        title=f"{name}: test samples by true and predicted class, seed {seed}",
        caption=told,
        traces=[trace],
        layout=axes.layout(
            axis | {"title": {"text": "predicted class"}, "tickangle": -60},
            axis | {"title": {"text": "true class"}, "autorange": "reversed"},
        ),
        header=("true \\ predicted", *classes_plain(names, len(matrix))),
        rows=[
            [
                told,
                *(
                    _count(count, more, compared=base is not None)
                    for count, more in zip(*of, strict=True)
                ),
            ]
            for told, *of in zip(
                classes_plain(names, len(matrix)), matrix.tolist(), less.tolist(), strict=True
            )
        ],
        height=150 + 31 * len(matrix),
    )


def _class(number: int, names: list[str]) -> str:
    return axes.tick(names[number], 11) if number < len(names) else str(number)


def classes_plain(names: list[str], size: int) -> list[str]:
    """The classes as a table names them."""
    return [axes.plain(names[k]) if k < len(names) else str(k) for k in range(size)]


def _count(count: int, more: int, *, compared: bool) -> str:
    return f"{count} ({more:+d})" if compared and more else str(count)
