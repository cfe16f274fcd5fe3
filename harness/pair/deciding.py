"""From what two functions gave to an answer: pure functions of arrays and of words about calls.

Runs nothing, and knows no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.explain import functions
from harness.interface import Array
from harness.measure import rounding
from harness.measure.rounding import Numbers
from harness.pair.comparing import (
    Off,
    compare,
    element,
    form,
    identical,
    numbers,
    of_gradients,
    of_values,
    shapes,
    spelt,
    stored,
    unlike,
)
from harness.pair.document import (
    GRADIENTS,
    REPEATS,
    SINGLE,
    UNTOLD,
    VALUE,
    WIDE,
    Answer,
    Place,
    Question,
)
from harness.record.schema import Explanation, number
from harness.text import short
from harness.workers.calling import Called

# Of a question for which no output holds a finite number that could be compared.
NOTHING = "there is nothing to compare"
Only = Callable[[Numbers], dict[str, Array]]


class Slopes(NamedTuple):
    """Central differences by one argument: elements in C order, slopes, errors; each (k,)."""

    at: Array
    slope: Array
    error: Array


class Rounds(NamedTuple):
    """What a side was shown to round, in words; `coarse`: to less than float32."""

    what: str
    coarse: bool


@dataclass(kw_only=True)
class Seen:
    """All that was seen of a pair at its arguments; filled question by question.

    `floats`: whether any argument is a float. `single`, `again`, `wide`: what each side gave in
    float32, twice, and in float64. `truth`: whose float64 counts, "" for nobody's, and `given`:
    whether the user named it; `want`: its numbers. `noise`, `fine`, `coarse`: how far these stray
    where arguments move by float32's last place, by rounding.AGREE, and by bfloat16's. `terms`,
    `counts`: see `rounding`. `rounds`: by side, what it was shown to round. `slopes`: by argument,
    of a side that has no gradients of its own. `empty`: whether no argument holds any number.
    """

    names: tuple[str, str]
    floats: bool
    single: Mapping[str, Called]
    again: Mapping[str, Called] = field(default_factory=dict)
    wide: Mapping[str, Called] = field(default_factory=dict)
    truth: str = ""
    given: bool = False
    want: dict[str, Array] = field(default_factory=dict)
    noise: dict[str, Array] = field(default_factory=dict)
    fine: dict[str, Array] = field(default_factory=dict)
    coarse: dict[str, Array] = field(default_factory=dict)
    terms: int = 1
    counts: Collection[int] = ()
    empty: bool = False
    rounds: dict[str, Rounds] = field(default_factory=dict)
    slopes: Mapping[str, Slopes] = field(default_factory=dict)

    def lacking(self) -> dict[str, str]:
        """Why a side does not keep float64, in words, of those that do not.

        None where float64 was not asked for.
        """
        found = {name: lacks(self.single[name], wide) for name, wide in self.wide.items()}
        return {name: why for name, why in found.items() if why}

    def whole(self, name: str) -> bool:
        """Whether both sides give whole numbers there: those are equal or not."""
        tables = [numbers(self.single[side]) for side in self.names]
        return "f" not in {table[name].dtype.kind if name in table else "f" for table in tables}


@dataclass(frozen=True)
class Finding:
    """What one question found. `answer`: what it makes of the pair, None for nothing.

    `explained`: the conventions that each explain the difference. `counted`: in which outputs, or
    gradients, a finite number was compared (see `Off`).
    """

    question: Question
    answer: Answer | None = None
    sentence: str = ""
    first: Place | None = None
    explained: Sequence[Explanation] = ()
    counted: frozenset[str] = frozenset()


def lacks(single: Called, wide: Called) -> str:
    """Why a side does not keep float64, in words; "" where it does."""
    if wide.said.failed is not None:
        return f"{wide.said.failed} for float64"
    if shapes(wide) != shapes(single):
        return "gives another shape for float64"
    floats = [name for name, value in single.values.items() if value.dtype.kind == "f"]
    other = {wide.said.dtypes[name] for name in floats} - {"float64"}
    return f"gives {', '.join(sorted(other))} for float64" if other else ""


def what_comes_out(seen: Seen) -> Finding:
    """Whether both give numbers at all, as many, of one shape and one dtype."""
    a, b = seen.names
    says = {name: form(seen.single[name]) for name in seen.names}
    both = " and ".join(f"{name} gives {said}" for name, said in says.items())
    answer: Answer | None = None
    sentence = ""
    failed = [name for name in seen.names if seen.single[name].said.failed is not None]
    one, other = (
        {of: dtype for of, dtype in seen.single[name].said.dtypes.items() if "float" in dtype}
        for name in seen.names
    )
    if failed:
        answer, sentence = UNTOLD, "; ".join(f"{name} {says[name]}" for name in failed)
    elif shapes(seen.single[a]) != shapes(seen.single[b]):
        answer, sentence = "different functions", both
    elif seen.floats and any(one[of] != other[of] for of in one.keys() & other.keys()):
        answer, sentence = "precision", f"for float32 {both}"
    question = Question(question=VALUE, outcome="differs" if answer else "same", says=says)
    first = Place(question=VALUE, of="value", says={**says})
    return Finding(question, answer, sentence, None if answer in (None, UNTOLD) else first)


def repeats(seen: Seen) -> Finding:
    """Whether each gives the same bits from the same numbers."""
    pairs = {n: (numbers(seen.single[n]), numbers(seen.again[n])) for n in seen.names}
    says = {name: "yes" if identical(*pair) else "no" for name, pair in pairs.items()}
    odd = [name for name in seen.names if says[name] == "no"]
    question = Question(question=REPEATS, outcome="differs" if odd else "same", says=says)
    if not odd:
        return Finding(question)
    one, two = pairs[odd[0]]
    first = Place(question=REPEATS, of="value", says={odd[0]: "another form the second time"})
    for of, array in one.items():
        if of in two and two[of].shape == array.shape and unlike(array, two[of]).any():
            at = tuple(map(int, np.argwhere(unlike(array, two[of]))[0]))
            both = (("first", array), ("then", two[of]))
            values_there = {f"{odd[0]}, {n}": stored(element(table, at)) for n, table in both}
            first = Place(question=REPEATS, of=of, index=[*at], says={**values_there})
            break
    values = " then ".join(map(spelt, first.says.values()))
    place = f"{first.of}{first.index or ''}"
    sentence = f"{odd[0]} gives other numbers the second time: {place} is {values}"
    return Finding(question, "one does not repeat itself", sentence, first)


def in_float64(seen: Seen) -> Finding:
    """Whether both keep float64, and agree in it; the truth, where the user gave one, too."""
    if not seen.floats:
        note = "no argument is a float"
        return Finding(Question(question=WIDE, outcome="not asked", note=note))
    a, b = seen.names
    lacking = seen.lacking()
    says = {name: lacking.get(name, "float64") for name in seen.names}
    if any(seen.wide[name].said.ended for name in seen.names):
        both = "; ".join(f"{name} {why}" for name, why in lacking.items())
        return Finding(Question(question=WIDE, outcome="not asked", says=says), UNTOLD, both)
    if len(lacking) == len(seen.names):
        return _neither(seen, says)
    if lacking:
        ((name, why),) = lacking.items()
        question = Question(question=WIDE, outcome="differs", says=says)
        return Finding(question, "precision", f"{name} {why}")
    got = {name: of_values(numbers(seen.wide[name])) for name in seen.names}
    limits = _double_limits(seen, of_values)
    off = compare(got[a], got[b], limits)
    question = _question(WIDE, says, off, "from each other")
    if off.beyond:
        return _different(seen, question, off)
    if len(_untrue(seen, got, limits)) == len(seen.names):
        sentence = f"{a} and {b} agree in float64, and not with the truth that was given"
        return Finding(question, UNTOLD, sentence)
    return Finding(question, counted=off.counted)


def _untrue(seen: Seen, got: Mapping[str, Numbers], limits: Numbers) -> list[str]:
    """The sides whose values are not those of the truth that was given, where one was."""
    return [n for n in seen.names if seen.given and compare(got[n], seen.want, limits).beyond]


def _neither(seen: Seen, says: dict[str, str]) -> Finding:
    """Neither keeps float64: then only equal bits tell anything, unless the truth was given."""
    note = "neither keeps float64"
    question = Question(question=WIDE, outcome="not asked", says=says, note=note)
    one, other = (of_values(numbers(seen.single[name])) for name in seen.names)
    if identical(one, other):
        return Finding(question)
    if seen.want:
        both = "; ".join(f"{name} {why}" for name, why in says.items())
        return Finding(question, "precision", f"{note}: {both}")
    far = compare(one, other, {name: np.full(v.shape, 1e-300) for name, v in one.items()})
    sentence = (
        f"{note}, in float32 they are {short(far.distance)} apart, and there is no truth that "
        "they could be held to"
    )
    return Finding(question, UNTOLD, sentence)


def _different(seen: Seen, question: Question, off: Off) -> Finding:
    """Float64 differs: by rounding to float32 that one of them was seen to do, or by more.

    A convention that explains the difference to its last digit is named.
    """
    a, b = seen.names
    got, want = (of_values(numbers(seen.wide[name])) for name in seen.names)
    first = _place(WIDE, off, {a: off.got, b: off.want})
    for name, rounds in seen.rounds.items():
        limits = _single_limits(seen, of_values)
        if rounds.coarse:
            limits = _coarse_limits(seen, of_values)
        if not compare(got, want, limits).beyond:
            sentence = f"{name} {rounds.what}: {_two(off, a, b)}"
            return Finding(question, "precision", sentence, first)
    limits = _double_limits(seen, of_values)
    beyond = [name for name, of in limits.items() if compare(got, want, {name: of}).beyond]
    explained = _explained(seen, beyond)
    sentence = "; ".join([f"in float64 {_two(off, a, b)}", *(one.sentence for one in explained)])
    sentence += _who_is_wrong(_untrue(seen, {a: got, b: want}, limits))
    return Finding(question, "different functions", sentence, first, explained)


def _who_is_wrong(untrue: Sequence[str]) -> str:
    return f"; not the truth that was given: {', '.join(untrue)}" if untrue else ""


def _explained(seen: Seen, off: Sequence[str]) -> list[Explanation]:
    """What gives all that differs of one side from the other's: of these outputs.

    Each side's float64 is held to what its own float32 is off: no other function is.
    """
    a, b = seen.names
    got, want = (numbers(seen.wide[name]) for name in seen.names)
    single = [numbers(seen.single[name]) for name in seen.names]
    if any(table[name].dtype.kind != "f" for table in (got, want) for name in off):
        return []
    limits = {}
    for name in off:
        own = max(_largest(s[name], w[name]) for s, w in zip(single, (got, want), strict=True))
        limits[name] = rounding.double_limit(want[name], seen.fine[name], seen.terms, own)
    one, other = ({name: table[name] for name in off} for table in (got, want))
    return functions.explain((a, one), (b, other), limits, seen.counts)


def in_float32(seen: Seen) -> Finding:
    """How far the float32 of each is from the truth; without one, how far they are apart."""
    if seen.floats and seen.want:
        return from_truth(seen, SINGLE, of_values)
    a, b = seen.names
    got = {name: of_values(numbers(seen.single[name])) for name in seen.names}
    still = {name: np.zeros(value.shape) for name, value in got[b].items()}
    limits = _by_kind(
        seen, got[b], still, lambda _, want: rounding.single_limit(want, None, seen.terms)
    )
    off = compare(got[a], got[b], limits)
    question = _question(SINGLE, {}, off, "from each other: no float64")
    untrue = _untrue(seen, got, limits)
    if off.beyond:
        first = _place(SINGLE, off, {a: off.got, b: off.want})
        sentence = _two(off, a, b) + _who_is_wrong(untrue)
        return Finding(question, "different functions", sentence, first)
    if len(untrue) == len(seen.names):
        sentence = f"{a} and {b} agree, and not with the truth that was given"
        return Finding(question, UNTOLD, sentence)
    return Finding(question, counted=off.counted)


def from_truth(seen: Seen, question: str, only: Only) -> Finding:
    """The float32 of each side against the truth, of values or of gradients."""
    want, limits = only(seen.want), _single_limits(seen, only)
    single = {name: only(numbers(seen.single[name])) for name in seen.names}
    offs = {
        n: compare(got, want, limits) for n, got in single.items() if got.keys() >= limits.keys()
    }
    says = {name: short(off.distance) for name, off in offs.items()}
    counted = [off.counted for off in offs.values()] or [frozenset[str]()]
    both = frozenset.intersection(*counted)  # one side alone is its own truth
    worst = max(offs.values(), key=lambda off: off.over, default=Off())._replace(counted=both)
    found = _question(question, says, worst, f"each from {seen.truth} in float64")
    name = next((name for name, off in offs.items() if off.beyond), None)
    if name is None:
        return Finding(found, counted=both)
    off = offs[name]
    first = _place(question, off, {name: off.got, f"true ({seen.truth})": off.want})
    values = f"{off.at} is {spelt(off.got)}, true {spelt(off.want)}"
    if name in seen.lacking() and compare(single[name], want, _coarse_limits(seen, only)).beyond:
        sentence = f"{name} is further off than any rounding: {values}"
        return Finding(found, "different functions", sentence, first)
    shown = seen.rounds.get(name)
    why = "is further off in float32 than its rounding" if shown is None else shown.what
    why += f" ({short(off.distance)}, limit {short(off.limit)})"
    return Finding(found, "precision", f"{name} {why}: {values}", first)


def gradients(seen: Seen) -> Finding:
    """The derivatives of both in float64, and how far those in float32 are from them."""
    a, b = seen.names
    lacking = seen.lacking() if seen.wide else {}
    wide = {n: of_gradients(numbers(seen.wide[n])) for n in seen.names if seen.wide}
    have = {name: grads for name, grads in wide.items() if grads and name not in lacking}
    says = {name: _differentiates(seen, name) for name in seen.names}
    single = all(seen.single[name].gradients for name in seen.names)
    if not have or (len(have) == 1 and not seen.slopes and not single):
        note = "not both sides differentiate"
        return Finding(Question(question=GRADIENTS, outcome="not asked", says=says, note=note))
    off, pair, grads = Off(), {}, have[next(iter(have))]
    if len(have) == len(seen.names):
        off = compare(have[a], have[b], _double_limits(seen, of_gradients))
        pair = {a: off.got, b: off.want}
    elif seen.slopes:
        (name,) = have
        off = _against_slopes(grads, seen.slopes)
        pair = {name: off.got, b if name == a else a: off.want}
    if off.beyond:
        sentence = f"in float64 {_two(off, *pair)}"
        question, first = _question(GRADIENTS, says, off), _place(GRADIENTS, off, pair)
        found: Answer = "different functions"
        if any(rounds.coarse for rounds in seen.rounds.values()):
            if len(have) == len(seen.names):
                rest = compare(have[a], have[b], _coarse_limits(seen, of_gradients))
            else:
                rest = _against_slopes(grads, seen.slopes, 4 * rounding.BFLOAT16)
            found = found if rest.beyond else "precision"
        return Finding(question, found, sentence, first)
    rounded = from_truth(seen, GRADIENTS, of_gradients)
    if rounded.answer is None and not off.counted | rounded.counted:
        return Finding(Question(question=GRADIENTS, outcome="not asked", says=says, note=NOTHING))
    said = {**says, **rounded.question.says}
    of = Question(
        question=GRADIENTS,
        outcome="differs" if rounded.answer else "same",
        says=said,
        distance=rounded.question.distance,
        limit=rounded.question.limit,
        note=f"{rounded.question.note}; float64 {short(off.distance)} apart",
    )
    return Finding(of, rounded.answer, rounded.sentence, rounded.first)


def _differentiates(seen: Seen, name: str) -> str:
    """How a side differentiates, or why it does not."""
    said = seen.single[name].said
    if seen.single[name].gradients:
        return "yes"
    return "central differences" if seen.slopes else said.no_gradient or "no"


def _against_slopes(
    grads: Numbers, slopes: Mapping[str, Slopes], share: float = rounding.SLOPE
) -> Off:
    """Gradients against central differences, which have an error of their own, and a share more."""
    offs = []
    for name, of in slopes.items():
        grad = grads[f"gradient by {name}"]
        limit = of.error + share * rounding.scale(of.slope)
        off = compare({name: grad.reshape(-1)[of.at]}, {name: of.slope}, {name: limit})
        if off.beyond:
            index = np.unravel_index(int(of.at[off.element[0]]), grad.shape)
            off = off._replace(of=f"gradient by {name}", element=tuple(map(int, index)))
        offs.append(off)
    counted = frozenset[str]().union(*(off.counted for off in offs))
    return max(offs, key=lambda off: off.over, default=Off())._replace(counted=counted)


# ---- pieces --------------------------------------------------------------------------------------


def _by_kind(
    seen: Seen, want: Numbers, noise: Numbers, limit: Callable[[str, Array], Array]
) -> dict[str, Array]:
    """Limits by name: whole numbers on both sides have their own, else `limit` says it."""
    return {
        name: rounding.whole_limit(noise[name])
        if seen.whole(name)
        else limit(name, true.astype(np.float64))
        for name, true in want.items()
    }


def _single_limits(seen: Seen, only: Only) -> dict[str, Array]:
    """Of float32 against the truth, by name."""

    def limit(name: str, want: Array) -> Array:
        return rounding.single_limit(want, seen.noise[name], seen.terms)

    return _by_kind(seen, only(seen.want), seen.noise, limit)


def _coarse_limits(seen: Seen, only: Only) -> dict[str, Array]:
    """Of what rounds its operands, against the truth, by name."""

    def limit(name: str, want: Array) -> Array:
        return rounding.coarse_limit(want, seen.coarse[name])

    return _by_kind(seen, only(seen.want), seen.coarse, limit)


def _double_limits(seen: Seen, only: Only) -> dict[str, Array]:
    """Of two in float64, by name."""
    singles = [numbers(seen.single[side]) for side in seen.names]

    def limit(name: str, want: Array) -> Array:
        off = max((_largest(table[name], want) for table in singles if name in table), default=0.0)
        return rounding.double_limit(want, seen.fine[name], seen.terms, off)

    return _by_kind(seen, only(seen.want), seen.fine, limit)


def _largest(single: Array, want: Array) -> float:
    """How far float32 is off at most, relative to `rounding.scale`, where both are finite."""
    if single.shape != want.shape:
        return 0.0
    there, scale = np.isfinite(single) & np.isfinite(want), rounding.scale(want)
    there &= scale > 0
    off = rounding.distance(single, want)[there] / scale[there]
    return float(np.max(off, initial=0.0))


def _question(name: str, says: dict[str, str], off: Off, note: str = "") -> Question:
    if not off.beyond and not off.counted:
        return Question(question=name, outcome="not asked", says=says, note=NOTHING)
    return Question(
        question=name,
        outcome="differs" if off.beyond else "same",
        says=says,
        distance=number(off.distance),
        limit=number(off.limit),
        note=note,
    )


def _place(question: str, off: Off, says: Mapping[str, float]) -> Place:
    return Place(
        question=question,
        of=off.of,
        index=[*off.element],
        says={name: stored(value) for name, value in says.items()},
        limit=number(off.most),
    )


def _two(off: Off, a: str, b: str) -> str:
    """Both values at the first element beyond the limit."""
    return f"{off.at} is {spelt(off.got, 17)} by {a} and {spelt(off.want, 17)} by {b}"
