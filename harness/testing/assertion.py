"""`assert_agrees`: a backend, or tensors, against what they should be; a failure names the place.

Nothing is known of the code that computed a tensor but its dtype and its size. So the limit is what
rounding does to correct code of ordinary conditioning, unless the caller knows better: an error of
ROUNDINGS roundings an element, as a root mean square. The norm of n such errors strays from that by
chance, and the largest of them grows with n: both have room for that, 4 standard deviations and
more. Imports no framework, and no pytest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from harness.interface import Array
from harness.measure import measurement
from harness.measure.distance import Error, Formula, excess_update, norm, plain
from harness.record.schema import Measurement, Worst, number
from harness.report import words
from harness.report.neighbourhood import neighbourhood, windows
from harness.report.sections import Cell, Section
from harness.report.sections import plain as as_text
from harness.testing.handles import Compared, RemoteBackend, Stepped
from harness.text import clean, short
from harness.verdict.finding import Evidence
from harness.verdict.hints import shape_of_the_error
from harness.verdict.numbers import evidence, sentence_for, within
from harness.workloads.reference.limits import DECIDING, RUNGS, Limit, limit_for

# What the one tensor is called that is given without a name.
TENSORS = {"forward": "outputs", "loss": "loss"}
CASE = "as given"
# The largest relative error of one rounding to nearest: half the spacing at 1.
UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
# Products of a thousand terms, softmax, layer norm, attention and a small MLP are off by 0.3 to 7
# of them in float32: correct code stays below a third of this.
ROUNDINGS = 24
WORST = "worst element"
# Up to here every whole number is a float.
EXACT = 2**53


def assert_agrees(
    got: RemoteBackend | Mapping[str, Any] | Any,
    want: Mapping[str, Any] | Any = None,
    *,
    rung: str = "forward",
    dtype: str = "float32",
    before: Mapping[str, Any] | Any = None,
    limit: float | None = None,
    profile: str = "smoke",
) -> Compared | dict[str, Measurement] | Measurement:
    """AssertionError, with the first divergence, unless a backend or tensors agree.

    A backend alone goes through the whole ladder of a profile against the float64 judge. Else
    `got` and `want` are tensors by name, or one tensor (arrays, numbers, lists): `got` as computed
    in `dtype`, `want` as it should be, best in float64. `rung` says how they are compared: inputs
    bit for bit; update as the state after one step, with `before` the one from which it was
    taken; all others as they are. Whole numbers are equal or not.

    limit: most of ||got - want|| / ||want||; by default `rounding_limit` of dtype and size, and for
    the rung lockstep the ladder's. The worst element is judged too, in units of its own size or the
    tensor's RMS, by `largest` times the limit. What was measured is given back: of a backend its
    record and verdict, of tensors a Measurement each. ValueError for a rung, a dtype or a limit
    that is none, and for complex numbers.
    """
    __tracebackhide__ = True
    if isinstance(got, RemoteBackend):
        compared = got.compare(profile)
        if compared.verdict.verdict != "agree":
            raise AssertionError(_message_of_run(got.label, compared))
        return compared
    if rung not in DECIDING or (limit is None and rung == "lockstep" and dtype != "float64"):
        raise ValueError(f"no limit is fixed for {rung!r} in {dtype}; rungs: {', '.join(DECIDING)}")
    if dtype not in UNITS:
        raise ValueError(f"{dtype}: no dtype of {', '.join(UNITS)}")
    if limit is not None and not 0 <= limit < math.inf:
        raise ValueError(f"limit={limit}: a number from 0 up")
    if rung == "update" and before is None:
        raise ValueError("update: give before=, the state from which the step was taken")
    start = _by_name(rung, before, dtype) if before is not None else {}
    pairs = _paired(rung, got, want, dtype)
    of = want.formula if isinstance(want, Stepped) else _of_change
    measured = {
        name: _measured(rung, name, *arrays, dtype, start.get(name), of)
        for name, arrays in pairs.items()
    }
    limits = {name: _limit(m, limit) for name, m in measured.items()}
    for name, one in measured.items():
        for each, held in _judged(one, limits[name]):
            if not within(each, held):
                raise AssertionError(_message_of_tensors(each, held, measured, limits, pairs[name]))
    return measured if isinstance(want, Mapping) else next(iter(measured.values()))


def rounding_limit(dtype: str, size: int) -> float:
    """Most of ||got - want|| / ||want|| for correct code in a dtype, of `size` elements."""
    return ROUNDINGS * UNITS[dtype] * (1 + 4 / math.sqrt(max(1, size)))


def largest(size: int) -> float:
    """By how much the worst of `size` elements may exceed the limit of their norm.

    The largest of n normal errors is sqrt(2 ln n) standard deviations (Cramer, Mathematical Methods
    of Statistics, 28.6); of a single one it is the norm.
    """
    n = max(1, size)
    return (5 + math.sqrt(2 * math.log(n))) / (1 + 4 / math.sqrt(n))


def _limit(measured: Measurement, given: float | None) -> Limit:
    """What one tensor is held to, with what that rests on."""
    rung, dtype, size = measured.rung, measured.dtype, math.prod(measured.shape)
    ladders = limit_for(rung, dtype, CASE) if rung in ("inputs", "lockstep") else None
    value, reason = given, "given: limit="
    if WORST not in measured.beside and measured.problem is None:  # bits or whole numbers
        value, reason = 0.0, "equal or not, bit for bit"
    elif value is None and ladders is not None:
        value, reason = ladders.value, f"the ladder's: {ladders.reason}"
    elif value is None:
        value = rounding_limit(dtype, size)
        reason = (
            f"{ROUNDINGS} roundings of {dtype}, {short(UNITS[dtype])} each, over {size} elements; "
            "limit= for code that rounds more"
        )
    return Limit(rung, dtype, CASE, value, reason, "–")


def _judged(measured: Measurement, limit: Limit) -> list[tuple[Measurement, Limit]]:
    """A measurement beside its limit: as a whole, and its worst element."""
    pairs = [(measured, limit)]
    if (worst := measured.beside.get(WORST)) is not None:
        most = limit.value * largest(math.prod(measured.shape))
        reason = f"of the worst element, by its size or the tensor's RMS; {limit.reason}"
        pairs.append(
            (
                msgspec.structs.replace(measured, distance=worst),
                msgspec.structs.replace(limit, value=most, reason=reason),
            )
        )
    return pairs


def _array(value: Any, dtype: str) -> Array:
    """A tensor; numbers and lists of them, which have no dtype of their own, are of this one.

    ValueError for complex numbers, and for what no array holds.
    """
    if hasattr(value, "detach"):  # PyTorch's: one that has a gradient, or is elsewhere, is no array
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            try:
                from ml_dtypes import bfloat16
            except ImportError:
                raise ValueError("bfloat16 of torch needs the package ml_dtypes") from None
            value = value.float().numpy().astype(bfloat16)
    array = np.asarray(value)
    if array.dtype.kind in "cOSU":
        what = "complex numbers" if array.dtype.kind == "c" else f"arrays of {array.dtype}"
        raise ValueError(f"{what} are not compared: give arrays of real numbers")
    return array if hasattr(value, "dtype") or array.dtype.kind != "f" else array.astype(dtype)


def _named(rung: str, tensors: Mapping[str, Any] | Any) -> dict[str, Any]:
    """What was given, by name."""
    if isinstance(tensors, Mapping):
        return {str(name): value for name, value in tensors.items()}
    return {TENSORS.get(rung, "tensor"): tensors}


def _by_name(rung: str, tensors: Mapping[str, Any] | Any, dtype: str) -> dict[str, Array]:
    return {name: _array(value, dtype) for name, value in _named(rung, tensors).items()}


def _paired(
    rung: str, got: Mapping[str, Any] | Any, want: Mapping[str, Any] | Any, dtype: str
) -> dict[str, tuple[Array, Array]]:
    """Got and wanted by name; AssertionError unless both have the same names."""
    arrays, wanted = _by_name(rung, got, dtype), _by_name(rung, want, "float64")
    differ = [f"{name} is missing" for name in wanted if name not in arrays]
    differ += [f"{name} is not wanted" for name in arrays if name not in wanted]
    if differ:
        raise AssertionError(f"{rung}: {', '.join(map(clean, differ))}")
    given, asked = _named(rung, got), _named(rung, want)
    for name, value in wanted.items():
        if value.dtype.kind == "f" and not hasattr(given[name], "dtype"):
            arrays[name] = arrays[name].astype(dtype)  # whole numbers where others are wanted
        if rung == "inputs" and value.dtype.kind == "f" and not hasattr(asked[name], "dtype"):
            wanted[name] = value.astype(arrays[name].dtype)  # what is copied has its dtype
    return {name: (arrays[name], value) for name, value in wanted.items()}


def _whole(rung: str, name: str, got: Array, want: Array, where: dict[str, Any]) -> Measurement:
    """Whole numbers: equal or not, whichever dtypes hold them."""
    differ = got != want if got.shape == want.shape else np.zeros(0, bool)
    same = want if got.shape == want.shape and not np.any(differ) else got
    if np.any(differ):
        at = tuple(map(int, np.argwhere(differ)[0]))
        pair = int(got[at]), int(want[at])
        if max(map(abs, pair)) > EXACT:  # as floats they may be one
            made = measurement.identical(name, want, want, rung=rung, **where)
            said = f"{pair[0]} where {pair[1]} is wanted, at {[*at]}"
            made.distance, made.problem = (
                None,
                f"{said} ({np.count_nonzero(differ)} elements differ)",
            )
            return made
    arrays = same.astype(np.int64), want.astype(np.int64)
    return measurement.identical(name, *arrays, rung=rung, **where)


def _of_change(name: str, before: Array, want: Array) -> Formula:  # noqa: ARG001
    """Relative to the change, where nothing is known of the rule that made it.

    What is wanted is stored, too: in float64 that costs it half a spacing.
    """
    stored = np.spacing(np.abs(want)) / 2
    return excess_update(before, before.astype(np.float64) - want, stored)


def _measured(
    rung: str,
    name: str,
    got: Array,
    want: Array,
    dtype: str,
    before: Array | None,
    of: Callable[[str, Array, Array], Formula],
) -> Measurement:
    """One tensor against what is wanted; its worst element beside it.

    of(name, before, want): the formula of an update.
    """
    where: dict[str, Any] = {"process": dtype, "case": CASE, "step": None}
    if rung != "inputs" and got.dtype.kind in "iub" and want.dtype.kind in "iub":
        return _whole(rung, name, got, want, where)
    if rung == "inputs":
        return measurement.identical(name, got, want, **where)
    wanted = want.astype(np.float64)
    formula: Formula = plain
    if rung == "update":
        if before is None or before.shape != want.shape or before.dtype != np.dtype(dtype):
            raise ValueError(f"update: before= has no {name} of the shape and dtype of the new one")
        formula = of(name, before, wanted)
    if rung == "loss" and got.ndim == 0:
        where["dtype"] = str(got.dtype)
    places: list[tuple[int, ...]] = []
    made = measurement.measure(
        rung, name, got, wanted, **where, formula=_with_worst(formula, places)
    )
    if places:  # the worst by its own size, which need not be the largest error
        (place,) = places
        index, in_rms = [*place], made.worst.in_rms if made.worst else 0.0
        values = number(float(got[place])), number(float(wanted[place]))
        made.worst = Worst(index=index, got=values[0], want=values[1], in_rms=in_rms)
    return made


def _with_worst(formula: Formula, places: list[tuple[int, ...]]) -> Formula:
    """An error with its worst element beside it: by its own size, or the RMS where that is more."""

    def measured(got: Array, want: Array) -> Error:
        error = formula(got, want)
        rms = norm(error.base) / math.sqrt(max(1, error.base.size))
        size = np.abs(np.where(np.isfinite(error.judged), error.judged, 0.0))
        scale = np.maximum(np.abs(error.base), rms)
        by_size = np.divide(size, scale, out=np.where(size > 0, np.inf, 0.0), where=scale > 0)
        worst = float(np.max(by_size, initial=0.0))
        if by_size.size:
            index = np.unravel_index(int(np.argmax(by_size)), by_size.shape)
            places.append(tuple(map(int, index)))
        beside = (error.beside or {}) | {WORST: worst}
        return Error(error.judged, error.base, error.plain, beside)

    return measured


def _message_of_tensors(
    first: Measurement,
    limit: Limit,
    measured: dict[str, Measurement],
    limits: dict[str, Limit],
    arrays: tuple[Array, Array],
) -> str:
    """The first divergence of tensors that were given."""
    got, want = arrays
    around: Sequence[Section] = []
    if first.worst is not None and got.shape == want.shape:
        around = windows(got, want, list(first.worst.index), 0)
    lines = _first_divergence(first.rung, evidence(first, limit), shape_of_the_error(first), around)
    others = []
    for name, each in measured.items():
        agrees = all(within(*pair) for pair in _judged(each, limits[name]))
        mark = words.MARKS["agree" if agrees else "disagree"]
        others.append(f"{mark} {clean(name)} {each.problem or short(each.distance)}")
    return "\n".join([*lines, f"  tensors     {', '.join(others)}"])


def _message_of_run(label: str, compared: Compared) -> str:
    """What a run found of its one label: the first divergence, or why there is no verdict."""
    record, judged, folder = compared
    findings = judged.labels[label].findings
    rungs = "; ".join(f"{rung} {words.cell(findings.get(rung))}" for rung in RUNGS[:-1])
    end = [f"  rungs       {rungs}", f"  stored      harness report {folder}"]
    at = judged.first_divergence
    finding = findings.get(at.rung) if at is not None else None
    if judged.verdict != "disagree" or finding is None or finding.first is None:
        processes = record.results[label].processes if label in record.results else []
        last_words = [process.stderr_tail for process in processes if process.status == "failed"]
        tail = [clean(line) for text in last_words for line in text.splitlines()]
        return "\n".join([f"{judged.verdict}: {clean(judged.summary)}", *tail, *end])
    around = neighbourhood(record, judged, folder).inside
    known = filter(None, (finding.explained, finding.hint))
    lines = _first_divergence(finding.rung, finding.first, "; ".join(known) or None, around)
    notes = [f"  note        {clean(warning)}" for warning in words.warnings(record)]
    headline = f"{label} does not agree with {record.plan.reference}"
    return "\n".join([headline, *lines, *notes, *end])


def _first_divergence(
    rung: str, at: Evidence, hint: str | None, around: Sequence[Section]
) -> list[str]:
    """The first divergence: the sentence, each figure on its line, and what lies around it."""
    figures = {
        "rung": f"{rung}, {at.where}, {at.dtype}",
        "step": at.step,
        "tensor": at.tensor,
        "element": at.index,
        "got": at.got,
        "expected": at.expected,
        "problem": at.problem,
        "distance": None if at.distance is None else short(at.distance),
        "limit": None if at.limit is None else f"{short(at.limit)} ({at.why})",
        "looks like": hint,
    }
    lines = [clean(sentence_for(rung, at))]
    lines += [f"  {n:<11} {clean(str(value))}" for n, value in figures.items() if value is not None]
    return lines + (_drawn(around[-1]) if around else [])


def _drawn(window: Section) -> list[str]:
    """A window as text, the worst element in brackets."""
    rows = [
        [f"[{as_text(c)}]" if isinstance(c, Cell) and c.spoken else as_text(c) for c in row]
        for row in window.rows
    ]
    table = [[*window.header], *rows]
    width = max(len(text) for row in table for text in row)
    drawn = ["    " + " ".join(f"{text:>{width}}" for text in row).rstrip() for row in table]
    return [f"  {window.title}, around it:", *drawn]
