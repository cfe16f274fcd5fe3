"""Single operators as tables and one picture: where frameworks differ, and how far off.

Takes a stored record only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.interface import Array
from harness.measure import operators as catalogue
from harness.measure.operators import CATALOGUE, CONVENTIONS, ELEMENTWISE, FORMS
from harness.record.schema import Number, Operator, Record, Special
from harness.report import words
from harness.report.figure import Plot, style
from harness.report.plots import axes
from harness.report.plots.picture import Series, picture
from harness.report.run_tables import Run
from harness.report.sections import Section

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


def section(run: Run) -> Section:
    """Where frameworks differ, the largest errors, a picture, and every special point."""
    asked = measured(run.record)
    if not asked:
        return Section()
    rows = special_rows(asked)
    apart = [cells for cells, kind in rows if kind == "frameworks"]
    book = [[*cells[:4], *cells[4].split(" / ")] for cells, kind in rows if kind == "book"]
    header = ("operator", "at", "of", "true", *asked)
    alike = "Where the book's expression differs, alike in every framework"
    return Section(
        "Single operators",
        note=ABOUT,
        inside=[
            Section("Where frameworks differ", header, apart, note="" if apart else "Nowhere."),
            Section(alike, ("operator", "at", "of", "true", "own", "book's"), book),
            Section(
                "Largest error on ordinary points",
                ("operator", "of", *asked),
                error_rows(asked),
                note="In units of the RMS of the truth; a rounding in float32 is 6e-8 of a number.",
            ),
            Section(pictures=curves(run.record)),
            Section(lines=[
                f"{label}, {name}: {operator.absent or operator.problem}"
                for label, of in asked.items()
                for name, operator in of.items()
                if operator.absent or operator.problem
            ]),
            Section("Every special point", header, [cells for cells, _ in rows], folded=True),
        ],
    )  # fmt: skip


def measured(record: Record) -> Measured:
    """What each label's operators gave, for labels that were asked."""
    by_label = {
        label: {operator.name: operator for operator in of.operators if operator.dtype == DTYPE}
        for label, of in record.results.items()
    }
    return {label: operators for label, operators in by_label.items() if operators}


def special_rows(asked: Measured) -> list[tuple[list[str], str]]:
    """A row a point and result: operator, point, what, truth, then a cell a label.

    With each row "frameworks" where they differ among themselves in either form, "book" where only
    the two forms do, "" where all is the same.
    """
    rows = []
    for operator in CATALOGUE:
        truths = catalogue.wanted(operator, DTYPE)
        by_label = [[_specials(of, operator + form) for form in FORMS] for of in asked.values()]
        points = dict.fromkeys(point for forms in by_label for of in forms for point in of)
        for point, what in itertools.product(points, WHAT):
            strict = operator in ELEMENTWISE and what == "value"
            own, scratch = (
                [getattr(forms[place].get(point), what, None) for forms in by_label]
                for place in range(len(FORMS))
            )
            kind = "" if _all_same([*own, *scratch], strict) else "book"
            if not (_all_same(own, strict) and _all_same(scratch, strict)):
                kind = "frameworks"
            pairs = [
                (_text(a, strict), _text(b, strict)) for a, b in zip(own, scratch, strict=True)
            ]
            cells = [a if a == b else f"{a} / {b}" for a, b in pairs]
            true = _true(operator, point, what, truths.get(point), strict)
            rows.append(([operator, point, what, true, *cells], kind))
    return rows


def error_rows(asked: Measured) -> list[list[str]]:
    """A row an operator and result: the largest error of each label, own / book's."""
    return [
        [operator, what, *(
            " / ".join(words.figure(getattr(of.get(operator + form), f"{what}_error", None))
                       for form in FORMS)
            for of in asked.values()
        )]
        for operator, what in itertools.product(CATALOGUE, WHAT)
    ]  # fmt: skip


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


def curves(record: Record) -> list[Plot]:
    """The elementwise operators and their derivatives, all frameworks overlaid.

    A row an operator, a column what it gives. Rings: the book's expression where it gives something
    else.
    """
    asked = measured(record)
    series: list[Series] = []
    panels: dict[str, Any] = {}
    for place, (operator, what) in enumerate(itertools.product(ELEMENTWISE, WHAT)):
        row, column = divmod(place, len(WHAT))
        panel = str(place + 1) if place else ""
        title = f"{operator}(x)" if what == "value" else f"d {operator}(x) / dx"
        bottom, across = "x" if operator == ELEMENTWISE[-1] else "", 0.55 * column
        wide, high = [across, 0.45 + across], axes.band(row, len(ELEMENTWISE))
        panels[f"xaxis{panel}"] = axes.linear(bottom, domain=wide, anchor=f"y{panel}")
        panels[f"yaxis{panel}"] = axes.linear(title, domain=high, anchor=f"x{panel}")
        for label, of in asked.items():
            at = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": not panel}
            series += _curve(label, axes.place_of(record, label), of, operator, what, title, at)
    return picture(
        "operators",
        "Single operators and their derivatives",
        "Lines: the framework's own, in float32; where frameworks agree, one lies on the other. "
        "Rings: the book's expression, where it gives something else.",
        series,
        {},
        {},
        ("label", "of", "points", "smallest", "largest", "the book's differs at x ="),
        height=60 + 190 * len(ELEMENTWISE),
        **panels,
    )


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
    at |= {"legendgroup": f"label {place}"}
    line = axes.scatter(
        "lines",
        label,
        f"{title} = %{{y:.4g}} at %{{x:.4g}}",
        # Wide under thin: curves that lie on each other can still be told apart.
        line=look["line"] | {"width": max(1.5, 6 - 1.5 * place)},
        x0=curve.start,
        dx=(curve.stop - curve.start) / max(len(values) - 1, 1),
        y=values,
        **at,
    )
    if not marks:
        return [Series(line, [row])]
    x, y = np.array(marks, dtype=np.float64).T
    ring = look["marker"] | {"size": 10, "symbol": "circle-open"}
    hover = f"the book's {title} = %{{y:.4g}} at %{{x:.4g}}"
    at |= {"showlegend": False}
    rings = axes.scatter("markers", label, hover, marker=ring, x=x, y=y, **at)
    return [Series(line, [row]), Series(rings)]


def _marks(
    of: Mapping[str, Operator], operator: str, what: str, start: float, stop: float
) -> list[tuple[float, float]]:
    """The special points in the picture where the book's expression gives something else."""
    own, marks = _specials(of, operator), []
    for point, special in _specials(of, f"{operator}/scratch").items():
        try:
            x = float(point)
        except ValueError:  # a row, or what a record from elsewhere says
            continue
        if point in own and start <= x <= stop:
            pairs = zip(getattr(own[point], what), getattr(special, what), strict=False)
            marks += [(x, float(b)) for a, b in pairs if abs(float(b) - float(a)) > VISIBLE]
    return marks
