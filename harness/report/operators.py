"""Single operators as tables and one picture: what agrees, where frameworks differ, how far off.

Takes a stored record and its verdict only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.interface import Array
from harness.record.operators import Operator, Special, TruePoint
from harness.record.schema import Number, Record
from harness.report import words
from harness.report.figure import Plot
from harness.report.plots import axes
from harness.report.plots.picture import Series, picture
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.text import short
from harness.verdict.operators import FEW, WHAT, OperatorVerdict
from harness.verdict.verdict import Verdict

# Two results are the same to a reader where they differ by less, relative to the larger one.
SAME = 1e-4
# The least difference that shows in the picture, whose curves are about 1 high.
VISIBLE = 1e-2
DTYPE = "float32"
# The framework's own operator, and the book's expression for it.
FORMS = ("", "/scratch")

# How single operators are judged, and what their tables show.
JUDGED = (
    "Value and derivatives of each framework's own operator, and as relu/scratch of the book's "
    "expression, against a truth in float64. A limit is derived, by element: three times what the "
    "truth strays where the arguments move by float32's last place, and u (32 + 2 √n) of an "
    "element's size or of the RMS of the ordinary ones, for what is rounded on the way (u = 6e-8; "
    "n: numbers that may be summed). In float64: 1e-12 of that size, and what the truth strays "
    "where the arguments move by 1e-12. Infinities and NaN must be the truth's own."
)
CELLS = (
    "largest error on ordinary points as a multiple of its limit; in brackets: differences from "
    "the truth that are expected"
)
ABOUT = (
    f"In {DTYPE}. Each cell: the framework's own / the book's expression; one text where both are "
    "the same. True is float64, at infinities the limit; none where mathematics has no value. The "
    "derivative of a row is every row of its Jacobian; the label of a row's cross-entropy is 0; of "
    "several arguments there is a derivative by each. NumPy has no derivatives of its own: both "
    "forms are by hand."
)

Measured = dict[str, dict[str, Operator]]  # label -> operator's name -> what was measured


def section(run: Run) -> Section:
    """The verdicts, then where frameworks differ, the largest errors, a picture, every point."""
    asked = measured(run.record)
    rows = special_rows(run.record)
    apart = [cells for cells, kind in rows if kind == "frameworks"]
    book = [[*cells[:4], *cells[4].split(" / ")] for cells, kind in rows if kind == "book"]
    header = ("operator", "at", "of", "true", *asked)
    alike = "Where the book's expression differs, alike in every framework"
    tables = [
        Section("Where frameworks differ", header, apart, note="" if apart else "Nowhere."),
        Section(alike, ("operator", "at", "of", "true", "own", "book's"), book),
        Section(
            "Largest error on ordinary points",
            ("operator", "of", *asked),
            error_rows(asked),
            note="In units of the RMS of the truth; a rounding in float32 is 6e-8 of a number.",
        ),
        Section(pictures=curves(run.record)),
        Section("Every special point", header, [cells for cells, _ in rows], folded=True),
    ]
    judged = verdicts(run)
    if not judged and not asked:
        return Section()
    return Section(
        "Single operators",
        note=JUDGED,
        inside=[
            *judged.inside,
            _expected(run.verdict),
            *([Section(note=ABOUT), *tables] if asked else []),
        ],
    )


def verdicts(run: Run) -> Section:
    """A row an operator, a cell a label; below it a line for all that does not agree."""
    by_label = _judged(run)
    names = dict.fromkeys(name for of in by_label.values() for name in of)
    rows = [[name, *(_cell(of.get(name)) for of in by_label.values())] for name in names]
    table = Section("Does each agree?", ("operator", *by_label), rows, about=CELLS)
    return Section("Single operators", inside=[table, Section(lines=_differing(by_label))])


def brief(run: Run) -> Section:
    """The same in a line for all labels of which every operator agrees, for a table has no room."""
    by_label = _judged(run)
    lines = _differing(by_label)
    whole = [n for n, of in by_label.items() if all(j.verdict == "agree" for j in of.values())]
    if whole:
        lines.insert(
            0, f"{words.MARKS['agree']} single operators of {', '.join(whole)}: every one agrees"
        )
    return Section(lines=lines)


def _judged(run: Run) -> dict[str, dict[str, OperatorVerdict]]:
    """Each label's operators, of those that were asked for any."""
    return {n: label.operators for n, label in run.verdict.labels.items() if label.operators}


def _differing(by_label: Mapping[str, Mapping[str, OperatorVerdict]]) -> list[str]:
    """A line for all that does not agree."""
    return [
        f"{words.MARKS[judged.verdict]} {label}, {name}: {said}"
        for label, of in by_label.items()
        for name, judged in of.items()
        if judged.verdict != "agree"
        for said in _sentences(judged)
    ]


def _cell(judged: OperatorVerdict | None) -> str:
    """The mark, the share of a limit that is used, and how many differences are expected."""
    if judged is None:
        return "–"
    mark = words.MARKS[judged.verdict]
    if judged.verdict not in ("agree", "disagree"):
        return mark
    known = sum(unlike.expected is not None for unlike in judged.differs)
    used = "" if judged.share is None else f" {short(judged.share)}"
    return f"{mark}{used}{f' ({known})' if known else ''}"


def _sentences(judged: OperatorVerdict) -> list[str]:
    """All that counts against an operator; else why it is not judged."""
    counts = [unlike.sentence for unlike in judged.differs if unlike.expected is None]
    return [*counts, *judged.gone] or [judged.sentence]


def _expected(verdict: Verdict) -> Section:
    """What differs from the truth and is known to: where, what is given, by whom, and why."""
    found: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for label, judged in verdict.labels.items():
        for name, operator in judged.operators.items():
            for unlike in operator.differs:
                if unlike.expected is not None:
                    row = (name, unlike.point, unlike.what, unlike.gives, unlike.expected)
                    found.setdefault(row, {}).setdefault(label, []).append(unlike.dtype)
    rows = []
    for (*cells, why), by_label in found.items():
        by_dtypes: dict[str, list[str]] = {}
        for label, dtypes in by_label.items():
            by_dtypes.setdefault(", ".join(dtypes), []).append(label)
        who = "; ".join(f"{', '.join(labels)} ({of})" for of, labels in by_dtypes.items())
        rows.append([*cells, who, why])
    header = ("operator", "at", "of", "given", "by", "because")
    return Section("Differences that are expected", header, rows, folded=True)


def measured(record: Record) -> Measured:
    """What each label's operators gave, for labels that were asked."""
    by_label = {
        label: {operator.name: operator for operator in of.operators if operator.dtype == DTYPE}
        for label, of in record.results.items()
    }
    return {label: operators for label, operators in by_label.items() if operators}


def _names(asked: Measured) -> list[str]:
    """The operators that were asked, without their forms."""
    return [*dict.fromkeys(name.partition("/")[0] for of in asked.values() for name in of)]


def _drawn(asked: Measured) -> list[str]:
    """Those with a curve."""
    curved = {name for of in asked.values() for name, operator in of.items() if operator.curve}
    return [name for name in _names(asked) if name in curved]


def special_rows(record: Record) -> list[tuple[list[str], str]]:
    """A row a point and result: operator, point, what, truth, then a cell a label.

    With each row "frameworks" where they differ among themselves in either form, "book" where only
    the two forms do, "" where all is the same.
    """
    asked, rows = measured(record), []
    truths = {t.operator: {p.point: p for p in t.points} for t in record.truths if t.dtype == DTYPE}
    drawn = _drawn(asked)
    for operator in _names(asked):
        forms = [form for form in FORMS if any(operator + form in of for of in asked.values())]
        by_label = [[_specials(of, operator + form) for form in forms] for of in asked.values()]
        points = dict.fromkeys(point for each in by_label for of in each for point in of)
        for point, what in itertools.product(points, WHAT):
            strict = operator in drawn and what == "value"
            columns = [[getattr(of.get(point), what, None) for of in each] for each in by_label]
            kind = "" if _all_same([c for each in columns for c in each], strict) else "book"
            if not all(_all_same([*column], strict) for column in zip(*columns, strict=True)):
                kind = "frameworks"
            texts = [dict.fromkeys(_text(c, strict) for c in each) for each in columns]
            true = _true(point, what, truths.get(operator, {}).get(point), strict)
            rows.append(([operator, point, what, true, *map(" / ".join, texts)], kind))
    return rows


def error_rows(asked: Measured) -> list[list[str]]:
    """A row an operator and result: the largest error of each label, own / book's."""
    return [
        [operator, what, *(
            " / ".join(short(getattr(of[operator + form], f"{what}_error"))
                       for form in FORMS if operator + form in of) or "–"
            for of in asked.values()
        )]
        for operator, what in itertools.product(_names(asked), WHAT)
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
    """A result in four digits; more than one element in brackets, and of many their 2-norm."""
    if values is None:
        return "–"
    if len(values) > FEW:
        return f"{len(values)} numbers, norm {math.hypot(*map(float, values)):.4g}"
    # Adding a zero takes the sign of a negative one.
    told = [f"{float(value) + (-0.0 if signed else 0.0):.4g}" for value in values]
    return told[0] if len(told) == 1 else f"[{', '.join(told)}]"


def _true(point: str, what: str, truth: TruePoint | None, signed: bool) -> str:
    """The truth as text; "none" where mathematics has no value."""
    if truth is None:  # of a record that was stored before truths were
        return "–"
    values: list[Number] = getattr(truth, what)
    if "nan" not in point and all(math.isnan(float(value)) for value in values):
        return "none"
    return _text(values, signed)


# ---- the picture ---------------------------------------------------------------------------------


def curves(record: Record) -> list[Plot]:
    """The elementwise operators and their derivatives, all frameworks overlaid.

    A row an operator, a column what it gives. Rings: the book's expression where it gives something
    else.
    """
    asked = measured(record)
    drawn = _drawn(asked)
    series: list[Series] = []
    panels: dict[str, Any] = {}
    for place, (operator, what) in enumerate(itertools.product(drawn, WHAT)):
        row, column = divmod(place, len(WHAT))
        panel = str(place + 1) if place else ""
        title = f"{operator}(x)" if what == "value" else f"d {operator}(x) / dx"
        bottom, across = "x" if operator == drawn[-1] else "", 0.55 * column
        wide, high = [across, 0.45 + across], axes.band(row, len(drawn))
        panels[f"xaxis{panel}"] = axes.linear(bottom, domain=wide, anchor=f"y{panel}")
        panels[f"yaxis{panel}"] = axes.linear(title, domain=high, anchor=f"x{panel}")
        for label, of in asked.items():
            at = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": not panel}
            series += _curve(label, record, of, operator, what, title, at)
    return picture(
        "operators",
        "Single operators and their derivatives",
        "Lines: the framework's own, in float32; where frameworks agree, one lies on the other. "
        "Rings: the book's expression, where it gives something else.",
        series,
        {},
        {},
        ("label", "of", "points", "smallest", "largest", "the book's differs at x ="),
        finding=_told(series),
        height=60 + 190 * len(drawn),
        **panels,
    )


def _told(series: list[Series]) -> str:
    """Where the book's expressions give something else."""
    differ = dict.fromkeys(row[1] for s in series for row in s.rows if row[-1] != "–")
    if differ:
        return f"The book's expression gives something else for {', '.join(differ)}"
    return "The book's expressions give the same wherever they are drawn"


def _curve(
    label: str,
    record: Record,
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
    look, place = axes.style_of(record, label), axes.place_of(record, label)
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
