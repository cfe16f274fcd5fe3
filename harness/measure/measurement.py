"""Tensors -> measurements, as a record holds them. Imports NumPy; no framework."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.interface import Array
from harness.measure.distance import Formula, compare, compare_bits, norm, once, relative
from harness.record.schema import Measurement, Number, Pattern, Worst, number
from harness.workloads.reference.canonical import digest

# An error above these is coarser than rounding in correct code: what it looks like is then stored.
COARSE = {"float16": 0.025, "bfloat16": 0.2, "float32": 3e-6, "float64": 3e-14}


def measure(
    rung: str,
    tensor: str,
    got: Any,
    want: Array,
    *,
    process: str,
    case: str,
    step: int | None,
    dtype: str | None = None,
    formula: Formula | None = None,
) -> Measurement:
    """One tensor (None: there is none) against the judge.

    `process` is the dtype of the worker, `dtype` the one wanted of this tensor (default: the
    same). `formula`: of the error, for rungs that define their own (see `distance`).
    """
    got = np.zeros(0, process) if got is None else np.asarray(got)
    difference = compare(got, want, dtype or process, formula)
    measurement = _unmeasured(rung, tensor, got, want, process, case, step)
    measurement.problem = difference.problem
    if difference.index is not None:
        measurement.worst = Worst(
            index=difference.index,
            got=number(difference.got),
            want=number(difference.want),
            in_rms=number(difference.in_rms),
        )
    error = difference.error
    if difference.distance is not None and error is not None:
        measurement.distance = number(difference.distance)
        measurement.beside = {name: number(v) for name, v in (error.beside or {}).items()}
        if isinstance(measurement.distance, float) and measurement.distance > COARSE[process]:
            plain = error.judged if error.plain is None else error.plain
            measurement.pattern = find_pattern(plain, error.base, error.judged)
    return measurement


def identical(
    tensor: str,
    got: Any,
    want: Array,
    *,
    process: str,
    case: str,
    step: int | None,
    rung: str = "inputs",
) -> Measurement:
    """Bit for bit: the distance is the number of elements whose bits differ."""
    got = np.zeros(0, process) if got is None else np.asarray(got)
    bits = compare_bits(got, want)
    if bits.distance == 0:
        measurement = _unmeasured(rung, tensor, want, want, process, case, step)
        measurement.distance = 0.0
        return measurement
    measurement = measure(
        rung, tensor, got, want, process=process, case=case, step=step, dtype=str(want.dtype)
    )
    if bits.index is not None:
        measurement.problem, measurement.distance = None, bits.distance
        measurement.worst = Worst(
            index=bits.index,
            got=number(bits.got),
            want=number(bits.want),
            in_rms=measurement.worst.in_rms if measurement.worst else 0.0,
        )
    return measurement


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
        digest=_digest_once(got)[:16],
        distance=None,
        want_norm=_stored_once(want),
        got_norm=_stored_once(got),
    )


def stored_norm(array: Array) -> Number:
    """||array||2 as a record holds it; "nan" for what is no number."""
    if array.dtype.kind not in "fiu":
        return "nan"
    return number(norm(array.astype(np.float64, copy=False)))


_digest_once, _stored_once = once(digest), once(stored_norm)


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
