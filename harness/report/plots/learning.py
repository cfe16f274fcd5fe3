"""Pictures of learning: loss and accuracy by epoch, norms of gradients, confusion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.interface import Array
from harness.measure.outcome import accuracy_metric
from harness.record.schema import Number, Record, Training
from harness.report.figure import GREY, INK, Plot, style
from harness.report.learnt import (
    NORMS,
    REFERENCE,
    Trained,
    by_layer,
    norm_rows,
    norms,
    square,
    trained,
)
from harness.report.plots import axes, findings
from harness.report.plots.picture import Log, Series, cells, picture
from harness.report.run_tables import Run
from harness.report.words import in_nats
from harness.text import short

# Losses that fall by more than this are drawn on a logarithmic axis.
STEEP = 1000
# Above this many epochs a line's marks hide it.
MOST_MARKED = 100
# Pale in the middle, so that only what differs has a colour, which no framework has; alike in light
# and dark.
FEWER_MORE = [[0.0, "#d3a95f"], [0.5, "#f4f4f4"], [1.0, "#74bcb2"]]
COUNTS = [[0.0, "#f4f4f4"], [1.0, "#a9a9a9"]]

# ---- by epoch ------------------------------------------------------------------------------------

# What is drawn of a training: by its name, a value an epoch (or a step); empty where it has none.
Curves = dict[str, Callable[[Training], list[Number]]]


def losses(run: Run) -> list[Plot]:
    """The mean loss of every epoch, beside it the test set's; of a single epoch every step's."""
    record = run.record
    unit = in_nats(record.plan.workload)
    if all(len(of.training.epoch_losses) < 2 for of in trained(record)):
        title = f"Training loss of every step{unit}"
        return _curves(record, "step-loss", title, "step", {"training loss": lambda t: t.losses})
    curves: Curves = {"training loss": lambda t: t.epoch_losses, "test loss": lambda t: t.test_loss}
    return _curves(record, "epoch-loss", f"Mean loss of each epoch{unit}", "epoch", curves)


def accuracies(run: Run) -> list[Plot]:
    """Accuracy after every epoch: on the test set, and wherever else it was counted."""
    metric = accuracy_metric(run.record.plan.workload) or "test accuracy"
    curves: Curves = {
        metric: lambda training: training.test_accuracy,
        "validation accuracy": lambda training: training.validation_accuracy,
        "training accuracy": lambda training: training.training_accuracy,
    }
    title = "Accuracy after each epoch (%)"
    return _curves(run.record, "epoch-accuracy", title, "epoch", curves, times=100)


def accuracy_gaps(run: Run) -> list[Plot]:
    """Each label's accuracy less the reference's of the same seed, in points, and the margin."""
    record = run.record
    metric = accuracy_metric(record.plan.workload)
    judged = {of.training.seed: of.training.test_accuracy for of in trained(record) if not of.name}
    series = []
    for of in trained(record):
        own, other = of.training.test_accuracy, judged.get(of.training.seed, [])
        if of.name is None or not own or len(own) != len(other):
            continue
        with np.errstate(invalid="ignore"):  # a record may hold infinite ones
            gaps = 100 * (axes.numeric(own) - axes.numeric(other))
        hover = f"seed {of.training.seed}, epoch %{{x}}: %{{y:+.3f}} points"
        marked = of.first and len(gaps) <= MOST_MARKED
        trace = look(record, of, "lines+markers" if marked else "lines", hover) | {"y": gaps}
        largest = gaps[np.argmax(np.abs(gaps))] if np.isfinite(gaps).all() else math.nan
        told = cells(of.title, of.training.seed, len(gaps), *map(float, (gaps[-1], largest)))
        series.append(Series(trace | {"showlegend": of.first}, [told]))
    margin = 100 * _margin(run, metric or "")
    header = ("label", "seed", "epochs", "after the last", "furthest")
    return picture(
        "accuracy-gaps",
        "Accuracy after each epoch less the reference's (points)",
        f"Of the same seed, {metric}. Grey: the margin of ±{short(margin)} points within which the "
        "mean over five seeds or more must lie after the last epoch; a single seed may leave it.",
        series,
        axes.whole("epoch", max((len(s.trace["y"]) for s in series), default=0)),
        axes.linear("points"),
        header,
        finding=_at_the_end(series),
        shapes=[axes.line(y=0.0), axes.shade(y0=-margin, y1=margin)],
    )


def _at_the_end(series: list[Series]) -> str:
    """Whose accuracy is furthest from the reference's after the last epoch."""
    last = findings.each((s.rows[0][0], s.trace["y"][-1:]) for s in series)
    if last and all(gap == 0 for _, gap in last):
        return "After the last epoch every accuracy is the reference's"
    said = findings.furthest(last)
    return said and f"{said} points after the last epoch"


def _margin(run: Run, metric: str) -> float:
    """By how much a metric may differ: as it was judged, or as the workload has it."""
    found = [label.findings.get("accuracy") for label in run.verdict.labels.values()]
    judged = [
        f.limit for f in found if f and f.limit and f.evidence and f.evidence.tensor == metric
    ]
    declared = [o.margin for o in run.record.plan.workload.outcome if o.metric == metric]
    return max(float(limit) for limit in judged or declared or [0.0])


def _curves(
    record: Record, name: str, title: str, over: str, curves: Curves, times: int = 1
) -> list[Plot]:
    """A panel a curve that there is, and in it a line a seed, of the reference and every label."""
    every = trained(record)
    there = [what for what, told in curves.items() if any(told(of.training) for of in every)]
    if not there:
        return []
    series: list[Series] = []
    named: set[str | None] = set()
    for row, what in enumerate(there):
        for of in every:
            if not (told := curves[what](of.training)):
                continue
            values = times * axes.numeric(told)
            hover = f"seed {of.training.seed}, {what}, {over} %{{x}}: %{{y:.5~g}}"
            marked = of.first and over == "epoch" and len(values) <= MOST_MARKED
            mode = "lines+markers" if marked else "lines"
            trace = look(record, of, mode, hover) | axes.panel(row) | {"y": values}
            trace["showlegend"] = of.first and of.name not in named
            named.add(of.name)
            ends = short(float(values[0]), 5), short(float(values[-1]), 5)
            told_row = cells(of.title, of.training.seed, what, len(values), *ends)
            series.append(Series(trace, [told_row]))
    caption = (
        "Where two learn the same, one line hides the other; the wide grey one below is the "
        "float64 reference's."
    )
    if len({of.training.seed for of in every}) > 1:
        caption += " Thick: the first seed; thin: the others."
    drawn = np.concatenate([s.trace["y"] for s in series])
    steep = times == 1 and _steep(drawn)
    if not steep and (absent := axes.missing(drawn)):
        caption += f" {absent} values are not finite and are left out."
    return picture(
        name,
        title,
        caption,
        series,
        axes.whole(over, max(len(s.trace["y"]) for s in series)),
        Log(there[0]) if steep else axes.linear(there[0], matches="y"),
        ("label", "seed", "of", f"{over}s", "after the first", "after the last"),
        finding=findings.between(
            there[0].capitalize(),
            [(s.rows[0][0], float(s.trace["y"][-1])) for s in series if s.rows[0][2] == there[0]],
        ),
        height=150 + 170 * len(there),
        panels=there,
    )


def _steep(values: Array) -> bool:
    """Whether a linear axis would show the beginning only."""
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and 0 <= STEEP * float(finite.min()) < float(finite.max())


def look(record: Record, of: Trained, mode: str, hover: str) -> axes.Trace:
    """A line's looks: the reference's is wide and pale, and lies below the others."""
    if of.name is not None:
        return axes.line_of(record, of.name, mode, hover, first=of.first)
    return axes.scatter(
        mode,
        REFERENCE,
        hover,
        legendgroup=REFERENCE,
        showlegend=of.first,
        opacity=0.4 if of.first else 0.2,
        line={"color": GREY, "width": 7},
        marker={"color": GREY, "size": 3},
    )


# ---- norms of gradients --------------------------------------------------------------------------


def gradients(run: Run) -> list[Plot]:
    """The norm of the gradient by each layer, before training and after every epoch."""
    record = run.record
    shown, named = norms(record), by_layer(record)
    series: list[Series] = []
    for row, of in enumerate(shown):
        for place, tensor in enumerate(named):
            values = axes.numeric(of.training.gradient_norms.get(tensor, []))
            if not len(values):
                continue
            hover = "after epoch %{x}: %{y:.3~g}"
            trace = axes.scatter("lines+markers", tensor, hover, legendgroup=f"tensor {place}")
            framework = record.plan.labels[of.name].backend if of.name is not None else ""
            trace |= style(place, framework) | axes.panel(row) | {"x0": 0, "y": values}
            trace["showlegend"] = not any(s.trace["name"] == trace["name"] for s in series)
            rows = [cells(*row) for row in norm_rows(of, tensor)]
            series.append(Series(trace, rows))
    return picture(
        "gradient-norms",
        "Norm of the gradient by each layer, before training (0) and after every epoch",
        f"Of the mean loss over the first {record.plan.workload.gradients_of} training samples; a "
        "line a layer, by the tensor that is named; a panel a label, all on one scale. Where the "
        "first layers' lines lie far below the last one's, the gradient vanishes on its way back: "
        "they hardly learn.",
        series,
        axes.whole("epoch", max((len(s.trace["y"]) for s in series), default=0)),
        Log("norm", room=1.3),
        NORMS,
        finding=_vanishing(series),
        height=90 + 130 * len(shown),
        panels=[axes.tick(of.title) for of in shown],
    )


def _vanishing(series: list[Series]) -> str:
    """How the first layer's gradient compares with the last one's, of the first label drawn."""
    whose = [s for s in series if s.rows[0][0] == series[0].rows[0][0]]
    if len(whose) < 2:
        return ""
    first, last = ((s.rows[0][1], float(s.trace["y"][0])) for s in (whose[0], whose[-1]))
    if not (0 <= first[1] < math.inf and 0 < last[1] < math.inf):
        return ""
    share = short(first[1] / last[1])
    return f"Before training the gradient by {first[0]} is {share} times that by {last[0]}"


# ---- confusion -----------------------------------------------------------------------------------


def confusions(run: Run) -> list[Plot]:
    """The matrix of the reference, and of each label that differs from it, what does; first seed.

    Differences have one scale. None where all matrices are the same.
    """
    record = run.record
    judged: dict[int, Array] = {}
    found: list[tuple[Trained, Array, Array | None]] = []
    for of in trained(record):
        counts = square(of.training.confusion)
        if not of.first or counts is None:
            continue
        base = judged.get(of.training.seed)
        if of.name is None:
            judged[of.training.seed] = counts
        elif base is not None and base.shape != counts.shape:
            base = None
        if base is None or not np.array_equal(counts, base):
            found.append((of, counts, base))
    if all(of.name is None for of, *_ in found):
        return []
    most = max(
        (int(np.max(np.abs(c - base))) for _, c, base in found if base is not None), default=0
    )
    return [_confusion(record, of, counts, base, most) for of, counts, base in found]


def _confusion(record: Record, of: Trained, counts: Array, base: Array | None, most: int) -> Plot:
    """Counts, coloured by what differs from `base` (at most `most`), or without one by size."""
    place = "reference" if of.name is None else str(axes.place_of(record, of.name))
    classes = record.dataset.class_names if record.dataset is not None else []
    compared = base is not None
    less = counts - base if base is not None else counts
    most = most if compared else max(1, int(np.max(counts)))
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
    finding = ""
    if compared:
        caption += (
            " Coloured, and told below the count, is what differs from the reference: teal is "
            "more, brown less, on one scale for all labels."
        )
        finding = f"{np.count_nonzero(less)} of {less.size} cells differ from the reference's"
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
    title = f"{axes.plain(of.title)}: test samples by true and predicted class, seed "
    title += str(of.training.seed)
    name = f"confusion-{place}"
    height = 150 + 31 * len(counts)
    return Plot(name, title, caption, [trace], layout, header, rows, height, finding)
