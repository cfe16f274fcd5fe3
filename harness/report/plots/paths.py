"""Pictures of models of a few numbers: their ways, the function they descend, the line they fit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.data import MADE
from harness.data import title as title_of
from harness.interface import Array
from harness.plan.model import Plan
from harness.record.schema import Record, Training
from harness.report import learnt
from harness.report.figure import GREY, Plot, text
from harness.report.learnt import Trained
from harness.report.plots import axes, findings
from harness.report.plots.learning import look
from harness.report.plots.picture import Series, cells, picture
from harness.report.run_tables import Run
from harness.text import short
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.pieces import Dense

# Points along each side of the grid that contours are drawn from, and how far it reaches around the
# ways, in their length: far enough to see other minima.
GRID, AROUND = 71, 1.4
# So many of the steps have their points drawn.
LAST_STEPS = 20
HIDDEN = (
    "Where two learn the same, one line hides the other; the wide grey one below is the float64 "
    "reference's."
)


def numbers(run: Run) -> list[Plot]:
    """Every number that is learnt, over steps."""
    record = run.record
    ways = learnt.ways(record)
    if not ways:
        return []
    names = ways[0][1].names
    series = []
    for column in range(len(names)):
        for of, own in ways:
            hover = f"seed {of.training.seed}, after %{{x}} steps: %{{y:.7~g}}"
            trace = look(record, of, "lines", hover) | axes.panel(column)
            trace |= {"x": own.steps, "y": own.values[:, column]}
            if column:
                trace["showlegend"] = False
            rows = learnt.number_rows(record, of, column)
            series.append(Series(trace, [cells(*row) for row in rows]))
    return picture(
        "numbers",
        "Every number that is learnt, over the steps of training",
        f"A panel a number. {HIDDEN}",
        series,
        axes.whole("training steps made", int(max(own.steps[-1] for _, own in ways))),
        axes.linear(text(names[0])),
        learnt.NUMBERS,
        finding=_furthest(record, ((of, c) for of, _ in ways for c in range(len(names)))),
        height=90 + 130 * len(names),
        panels=[text(name) for name in names],
    )


def _furthest(record: Record, ends: Iterable[tuple[Trained, int]]) -> str:
    """Of which training a number is furthest from the reference's at the end."""
    found = [(of.title, learnt.apart(record, of, column)) for of, column in ends]
    apart = findings.each((name, np.array([at[1]])) for name, at in found if at is not None)
    said = findings.furthest(apart)
    return said and f"{said}, at the end of training"


# ---- a function of two variables -----------------------------------------------------------------


def surface(run: Run) -> list[Plot]:
    """The function that is minimised, with the way of every label's first training on it."""
    record, minimised = run.record, learnt.function(run.record.plan)
    ways = learnt.ways(record, first=True) if minimised is not None else []
    points = [own.values[np.isfinite(own.values).all(axis=1)] for _, own in ways]
    if minimised is None or not any(map(len, points)):
        return []
    contours, told = _contours(minimised, np.concatenate(points))
    series, ended = [contours], []
    for of, own in ways:
        u, v = own.values.T
        ended.append((of.title, float(learnt.values_at(minimised, own.values[-1:])[0])))
        trace = look(record, of, "lines", "%{x:.6~g}, %{y:.6~g}") | {"x": u, "y": v}
        if of.name is not None:  # a mark where it ends
            trace |= {"mode": "lines+markers"}
            trace["marker"] = trace["marker"] | {"size": [0] * (len(u) - 1) + [9], "opacity": 1}
        rows = learnt.along(of, own, minimised)
        series.append(Series(trace, [cells(*row) for row in rows]))
    names = ways[0][1].names
    return picture(
        "surface",
        "The function that is minimised, and the way of every label",
        f"Grey: lines of equal value, named by {told}. A mark is where a way ends. {HIDDEN}",
        series,
        axes.linear(text(names[0]), showgrid=False),
        axes.linear(text(names[1]), showgrid=False),
        ("label", "after steps", *map(axes.plain, names), "value"),
        finding=findings.between("The value", ended),
        height=440,
    )


def _contours(minimised: Composed, points: Array) -> tuple[Series, str]:
    """Lines of equal value on a square around these points (n, 2), and what names them."""
    low, high = points.min(axis=0), points.max(axis=0)
    with np.errstate(all="ignore"):  # a record may hold numbers of any size
        half = (0.5 + AROUND) * (float((high - low).max()) or 1.0)
        u, v = (np.linspace(of - half, of + half, GRID) for of in (low + high) / 2)
        grid = np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2)
        values = learnt.values_at(minimised, grid).reshape(GRID, GRID)
    positive = bool((values > 0).all())
    trace = {
        "type": "contour",
        "x": u,
        "y": v,
        "z": axes.drawn(np.log10(values) if positive else values),
        "ncontours": 16,
        "contours": {
            "coloring": "none",
            "showlabels": True,
            "labelfont": {"size": 10, "color": GREY},
        },
        "line": {"color": GREY, "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return Series(trace), "the logarithm (to base 10) of the value" if positive else "the value"


# ---- a line through points -----------------------------------------------------------------------


def line(run: Run) -> list[Plot]:
    """The points of the last steps, and the line that every label's first training ends with."""
    record = run.record
    data = record.plan.workload.data
    dense, ways = _fitted(record.plan), learnt.ways(record, first=True)
    if dense is None or not ways:
        return []
    first = ways[0][0].training
    if first.seed < 0 or sum(first.rows) < 1:
        return []
    x, y = (of[:, 0] for of in _last_points(record.plan, first))
    ends = np.array([x.min(), x.max()])
    marks = {"color": GREY, "size": 5, "symbol": "circle-open"}
    points = axes.scatter("markers", "points", "%{x:.3~g}, %{y:.3~g}", x=x, y=y, marker=marks)
    series = []
    for of, own in ways:
        if of.training.seed != first.seed:
            continue
        last = dict(zip(own.names, own.values[-1].tolist(), strict=True))
        w, b = last.get(dense.weight, np.nan), last.get(dense.bias, 0.0)
        with np.errstate(all="ignore"):
            of_ends, off = w * ends + b, float(np.sqrt(np.mean((w * x + b - y) ** 2)))
        trace = look(record, of, "lines", "%{x:.3~g}, %{y:.4~g}") | {"x": ends, "y": of_ends}
        row = cells(of.title, short(w, 7), short(b, 7), short(off))
        series.append(Series(trace, [row]))
    return picture(
        "line",
        "The line y = w x + b that every label has learnt, and the last points",
        f"The last {len(x)} points that seed {first.seed} was given ({title_of(data)}), and each "
        f"label's line after the last step. {HIDDEN}",
        [Series(points), *series],
        axes.linear("x"),
        axes.linear("y"),
        ("label", "w", "b", "distance from the points (root of the mean square)"),
        finding=findings.between(
            "The distance from the points", [(s.rows[0][0], float(s.rows[0][-1])) for s in series]
        ),
    )


def _fitted(plan: Plan) -> Dense | None:
    """The layer of a model that is a line, where its points are made and not read."""
    layers = plan.net.layers if plan.net is not None and plan.workload.data in MADE else ()
    match layers:
        case (Dense(inputs=1, outputs=1) as layer,):
            return layer
    return None


def _last_points(plan: Plan, training: Training) -> tuple[Array, Array]:
    """The last steps' x and y, float64 (n, 1), made anew as they were made for the training."""
    made = MADE[plan.workload.data]
    of_epoch = max(made.steps, plan.steps or 0)
    taken = -(-sum(training.rows) // len(made.step(training.seed, 0)[0]))
    steps = range(max(0, taken - LAST_STEPS), taken)
    x, y = zip(*(made.step(training.seed, step % of_epoch) for step in steps), strict=True)
    return np.concatenate(x).astype(np.float64), np.concatenate(y).astype(np.float64)
