"""Trends over stored runs for people: a section a setting, with pictures on a page.

In a setting (machine, profile, data, threads) runs can be compared. What a run's files say is
hostile, as in every report: who draws it escapes, and pictures take `text`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from harness.interface import Array
from harness.record.schema import number
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.sections import Form, Report, Section, by_columns
from harness.results.history import History, Point, Setting, Trend, Unit
from harness.text import many
from harness.workloads.reference.limits import MEASURED

SUMMARY_HEADER = ("label", "runs", "first", "newest", "smallest", "median", "largest")
# Of one trend on a terminal, and in a table of the page.
LAST_PRINTED, LAST_ON_PAGE = 10, 50
# Of one trend in a picture: its width in pixels.
MOST_DRAWN = 1000
# Of one point: a new environment may change every package.
MOST_TOLD = 12
# Of one setting, in the page's table of changes: the newest.
MOST_CHANGES = 200


def report(
    history: History, form: Form, last: int = LAST_PRINTED, left_out: Sequence[str] = ()
) -> Report:
    """The report. last: runs of a trend on a terminal; left_out: what else is not in it."""
    settings = by_setting(history)
    notes = [*history.notes(), *left_out]
    longest = max((len(trend.points) for trend in history.trends), default=0)
    if form == "page" and longest > MOST_DRAWN:
        notes.append(f"Pictures show the newest {MOST_DRAWN} runs of a trend.")
    on_page = form == "page"
    return Report(
        word="History" if on_page else "",
        sentence=_sentence(history) if on_page or not history.trends else "",
        headline=notes if on_page else [],
        warnings=warnings(history) if on_page else [],
        sections=[
            _on_page(f"s{place}", setting, trends)
            if on_page
            else Section(headline(setting), inside=[_newest(trend, last) for trend in trends])
            for place, (setting, trends) in enumerate(settings.items())
        ],
        end=[] if on_page else notes,
        title="History of stored runs",
    )


def by_setting(history: History) -> dict[Setting, list[Trend]]:
    """The trends of each setting."""
    settings: dict[Setting, list[Trend]] = {}
    for trend in history.trends:
        settings.setdefault(trend.setting, []).append(trend)
    return settings


def headline(setting: Setting) -> str:
    """What the runs of a setting have in common."""
    threads = many(setting.threads, "thread") if setting.threads else "unknown threads"
    common = (setting.machine, setting.workload, setting.dataset, setting.profile)
    machine, workload, dataset, profile = map(axes.plain, common)
    data = f"SYNTHETIC data ({dataset})" if setting.synthetic else dataset
    return f"{machine}: {workload} on {data}, profile {profile}, {threads}"


def title(trend: Trend) -> str:
    """A trend's label, and all of its configuration."""
    return f"{axes.plain(trend.name)}: {' '.join(map(axes.plain, trend.configuration.words()))}"


def names(trends: Sequence[Trend]) -> list[str]:
    """A name for each trend of a setting, the label where only one has it."""
    labels = [axes.plain(trend.name) for trend in trends]
    return [
        label if labels.count(label) == 1 else axes.plain(" ".join(trend.configuration.words()))
        for label, trend in zip(labels, trends, strict=True)
    ]


def _floor(trend: Trend, point: Point) -> str:
    if point.time is None or trend.unit != "floor":
        return "–"
    ends = point.interval
    return f"{point.time:.2f}" + (f" {ends[0]:.2f}–{ends[1]:.2f}" if ends else "")


def _step(trend: Trend, point: Point) -> str:
    if point.time is None:
        return "–"
    ends = point.interval if trend.unit == "ns" else None
    return words.duration(point.step_ns) + (f", {words.span(*ends)}" if ends else "")


def _accuracy(point: Point) -> str:
    return f"{100 * float(point.test_accuracy):.2f}" if point.test_accuracy is not None else "–"


def _worst(point: Point) -> str:
    return "–" if point.worst is None else f"{words.figure(point.share)} {point.worst}"


def columns(trend: Trend) -> dict[str, Callable[[Point], str]]:
    """What a table has of each run of a trend."""
    return {
        "run": lambda point: point.run,
        "verdict": lambda point: f"{words.MARKS[point.verdict]} {point.verdict}",
        "× floor, 95 %": lambda point: _floor(trend, point),
        "step": lambda point: _step(trend, point),
        "worst share": _worst,
        "test %": _accuracy,
        "changed since the run before": changed,
    }


def changed(point: Point) -> str:
    """What is not as in the point before, in words."""
    changes = [
        f"{axes.plain(name)} {axes.plain(then or 'absent')} → {axes.plain(now or 'absent')}"
        for name, (then, now) in point.changed.items()
    ]
    more = f"; and {len(changes) - MOST_TOLD} more" if len(changes) > MOST_TOLD else ""
    return "; ".join(changes[:MOST_TOLD]) + more


def warnings(history: History) -> list[str]:
    """What a reader must know before any figure."""
    synthetic = any(trend.setting.synthetic for trend in history.trends)
    return ["SYNTHETIC data where a title says so: no real images"] if synthetic else []


def _sentence(history: History) -> str:
    if not history.trends:
        return "No stored run that was asked for."
    machines = len({trend.setting.machine for trend in history.trends})
    times = sorted(p.started for t in history.trends for p in t.points if p.started is not None)
    span = f", {times[0][:10]} to {times[-1][:10]}" if times else ""
    counts = (history.runs, "run"), (len(history.trends), "trend"), (machines, "machine")
    return f"{', '.join(many(*of) for of in counts)}{span}."


def _newest(trend: Trend, last: int) -> Section:
    """The newest runs of a trend for 80 columns.

    There is room for one time, and none for what changed: that stands below.
    """
    points = trend.points[-last:]
    left = len(trend.points) - len(points)
    other = "step" if trend.unit == "floor" else "× floor, 95 %"
    shown = columns(trend)
    del shown[other], shown["changed since the run before"]
    return Section(
        f"{title(trend)}{f' ({left} older; --last shows more)' if left else ''}",
        header=[*shown],
        rows=by_columns(shown, points),
        lines=[f"changed at {p.run}: {changes}" for p in points if (changes := changed(p))],
    )


def _on_page(id_: str, setting: Setting, trends: Sequence[Trend]) -> Section:
    """A setting: pictures, shares, changes, and every run of each trend."""
    drawn = [msgspec.structs.replace(trend, points=trend.points[-MOST_DRAWN:]) for trend in trends]
    return Section(
        headline(setting),
        id=id_,
        note=f"Processor: {setting.processor}." if setting.processor else "",
        pictures=[plot for draw in DRAWN if (plot := draw(id_, drawn)) is not None],
        inside=[_shares(trends), _changes(trends), *map(_runs, trends)],
    )


def _shares(trends: Sequence[Trend]) -> Section:
    """By rung the newest share, and the largest of all runs."""

    def shares(trend: Trend, rung: str) -> str:
        held = [float(p.shares[rung]) for p in trend.points if rung in p.shares]
        if not held:
            return "–"
        largest = max(held, key=lambda share: (math.isnan(share), share))
        return f"{words.figure(number(held[-1]))} ({words.figure(number(largest))})"

    return Section(
        "Share of the limit by rung",
        about="newest run (largest of all runs)",
        header=("label", *MEASURED),
        rows=[
            [name, *(shares(trend, rung) for rung in MEASURED)]
            for name, trend in zip(names(trends), trends, strict=True)
        ],
    )


def _changes(trends: Sequence[Trend]) -> Section:
    """The newest changes of a setting, newest first."""
    changes = [
        (point.started or "", point.run, name, changed(point))
        for name, trend in zip(names(trends), trends, strict=True)
        for point in trend.points
        if point.changed
    ]
    return Section(
        "What changed, newest first",
        header=("run", "label", "what changed since the label's run before"),
        rows=[row for _, *row in sorted(changes, reverse=True)[:MOST_CHANGES]],
    )


def _runs(trend: Trend) -> Section:
    """The runs of a trend, newest first."""
    left = len(trend.points) - LAST_ON_PAGE
    shown = columns(trend)
    return Section(
        f"Runs of {title(trend)}",
        about=f"Newest first{f'; {left} older: harness history --json' if left > 0 else ''}",
        header=[*shown],
        rows=by_columns(shown, trend.points[: -LAST_ON_PAGE - 1 : -1]),
        folded=True,
    )


def _when(points: Iterable[Point]) -> Array:
    """Times of runs as plotly takes them: milliseconds since 1970, UTC; NaN where unknown."""
    return np.array(
        [
            math.nan if p.started is None else datetime.fromisoformat(p.started).timestamp() * 1e3
            for p in points
        ],
        dtype=np.float64,
    )


def _line(name: str, place: int, points: Sequence[Point], y: Array) -> axes.Trace:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": text(name),
        "x": _when(points),
        "y": axes.drawn(y),
        "text": [text(point.run) for point in points],
        "hovertemplate": "%{text}: %{y}",
        "connectgaps": False,
    } | style(place)


def _marks(trends: Sequence[Trend], values: Sequence[Array]) -> list[axes.Trace]:
    """An open diamond round every point whose versions are not those of the run before."""
    at = [
        (trend, place, point, value)
        for place, trend in enumerate(trends)
        for point, value in zip(trend.points, values[place], strict=False)
        if point.changed and math.isfinite(value)
    ]
    if not at:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "versions changed",
            "x": _when(point for _, _, point, _ in at),
            "y": axes.drawn(np.array([value for *_, value in at])),
            "text": [text(changed(point)) for _, _, point, _ in at],
            "hovertemplate": "%{text}",
            "marker": {
                "symbol": "diamond-open",
                "size": 16,
                "color": axes.GREY,
                "line": {"width": 2.5},
            },
        }
    ]


def _summary(name: str, values: Array, told: Callable[[float], str]) -> list[str]:
    held = values[np.isfinite(values)]
    figures = (held[0], held[-1], held.min(), np.median(held), held.max())
    return [name, str(len(held)), *(told(float(value)) for value in figures)]


def _plot(
    name: str,
    title_: str,
    told: str,
    trends: Sequence[Trend],
    values: Sequence[Array],
    y: dict[str, Any],
    write: Callable[[float], str],
    bars: dict[int, dict[str, Any]] | None = None,
    **more: Any,
) -> Plot | None:
    """A line a trend over time; None where nothing can be drawn."""
    if not any(np.isfinite(of).any() for of in values):
        return None
    called = names(trends)
    shown = [place for place, of in enumerate(values) if np.isfinite(of).any()]
    traces = [_line(called[i], i, trends[i].points, values[i]) for i in shown]
    for place, trace in zip(shown, traces, strict=True):
        if bars and place in bars:
            trace["error_y"] = bars[place]
    traces += _marks(trends, values)
    return Plot(
        name=name,
        title=title_,
        caption=told,
        traces=traces,
        layout=axes.layout(axes.linear("started, UTC", type="date"), y, **more),
        header=SUMMARY_HEADER,
        rows=[_summary(called[place], values[place], write) for place in shown],
        height=axes.tall(traces, 340),
    )


def floors(section: str, trends: Sequence[Trend]) -> Plot | None:
    """Step time as multiples of the GEMM floor, of the trends that have one."""
    title_ = "Step time as a multiple of the GEMM floor"
    return _times(f"{section}-floor", title_, trends, "floor", 1.0, "×")


def steps(section: str, trends: Sequence[Trend]) -> Plot | None:
    """Step time itself, of the trends without a floor: off the CPU, and without NumPy's arm."""
    off = [p.time for t in trends if t.unit == "ns" for p in t.points if p.time is not None]
    size, unit = axes.unit(off)
    return _times(f"{section}-step", f"Step time, {unit}", trends, "ns", size, unit)


def _times(
    name: str, title_: str, trends: Sequence[Trend], kind: Unit, size: float, unit: str
) -> Plot | None:
    values, bars = [], {}
    absent = 0
    for place, trend in enumerate(trends):
        here = trend.points if trend.unit == kind else []
        value = axes.numeric(p.time for p in here) / size
        values.append(value)
        absent += axes.missing(value)
        ends = [p.interval or [math.nan, math.nan] for p in here]
        low, high = (axes.numeric(end[i] for end in ends) / size for i in (0, 1))
        if np.isfinite(low).any():
            # No bar, of no length, where there is no interval.
            up, down = (np.nan_to_num(np.maximum(of, 0)) for of in (high - value, value - low))
            arrays = {"array": axes.drawn(up), "arrayminus": axes.drawn(down)}
            bars[place] = {"type": "data", "symmetric": False, "width": 3} | arrays
    told = (
        "Median step of each run; bars: its 95 % interval, where there were sessions enough. "
        "Diamonds: versions that are not those of the run before."
    )
    if absent:
        told += f" {many(absent, 'time')} not drawn: not measured, void, or numbers that differ."
    y = axes.linear("step / GEMM floor" if kind == "floor" else f"step time, {unit}")
    return _plot(name, title_, told, trends, values, y, lambda v: f"{v:.3g} {unit}", bars)


def shares(section: str, trends: Sequence[Trend]) -> Plot | None:
    """The worst share of a limit over the rungs that are distances."""
    raw = [axes.numeric(p.share for p in trend.points) for trend in trends]
    # A share that is no number, or infinite, is drawn at the top; None is no share at all.
    told_of = [[p.share is not None for p in trend.points] for trend in trends]
    scale = axes.scale(*raw, known=[1.0])
    values = [
        np.where(told, scale.place(of, edge=True).astype(np.float64), np.nan)
        for of, told in zip(raw, told_of, strict=True)
    ]
    at_floor = sum(axes.zeros(of) for of in raw)
    beyond = sum(
        int(np.count_nonzero(~np.isfinite(of) & np.array(told, dtype=bool)))
        for of, told in zip(raw, told_of, strict=True)
    )
    told = (
        f"Of {', '.join(MEASURED[:-1])} and {MEASURED[-1]}: the value nearest its limit as a share "
        "of it. Above the dashed line a limit is exceeded."
    )
    told += axes.said(scale.floor, at_floor, 0, "shares")
    if beyond:
        told += f" {many(beyond, 'share')} not finite, drawn at {scale.edge:g}."
    low, high = scale.shown(*values, np.array([1.0]))
    y = axes.logarithmic(
        "worst share of a limit", low / 2, high * 2, range=axes.span(low / 2, high * 2)
    )
    name, title_ = f"{section}-share", "Worst share of a limit"
    lines = [axes.line(y=1.0)]
    return _plot(name, title_, told, trends, values, y, words.figure, shapes=lines)


def accuracies(section: str, trends: Sequence[Trend]) -> Plot | None:
    """Test accuracy after the last epoch."""
    values = [100 * axes.numeric(p.test_accuracy for p in trend.points) for trend in trends]
    told = "After the last epoch, mean over the run's seeds."
    y = axes.linear("test accuracy, %")
    name, title_ = f"{section}-accuracy", "Test accuracy, %"
    return _plot(name, title_, told, trends, values, y, lambda v: f"{v:.2f} %")


DRAWN = (floors, steps, shares, accuracies)
