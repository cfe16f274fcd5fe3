"""The rungs from inputs to trajectory: tensors of a case -> measurements. Judges nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.interface import Array, Params, Workload
from harness.measure.distance import Formula, centred, compare, excess_update, plain, relative
from harness.measure.measurement import identical, measure
from harness.record.schema import Measurement, Repeat, evaluation_case, number
from harness.workloads.reference.noise import ROUNDINGS, replica_answers, rounded
from harness.workloads.reference.pieces import Opened, Reference, cast

# What stands for the tensor's name where all parameters are judged together.
ALL = "all parameters"
# Two computations make the same error where less than this share of it is left between them.
SAME_ERROR = 0.1
# Unit roundoff of a dtype in float32's.
UNIT = {"float32": 1.0, "float64": 2.0**-29}


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
        held = cast(params, dtype)
        return cls(held, x.astype(dtype), *_said(judge, held, x, y), centred)


def find_noise(
    reference: Reference, workload: Workload, params: Params, x: Array, y: Array, centred: bool
) -> dict[tuple[str, str], float]:
    """How far float32 replicas of the reference stray on a batch, by rung and tensor.

    A distance that is not finite tells nothing, and is left out.
    """
    wanted = Wanted.of(reference, params, x, y, "float32", centred)
    furthest: dict[tuple[str, str], float] = {}
    for tensors in replica_answers(reference, workload, wanted.params, wanted.x, y):
        for one in _asked(wanted, workload.lr):
            distance = _distance(one, tensors)
            if distance is not None:
                furthest[one.place] = max(distance, furthest.get(one.place, 0.0))
    return furthest


def grant(measurements: list[Measurement], noise: dict[tuple[str, str], float]) -> None:
    """Give a batch's measurements its noise: float32's, smaller by `UNIT` in another dtype."""
    for m in measurements:
        if (m.rung, m.tensor) in noise:
            m.noise = noise[m.rung, m.tensor] * UNIT[m.dtype]


def _said(judge: Reference, params: Params, x: Array, y: Array) -> tuple[Array, float, Params]:
    """Logits, loss and gradients in float64 at parameters as they are held."""
    wide, wide_x = cast(params), x.astype(np.float64)
    return judge.logits(wide, wide_x), *judge.loss_and_grads(wide, wide_x, y)


class _Asked(NamedTuple):
    """One tensor that a batch is asked for: the name a worker writes it under, what is wanted."""

    rung: str
    tensor: str
    key: str
    want: Array
    formula: Formula = plain
    dtype: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        return self.rung, self.tensor


def _asked(wanted: Wanted, lr: float) -> list[_Asked]:
    """The rungs forward to update of one batch."""
    loss = np.array(wanted.loss)
    asked = [
        _Asked("forward", "logits", "logits", wanted.logits, centred if wanted.centred else plain),
        *(_Asked("loss", key, key, loss, dtype="float64") for key in ("loss", "step loss")),
    ]
    asked += [_Asked("gradients", name, f"grad.{name}", g) for name, g in wanted.grads.items()]
    for name, given in wanted.params.items():
        change = lr * wanted.grads[name]
        want, formula = given.astype(np.float64) - change, excess_update(given, change)
        asked.append(_Asked("update", name, f"new.{name}", want, formula))
    return asked


def _distance(asked: _Asked, tensors: dict[str, Array]) -> float | None:
    """How far one of the tensors is from what is asked, in whichever dtype it has; None: no way."""
    got = tensors[asked.key]
    distance = compare(got, asked.want, str(got.dtype), asked.formula).distance
    return distance if distance is not None and math.isfinite(distance) else None


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
    for one in _asked(wanted, lr):
        at = where | {"dtype": one.dtype, "formula": one.formula}
        measurements.append(measure(one.rung, one.tensor, got(one.key), one.want, **at))
    return measurements


def find_rounding(
    measurement: Measurement,
    tensors: dict[str, Array],
    wanted: Wanted,
    *,
    y: Array,
    reference: Opened,
    workload: Workload,
) -> str | None:
    """The rounding of products' operands that gives a measurement's very error; None: none does.

    tensors: what the worker wrote, of a float32 process, for the same batch.
    """
    place = measurement.rung, measurement.tensor
    if not isinstance(measurement.distance, float):
        return None
    left: dict[str, float] = {}
    for rounding in ROUNDINGS:
        for products, coarser in rounded(reference, workload, rounding):
            said = _said(coarser, wanted.params, wanted.x, y)
            instead = Wanted(wanted.params, wanted.x, *said, wanted.centred)
            one = next((o for o in _asked(instead, workload.lr) if o.place == place), None)
            distance = None if one is None else _distance(one, tensors)
            if distance is not None and distance < SAME_ERROR * measurement.distance:
                left[f"{rounding} {products}"] = distance
    return min(left, key=left.__getitem__, default=None)


def evaluation(
    logits: Array | None, want: Array, *, process: str, seed: int, epoch: int, step: int
) -> Measurement:
    """The outputs that a metric is counted from, at the parameters as they are held then."""
    case = evaluation_case(seed, epoch)
    return measure("forward", "logits", logits, want, process=process, case=case, step=step)


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
