"""Single operators as Markdown tables and one drawing: where frameworks differ, and how far off.

Takes a stored record only. The drawing is an SVG that needs no script and no network.
"""

from __future__ import annotations

import math
from typing import Any

from harness.measure import operators
from harness.measure.operators import CATALOGUE, CONVENTIONS, ELEMENTWISE, FORMS
from harness.record.schema import Number, Operator, Record, Special
from harness.report import words
from harness.report.drawing import as_svg, drawing, name_entries

# Two results are the same to a reader where they differ by less, relative to the larger one.
SAME = 1e-4
# The least difference that shows in the drawing, whose curves are about 1 high.
VISIBLE = 1e-2
# Wide and pale under thin and dark: curves that lie on each other can still be told apart.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#f2b134", "linewidth": 6.0, "linestyle": "-", "marker": "s", "markersize": 11},
    {"color": "#d1495b", "linewidth": 3.6, "linestyle": "-", "marker": "o", "markersize": 9},
    {"color": "#3a7ca5", "linewidth": 2.2, "linestyle": "--", "marker": "^", "markersize": 7},
    {"color": "#111111", "linewidth": 1.2, "linestyle": ":", "marker": "x", "markersize": 6},
)
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

Found = dict[str, dict[str, Operator]]  # label -> operator's name -> what was measured


def measured(record: Record) -> Found:
    """What each label's operators gave, for labels that were asked."""
    return {
        label: {found.name: found for found in results.operators if found.dtype == DTYPE}
        for label, results in record.results.items()
        if any(found.dtype == DTYPE for found in results.operators)
    }


def special_rows(found: Found) -> list[tuple[list[str], str]]:
    """A row a point and result: operator, point, what, truth, then a cell a label.

    With each row "frameworks" where they differ among themselves in either form, "book" where only
    the two forms do, "" where all is the same.
    """
    rows = []
    for operator in CATALOGUE:
        truths = operators.wanted(operator, DTYPE)
        signed = operator in ELEMENTWISE
        points = {s.point: None for of in found.values() for s in _specials(of, operator)}
        for point in points:
            given = {
                form: [_at(of, operator + form, point) for of in found.values()] for form in FORMS
            }
            for what in WHAT:
                columns = {
                    form: [None if s is None else getattr(s, what) for s in specials]
                    for form, specials in given.items()
                }
                own, scratch = columns.values()
                strict = signed and what == "value"
                kind = ""
                if not (_all_same(own, strict) and _all_same(scratch, strict)):
                    kind = "frameworks"
                elif not _all_same([*own, *scratch], strict):
                    kind = "book"
                true = _true(operator, point, what, truths, strict)
                cells = [_cell(a, b, strict) for a, b in zip(own, scratch, strict=True)]
                rows.append(([operator, point, what, true, *cells], kind))
    return rows


def error_rows(found: Found) -> list[list[str]]:
    """A row an operator and result: the largest error of each label, own / book's."""
    rows = []
    for operator in CATALOGUE:
        for what in WHAT:
            cells = []
            for of in found.values():
                both = [getattr(of.get(operator + form), f"{what}_error", None) for form in FORMS]
                cells.append(" / ".join(words.figure(error) for error in both))
            rows.append([operator, what, *cells])
    return rows


def absences(found: Found) -> list[str]:
    """A sentence for each operator that a framework lacks or answered unusably."""
    return [
        f"{label}, {name}: {operator.absent or operator.problem}"
        for label, of in found.items()
        for name, operator in of.items()
        if operator.absent or operator.problem
    ]


def _specials(of: dict[str, Operator], operator: str) -> list[Special]:
    return [s for form in FORMS if (o := of.get(operator + form)) for s in o.specials]


def _at(of: dict[str, Operator], name: str, point: str) -> Special | None:
    specials = of[name].specials if name in of else []
    return next((s for s in specials if s.point == point), None)


def _all_same(columns: list[list[Number] | None], signed: bool) -> bool:
    """Whether all that were measured are the same to a reader; signed: zeros' signs count."""
    there = [column for column in columns if column is not None]
    return all(_same(there[0], other, signed) for other in there[1:])


def _same(one: list[Number], other: list[Number], signed: bool) -> bool:
    a, b = [float(v) for v in one], [float(v) for v in other]
    if len(a) != len(b):
        return False
    scale = max((abs(v) for v in a + b if math.isfinite(v)), default=0.0)
    for p, q in zip(a, b, strict=True):
        if math.isfinite(p) and math.isfinite(q):
            if abs(p - q) > SAME * scale:
                return False
            if signed and p == q == 0 and math.copysign(1, p) != math.copysign(1, q):
                return False
        elif not (p == q or (math.isnan(p) and math.isnan(q))):
            return False
    return True


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
    operator: str,
    point: str,
    what: str,
    truths: dict[str, tuple[list[float], list[float]]],
    signed: bool,
) -> str:
    """The truth as text; where there is none, why."""
    if what == "derivative" and (operator, point) in CONVENTIONS:
        return CONVENTIONS[operator, point]
    if point not in truths:  # of a record with other points than this version asks
        return "–"
    values = truths[point][WHAT.index(what)]
    if "nan" not in point and all(math.isnan(value) for value in values):
        return "none"
    return _text([*values], signed)


def draw(record: Record) -> str:
    """The elementwise operators and their derivatives, all frameworks overlaid: an <svg> element.

    Markers: the book's expression where it gives something else. The same record gives the same
    text, whatever matplotlib's own settings are. Empty where nothing was measured.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    found = {k: of for k, of in measured(record).items() if any(o.curve for o in of.values())}
    if not found:
        return ""
    with drawing("operators"):
        figure = Figure(figsize=(11, 6.2), facecolor="white", layout="constrained")
        axes = figure.subplots(len(WHAT), len(ELEMENTWISE), sharex=True)
        for row, what in enumerate(WHAT):
            for column, operator in enumerate(ELEMENTWISE):
                axis = axes[row][column]
                axis.set_ylabel(f"{operator}(x)" if what == "value" else f"d {operator}(x) / dx")
                axis.grid(visible=True, color="#dddddd", linewidth=0.6)
                for number, of in enumerate(found.values()):
                    _draw(axis, of, operator, what, STYLES[number % len(STYLES)])
        for axis in axes[-1]:
            axis.set_xlabel("x")
        key = [Line2D([], [], **STYLES[i % len(STYLES)], markevery=[]) for i in range(len(found))]
        named = figure.legend(
            key, [str(i) for i in range(len(found))], loc="outside upper center", ncols=4
        )
        named.set_title("lines: the framework's own; markers: the book's, where it differs")
        name_entries(named, [*found])
        return as_svg(figure, "Single operators and their derivatives")


def _draw(axis: Any, of: dict[str, Operator], operator: str, what: str, style: Any) -> None:
    """One framework's curve, and markers where the book's expression leaves it."""
    own = of.get(operator)
    if own is None or own.curve is None:
        return
    values = [float(v) for v in getattr(own.curve, what)]
    step = (own.curve.stop - own.curve.start) / max(len(values) - 1, 1)
    line = {k: v for k, v in style.items() if not k.startswith("marker")}
    axis.plot([own.curve.start + i * step for i in range(len(values))], values, **line)
    marks = []
    for special in of[f"{operator}/scratch"].specials if f"{operator}/scratch" in of else []:
        mine, here = _at(of, operator, special.point), _number(special.point)
        if mine is None or here is None or not own.curve.start <= here <= own.curve.stop:
            continue
        both = zip(getattr(mine, what), getattr(special, what), strict=False)
        for before, after in both:
            if abs(float(after) - float(before)) > VISIBLE:
                marks.append((here, float(after)))
    mark = {k: v for k, v in style.items() if k.startswith("marker")}
    hollow = {"markerfacecolor": "none", "markeredgewidth": 1.6}
    if marks:
        axis.plot(*zip(*marks, strict=True), color=style["color"], linestyle="", **mark, **hollow)


def _number(point: str) -> float | None:
    try:
        return float(point)
    except ValueError:
        return None
