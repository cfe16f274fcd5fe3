"""Single operators: each against its truth, what differs as expected, and what does not.

An operator agrees where value and derivatives are within their limits at ordinary points and equal
the truth at special ones, but for the differences of `expected_operators.py`: each of these must be
there. From a stored record only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from backends import BUILT_IN
from harness.plan.model import process_precision
from harness.record.operators import Farthest, Operator, Truth
from harness.record.schema import Number, Record, number
from harness.text import fits
from harness.verdict.expected_operators import EXPECTED, Known
from harness.verdict.finding import RungVerdict, multiple

WHAT = ("value", "derivative")
# Of so many elements all are told, of more the first that is off.
FEW = 9
# What a difference on ordinary points is at.
ORDINARY = "ordinary points"


class Unlike(msgspec.Struct, kw_only=True):
    """One difference from the truth, in a process of a dtype.

    `point`: a special point, or ordinary ones; `index`: the first element beyond its limit, `got`,
    `want` and `limit`: what stands there; `gives`: all elements in
    short, where they are few. `expected`: the reason
    why this one is known; None where it counts.
    """

    dtype: str
    point: str
    what: str
    index: list[int]
    got: Number
    want: Number
    limit: Number
    gives: str
    expected: str | None = None

    @property
    def sentence(self) -> str:
        """What is where it should not be."""
        place = f"{self.what}{self.index}" if len(self.index) > 1 or self.index > [0] else self.what
        return (
            f"{self.dtype}: {place} at {self.point} is {_short([self.got])}, "
            f"true {_short([self.want])} (limit {float(self.limit):.2g})"
        )


class OperatorVerdict(msgspec.Struct, kw_only=True, rename={"sentence": "reason"}):
    """One operator of one label, in all its processes; "relu" or, as the book has it, another form.

    `share`: of ordinary points the largest error as a multiple of its limit, known differences left
    out. `gone`: differences that are expected and are not there.
    """

    verdict: RungVerdict
    sentence: str
    share: Number | None = None
    differs: list[Unlike] = []
    gone: list[str] = []

    def missed(self, said: str) -> None:
        """A difference that was declared is not there."""
        self.gone.append(said)
        if self.verdict == "agree":
            self.verdict, self.sentence = "disagree", said


def judge_operators(label: str, record: Record) -> dict[str, OperatorVerdict]:
    """A verdict for each operator that a label was asked, by its name; empty where none was."""
    results, configured = record.results.get(label), record.plan.labels[label]
    if results is None:
        return {}
    truths = {
        (truth.operator + form, truth.dtype): truth
        for truth in record.truths
        for form in truth.forms
    }
    by_name: dict[str, list[Operator]] = {}
    for operator in results.operators:
        by_name.setdefault(operator.name, []).append(operator)
    framework = configured.backend if configured.origin == BUILT_IN else ""
    declared = {e.rung: e.reason for e in record.plan.expect if fits(label, e.label)}
    found = {}
    for name, operators in by_name.items():
        strict = [o for o in operators if process_precision(configured, o.dtype) == "strict"]
        pairs = [(o, truths.get((name, o.dtype))) for o in strict]
        known = [(o, truth) for o, truth in pairs if truth is not None]
        found[name] = _judged(framework, known, declared.get(name))
    return found


def _judged(
    framework: str, pairs: Sequence[tuple[Operator, Truth]], declared: str | None
) -> OperatorVerdict:
    """One operator by what its processes gave, each with its truth.

    declared: the reason why the user expects that it differs.
    """
    if not pairs:
        why = "not judged: no truth is stored with it, or its products round their operands"
        return OperatorVerdict(verdict="inconclusive", sentence=why)
    for operator, _ in pairs:
        if operator.absent is not None:
            return OperatorVerdict(verdict="not-possible", sentence=operator.absent)
        if operator.problem is not None:
            why = f"{operator.dtype}: {operator.problem}"
            return OperatorVerdict(verdict="disagree", sentence=why)
    differs = [unlike for pair in pairs for unlike in _unlike(*pair)]
    gone = [said for pair in pairs for said in _explain(framework, *pair, differs)]
    counts = [unlike for unlike in differs if unlike.expected is None]
    if declared is not None:
        for unlike in counts:
            unlike.expected = declared
        counts = []
    shares = [_share(far) for operator, _ in pairs for far in operator.farthest]
    share = max((share for share in shares if counts or share <= 1), default=None)
    said = [unlike.sentence for unlike in counts] + gone
    if said:
        more = f", and {len(said) - 1} more" if len(said) > 1 else ""
        verdict: RungVerdict = "disagree"
        sentence = said[0] + more
    else:
        verdict = "agree"
        known = f"; {len(differs)} differences are expected" if differs else ""
        sentence = f"as is true, to rounding{known}"
    return OperatorVerdict(
        verdict=verdict,
        sentence=sentence,
        share=None if share is None else number(share),
        differs=differs,
        gone=gone,
    )


def _unlike(operator: Operator, truth: Truth) -> Iterator[Unlike]:
    """Everything in which a process differs from the truth."""
    for place, far in enumerate(operator.farthest):
        if not _share(far) <= 1:
            yield Unlike(
                dtype=operator.dtype,
                point=ORDINARY,
                what=WHAT[min(place, 1)] + (f" {place}" if place > 1 else ""),
                index=far.index,
                got=far.got,
                want=far.want,
                limit=far.limit,
                gives=_short([far.got]),
            )
    given = {special.point: special for special in operator.specials}
    for point in truth.points:
        for what in WHAT:
            got = getattr(given.get(point.point), what, [])
            want, limits = getattr(point, what), getattr(point, f"{what}_limit")
            far_off = _first_off(got, want, limits)
            if far_off is not None:
                yield Unlike(
                    dtype=operator.dtype,
                    point=point.point,
                    what=what,
                    index=[far_off],
                    got=got[far_off] if far_off < len(got) else "nan",
                    want=want[far_off] if far_off < len(want) else "nan",
                    limit=limits[far_off] if far_off < len(limits) else "nan",
                    gives=_short(got if len(got) <= FEW else got[far_off : far_off + 1]),
                )


def _first_off(
    got: Sequence[Number], want: Sequence[Number], limits: Sequence[Number]
) -> int | None:
    """The first element that is not the truth, to its limit; None where all are."""
    for place, (a, b, limit) in enumerate(zip(got, want, limits, strict=False)):
        if a != b and not abs(float(a) - float(b)) <= float(limit):
            return place
    sizes = len(got), len(want), len(limits)
    return min(sizes) if len({*sizes}) > 1 else None


def _share(far: Farthest) -> float:
    """An error as a multiple of its limit; infinite where it is none."""
    if far.got == far.want:
        return 0.0
    share = multiple(abs(float(far.got) - float(far.want)), float(far.limit))
    return math.inf if math.isnan(share) else share


def _explain(
    framework: str, operator: Operator, truth: Truth, differs: Sequence[Unlike]
) -> Iterator[str]:
    """Enter the reasons of differences that are expected; a sentence for each that is not there."""
    found = {(u.point, u.what): u for u in differs if u.dtype == operator.dtype}
    asked = {point.point for point in truth.points}
    for known in EXPECTED.get(operator.name, ()):
        if framework not in known.frameworks or operator.dtype not in known.dtypes:
            continue
        for point, gives in known.gives.items():
            unlike = found.get((point, known.what))
            if unlike is not None and unlike.gives == (gives or unlike.gives):
                unlike.expected = known.reason
            elif point in asked and unlike is None:
                yield _gone(known, operator, point)


def _gone(known: Known, operator: Operator, point: str) -> str:
    return (
        f"{operator.dtype}: a difference of the {known.what} at {point} is expected "
        f"({known.reason}) and is not there: take it off the list"
    )


def _short(values: Sequence[Number]) -> str:
    """Elements in four digits; one where all are the same. Zeros have no sign."""
    told = [f"{float(value) + 0.0:.4g}" for value in values]
    return told[0] if len({*told}) == 1 else f"[{', '.join(told)}]"
