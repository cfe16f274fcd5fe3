"""Two functions at one special point, and at all: pure functions of what they gave there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.measure import rounding
from harness.measure.rounding import Numbers
from harness.pair.comparing import (
    compare,
    form,
    identical,
    numbers,
    of_values,
    shapes,
    spelt,
    stored,
)
from harness.pair.deciding import Finding
from harness.pair.document import BROADCAST, UNTOLD, Place, Point, Question
from harness.record.schema import Number, number
from harness.workers.calling import Called


class Where(NamedTuple):
    """Which question, at which point of which argument."""

    question: str
    point: str
    argument: str


class Judged(NamedTuple):
    """One point: as the document has it, the first difference, whether all bits are the same.

    `finite`: a value differs, and both are finite: what rounding does there may explain it. `why`:
    of a difference that is told and not judged, the reason.
    """

    point: Point
    first: Place | None = None
    bits: bool = False
    finite: bool = False
    why: str = ""


def at_point(
    where: Where,
    calls: Mapping[str, Called],
    usual: Mapping[str, Called],
    noise: Numbers | None = None,
    share: float = rounding.SPECIAL,
) -> Judged:
    """Both at a point, by side: what is raised, form, values, then gradients where both have them.

    usual: the same at the arguments as given: a dtype that differs there too is no news; noise: how
    far the truth strays at this point; share: by how much of an element they may differ.
    """
    a, b = calls
    forms = {name: form(called) for name, called in calls.items()}
    failed = [name for name in calls if calls[name].said.failed is not None]
    if len(failed) == len(calls):
        # One that raises and one whose process dies are not alike.
        if calls[a].said.ended == calls[b].said.ended:
            return Judged(_point(where, forms), bits=True)
        return _differs(where, "value", forms)
    if failed and where.question == BROADCAST:
        return _differs(where, "value", forms)._replace(why="one does not broadcast")
    if failed or shapes(calls[a]) != shapes(calls[b]) or _other_dtypes(calls, usual):
        return _differs(where, "value", forms)
    one, other = numbers(calls[a]), numbers(calls[b])
    without = {name: called.said.no_gradient for name, called in calls.items()}
    if all(usual[name].gradients for name in calls) and len({not w for w in without.values()}) > 1:
        return _differs(where, "gradient", {n: w or "has one" for n, w in without.items()})
    shared = [name for name in one if name in other and one[name].shape == other[name].shape]
    limits = {n: rounding.special_limit(one[n], other[n], (noise or {}).get(n), share)
              for n in shared}  # fmt: skip
    off = compare(one, other, limits)
    if off.beyond:
        says = {a: stored(off.got), b: stored(off.want)}
        finite = off.of in of_values(one) and all(map(math.isfinite, (off.got, off.want)))
        place = _differs(where, off.of, says, [*off.element], number(off.most))
        return place._replace(
            finite=finite and "f" in (one[off.of].dtype.kind, other[off.of].dtype.kind)
        )
    tables = ({name: table[name] for name in shared} for table in (one, other))
    return Judged(_point(where, forms), bits=identical(*tables))


def neither_right(
    calls: Mapping[str, Called], want: Numbers, share: float = rounding.SPECIAL
) -> bool:
    """Whether both are off from what is true in float64: each overflows in a way of its own."""
    for called in calls.values():
        got = of_values(numbers(called))
        if got.keys() != want.keys() or any(got[n].shape != want[n].shape for n in want):
            continue
        limits = {n: rounding.special_limit(got[n], want[n], None, share) for n in want}
        if not compare(got, want, limits).beyond:
            return False
    return True


def _other_dtypes(calls: Mapping[str, Called], usual: Mapping[str, Called]) -> bool:
    """Whether dtypes differ here, and do not at the arguments as given."""
    here, there = ([called.said.dtypes for called in each.values()] for each in (calls, usual))
    return here[0] != here[1] and there[0] == there[1]


def _point(where: Where, says: Mapping[str, float | str], of: str = "") -> Point:
    texts = {name: spelt(value) for name, value in says.items()}
    return Point(point=where.point, argument=where.argument, same=not of, says=texts, of=of)


def _differs(
    where: Where,
    of: str,
    says: Mapping[str, float | str],
    index: list[int] | None = None,
    limit: Number | None = None,
) -> Judged:
    first = Place(
        question=where.question,
        point=f"{where.point} in {where.argument}",
        of=of,
        index=index,
        says=dict(says),
        limit=limit,
    )
    return Judged(_point(where, says, of), first)


def at_all(
    question: str, judged: Sequence[Judged], names: Sequence[str], left: str = ""
) -> Finding:
    """The points of one question: how many are the same, and the first that is not.

    left: why some were not asked, where any were not.
    """
    differ = [each for each in judged if each.first is not None and not each.why]
    told = [f"{each.point.point}: {each.why}" for each in judged if each.why]
    if not judged and not left:
        asked = Question(question=question, outcome="not asked", note="no argument has any")
        return Finding(asked)
    count = f"{len(judged) - len(differ) - len(told)} of {len(judged)} alike"
    count += "".join(f"; told only, {each}" for each in dict.fromkeys(told))
    asked = Question(
        question=question,
        outcome="differs" if differ else "same",
        note=f"{count}; {left}" if left else count,
    )
    first = differ[0].first if differ else None
    if first is None:
        return Finding(asked, UNTOLD if left else None, left)
    a, b = names
    more = f", and at {len(differ) - 1} more" if len(differ) > 1 else ""
    said = f"{a} {spelt(first.says[a])}, {b} {spelt(first.says[b])}"
    if first.index is not None:
        place = f"{first.of}[{', '.join(map(str, first.index))}]" if first.index else first.of
        said = f"{place} is {spelt(first.says[a])} by {a}, {spelt(first.says[b])} by {b}"
    sentence = f"{first.point}: {said}{more}"
    return Finding(asked, "different at special points only", sentence, first)
