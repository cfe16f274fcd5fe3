"""Single operators beside the ladder: the truth with its limits, and what a process gave.

What each is asked stands in `catalogue.py`. A limit is derived, by element, as `harness same`
derives its own: what the truth strays where the arguments move by the dtype's last place, and the
roundings on the way, of an element's size or of the RMS of the ordinary ones. Judges nothing. Sees
a backend's tensors, as `measure` does. Imports no framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.interface import Array
from harness.measure import rounding
from harness.measure.catalogue import GRID, Call, Declared
from harness.measure.distance import in_rms, norm
from harness.record.operators import Curve, Farthest, Operator, Special, TruePoint, Truth
from harness.record.schema import Number, number

# Digits of a curve that is only drawn, and of a limit.
CURVE_DIGITS, LIMIT_DIGITS = 4, 3
# A single number, in nine digits, is itself in float32; in float64 it takes 17.
DIGITS = {"float32": 9, "float64": 17}
# By how much of itself an argument is moved: float32's last place; what may be apart in float64.
MOVED = {"float32": 2.0**-23, "float64": rounding.AGREE}

Ask = Callable[[str, dict[str, Array]], dict[str, Array] | str]


@dataclass(frozen=True, eq=False)
class Asked:
    """One call with its truth, and how far from it correct code may be, by element.

    want, limits: for the value and each derivative, float64; want as the dtype holds it.
    """

    call: Call
    want: tuple[Array, ...]
    limits: tuple[Array, ...]


def asked(declared: Declared, dtype: str) -> list[Asked]:
    """All that an operator is asked in `dtype`; both its forms are asked the same."""
    found: list[Asked] = []
    for call in declared.calls(dtype):
        arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in call.arrays]
        weights = None if call.weights is None else call.weights.astype(np.float64)
        with np.errstate(all="ignore"):
            true = declared.truth(arrays, weights)
            near = _near(arrays, dtype, ties=declared.ties)
            moved = [declared.truth(each, weights) for each in near]
            want = tuple(a.astype(dtype).astype(np.float64) for a in true)
            noise = [rounding.stray(a, each) for a, *each in zip(true, *moved, strict=True)]
            n = rounding.terms(dict(zip("abcdefgh", arrays, strict=False)), want)
            usual = found[0].want if found else [_ordinary(a, call) for a in want]
            limits = tuple(
                declared.magnified * _limit(*each, n, dtype)
                for each in zip(want, noise, usual, strict=True)
            )
        found.append(Asked(call, want, limits))
    return found


def _near(arrays: Sequence[Array], dtype: str, *, ties: bool) -> Iterator[list[Array]]:
    """The arguments moved, but for zeros, where a kink may be. ties: what is equal stays so."""
    for draw in range(rounding.DRAWS):
        rng, moved = np.random.default_rng([1, draw]), [*arrays]
        for place, array in enumerate(arrays):
            if array.dtype.kind == "f":
                _, which = np.unique(array, return_inverse=True)
                signs = rng.choice((-1.0, 1.0), array.size)
                signs = signs[np.ravel(which)] if ties else signs
                moved[place] = array * (1 + MOVED[dtype] * signs.reshape(array.shape))
        yield moved


def _limit(want: Array, noise: Array, ordinary: Array, n: int, dtype: str) -> Array:
    """By element, relative to its own size or the RMS of the ordinary ones."""
    size = np.abs(np.where(np.isfinite(want), want, 0.0))
    size = np.maximum(size, norm(ordinary) / math.sqrt(max(ordinary.size, 1)))
    if dtype == "float32":
        return rounding.single_limit(want, noise, n, size)
    return rounding.double_limit(want, noise, n, size=size)


def truth_of(name: str, declared: Declared, dtype: str, asked: Sequence[Asked]) -> Truth:
    """What is true of an operator at its special points, as a record stores it."""
    points = [
        TruePoint(
            point=point,
            value=_exact(value, dtype),
            derivative=_exact(derivative, dtype),
            value_limit=_rough(value_limit),
            derivative_limit=_rough(derivative_limit),
        )
        for one in asked
        for (point, value, derivative), (_, value_limit, derivative_limit) in zip(
            _specials(one.call, one.want), _specials(one.call, one.limits), strict=True
        )
    ]
    return Truth(operator=name, dtype=dtype, forms=[*declared.forms], points=points)


def measured(
    name: str, dtype: str, asked: Sequence[Asked], ask: Ask, *, drawn: bool = False
) -> Operator:
    """One operator in one form, as a record stores it.

    ask(name, tensors): the answer's tensors, "0" the value and "1", ... the derivatives; or, as a
    text, why the framework does not have the operator. drawn: keep its curve.
    """
    measured = Operator(name=name, dtype=dtype)
    for one in asked:
        answer = ask(name, one.call.tensors)
        if isinstance(answer, str):
            return Operator(name=name, dtype=dtype, absent=answer)
        got = [answer[str(i)] for i in range(len(answer))]
        if problem := _problem(got, one.want, dtype):
            return Operator(name=name, dtype=dtype, problem=problem)
        if one.call.ordinary or not one.call.points:
            mine, true, limits = (
                [_ordinary(a, one.call) for a in arrays] for arrays in (got, one.want, one.limits)
            )
            measured.value_error = _error(mine[:1], true[:1])
            measured.derivative_error = _error(mine[1:], true[1:])
            far = [_farthest(*each) for each in zip(mine, true, limits, strict=True)]
            measured.farthest = [each for each in far if each is not None]
            if drawn:
                start, stop, _ = GRID
                value, derivative = ([_drawn(v) for v in array] for array in mine)
                measured.curve = Curve(start=start, stop=stop, value=value, derivative=derivative)
        measured.specials += [
            Special(point=point, value=_exact(value, dtype), derivative=_exact(derivative, dtype))
            for point, value, derivative in _specials(one.call, got)
        ]
    return measured


def _ordinary(array: Array, call: Call) -> Array:
    """The ordinary points of a value or derivative."""
    return array[: call.ordinary] if call.points else array


def _specials(call: Call, answer: Sequence[Array]) -> Iterator[tuple[str, Array, Array]]:
    """Name, value and derivatives of each special point, flat; of copies one value."""
    for place, point in enumerate(call.points):
        start = call.ordinary + place * call.each
        parts = [a[start : start + call.each] if call.ordinary else a for a in answer]
        value = parts[0][0] if call.each > 1 else parts[0]
        yield point, np.ravel(value), np.concatenate([np.ravel(part) for part in parts[1:]])


def _problem(got: Sequence[Array], want: Sequence[Array], dtype: str) -> str | None:
    """Why an answer cannot be measured, in a few words."""
    if len(got) != len(want):
        return f"{len(got)} arrays where {len(want)} are wanted"
    for mine, theirs in zip(got, want, strict=True):
        if mine.shape != theirs.shape or mine.dtype != np.dtype(dtype):
            return f"{mine.dtype} {mine.shape} where {dtype} {theirs.shape} is wanted"
    return None


def _error(got: Sequence[Array], want: Sequence[Array]) -> Number:
    """The largest error in units of the truth's RMS."""
    true = np.concatenate([np.ravel(a) for a in want])
    mine = np.concatenate([np.ravel(a) for a in got]).astype(np.float64)
    return number(in_rms(mine - true, true))


def _farthest(got: Array, want: Array, limits: Array) -> Farthest | None:
    """The element whose error is the largest part of its limit; None where there is no element."""
    if not want.size:
        return None
    off = rounding.distance(got, want)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(off == 0, 0.0, off / limits)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(share)), want.shape))
    return Farthest(
        index=[*index],
        got=number(float(got[index])),
        want=number(float(want[index])),
        limit=number(float(limits[index])),
    )


def _exact(values: Array, dtype: str) -> list[Number]:
    """Digits that tell all numbers of the dtype apart; a zero keeps its sign."""
    return [number(float(f"{value:.{DIGITS[dtype]}g}")) for value in values]


def _rough(values: Array) -> list[Number]:
    return [number(float(f"{value:.{LIMIT_DIGITS}g}")) for value in values]


def _drawn(value: np.floating) -> Number:
    return number(float(f"{value:.{CURVE_DIGITS}g}"))
