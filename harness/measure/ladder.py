"""The rungs from inputs to trajectory: tensors of a case -> measurements. Judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.interface import Array, Params
from harness.measure.distance import centred, excess_update, plain, relative
from harness.measure.measurement import identical, measure
from harness.record.schema import Measurement, Repeat, number
from harness.workloads.reference.pieces import Reference, cast

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

    @classmethod
    def of(
        cls, judge: Reference, params: Params, x: Array, y: Array, dtype: str, centred: bool
    ) -> Wanted:
        """What the judge says of a batch at the very values that processes of a dtype hold."""
        held, wide_x = cast(params, dtype), x.astype(np.float64)
        wide = cast(held)
        logits = judge.logits(wide, wide_x)
        return cls(held, x.astype(dtype), logits, *judge.loss_and_grads(wide, wide_x, y), centred)


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
    where: dict[str, Any] = {"process": process, "case": case, "step": step}
    got = tensors.get
    measurements = [
        identical("x", got("x"), wanted.x, **where),
        identical("y", got("y"), y, **where),
    ]
    for name, given in wanted.params.items():
        measurements.append(identical(name, got(f"held.{name}"), given, **where))
    formula = centred if wanted.centred else plain
    measurements.append(
        measure("forward", "logits", got("logits"), wanted.logits, **where, formula=formula)
    )
    for name in ("loss", "step loss"):
        want_loss = np.array(wanted.loss)
        measurements.append(measure("loss", name, got(name), want_loss, **where, dtype="float64"))
    for name, want_grad in wanted.grads.items():
        measurements.append(measure("gradients", name, got(f"grad.{name}"), want_grad, **where))
    for name, given in wanted.params.items():
        change = lr * wanted.grads[name]
        measurements.append(update(name, given, got(f"new.{name}"), change, **where))
    return measurements


def update(
    name: str,
    given: Array,
    new: Array | None,
    change: Array,
    *,
    process: str,
    case: str,
    step: int | None,
) -> Measurement:
    """One parameter after a step: the excess over storing it, relative to the change expected.

    given, new: as the process holds them; change (that which is subtracted): float64.
    """
    return measure(
        "update",
        name,
        new,
        given.astype(np.float64) - change,
        process=process,
        case=case,
        step=step,
        formula=excess_update(given, change),
    )


def lockstep(
    params: Params, want_params: Params, losses: Array, want_losses: Array, before: int
) -> list[Measurement]:
    """Free-running float64 after some steps: every parameter, and every loss since `before`.

    losses: float64 (steps since the last comparison,), in nats.
    """
    last = before + len(want_losses) - 1
    where: dict[str, Any] = {"process": "float64", "step": last}
    after = f"after step {last}"
    measurements = [
        measure("lockstep", name, params.get(name), want, case=after, **where)
        for name, want in want_params.items()
    ]
    case = f"steps {before} to {last}"
    of_losses = measure("lockstep", "losses", losses, want_losses, case=case, **where)
    if of_losses.worst is not None:
        of_losses.worst.index = [of_losses.worst.index[0] + before]
    return [*measurements, of_losses]


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
    case = f"{regime}, after {after} steps"
    where: dict[str, Any] = {"process": process, "case": case, "step": after - 1}
    each = {
        name: measure("trajectory", name, params.get(name), v, **where) for name, v in want.items()
    }
    for one in each.values():
        if one.problem is not None:
            return one
    flat, want_flat = (np.concatenate([of[name].ravel() for name in want]) for of in (params, want))
    measurement = measure("trajectory", ALL, flat, want_flat, **where)
    _, distances = together(params, want)
    furthest = max(distances, key=lambda name: distances[name])
    measurement.beside = {name: number(value) for name, value in distances.items()}
    measurement.worst, measurement.pattern = each[furthest].worst, None
    return measurement


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
