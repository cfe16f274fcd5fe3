"""The builder of every picture: a picture is data (its series, axes and words), and this draws it.

Imports NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.interface import Array
from harness.record.schema import number
from harness.report.figure import Plot
from harness.report.plots import axes, findings
from harness.report.plots.axes import Trace
from harness.text import short

# A line of more points is no finer on any screen.
MOST_POINTS = 2000


@dataclass(frozen=True, eq=False)
class Series:
    """One trace, and the same in figures.

    `trace`: its looks and words as plotly takes them, `x` and `y` float64 as measured; without `x`
    its points count from 1. `rows`: its rows of the table. What has none (a limit, a replica) is
    drawn, and counted nowhere.
    """

    trace: Trace
    rows: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Log:
    """A logarithmic axis as long as what is drawn.

    `known`: values that lie inside it too; `edge`: what is infinite stands at the upper edge, and
    is not left out; `room`: by what factor the range ends beyond what is drawn.
    """

    title: str
    known: Sequence[float] = ()
    edge: bool = False
    room: float | None = None


def picture(
    name: str,
    title: str,
    caption: str,
    series: Sequence[Series],
    x: dict[str, Any] | Log,
    y: dict[str, Any] | Log,
    header: Sequence[str],
    *,
    height: int = 320,
    finding: str = "",
    after: str = "",
    panels: Sequence[str | dict[str, Any]] = (),
    **more: Any,
) -> list[Plot]:
    """A picture drawn; none where it has no series, or every line of it is one dot.

    The caption is followed by what a logarithmic axis cannot show, and by `after`. height: in
    pixels, without the legend; finding: see `Plot`; panels: of several y axes, one below the
    other, the title, or what else each has of its own; more: of plotly's layout.
    """
    if not series or _dots(series):
        return []
    if any(len(s.trace.get("y", ())) > MOST_POINTS for s in series if "mode" in s.trace):
        caption += f" Of more than {MOST_POINTS} points the least and largest of each stretch."
    traces = [_thinned(s.trace) for s in series]
    traces = [t if "x" in t else {"x0": 1, "dx": 1, **t} for t in traces]
    sides: dict[str, dict[str, Any]] = {}
    for side, axis in (("x", x), ("y", y)):
        if isinstance(axis, Log):
            known = np.array(axis.known, dtype=np.float64)
            ends = axes.bounds(*(t[side] for t in traces), known)
            caption += _unshown(axis, ends[0], [s.trace[side] for s in series if s.rows])
            traces = [t | {side: axes.placed(t[side], *ends, at_edge=axis.edge)} for t in traces]
            sides[side] = _fitted(axis, np.concatenate([*(t[side] for t in traces), known]))
        else:
            sides[side] = axis
            if axis.get("type") != "date":  # float32 has no room for milliseconds since 1970
                traces = [t | {side: axes.drawn(t[side])} if side in t else t for t in traces]
    for row, named in enumerate(panels if len(panels) > 1 else ()):
        own = {"title": {"text": named}} if isinstance(named, str) else named
        own = own | {"domain": axes.band(row, len(panels))}
        more[f"yaxis{row + 1 if row else ''}"] = sides["y"] | own
        sides["x"] = sides["x"] | {"anchor": axes.panel(row)["yaxis"]}  # below the last
    return [
        Plot(
            name=name,
            title=title,
            caption=caption + after,
            traces=traces,
            layout=axes.layout(sides["x"], sides["y"], **more),
            header=tuple(header),
            rows=[row for s in series for row in s.rows],
            height=axes.tall(traces, height),
            finding=finding,
        )
    ]


def values_of(series: Sequence[Series]) -> list[tuple[str, float]]:
    """What is drawn of everything that is told, each value with its name."""
    return findings.each((s.rows[0][0], s.trace["y"]) for s in series if s.rows)


def _dots(series: Sequence[Series]) -> bool:
    """Whether there is no more than one point of everything that is told: a table has that."""
    told = [s.trace for s in series if s.rows]
    return bool(told) and all(
        "lines" in t.get("mode", "") and len(t["y" if "y" in t else "x"]) < 2 for t in told
    )


def _thinned(trace: Trace) -> Trace:
    """Of very many points the least and largest of each stretch: on a screen it looks the same."""
    count = len(trace.get("y", ()))
    if "mode" not in trace or count <= MOST_POINTS:
        return trace
    kept = {0, count - 1}
    for stretch in np.array_split(np.arange(count), MOST_POINTS // 2 - 1):
        values = np.nan_to_num(trace["y"][stretch], nan=np.inf)
        least, largest = np.argmin(values), np.argmax(np.where(values < np.inf, values, -np.inf))
        kept |= {int(stretch[least]), int(stretch[largest])}
    at = np.array(sorted(kept))
    x = trace["x"] if "x" in trace else trace.get("x0", 1) + trace.get("dx", 1) * np.arange(count)
    thin = {k: v for k, v in trace.items() if k not in ("x0", "dx")} | {"x": x[at]}
    thin["y"] = trace["y"][at]
    if "text" in trace:
        thin["text"] = [trace["text"][k] for k in at]
    sizes = trace.get("marker", {}).get("size")
    if isinstance(sizes, list):
        thin["marker"] = trace["marker"] | {"size": [sizes[k] for k in at]}
    return thin


def _fitted(axis: Log, shown: Array) -> dict[str, Any]:
    """The axis from the smallest to the largest of what is shown."""
    shown = shown[np.isfinite(shown)]
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.1, 10.0)
    more = [math.log10(low / axis.room), math.log10(high * axis.room)] if axis.room else None
    return axes.logarithmic(axis.title, low, high, **({"range": more} if more else {}))


def _unshown(axis: Log, floor: float, values: list[Array]) -> str:
    """A sentence for what cannot be drawn where it is: exact zeros, and what is not finite."""
    every = np.concatenate(values)
    with np.errstate(invalid="ignore"):
        at_floor, at_edge = np.count_nonzero(every <= 0), np.count_nonzero(np.abs(every) == np.inf)
    counts = (
        (at_floor, f"are exactly 0, drawn at {short(floor)}"),
        (0 if axis.edge else axes.missing(every), "are not finite and are left out"),
        (at_edge if axis.edge else 0, "could not be measured: at the upper edge"),
    )
    return "".join(f" {n} of {len(every)} values {what}." for n, what in counts if n)


def cells(*values: str | float | None) -> list[str]:
    """A row of a table: texts as they may stand there, counts, and figures in few digits."""
    return [
        axes.plain(value) if isinstance(value, str)
        else str(value) if isinstance(value, int)
        else short(None if value is None else number(value))
        for value in values
    ]  # fmt: skip
