"""How far two tensors are apart, where most, and why there may be no distance.

Distance: ||got - want||2 / ||want||2 in float64 (0 / 0 is 0); some rungs define an error of their
own. Before any distance is taken, shape, dtype and the positions of NaN and infinities must be
equal. Imports NumPy alone: every bundle carries a copy of this file.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
T = TypeVar("T")

# Between these no square of an element that matters overflows or underflows in float64.
SAFE_NORM = (1e-140, 1e140)
# A product of vectors no longer than this is one thread's in OpenBLAS.
ONE_THREAD = 8192


@dataclass(frozen=True, eq=False)
class Error:
    """The error of one tensor: what is `judged` of it, relative to `base`, both float64.

    `plain`: got - want, where what is judged is only what is left of that; `beside`: figures that
    are shown and never judged.
    """

    judged: Array
    base: Array
    plain: Array | None = None
    beside: dict[str, float] | None = None


# From a tensor as it is held and what is wanted, of one shape.
Formula = Callable[[Array, Array], Error]


@dataclass(frozen=True, eq=False)
class Difference:
    """One tensor against what is wanted: a distance, or the problem that leaves none.

    `index`: the worst element, or the first that is not finite on one side only; `got` and `want`:
    what stands there; `in_rms`: its error in units of the RMS of the base.
    """

    distance: float | None = None
    problem: str | None = None
    index: list[int] | None = None
    got: float = math.nan
    want: float = math.nan
    in_rms: float = math.inf
    error: Error | None = None


def compare(got: Any, want: Array, dtype: str, formula: Formula | None = None) -> Difference:
    """A tensor that must have `dtype` (None: there is none) against `want`.

    formula: of the error, `plain` by default.
    """
    got = np.zeros(0, dtype) if got is None else np.asarray(got)
    if (problem := mismatch(got, want, dtype)) is not None:
        return _at(_first_odd(got, want), got, want, problem=problem)
    with np.errstate(invalid="ignore"):
        error = (formula or plain)(got, want)
    finite = np.isfinite(want)
    if not finite.all():
        # Infinities and NaN stand at the same places: there the error is none.
        got, want = np.where(finite, got, 0.0), np.where(finite, want, 0.0)
        error = replace(error, judged=np.where(finite, error.judged, 0.0))
    index, largest, base = None, 0.0, _norm_once(error.base)
    if want.size:
        sizes = np.abs(error.judged)
        index = np.unravel_index(int(np.argmax(sizes)), want.shape)
        largest = float(sizes[index])
    return _at(
        *(index, got, want),
        distance=_over(norm(error.judged), base),
        in_rms=_in_rms(largest, base, error.base.size),
        error=error,
    )


def compare_bits(got: Any, want: Array) -> Difference:
    """Bit for bit: the distance is the number of elements whose bits differ."""
    got = np.zeros(0, want.dtype) if got is None else np.asarray(got)
    if (problem := _unlike(got, want, str(want.dtype))) is not None:
        return Difference(problem=problem)
    bits = np.dtype(f"u{want.dtype.itemsize}")
    one, other = (
        np.ascontiguousarray(array).view(bits).reshape(want.shape) for array in (got, want)
    )
    differ = one != other
    index = np.argwhere(differ)[0] if differ.any() else None
    return _at(index, got, want, distance=float(np.count_nonzero(differ)))


def _at(index: Any, got: Array, want: Array, **fields: Any) -> Difference:
    """A difference with both values at an element, where one is named."""
    if index is None:
        return Difference(**fields)
    index = tuple(int(i) for i in index)
    return Difference(index=[*index], got=float(got[index]), want=float(want[index]), **fields)


def mismatch(got: Array, want: Array, dtype: str) -> str | None:
    """Why no distance can be taken: shape, dtype, or other positions of NaN or infinity."""
    if (problem := _unlike(got, want, dtype)) is not None:
        return problem
    if np.isfinite(got).all() and np.isfinite(want).all():
        return None
    for name, test in (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)):
        in_got, in_want = test(got), test(want)
        if not np.array_equal(in_got, in_want):
            index = tuple(int(i) for i in np.argwhere(in_got != in_want)[0])
            side = "got" if in_got[index] else "wanted"
            count = int(np.count_nonzero(in_got != in_want))
            return f"{name} only in what was {side}, at {list(index)} ({count} elements differ)"
    return None


def _unlike(got: Array, want: Array, dtype: str) -> str | None:
    if got.shape != want.shape:
        return f"shape {got.shape} where {want.shape} is wanted"
    if got.dtype != np.dtype(dtype):
        return f"dtype {got.dtype} where {dtype} is wanted"
    return None


def _first_odd(got: Array, want: Array) -> Array | None:
    """The first element that is not finite on one side only."""
    if got.shape != want.shape or got.dtype.kind != "f":
        return None
    alike = (
        (np.isfinite(got) & np.isfinite(want)) | (got == want) | (np.isnan(got) & np.isnan(want))
    )
    odd = np.argwhere(~alike)
    return odd[0] if len(odd) else None


def relative(error: Array, want: Array) -> float:
    """||error|| / ||want||; 0 where both vanish, infinity where only `want` does.

    NaN where either norm is not finite: no limit admits it.
    """
    return _over(norm(error), norm(want))


def _over(top: float, bottom: float) -> float:
    if not (math.isfinite(top) and math.isfinite(bottom)):
        return math.nan
    if bottom > 0:
        return top / bottom
    return 0.0 if top == 0 else math.inf


def norm(array: Array) -> float:
    """||array||2; where squares overflow or underflow, scaled by a power of two on the way."""
    plain = _root_of_squares(array)
    if SAFE_NORM[0] < plain < SAFE_NORM[1]:
        return plain
    largest = float(np.max(np.abs(array), initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    exponent = int(np.frexp(largest)[1])
    scaled = _root_of_squares(np.ldexp(array, -exponent))
    try:
        return math.ldexp(scaled, exponent)
    except OverflowError:
        return math.inf


def _root_of_squares(array: Array) -> float:
    """In pieces: BLAS has two threads wait for each other over more, while a worker computes."""
    flat = np.ravel(array, order="K")
    with np.errstate(over="ignore", under="ignore"):
        pieces = (flat[at : at + ONE_THREAD] for at in range(0, flat.size, ONE_THREAD))
        return math.sqrt(sum(float(np.dot(piece, piece)) for piece in pieces))


def once(found: Callable[[Array], T]) -> Callable[[Array], T]:
    """The same function, asked once of an array that cannot be written to, while that lives.

    What is wanted of a batch is one array, and many processes are held to it.
    """
    known: dict[int, tuple[weakref.ref[Array], T]] = {}

    def ask(array: Array) -> T:
        if not isinstance(array, np.ndarray) or array.flags.writeable:
            return found(array)
        place = id(array)
        if place not in known:
            gone = weakref.ref(array, lambda _: known.pop(place, None))
            known[place] = gone, found(array)
        return known[place][1]

    return ask


_norm_once = once(norm)


def in_rms(error: Array, base: Array) -> float:
    """The largest element of |error| in units of the RMS of `base`; 0 where both vanish."""
    return _in_rms(float(np.max(np.abs(error), initial=0.0)), norm(base), base.size)


def _in_rms(largest: float, base: float, elements: int) -> float:
    """The same, of a base of so many elements and this norm."""
    rms = base / math.sqrt(elements) if elements else 0.0
    return largest / rms if rms > 0 else (0.0 if largest == 0 else math.inf)


def plain(got: Array, want: Array) -> Error:
    """||got - want|| / ||want||."""
    wide = np.asarray(want, dtype=np.float64)
    finite = np.isfinite(wide)
    base = wide if finite.all() else np.where(finite, wide, 0.0)
    return Error(got.astype(np.float64) - wide, base)


def centred(got: Array, want: Array) -> Error:
    """The same of logits less their row's mean, which a shift of all classes leaves unchanged."""
    base = without_row_mean(want)
    return Error(without_row_mean(got) - base, base)


def without_row_mean(logits: Array) -> Array:
    """Logits less their row's mean: what a shift common to all classes leaves unchanged."""
    logits = np.asarray(logits, dtype=np.float64)
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def excess_update(given: Array, change: Array, allowed: Array | None = None) -> Formula:
    """Excess update error of one parameter, with the plain distance and its floor beside it.

    given: W(t) as the backend holds it; change: what a step takes from it (lr * g for SGD), and
    allowed: how far that may be off (None: not at all), float64. What is compared is W(t+1).
    excess_i = max(0, |(got_i - given_i) + change_i| - spacing(max(|given_i|, |got_i|)) / 2 -
    allowed_i): what is left of the error after the half spacing that storing the weight itself may
    cost.
    The floor is the distance of a perfect update, rounded once to the dtype.
    """
    wide = given.astype(np.float64)
    perfect = (wide - change).astype(given.dtype).astype(np.float64)
    least = relative((perfect - wide) + change, change)

    def formula(got: Array, want: Array) -> Error:  # noqa: ARG001 - it is given - change
        # got - given first: that difference is exact, or rounds by no more than 2**-53 of itself.
        error = (got.astype(np.float64) - wide) + change
        beside = {"plain": _over(norm(error), _norm_once(change)), "floor": least}
        # As a factor of the change itself, for the pattern: what moved less what was to move.
        off = np.abs(error) if allowed is None else np.maximum(0.0, np.abs(error) - allowed)
        return Error(beyond_spacing(off, given, got, 0.5), change, -error, beside)

    return formula


def beyond_spacing(error: Array, one: Array, other: Array, share: float) -> Array:
    """What is left of |error| after that share of the spacing of two stored arrays: float64.

    error: float64; one, other: of one floating dtype, the spacing is that of the larger element.
    """
    spacing = np.spacing(np.maximum(np.abs(one), np.abs(other))).astype(np.float64)
    return np.maximum(0.0, error - share * spacing)
