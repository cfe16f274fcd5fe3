"""How far correct code may be from the truth: what rounding does, measured on these arguments.

The noise of an element is how far the truth itself, in float64, strays where the arguments are
moved as rounding moves them; what sums round on the way is bounded beside it. Pure functions of
arrays; imports NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.interface import Array
from harness.measure.distance import norm
from harness.workloads.reference.limits import ROOM
from harness.workloads.reference.noise import ROUNDINGS, with_fewer_bits

Numbers = Mapping[str, Array]
# By how much each element is moved.
Step = Callable[[Array], Array]
# Unit roundoff, the largest relative error of one rounding.
SINGLE, DOUBLE, BFLOAT16 = 2.0**-24, 2.0**-53, 2.0**-9
# What any code may be off, in units of roundoff: a handful of operations and a library's exp or erf
# (PyTorch's float32 gelu is off by 22 of the values' RMS).
LEAST = 32
# Sums of n terms in another order differ by about the root of n roundings, relative to the terms.
SUMS = 2
# What two functions in float64 may differ, as a relative change of arguments or of the value.
AGREE = 1e-12
# Float32 that is off by so much is float64 that is off by 2**-29 of it; and room, since an element
# may be lucky.
FROM_SINGLE = 64 * 2.0**-29
# An RMS that is more medians than that is one of a few elements: masks of -1e9, say.
MOST_RMS = 8
# Draws of arguments moved by float32's last place; by AGREE, and by bfloat16's last place.
DRAWS, FEW_DRAWS = 8, 4
# Two results at a special point are the same where they differ by less: 1e-4, as in the table of
# single operators. Conventions differ by far more.
SPECIAL = 1e-4
# Of gradients against central differences, whose error is an estimate.
SLOPE = 1e-7
# A shift of a zero that float32 has: it takes a value off a kink or a tie.
TINY = 2.0**-149


def last_place(array: Array) -> Array:
    """The spacing of float32 at each element."""
    return np.spacing(np.abs(array).astype(np.float32)).astype(np.float64)


def relative(share: float) -> Step:
    """A step of so much of each element, and of TINY at a zero."""
    return lambda array: np.asarray(np.maximum(np.abs(array) * share, TINY))


def shifted(
    arrays: Numbers, step: Step, draw: int, kept: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Each float moved by its step up or down, at random; what is not finite, or kept, is not.

    kept: bool, by argument: elements that stay.
    """
    rng, moved = np.random.default_rng([1, draw]), dict(arrays)
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        sign = rng.choice(np.array([-1.0, 1.0]), array.shape)
        with np.errstate(all="ignore"):
            still = ~np.isfinite(array) | (kept or {}).get(name, np.zeros(array.shape, bool))
            moved[name] = np.where(still, array, array + sign * np.where(still, 0.0, step(array)))
    return moved


def stray(truth: Array, others: Sequence[Array]) -> Array:
    """How far others are from it at most, by element; infinite where one of two is not finite."""
    far = np.zeros(truth.shape)
    for other in others:
        if other.shape != truth.shape:
            return np.full(truth.shape, np.inf)
        far = np.maximum(far, np.where(alike(other, truth), 0.0, distance(other, truth)))
    return far


def alike(got: Array, want: Array) -> Array:
    """Where two are equal, or both NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray((got == want) | (np.isnan(got) & np.isnan(want)))


def distance(got: Array, want: Array) -> Array:
    """|got - want| in float64, infinite where that is none; 1 or more of unequal whole numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(got.astype(np.float64) - want.astype(np.float64))
    if "f" not in (got.dtype.kind, want.dtype.kind):
        off = np.maximum(off, got != want)  # float64 does not tell 2**53 and 2**53 + 1 apart
    return np.where(np.isnan(off), np.inf, off)


def scale(want: Array) -> Array:
    """What an error is relative to: an element's size, or the RMS of those that are not 0.

    Where a few are far larger than the others, MOST_RMS times the median in place of the RMS.
    """
    size = np.where(np.isfinite(want), np.abs(want.astype(np.float64)), 0.0)
    others = size[size > 0]
    if not others.size:
        return size
    rms = norm(others) / math.sqrt(others.size)
    return np.maximum(size, min(rms, MOST_RMS * float(np.median(others))))


def terms(arrays: Numbers, values: Sequence[Array]) -> int:
    """Over how many numbers a function of these arguments may sum, by their shapes.

    The longest axis, or how many there are for each one that comes out.
    """
    longest = max((max(array.shape, default=1) for array in arrays.values()), default=1)
    given, out = (sum(a.size for a in each) for each in (arrays.values(), values))
    return max(longest, math.ceil(given / max(out, 1)), 1)


def counts(arrays: Numbers) -> set[int]:
    """Over how many numbers of one argument a function may sum: along any of its axes together."""
    found = {1}
    for array in arrays.values():
        own = {1}
        for length in array.shape:
            own |= {n * length for n in own}
        found |= own
    return {n for n in found if n > 1}


def whole_limit(noise: Array) -> Array:
    """Of whole numbers, by element: they are equal, but where the truth itself strays."""
    return np.where(noise > 0, np.inf, 0.0)


def single_limit(want: Array, noise: Array | None, n: int, size: Array | None = None) -> Array:
    """Of float32 against the truth, by element; a whole number may move only where noise moves it.

    noise: how far the truth strays where arguments move by their last place; size: what an error is
    relative to, `scale` by default.
    """
    noise = np.zeros(want.shape) if noise is None else noise
    if want.dtype.kind != "f":
        return whole_limit(noise)
    return SINGLE * (LEAST + SUMS * math.sqrt(n)) * _size(want, size) + ROOM * noise


def double_limit(
    want: Array, noise: Array, n: int, single: float = 0.0, size: Array | None = None
) -> Array:
    """Of two in float64, by element.

    noise: how far the truth strays where arguments move by AGREE; single: how far their float32 is
    off, relative to `scale`: an unstable formula is no other function; size: as in `single_limit`.
    """
    if want.dtype.kind != "f":
        return whole_limit(noise)
    own = FROM_SINGLE * single if math.isfinite(single) else 0.0
    share: float = AGREE + DOUBLE * LEAST * math.sqrt(n) + own
    return share * _size(want, size) + noise


def _size(want: Array, size: Array | None) -> Array:
    return scale(want) if size is None else size


def coarse_limit(want: Array, noise: Array) -> Array:
    """Of code that rounds operands to bfloat16, the coarsest that frameworks do.

    noise: how far the truth strays where arguments move by bfloat16's last place.
    """
    return np.asarray(2 * BFLOAT16 * scale(want) + ROOM * noise)


def special_limit(one: Array, other: Array, noise: Array | None, share: float) -> Array:
    """Of two at a special point, by element; share: SPECIAL, or what they differ elsewhere."""
    if "f" not in (one.dtype.kind, other.dtype.kind):
        return np.zeros(one.shape)
    limit = share * np.maximum(scale(one), scale(other))
    return np.asarray(limit if noise is None else limit + ROOM * noise)


def _mode(name: str) -> Step:
    def step(array: Array) -> Array:
        finite = np.isfinite(array)
        kept = with_fewer_bits(np.where(finite, array, 0.0), *ROUNDINGS[name])
        return np.where(finite, kept, array)

    return step


# What modes of float32 products do to an operand, by name; the coarsest first.
MODES: dict[str, Step] = {name: _mode(name) for name in reversed(ROUNDINGS)}


def in_float32(table: Numbers) -> bool:
    """Whether every number is one that float32 has."""
    with np.errstate(all="ignore"):
        return all(bool(alike(v.astype(np.float32), v).all()) for v in table.values())


def dithered(array: Array) -> Array:
    """Moved by less than half of float32's last place: what rounds it to float32 sees nothing."""
    rng = np.random.default_rng(2)
    share = rng.uniform(0.25, 1.0, array.shape) * rng.choice(np.array([-1.0, 1.0]), array.shape)
    return np.where(np.isfinite(array), array * (1 + share * 2.0**-26), array)
