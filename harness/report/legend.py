"""One legend for all pictures of a page: what several of them draw, each with its look.

Traces belong together by their `legendgroup`. Imports NumPy only.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.report.figure import GREY, Plot

# As plotly draws them, in an SVG 28 wide and 12 high.
DASHES = {
    "solid": "",
    "dash": "6 4",
    "dashdot": "6 3 2 3",
    "dot": "2 3",
    "longdash": "10 4",
    "longdashdot": "10 3 2 3",
}
SHAPES = {
    "circle": "M14 2.5L16.5 3.5L17.5 6L16.5 8.5L14 9.5L11.5 8.5L10.5 6L11.5 3.5z",
    "square": "M11 3h6v6h-6z",
    "triangle-up": "M14 2L18 9h-8z",
    "diamond": "M14 2L18 6L14 10L10 6z",
    "triangle-down": "M10 3h8L14 10z",
    "cross": "M13 2h2v3h3v2h-3v3h-2v-3h-3v-2h3z",
    "x": "M11 2L14 5L17 2L18 3L15 6L18 9L17 10L14 7L11 10L10 9L13 6L10 3z",
    "star": "M14 1L15.2 4.4h3.6L15.9 6.5L17 10L14 7.9L11 10L12.1 6.5L9.2 4.4h3.6z",
}


@dataclass(frozen=True)
class Entry:
    """What several pictures draw. `group`: of its traces; `shape`: of its marks, an SVG path."""

    group: str
    name: str
    colour: str
    dashes: str
    shape: str
    hollow: bool


def shared(plots: Sequence[Plot]) -> list[Entry]:
    """What more than one picture has in its legend, as the first of them draws it."""
    seen: dict[str, set[str]] = {}
    found: dict[str, Entry] = {}
    for plot in plots:
        for trace in plot.traces:
            group = trace.get("legendgroup")
            if group is None or not trace.get("showlegend", True):
                continue
            seen.setdefault(group, set()).add(plot.name)
            found.setdefault(group, _entry(group, trace))
    return [entry for group, entry in found.items() if len(seen[group]) > 1]


def _entry(group: str, trace: dict[str, object]) -> Entry:
    line, marker = (of if isinstance(of := trace.get(name), dict) else {}
                    for name in ("line", "marker"))  # fmt: skip
    symbol = marker.get("symbol", "")
    symbol = str(symbol[0] if isinstance(symbol, list) and symbol else symbol)
    dash = str(line.get("dash", "solid"))
    drawn = "lines" in str(trace.get("mode", ""))
    return Entry(
        group=group,
        name=html.unescape(str(trace["name"])),
        colour=str(line.get("color") or marker.get("color") or GREY),
        dashes=DASHES.get(dash, dash.replace("px", "")) if drawn else "0 28",
        shape=SHAPES.get(symbol.removesuffix("-open"), ""),
        hollow=symbol.endswith("-open"),
    )


def without(plot: Plot, entries: Sequence[Entry]) -> Plot:
    """A picture whose own legend leaves out what the page's has."""
    groups = {entry.group for entry in entries}
    traces = [
        trace | {"showlegend": False} if trace.get("legendgroup") in groups else trace
        for trace in plot.traces
    ]
    return replace(plot, traces=traces)
