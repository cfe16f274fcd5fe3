"""Tensors -> measurements: with `operators` the only place of the parent that sees tensors.

Distance of two tensors: ||got - want||2 / ||want||2 in float64 (0 / 0 is 0), and the worst element
in units of the wanted tensor's RMS. Before any distance is taken, shape, dtype and the positions
of NaN and infinities must be equal. Imports NumPy; no framework.
"""

from __future__ import annotations

import math

import numpy as np

from harness.interface import Array
from harness.record.schema import (
    Measurement,
    Number,
    Pattern,
    Worst,
    number,
)
from harness.workloads.reference.canonical import digest

# Between these no square of an element that matters overflows or underflows in float64.
SAFE_NORM = (1e-140, 1e140)


# An error above these is coarser than rounding in correct code: what it looks like is then stored.
COARSE = {"float32": 3e-6, "float64": 3e-14}


def relative(error: Array, want: Array) -> float:
    """||error|| / ||want||; 0 where both vanish, infinity where only `want` does.

    NaN where either norm is not finite: no limit admits it.
    """
    top, bottom = norm(error), norm(want)
    if not (math.isfinite(top) and math.isfinite(bottom)):
        return math.nan
    if bottom > 0:
        return top / bottom
    return 0.0 if top == 0 else float("inf")


def norm(array: Array) -> float:
    """||array||2; where squares overflow or underflow, scaled by a power of two on the way."""
    with np.errstate(over="ignore", under="ignore"):
        plain = float(np.linalg.norm(array))
    if SAFE_NORM[0] < plain < SAFE_NORM[1]:
        return plain
    largest = float(np.max(np.abs(array), initial=0.0))
    if not 0 < largest < float("inf"):
        return largest
    exponent = int(np.frexp(largest)[1])
    scaled = float(np.linalg.norm(np.ldexp(array, -exponent)))
    try:
        return math.ldexp(scaled, exponent)
    except OverflowError:
        return math.inf


def worst_element(got: Array, want: Array, error: Array) -> Worst | None:
    """The element with the largest |error|, None for empty tensors."""
    if error.size == 0:
        return None
    index = np.unravel_index(int(np.argmax(np.abs(error))), error.shape)
    rms = norm(want) / math.sqrt(want.size)
    size = float(np.abs(error[index]))
    return Worst(
        index=[int(i) for i in index],
        got=number(got[index]),
        want=number(want[index]),
        in_rms=number(size / rms if rms > 0 else (0.0 if size == 0 else float("inf"))),
    )


def mismatch(got: Array, want: Array, dtype: str) -> str | None:
    """Why no distance can be taken: shape, dtype, or other positions of NaN or infinity."""
    if got.shape != want.shape:
        return f"shape {got.shape} where {want.shape} is wanted"
    if got.dtype != np.dtype(dtype):
        return f"dtype {got.dtype} where {dtype} is wanted"
    for name, test in (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)):
        here, there = test(got), test(want)
        if not np.array_equal(here, there):
            index = tuple(int(i) for i in np.argwhere(here != there)[0])
            side = "got" if here[index] else "wanted"
            count = int(np.count_nonzero(here != there))
            return f"{name} only in what was {side}, at {list(index)} ({count} elements differ)"
    return None


def measure(
    rung: str,
    tensor: str,
    got: Array,
    want: Array,
    *,
    process: str,
    case: str,
    step: int | None,
    dtype: str | None = None,
    error: Array | None = None,
    scale: Array | None = None,
    plain: Array | None = None,
    beside: dict[str, float] | None = None,
) -> Measurement:
    """One tensor against the judge.

    `process` is the dtype of the worker, `dtype` the one wanted of this tensor (default: the
    same). `error` and `scale` replace got - want and want in the distance, for rungs that define
    their own (both float64, the tensor's shape).
    """
    got = np.asarray(got)
    found = _unmeasured(rung, tensor, got, want, process, case, step)
    found.problem = mismatch(got, want, dtype or process)
    found.beside = {name: number(value) for name, value in (beside or {}).items()}
    if found.problem is not None:
        if got.shape == want.shape:
            found.worst = _first_odd(got, want)
        return found
    got64, want64 = got.astype(np.float64), np.asarray(want, dtype=np.float64)
    # Infinities and NaN stand at the same places: there the error is none.
    finite = np.isfinite(want64)
    got64, want64 = np.where(finite, got64, 0.0), np.where(finite, want64, 0.0)
    off = got64 - want64 if error is None else np.where(finite, error, 0.0)
    base = want64 if scale is None else scale
    found.distance = number(relative(off, base))
    found.worst = worst_element(got64, want64, off)
    if found.worst is not None and error is not None:
        found.worst.in_rms = number(_in_rms(off, base))
    if isinstance(found.distance, float) and found.distance > COARSE[process]:
        found.pattern = find_pattern(off if plain is None else plain, base, off)
    return found


def find_pattern(error: Array, base: Array, judged: Array) -> Pattern:
    """What an error looks like: a factor of `base`, and where it lies.

    error: got - want; base: what distances are relative to; judged: the error that was judged (the
    same, or what is left of it); all float64 of one shape.
    """
    square = float(np.vdot(base, base))
    slope = float(np.vdot(error, base)) / square if square > 0 else 0.0
    off = np.abs(judged) > 0.1 * np.max(np.abs(judged), initial=0.0)
    first, last = (
        off.any(axis=tuple(range(1, off.ndim))),
        off.any(axis=tuple(range(off.ndim - 1))),
    )
    if off.ndim == 0:
        first = last = off
    return Pattern(
        factor=number(1.0 + slope),
        residual=number(relative(error - slope * base, base)),
        elements=float(np.mean(off)),
        rows=float(np.mean(first)),
        columns=float(np.mean(last)),
    )


def _norm(array: Array) -> Number:
    if array.dtype.kind not in "fiu":
        return "nan"
    return number(norm(array.astype(np.float64)))


def _in_rms(error: Array, base: Array) -> float:
    rms = norm(base) / math.sqrt(base.size)
    size = float(np.max(np.abs(error)))
    return size / rms if rms > 0 else (0.0 if size == 0 else float("inf"))


def _unmeasured(
    rung: str, tensor: str, got: Array, want: Array, process: str, case: str, step: int | None
) -> Measurement:
    """What is known of a tensor before any distance is taken."""
    return Measurement(
        dtype=process,
        rung=rung,
        case=case,
        step=step,
        tensor=tensor,
        shape=list(got.shape),
        digest=digest(got)[:16],
        distance=None,
        want_norm=_norm(want),
        got_norm=_norm(got),
    )


def _first_odd(got: Array, want: Array) -> Worst | None:
    """The first element that is not finite on one side only."""
    if got.dtype.kind != "f":
        return None
    alike = (
        (np.isfinite(got) & np.isfinite(want)) | (got == want) | (np.isnan(got) & np.isnan(want))
    )
    odd = np.argwhere(~alike)
    if len(odd) == 0:
        return None
    index = tuple(int(i) for i in odd[0])
    return Worst(index=list(index), got=number(got[index]), want=number(want[index]), in_rms="inf")


def identical(
    tensor: str,
    got: Array,
    want: Array,
    *,
    process: str,
    case: str,
    step: int | None,
    rung: str = "inputs",
) -> Measurement:
    """Bit for bit: the distance is the number of elements whose bits differ."""
    got = np.asarray(got)
    if got.shape == want.shape and got.dtype == want.dtype and got.tobytes() == want.tobytes():
        found = _unmeasured(rung, tensor, got, want, process, case, step)
        found.distance = 0.0
        return found
    found = measure(
        rung, tensor, got, want, process=process, case=case, step=step, dtype=str(want.dtype)
    )
    if got.shape == want.shape and got.dtype == want.dtype:
        size = got.dtype.itemsize
        bits = np.dtype(f"u{size}")
        differ = np.ascontiguousarray(got).view(bits) != np.ascontiguousarray(want).view(bits)
        found.problem = None
        found.distance = float(np.count_nonzero(differ))
        if found.distance:
            index = tuple(int(i) for i in np.argwhere(differ)[0])
            found.worst = Worst(
                index=list(index),
                got=number(got[index]),
                want=number(want[index]),
                in_rms=found.worst.in_rms if found.worst else 0.0,
            )
    return found


def without_row_mean(logits: Array) -> Array:
    """Logits less their row's mean: what a shift common to all classes leaves unchanged."""
    logits = np.asarray(logits, dtype=np.float64)
    return np.asarray(logits - logits.mean(axis=1, keepdims=True))


def excess_update(given: Array, got: Array, change: Array) -> tuple[Array, dict[str, float]]:
    """Excess update error of one parameter, and the plain distance with its floor beside it.

    given: W(t) as the backend holds it; got: W(t+1), same dtype; change: lr * g in float64.
    excess_i = max(0, |(got_i - given_i) + change_i| - spacing(max(|given_i|, |got_i|)) / 2):
    what is left of the error after the half spacing that storing the weight itself may cost.
    The floor is the distance of a perfect update, rounded once to the dtype.
    """
    wide = given.astype(np.float64)
    # got - given first: that difference is exact, or rounds by no more than 2**-53 of itself.
    error = np.abs((got.astype(np.float64) - wide) + change)
    perfect = (wide - change).astype(given.dtype).astype(np.float64)
    floor = (perfect - wide) + change
    beside = {"plain": relative(error, change), "floor": relative(floor, change)}
    return beyond_spacing(error, given, got, 0.5), beside


def beyond_spacing(error: Array, one: Array, other: Array, share: float) -> Array:
    """What is left of |error| after that share of the spacing of two stored arrays: float64.

    error: float64; one, other: of one floating dtype, the spacing is that of the larger element.
    """
    spacing = np.spacing(np.maximum(np.abs(one), np.abs(other))).astype(np.float64)
    return np.maximum(0.0, error - share * spacing)
