"""What all pictures share: names and numbers as they are drawn, and axes as plotly takes them.

Imports NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from harness.interface import Array
from harness.record.schema import Number, Record
from harness.report.figure import GREY, LONGEST_NAME, styles, text
from harness.text import clean

# A band that belongs to no label.
PALE = "rgba(125,125,125,0.16)"
# What stands below or above a decade that is drawn cannot be told from it on a screen.
DECADES = 300
# Up to here a float64 counts; nothing that is drawn is larger.
LARGEST = 2**53
# A name beside an axis is cut here ("tensorflow:graph"): of 390 px two thirds are left.
TICK = 16
# Of a page 390 px wide, what a legend has; a letter of it, and a line's sample with its gap.
LEGEND_PX, LETTER_PX, SAMPLE_PX, LEGEND_ROW_PX = 330, 7, 45, 20

Trace = dict[str, Any]


# ---- names and numbers ---------------------------------------------------------------------------


def plain(name: str) -> str:
    """A name of a record for a sentence or a table, which the page escapes."""
    return clean(name[:LONGEST_NAME]).strip() or "–"


def tick(name: str, longest: int = TICK) -> str:
    """A name beside an axis, cut in its middle; the whole of it stands in the table."""
    name = plain(name)
    half = longest // 2
    return text(name if len(name) <= longest else name[:half] + "…" + name[half + 1 - longest :])


def numeric(values: Iterable[Number | int | None]) -> Array:
    """Numbers as a record stores them, float64 (n,); None is NaN, what would overflow is cut.

    Whole numbers, which may be of any size, are cut at `LARGEST`.
    """
    numbers = np.array([math.nan if v is None else _float(v) for v in values], dtype=np.float64)
    return np.where(np.isfinite(numbers), np.clip(numbers, -1e300, 1e300), numbers)


def _float(value: Number | int) -> float:
    return float(max(-LARGEST, min(LARGEST, value)) if isinstance(value, int) else value)


def at_edge(values: Iterable[Number | None]) -> Array:
    """The same where what could not be measured is the worst there is: infinite."""
    return np.where(np.isfinite(numbers := numeric(values)), numbers, np.inf)


def drawn(values: Array) -> Array:
    """As float32, which is finer than any screen, unless that has no room for one of them."""
    shown = np.clip(np.where(np.isfinite(values), values, np.nan), -1e300, 1e300)
    sizes = np.abs(shown[np.isfinite(shown) & (shown != 0)])
    if len(sizes) and not 1e-37 < sizes.min() <= sizes.max() < 1e37:
        return shown
    return shown.astype(np.float32)


def missing(values: Array) -> int:
    """How many are not finite."""
    return int(np.count_nonzero(~np.isfinite(values)))


def unit(ns: Iterable[float]) -> tuple[float, str]:
    """The unit in which these times read best: its size in nanoseconds, and its name."""
    values = np.array([v for v in ns if v > 0] or [1.0], dtype=np.float64)
    middle = float(np.median(values))
    for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if middle >= size:
            return size, name
    return 1.0, "ns"


def bounds(*series: Array) -> tuple[float, float]:
    """Where a logarithmic axis puts what it cannot show: its floor, and its edge.

    Zeros and what is negative stand a decade below the smallest value, what is infinite a decade
    above the largest.
    """
    values = np.concatenate([*map(np.ravel, series)])
    values = values[np.isfinite(values) & (values > 0)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 1.0)
    ends = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    floor, edge = (float(10.0 ** max(-DECADES, min(DECADES, end))) for end in ends)
    return floor, edge


def placed(values: Array, floor: float, edge: float, *, at_edge: bool = False) -> Array:
    """Values as a logarithmic axis draws them; not finite ones are NaN, or infinite at the edge."""
    with np.errstate(invalid="ignore"):
        shown = np.where(values <= floor, floor, values)
    shown = np.where(np.isfinite(shown) | (at_edge & (shown > 0)), shown, math.nan)
    return drawn(np.minimum(shown, edge))


# ---- axes, shapes and lines as plotly takes them -------------------------------------------------


def linear(title: str, **more: Any) -> dict[str, Any]:
    """A linear axis."""
    return {"title": {"text": title}, "automargin": True, "zeroline": False} | more


def logarithmic(title: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A logarithmic axis for values from `low` to `high`, with as many figures as have room."""
    decades = math.log10(high) - math.log10(low)
    ticks: dict[str, Any] = {
        "exponentformat": "none" if low >= 1e-4 and high < 1e6 else "power",
        "minorloglabels": "none" if decades > 2.5 else "complete",
    }
    if 0.8 < decades <= 2.5:
        ticks["dtick"] = "D2"  # 1, 2 and 5
    return linear(title, type="log", **ticks, **more)


def steps(title: str) -> dict[str, Any]:
    """Steps from 1 on, logarithmic: the first ones tell as much as all that follow."""
    return linear(title, type="log", exponentformat="none", minorloglabels="none")


def whole(title: str, count: int, **more: Any) -> dict[str, Any]:
    """So many epochs, rounds or steps, counted: at most ten ticks, each a whole number."""
    size = 10 ** max(0, len(str(count)) - 2)
    apart = next(n * size for n in (1, 2, 5, 10) if 10 * n * size >= count)
    return linear(title, tickformat="d", dtick=apart, **more)


def rows_axis(names: Sequence[str], **more: Any) -> dict[str, Any]:
    """An axis of places 0, 1, ... from top to bottom, each with its name (already escaped)."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [len(names) - 0.5, -0.5],
        "automargin": True,
        "zeroline": False,
        "showgrid": False,
    } | more


def band(row: int, count: int) -> list[float]:
    """The `domain` of one of several rows of a picture, the first one on top."""
    return [max(0.0, 1 - (row + 0.98) / count), 1 - (row + 0.12) / count]


def panel(row: int) -> dict[str, str]:
    """What puts a trace into one of several rows."""
    return {"yaxis": f"y{row + 1}" if row else "y"}


def line(*, x: float | None = None, y: float | None = None, **more: Any) -> dict[str, Any]:
    """A grey line across the picture at one x or one y.

    Above all else: below the grid it is lost where that has a line too.
    """
    at = (
        {"x0": x, "x1": x, "y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
        if x is not None
        else {"x0": 0, "x1": 1, "y0": y, "y1": y, "xref": "paper", "yref": "y"}
    )
    look = {"color": GREY, "width": 2, "dash": "dash"} | more.pop("line", {})
    return {"type": "line", "layer": "above", "line": look} | at | more


def shade(**ends: float) -> dict[str, Any]:
    """A pale band below the lines, from x0 to x1 or from y0 to y1."""
    across = {"x0": 0, "x1": 1, "xref": "paper", "yref": "y"}
    down = {"y0": 0, "y1": 1, "xref": "x", "yref": "paper"}
    look = {"type": "rect", "layer": "below", "fillcolor": PALE, "line": {"width": 0}}
    return look | (down if "x0" in ends else across) | ends


def layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Two axes, and a legend above the picture."""
    legend = {
        "orientation": "h",
        "itemsizing": "constant",
        "traceorder": "normal",
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
    }
    made = {"xaxis": x, "yaxis": y, "legend": legend, "hovermode": "closest"}
    return made | {key: value for key, value in more.items() if value}


def tall(traces: Iterable[Trace], height: int) -> int:
    """A height in pixels with room for the legend of a narrow page."""
    names = [t["name"] for t in traces if t.get("showlegend", True) and "name" in t]
    wide = sum(min(LEGEND_PX, SAMPLE_PX + LETTER_PX * len(name)) for name in names)
    return height + LEGEND_ROW_PX * math.ceil(wide / LEGEND_PX)


def scatter(mode: str, name: str, hover: str, **more: Any) -> Trace:
    """Points or lines; mode, hover: plotly's, the latter in its template language."""
    return {"type": "scatter", "mode": mode, "name": text(name), "hovertemplate": hover} | more


def place_of(record: Record, name: str) -> int:
    """A label's place in the plan."""
    return [*record.plan.labels].index(name)


def style_of(record: Record, name: str) -> dict[str, Any]:
    """A label's colour, dash and marker."""
    return styles({label: of.backend for label, of in record.plan.labels.items()})[name]


def line_of(
    record: Record, name: str, mode: str, hover: str, *, first: bool = True, **more: Any
) -> Trace:
    """A label's line; of seeds after the first, thin and without an entry in the legend.

    more: `x`, `y` and other looks.
    """
    look = style_of(record, name)
    if not first:
        look |= {"line": look["line"] | {"width": 1}, "opacity": 0.45, "showlegend": False}
    return scatter(mode, name, hover, legendgroup=text(name)) | look | more
