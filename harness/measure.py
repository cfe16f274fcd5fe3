"""Tensors -> measurements: with `operators` the only place of the parent that sees tensors.

Distance of two tensors: ||got - want||2 / ||want||2 in float64 (0 / 0 is 0), and the worst element
in units of the wanted tensor's RMS. Before any distance is taken, shape, dtype and the positions
of NaN and infinities must be equal. Imports NumPy; no framework.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import canonical
from harness.canonical import digest
from harness.interface import Array, Params
from harness.record import Churn, Measurement, Number, Pattern, Repeat, Training, Worst, number

# Between these no square of an element that matters overflows or underflows in float64.
SAFE_NORM = (1e-140, 1e140)


# An error above these is coarser than rounding in correct code: what it looks like is then stored.
COARSE = {"float32": 3e-6, "float64": 3e-14}


# What stands for the tensor's name where all parameters are judged together.
ALL = "all parameters"


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
    spacing = np.spacing(np.maximum(np.abs(given), np.abs(got))).astype(np.float64)
    perfect = (wide - change).astype(given.dtype).astype(np.float64)
    floor = (perfect - wide) + change
    beside = {"plain": relative(error, change), "floor": relative(floor, change)}
    return np.maximum(0.0, error - 0.5 * spacing), beside


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a process was given (params, x, in its dtype) and what the judge says of it (float64).

    `centred`: compare logits less their row mean.
    """

    params: Params
    x: Array
    logits: Array
    loss: float
    grads: Params
    centred: bool


def teacher_forced(
    tensors: dict[str, Array],
    wanted: Wanted,
    *,
    y: Array,
    lr: float,
    process: str,
    case: str,
    step: int | None,
) -> list[Measurement]:
    """Every measurement of one teacher-forced batch, rung by rung.

    tensors: what the worker wrote; y: int64 (n,), the labels it was given.
    """
    params, x = wanted.params, wanted.x
    where: dict[str, Any] = {"process": process, "case": case, "step": step}
    missing = np.zeros(0, dtype=process)

    def got(name: str) -> Array:
        return tensors.get(name, missing)

    found = [identical("x", got("x"), x, **where), identical("y", got("y"), y, **where)]
    found += [
        identical(name, got(f"held.{name}"), value, **where) for name, value in params.items()
    ]

    logits, want_logits = got("logits"), wanted.logits
    centred: dict[str, Any] = {}
    if wanted.centred and logits.shape == want_logits.shape:
        want = without_row_mean(want_logits)
        centred = {"error": without_row_mean(logits) - want, "scale": want}
    found.append(measure("forward", "logits", logits, want_logits, **where, **centred))

    for name in ("loss", "step loss"):
        want_loss = np.array(wanted.loss)
        found.append(measure("loss", name, got(name), want_loss, **where, dtype="float64"))

    for name, want_grad in wanted.grads.items():
        found.append(measure("gradients", name, got(f"grad.{name}"), want_grad, **where))

    for name, given in params.items():
        new, change = got(f"new.{name}"), lr * wanted.grads[name]
        want_new = given.astype(np.float64) - change
        if mismatch(new, want_new, process) is not None:
            found.append(measure("update", name, new, want_new, **where))
            continue
        excess, beside = excess_update(given, new, change)
        moved = given.astype(np.float64) - new.astype(np.float64)
        own: dict[str, Any] = {"error": excess, "scale": change, "plain": moved - change}
        found.append(measure("update", name, new, want_new, **where, **own, beside=beside))
    return found


def lockstep(
    params: Params, want_params: Params, losses: Array, want_losses: Array, before: int
) -> list[Measurement]:
    """Free-running float64 after some steps: every parameter, and every loss since `before`.

    losses: float64 (steps since the last comparison,), in nats.
    """
    last = before + len(want_losses) - 1
    missing = np.zeros(0)
    found = [
        measure(
            "lockstep",
            name,
            params.get(name, missing),
            want,
            process="float64",
            case=f"after step {last}",
            step=last,
        )
        for name, want in want_params.items()
    ]
    of_losses = measure(
        "lockstep",
        "losses",
        losses,
        want_losses,
        process="float64",
        case=f"steps {before} to {last}",
        step=last,
    )
    if of_losses.worst is not None:
        of_losses.worst.index = [of_losses.worst.index[0] + before]
    return [*found, of_losses]


def together(params: Params, want: Params) -> tuple[float, dict[str, float]]:
    """Distance of all parameters together, as one vector, and of each by name."""
    each, errors, wanted = {}, [], []
    for name, value in want.items():
        error = params[name].astype(np.float64) - value
        each[name] = relative(error, value)
        errors.append(error.ravel())
        wanted.append(value.ravel())
    return relative(np.concatenate(errors), np.concatenate(wanted)), each


def trajectory(
    regime: str, params: Params, want: Params, *, process: str, after: int
) -> Measurement:
    """Free-running parameters after so many steps against the float64 reference's.

    They are judged together: the biases alone, a few hundred numbers, scatter from replica to
    replica by a factor of two and more; each tensor's own distance stands beside.
    """
    where: dict[str, Any] = {
        "process": process,
        "case": f"{regime}, after {after} steps",
        "step": after - 1,
    }
    for name, value in want.items():
        got = params.get(name, np.zeros(0, dtype=process))
        if mismatch(got, value, process) is not None:
            return measure("trajectory", name, got, value, **where)
    flat = np.concatenate([params[name].ravel() for name in want])
    found = measure(
        "trajectory", ALL, flat, np.concatenate([v.ravel() for v in want.values()]), **where
    )
    each = together(params, want)[1]
    found.beside = {name: number(value) for name, value in each.items()}
    furthest = max(each, key=lambda name: each[name])
    error = params[furthest].astype(np.float64) - want[furthest]
    found.worst = worst_element(params[furthest].astype(np.float64), want[furthest], error)
    found.pattern = None
    return found


def repeat(
    losses: Array, params: Params, again_losses: Array, again_params: Params, process: str
) -> Repeat:
    """A against A: losses (steps,) and last parameters of the same training, done twice."""
    differ = np.flatnonzero(losses.view(np.uint64) != again_losses.view(np.uint64))
    distances = {}
    for name, value in params.items():
        other, wide = again_params[name].astype(np.float64), value.astype(np.float64)
        same = value.tobytes() == again_params[name].tobytes()
        distances[name] = number(0.0 if same else relative(other - wide, wide))
    return Repeat(
        dtype=process,
        steps=len(losses),
        first_step=int(differ[0]) if len(differ) else None,
        distances=distances,
    )


def predictions(logits: Array) -> Array:
    """The class of each row of logits (n, classes), int64 (n,): -1 for one with NaN."""
    return np.where(np.isnan(logits).any(axis=1), -1, np.argmax(logits, axis=1))


def confusion(predicted: Array, labels: Array, classes: int) -> list[list[int]]:
    """How often each class (a row) was taken for each (a column); -1 is counted nowhere."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    known = predicted >= 0
    np.add.at(counts, (labels[known], predicted[known]), 1)
    found: list[list[int]] = counts.tolist()
    return found


def differing(predicted: dict[str, Array], reference: Array, labels: Array, most: int) -> list[int]:
    """Up to `most` samples that some label does not give the reference's class.

    Those that most labels differ on come first, then the first of the test set. Classes are int
    (n,), -1 where there is none: that differs from everything.
    """
    count = np.zeros(len(labels), dtype=np.int64)
    for found in predicted.values():
        count += (found != reference) | (found < 0)
    order = np.lexsort((np.arange(len(labels)), -count))[:most]
    return [int(index) for index in order if count[index]]


def churn(logits: Array, reference: Array, labels: Array, seed: int) -> Churn:
    """Predictions against the reference's: logits (n, classes) each, labels int (n,).

    A row with NaN predicts nothing: it is right nowhere and differs from everything.
    """
    here, there = predictions(logits), predictions(reference)
    right, wanted = here == labels, there == labels
    return Churn(
        seed=seed,
        samples=len(labels),
        differ=int(np.count_nonzero((here != there) | (here < 0))),
        only_here=int(np.count_nonzero(right & ~wanted)),
        only_reference=int(np.count_nonzero(wanted & ~right)),
    )


def training(
    series: dict[str, Array], logits: list[Array], test_y: Array, rows: Array, ends: list[int]
) -> Training:
    """One free training as it is stored (dtype, seed and whole still open).

    series: losses float64 (steps,), step_ns, epoch_ns, eval_ns int64, gather_ns and put_ns where
    they were timed, final.<name> parameters;
    logits: (test samples, outputs) after each evaluation; rows: samples of each step; ends: the
    last step of each epoch.
    """
    losses = series["losses"]
    last = logits[-1] if logits else np.zeros(0)
    whole = last.ndim == 2 and len(last) == len(test_y) and last.shape[1] > max(test_y, default=0)
    starts = [0, *(end + 1 for end in ends[:-1])]
    spans = [slice(start, end + 1) for start, end in zip(starts, ends, strict=True)]
    return Training(
        dtype="",
        seed=0,
        whole=True,
        rows=rows.tolist(),
        losses=[number(value) for value in losses],
        epoch_losses=[number(canonical.epoch_loss(losses[s], rows[s])) for s in spans],
        test_accuracy=[
            number(canonical.accuracy(array, test_y))
            if array.ndim == 2 and len(array) == len(test_y) and array.shape[1] > 0
            else "nan"
            for array in logits
        ],
        step_ns=series["step_ns"].tolist(),
        gather_ns=series["gather_ns"].tolist() if "gather_ns" in series else [],
        put_ns=series["put_ns"].tolist() if "put_ns" in series else [],
        epoch_ns=series["epoch_ns"].tolist(),
        eval_ns=series["eval_ns"].tolist(),
        final_norms={
            name.removeprefix("final."): _norm(value)
            for name, value in series.items()
            if name.startswith("final.")
        },
        confusion=confusion(predictions(last), test_y, last.shape[1]) if whole else [],
    )


# Bits of significand, the leading one included, that operands of a product keep.
SIGNIFICAND_BITS = {"float64": 53, "strict": 24, "tf32": 11, "bfloat16": 8}


def precision_operands(
    dtype: str, precision: str = "strict"
) -> list[tuple[str, Array, Array, Array]]:
    """Products (name, a, b, a @ b) that are exact in `dtype` and in nothing narrower.

    Under a reduced precision (of float32): exact where operands are rounded to that and to nothing
    narrower, so that bfloat16 shows in a tf32 process. That anything is rounded at all is shown by
    the strict products (see `not_in_force`).

    One operand holds odd integers that need every bit of the significand, the other selects
    columns or rows of it: each element of the product is one of those integers plus zeros, so
    whatever rounds an operand (TF32, bfloat16, float32 in place of float64) shows.
    """
    bits = SIGNIFICAND_BITS[precision if dtype == "float32" else dtype]
    rng = np.random.default_rng(0)
    exact = (rng.integers(2 ** (bits - 2), 2 ** (bits - 1), (256, 784)) * 2 + 1).astype(dtype)
    columns = rng.integers(0, 784, 256)
    select = np.zeros((784, 256), dtype=dtype)
    select[columns, np.arange(256)] = 1
    left = np.ascontiguousarray(select.T)
    tall = np.ascontiguousarray(exact.T)
    return [
        ("left operand", exact, select, exact[:, columns]),
        ("right operand", left, tall, tall[columns]),
    ]


def not_in_force(precision: str, products: dict[str, tuple[Array, Array]]) -> str | None:
    """Why a reduced precision is not in force in a process; None where it is.

    products: what came out and what is exact, by name, of the strict `precision_operands`. Every
    element of each must have been rounded; by how much is for the limits.
    """
    for name, (got, want) in products.items():
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"{precision}: {name} came back as {got.dtype} {got.shape}"
        rounded = float(np.mean(got != want))
        if rounded < 1:
            return (
                f"{precision} is set and not in force on this hardware: {rounded:.0%} of a "
                f"float32 product's elements were rounded ({name})"
            )
    return None
