"""Single operators as tables and one picture: where frameworks differ, and how far off.

Takes a stored record only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from harness.interface import Array
from harness.measure import operators
from harness.measure.operators import CATALOGUE, CONVENTIONS, ELEMENTWISE, FORMS
from harness.record.schema import Number, Operator, Record, Special
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.picture import Series, picture

# Two results are the same to a reader where they differ by less, relative to the larger one.
SAME = 1e-4
# The least difference that shows in the picture, whose curves are about 1 high.
VISIBLE = 1e-2
WHAT = ("value", "derivative")
DTYPE = "float32"

# What the tables of single operators show.
ABOUT = (
    f"In {DTYPE}. Each cell: the framework's own / the book's expression; one text where both are "
    "the same. True is float64, at infinities the limit; none where mathematics has no value. The "
    "derivative of a row is that of its first element; the label of a row's cross-entropy is 0; a "
    "squared error has a derivative by each of its two arguments. NumPy has no derivatives of its "
    "own: both forms are by hand. Shown, never judged: no verdict comes from here."
)

Measured = dict[str, dict[str, Operator]]  # label -> operator's name -> what was measured


def measured(record: Record) -> Measured:
    """What each label's operators gave, for labels that were asked."""
    by_label = {
        label: {
            operator.name: operator for operator in results.operators if operator.dtype == DTYPE
        }
        for label, results in record.results.items()
    }
    return {label: operators_ for label, operators_ in by_label.items() if operators_}


def special_rows(asked: Measured) -> list[tuple[list[str], str]]:
    """A row a point and result: operator, point, what, truth, then a cell a label.

    With each row "frameworks" where they differ among themselves in either form, "book" where only
    the two forms do, "" where all is the same.
    """
    rows = []
    for operator in CATALOGUE:
        truths = operators.wanted(operator, DTYPE)
        by_label = [[_specials(of, operator + form) for form in FORMS] for of in asked.values()]
        points = dict.fromkeys(point for forms in by_label for of in forms for point in of)
        for point in points:
            for what in WHAT:
                strict = operator in ELEMENTWISE and what == "value"
                own, scratch = (
                    [getattr(forms[place].get(point), what, None) for forms in by_label]
                    for place in range(len(FORMS))
                )
                kind = ""
                if not (_all_same(own, strict) and _all_same(scratch, strict)):
                    kind = "frameworks"
                elif not _all_same([*own, *scratch], strict):
                    kind = "book"
                cells = [_cell(a, b, strict) for a, b in zip(own, scratch, strict=True)]
                true = _true(operator, point, what, truths.get(point), strict)
                rows.append(([operator, point, what, true, *cells], kind))
    return rows


def error_rows(asked: Measured) -> list[list[str]]:
    """A row an operator and result: the largest error of each label, own / book's."""
    rows = []
    for operator in CATALOGUE:
        for what in WHAT:
            cells = []
            for of in asked.values():
                both = [getattr(of.get(operator + form), f"{what}_error", None) for form in FORMS]
                cells.append(" / ".join(words.figure(error) for error in both))
            rows.append([operator, what, *cells])
    return rows


def absences(asked: Measured) -> list[str]:
    """A sentence for each operator that a framework lacks or answered unusably."""
    return [
        f"{label}, {name}: {operator.absent or operator.problem}"
        for label, of in asked.items()
        for name, operator in of.items()
        if operator.absent or operator.problem
    ]


def _specials(of: Mapping[str, Operator], name: str) -> dict[str, Special]:
    """By point; none where a framework has no such operator."""
    return {special.point: special for special in of[name].specials} if name in of else {}


def _all_same(columns: list[list[Number] | None], signed: bool) -> bool:
    """Whether all that were measured are the same to a reader; signed: zeros' signs count."""
    there = [np.array(column, dtype=np.float64) for column in columns if column is not None]
    return all(_same(there[0], other, signed) for other in there[1:])


def _same(a: Array, b: Array, signed: bool) -> bool:
    if a.shape != b.shape:
        return False
    finite = np.isfinite(a) & np.isfinite(b)
    sizes = np.abs(np.concatenate([a, b]))
    largest = np.max(sizes, where=np.isfinite(sizes), initial=0.0)
    with np.errstate(invalid="ignore"):
        near = np.where(
            finite, np.abs(a - b) <= SAME * largest, (a == b) | (np.isnan(a) & np.isnan(b))
        )
    other_zero = (a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))
    return bool(near.all() and not (signed and other_zero.any()))


def _cell(own: list[Number] | None, scratch: list[Number] | None, signed: bool) -> str:
    one, other = _text(own, signed), _text(scratch, signed)
    return one if one == other else f"{one} / {other}"


def _text(values: list[Number] | None, signed: bool) -> str:
    """A result in four digits; more than one element in brackets."""
    if values is None:
        return "–"
    # Adding a zero takes the sign of a negative one.
    told = [f"{float(value) + (-0.0 if signed else 0.0):.4g}" for value in values]
    return told[0] if len(told) == 1 else f"[{', '.join(told)}]"


def _true(
    operator: str, point: str, what: str, truth: tuple[list[float], ...] | None, signed: bool
) -> str:
    """The truth as text; where there is none, why."""
    if what == "derivative" and (operator, point) in CONVENTIONS:
        return CONVENTIONS[operator, point]
    if truth is None:  # of a record with other points than this version asks
        return "–"
    values = truth[WHAT.index(what)]
    if "nan" not in point and all(math.isnan(value) for value in values):
        return "none"
    return _text([*values], signed)


# ---- the picture ---------------------------------------------------------------------------------


def curves(record: Record) -> Plot | None:
    """The elementwise operators and their derivatives, all frameworks overlaid.

    A row an operator, a column what it gives. Rings: the book's expression where it gives something
    else.
    """
    asked = measured(record)
    series: list[Series] = []
    panels: dict[str, object] = {}
    for row, operator in enumerate(ELEMENTWISE):
        for column, what in enumerate(WHAT):
            panel = "" if row == column == 0 else str(row * len(WHAT) + column + 1)
            title = f"{operator}(x)" if what == "value" else f"d {operator}(x) / dx"
            domains = [0.55 * column, 0.45 + 0.55 * column], axes.band(row, len(ELEMENTWISE))
            bottom = "x" if operator == ELEMENTWISE[-1] else ""
            panels[f"xaxis{panel}"] = axes.linear(bottom, domain=domains[0], anchor=f"y{panel}")
            panels[f"yaxis{panel}"] = axes.linear(title, domain=domains[1], anchor=f"x{panel}")
            for label, of in asked.items():
                at = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": not panel}
                series += _curve(label, axes.place_of(record, label), of, operator, what, title, at)
    plot = picture(
        "operators",
        "Single operators and their derivatives",
        "Lines: the framework's own, in float32; where frameworks agree, one lies on the other. "
        "Rings: the book's expression, where it gives something else.",
        series,
        {},
        {},
        ("label", "of", "points", "smallest", "largest", "the book's differs at x ="),
        height=60 + 190 * len(ELEMENTWISE),
    )
    if plot is not None:
        plot.layout.update(panels)
    return plot


def _curve(
    label: str,
    place: int,
    of: Mapping[str, Operator],
    operator: str,
    what: str,
    title: str,
    at: axes.Trace,
) -> list[Series]:
    """One framework's curve, and rings where the book's expression leaves it."""
    curve = of[operator].curve if operator in of else None
    if curve is None:
        return []
    values = axes.numeric(getattr(curve, what))
    shown = values[np.isfinite(values)]
    marks = _marks(of, operator, what, curve.start, curve.stop)
    ends = (f"{float(end(shown)):.4g}" if len(shown) else "–" for end in (np.min, np.max))
    row = [axes.plain(label), title, str(len(values)), *ends]
    row.append(", ".join(f"{x:g}" for x in dict.fromkeys(x for x, _ in marks)) or "–")
    look = style(place)
    named = {"type": "scatter", "name": text(label), "legendgroup": f"label {place}"} | at
    # Wide under thin: curves that lie on each other can still be told apart.
    line = {"mode": "lines", "line": look["line"] | {"width": max(1.5, 6 - 1.5 * place)}}
    grid = {
        "x0": curve.start,
        "dx": (curve.stop - curve.start) / max(len(values) - 1, 1),
        "hovertemplate": f"{title} = %{{y:.4g}} at %{{x:.4g}}",
    }
    series = [Series(named | line | grid | {"y": values}, [row])]
    if marks:
        rings = np.array(marks, dtype=np.float64)
        ring = {"mode": "markers", "marker": look["marker"] | {"size": 10, "symbol": "circle-open"}}
        hover = {"hovertemplate": f"the book's {title} = %{{y:.4g}} at %{{x:.4g}}"}
        series.append(
            Series(named | ring | hover | {"showlegend": False, "x": rings[:, 0], "y": rings[:, 1]})
        )
    return series


def _marks(
    of: Mapping[str, Operator], operator: str, what: str, start: float, stop: float
) -> list[tuple[float, float]]:
    """The special points in the picture where the book's expression gives something else."""
    own = _specials(of, operator)
    marks = []
    for point, special in _specials(of, f"{operator}/scratch").items():
        try:
            x = float(point)
        except ValueError:
            continue
        if point in own and start <= x <= stop:
            pairs = zip(getattr(own[point], what), getattr(special, what), strict=False)
            marks += [(x, float(b)) for a, b in pairs if abs(float(b) - float(a)) > VISIBLE]
    return marks
