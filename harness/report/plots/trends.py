"""Pictures of trends over stored runs: a line a trend, in one setting (`results/history.py`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.interface import Array
from harness.report.figure import GREY, Plot, styles, text
from harness.report.plots import axes, findings
from harness.report.plots.picture import Log, Series, picture
from harness.results.history import Point, Trend, Unit
from harness.text import many, short
from harness.workloads.reference.limits import MEASURED

SUMMARY_HEADER = ("label", "runs", "first", "newest", "smallest", "median", "largest")
# Of one point: a new environment may change every package.
MOST_TOLD = 12
# What stands where a label did not finish.
CROSS = "✗"


def names(trends: Sequence[Trend]) -> list[str]:
    """A name for each trend of a setting, the label where only one has it."""
    labels = [axes.plain(trend.name) for trend in trends]
    return [
        label if labels.count(label) == 1 else axes.plain(" ".join(trend.configuration.words()))
        for label, trend in zip(labels, trends, strict=True)
    ]


def changed(point: Point) -> str:
    """What is not as in the point before, in words."""
    changes = [
        f"{axes.plain(name)} {axes.plain(then or 'absent')} → {axes.plain(now or 'absent')}"
        for name, (then, now) in point.changed.items()
    ]
    more = f"; and {len(changes) - MOST_TOLD} more" if len(changes) > MOST_TOLD else ""
    return "; ".join(changes[:MOST_TOLD]) + more


def _when(points: Iterable[Point]) -> Array:
    """Times of runs as plotly takes them: milliseconds since 1970, UTC; NaN where unknown."""
    return axes.numeric(
        None if p.started is None else datetime.fromisoformat(p.started).timestamp() * 1e3
        for p in points
    )


def _marks(points: Iterable[Point], values: Array, looks: axes.Trace) -> list[Series]:
    """An open diamond round every point whose versions are not those of the run before."""
    at = [
        (point, value)
        for point, value in zip(points, values, strict=False)
        if point.changed and not math.isnan(value)
    ]
    diamond = {"symbol": "diamond-open", "size": 16, "color": GREY, "line": {"width": 2.5}}
    trace = axes.scatter(
        "markers",
        "versions changed",
        "%{text}",
        legendgroup="versions changed",
        x=_when(point for point, _ in at),
        y=np.array([value for _, value in at]),
        text=[text(changed(point)) for point, _ in at],
        marker=diamond,
        **looks,
    )
    return [Series(trace)] if at else []


def _crosses(trends: Iterable[tuple[str, Trend]], axis: str = "paper") -> list[dict[str, Any]]:
    """A cross below every run that a trend did not finish, with its name and why.

    axis: plotly's name of what the crosses stand at the foot of.
    """
    dead: dict[str, tuple[float, list[str]]] = {}
    for label, trend in trends:
        for point, at in zip(trend.points, _when(trend.points).tolist(), strict=True):
            if point.verdict == "failed" and not math.isnan(at):
                told = dead.setdefault(point.run, (at, []))[1]
                told.append(f"{text(label)}: {text(point.reason or 'failed')}")
    look = {"text": CROSS, "showarrow": False, "font": {"size": 15}}
    place = {"xref": "x", "yref": axis, "y": 0, "yanchor": "bottom"}
    return [
        look | place | {"x": at, "hovertext": "<br>".join([text(run), *told])}
        for run, (at, told) in dead.items()
    ]


def _plot(
    name: str,
    title: str,
    caption: str,
    trends: Sequence[Trend],
    values: Sequence[Array],
    y: dict[str, Any] | Log,
    write: Callable[[float], str],
    bars: Mapping[int, dict[str, Any]] = MappingProxyType({}),
    *,
    apart: bool = False,
    **more: Any,
) -> list[Plot]:
    """A line a trend over time, with a summary of each; none where nothing can be drawn.

    apart: a row a trend, those of one framework on one scale.
    """
    named = [*zip(names(trends), trends, strict=True)]
    look = styles({label: trend.configuration.backend for label, trend in named})
    drawn = [place for place, of in enumerate(values) if not np.isnan(of).all()]
    apart = apart and len(drawn) > 1
    series, marks, crosses = list[Series](), list[Series](), list[dict[str, Any]]()
    for row, place in enumerate(drawn):
        (label, trend), of = named[place], values[place]
        panel = axes.panel(row if apart else 0)
        line = _line(label, trend, of, write)
        line.trace.update(panel | look[label] | ({"error_y": bars[place]} if place in bars else {}))
        series.append(line)
        marks += _marks(trend.points, of, panel | {"showlegend": not marks})
        if apart:
            at = f"{panel['yaxis']} domain"
            crosses += [_named(label, at), *_crosses([named[place]], at)]
    crosses += _crosses([of for k, of in enumerate(named) if not (apart and k in drawn)])
    if any(cross["text"] == CROSS for cross in crosses):
        caption += f" {CROSS} on the axis: did not finish."
    kind = [trend.configuration.backend for trend in trends]
    alike = [[values[k] for k in drawn if kind[k] == kind[place]] for place in drawn if apart]
    return picture(
        name,
        title,
        caption,
        [*series, *marks],
        axes.linear("started, UTC", type="date"),
        y,
        SUMMARY_HEADER,
        finding=findings.moved([(named[k][0], values[k]) for k in drawn], "its first"),
        height=90 + 95 * len(drawn) if apart else 340,
        panels=[_scale(each) for each in alike],
        annotations=crosses,
        **more,
    )


def _line(label: str, trend: Trend, values: Array, write: Callable[[float], str]) -> Series:
    """A trend's line without its looks, and its row of the summary."""
    held = values[~np.isnan(values)]
    trace = axes.scatter(
        "lines+markers",
        label,
        "%{text}: %{y}",
        connectgaps=False,
        legendgroup=text(label),
        text=[text(point.run) for point in trend.points],
        x=_when(trend.points),
        y=values,
    )
    figures = (held[0], held[-1], held.min(), np.median(held), held.max())
    told = [label, str(len(held)), *(write(float(value)) for value in figures)]
    return Series(trace, [told])


def _named(label: str, axis: str) -> dict[str, Any]:
    """A trend's name above its row."""
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": axis, "y": 1, "yanchor": "bottom"}
    return {"text": text(label), "showarrow": False, "font": {"size": 11}} | place


def _scale(alike: Sequence[Array]) -> dict[str, Any]:
    """What a row's axis has of its own: the range of all trends of its framework, few figures."""
    every = np.concatenate(alike)
    low, high = np.nanmin(every), np.nanmax(every)
    room = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    return {"range": [float(low - room), float(high + room)], "nticks": 3, "title": {"text": ""}}


def floors(section: str, trends: Sequence[Trend]) -> list[Plot]:
    """Step time as multiples of the GEMM floor, of the trends that have one."""
    title = "Step time as a multiple of the GEMM floor"
    return _times(f"{section}-floor", title, trends, "floor", 1.0, "×")


def steps(section: str, trends: Sequence[Trend]) -> list[Plot]:
    """Step time itself, of the trends without a floor: off the CPU, and without NumPy's arm."""
    off = [p.time for t in trends if t.unit == "ns" for p in t.points if p.time is not None]
    size, unit = axes.unit(off)
    return _times(f"{section}-step", f"Step time, {unit}", trends, "ns", size, unit)


def _times(
    name: str, title: str, trends: Sequence[Trend], kind: Unit, size: float, unit: str
) -> list[Plot]:
    """Step time with its interval, of the trends in one unit: `size` nanoseconds, or the floor."""
    values, bars = [], {}
    for place, trend in enumerate(trends):
        points = trend.points if trend.unit == kind else []
        value = axes.numeric(p.time for p in points) / size
        values.append(value)
        ends = [p.interval or [math.nan, math.nan] for p in points]
        low, high = (axes.numeric(end[i] for end in ends) / size for i in (0, 1))
        if np.isfinite(low).any():
            # No bar, of no length, where there is no interval.
            up, down = (np.nan_to_num(np.maximum(of, 0)) for of in (high - value, value - low))
            arrays = {"array": axes.drawn(up), "arrayminus": axes.drawn(down)}
            bars[place] = {"type": "data", "symmetric": False, "width": 3} | arrays
    caption = (
        "Median step of each run, a row a label, those of one framework on one scale; bars: its "
        "95 % interval, where there were sessions enough. "
        "Diamonds: versions that are not those of the run before."
    )
    if absent := sum(map(axes.missing, values)):
        caption += f" {many(absent, 'time')} not drawn: not measured, void, or numbers that differ."
    y = axes.linear("step / GEMM floor" if kind == "floor" else f"step time, {unit}")
    return _plot(
        *(name, title, caption, trends, values, y, lambda v: f"{short(v, 3)} {unit}", bars),
        apart=True,
    )


def shares(section: str, trends: Sequence[Trend]) -> list[Plot]:
    """The worst share of a limit over the rungs that are distances."""
    return _plot(
        f"{section}-share",
        "Worst share of a limit",
        f"Of {', '.join(MEASURED[:-1])} and {MEASURED[-1]}: the value nearest its limit as a share "
        "of it. Above the dashed line a limit is exceeded.",
        trends,
        [
            # A share that is no number is the worst there is; None is no share at all.
            axes.numeric(math.inf if p.share is not None and math.isnan(p.share) else p.share
                         for p in trend.points)
            for trend in trends
        ],
        Log("worst share of a limit", known=[1.0], edge=True, room=2),
        short,
        shapes=[axes.line(y=1.0)],
    )  # fmt: skip


def accuracies(section: str, trends: Sequence[Trend]) -> list[Plot]:
    """Test accuracy after the last epoch."""
    values = [100 * axes.numeric(p.test_accuracy for p in trend.points) for trend in trends]
    caption = "After the last epoch, mean over the run's seeds."
    name, title = f"{section}-accuracy", "Test accuracy, %"
    y = axes.linear("test accuracy, %")
    return _plot(name, title, caption, trends, values, y, lambda v: f"{v:.2f} %")


def pictures(section: str, trends: Sequence[Trend]) -> list[Plot]:
    """Every picture of one setting's trends."""
    return [plot for draw in (floors, steps, shares, accuracies) for plot in draw(section, trends)]
