"""The rungs from inputs to trajectory: tensors of a case -> measurements. Judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.interface import Array, Params
from harness.measure.distance import (
    excess_update,
    identical,
    measure,
    mismatch,
    relative,
    without_row_mean,
    worst_element,
)
from harness.record.schema import Measurement, Repeat, number

# What stands for the tensor's name where all parameters are judged together.
ALL = "all parameters"


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
        change = lr * wanted.grads[name]
        want_new = given.astype(np.float64) - change
        found.append(update(name, given, got(f"new.{name}"), want_new, change, **where))
    return found


def update(
    name: str,
    given: Array,
    new: Array,
    want_new: Array,
    change: Array,
    *,
    process: str,
    case: str,
    step: int | None,
) -> Measurement:
    """One parameter after a step: the excess over storing it, relative to the change expected.

    given, new: as the process holds them; want_new and change (that which is subtracted): float64.
    """
    where: dict[str, Any] = {"process": process, "case": case, "step": step}
    if mismatch(new, want_new, process) is not None:
        return measure("update", name, new, want_new, **where)
    excess, beside = excess_update(given, new, change)
    moved = given.astype(np.float64) - new.astype(np.float64)
    own: dict[str, Any] = {"error": excess, "scale": change, "plain": moved - change}
    return measure("update", name, new, want_new, **where, **own, beside=beside)


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
