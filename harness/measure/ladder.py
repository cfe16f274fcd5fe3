"""The rungs from inputs to trajectory: tensors of a case -> measurements. Judges nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from harness.interface import Array, State, Workload
from harness.measure.distance import (
    Error,
    Formula,
    centred,
    compare,
    excess_update,
    norm,
    plain,
    relative,
)
from harness.measure.measurement import identical, measure
from harness.record.schema import OWN, TRAINING, Measurement, Repeat, evaluation_case, number
from harness.workloads.reference.composed import Composed, Reference, cast
from harness.workloads.reference.limits import limit_for
from harness.workloads.reference.optimisers import RULES, STEP, moved

# What stands for the tensor's name where all parameters are judged together.
ALL = "all parameters"


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a process was given (state, batch, in its dtype) and the judge's word on it (float64).

    `changes`: what a step takes from each trained tensor; `after`: the other tensors after it.
    `training`: outputs as a step computes them, where evaluation computes others. `centred`:
    compare outputs less their row mean.
    """

    workload: Workload
    state: State
    batch: State
    outputs: Array
    training: Array | None
    loss: float
    grads: State
    changes: State
    after: State
    centred: bool
    _traced: State = field(default_factory=dict, init=False)
    _asked: list[Asked] = field(default_factory=list, init=False)

    def traced(self, judge: Composed) -> State:
        """Every named value on the way of a step, as the judge has it; found once."""
        if not self._traced:
            self._traced.update(judge.trace(cast(self.state), cast(self.batch)))
        return self._traced

    @classmethod
    def of(
        cls,
        judge: Reference,
        workload: Workload,
        state: State,
        batch: State,
        dtype: str,
        centred: bool = False,
    ) -> Wanted:
        """What the judge says of a batch at the very values that processes of a dtype hold."""
        held, given = cast(state, dtype), cast(batch, dtype)
        return cls._said(judge, workload, held, given, centred)

    @classmethod
    def _said(
        cls, judge: Reference, workload: Workload, held: State, given: State, centred: bool
    ) -> Wanted:
        wide, wide_batch = cast(held), cast(given)
        look = judge.look(wide, wide_batch)
        two = workload.two_modes
        outputs = judge.outputs(wide, wide_batch) if two else look.outputs
        changes, slots = moved(workload.optimiser, wide, look.grads)
        training, after = look.outputs if two else None, look.running | slots
        for arrays in (held, given, look.grads, changes, after):
            _fix(*arrays.values())
        _fix(outputs)
        said = outputs, training, look.loss, look.grads, changes, after
        return cls(workload, held, given, *said, centred)

    def instead(self, judge: Reference) -> Wanted:
        """What another judge says of the same."""
        return self._said(judge, self.workload, self.state, self.batch, self.centred)


class Asked(NamedTuple):
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


def own_formula(workload: Workload) -> Formula:
    """Of an error: relative; of a function without data, which may end at 0, absolute below 1."""
    return _absolute if workload.y == "none" else plain


def _at_least(formula: Formula, base: float) -> Formula:
    """The same error, relative to no less than `base`."""

    def floored(got: Array, want: Array) -> Error:
        error = formula(got, want)
        return replace(error, base=np.maximum(np.abs(error.base), base))

    return floored


_absolute = _at_least(plain, 1.0)


def _fix(*arrays: Array) -> None:
    """Let nobody write to them: what is found of them once stays true (see `distance.once`)."""
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False


def asked(wanted: Wanted) -> list[Asked]:
    """The rungs forward to update of one batch; found once."""
    if not wanted._asked:
        wanted._asked.extend(_rungs(wanted))
    return wanted._asked


def _rungs(wanted: Wanted) -> list[Asked]:
    loss, name = np.array(wanted.loss), wanted.workload.trace[-1]
    usual = own_formula(wanted.workload)
    forward = centred if wanted.centred else usual
    found = [Asked("forward", name, "outputs", wanted.outputs, forward)]
    if wanted.training is not None:
        key = f"outputs{TRAINING}"
        found.append(Asked("forward", f"{name}{TRAINING}", key, wanted.training, forward))
    found += [Asked("loss", key, key, loss, usual, "float64") for key in ("loss", "step loss")]
    found += [
        Asked("gradients", name, f"grad.{name}", g, usual) for name, g in wanted.grads.items()
    ]
    for tensor in wanted.workload.tensors:
        name = tensor.name
        if tensor.role == "trained":
            change = wanted.changes[name]
            _fix(want := wanted.state[name].astype(np.float64) - change)
            formula = update_formula(wanted, name, change)
            found.append(Asked("update", name, f"new.{name}", want, formula))
        else:
            found.append(Asked("update", name, f"new.{name}", wanted.after[name]))
    return found


def loss_formula(least: float) -> Formula:
    """Of the error of losses, each relative to no less than `least`."""
    return _at_least(plain, least)


def update_formula(wanted: Wanted, name: str, change: Array, room: Array | None = None) -> Formula:
    """Of the error of a trained tensor's update, where a step takes `change` from it.

    room: how far it may be off beside what is `allowed`, by element.
    """
    free = allowed(wanted, name)
    if room is not None:
        free = room if free is None else room + free
    formula = excess_update(wanted.state[name], change, free)
    # A function that is minimised: at its minimum nothing is changed.
    least = wanted.workload.optimiser.lr
    return _at_least(formula, least) if wanted.workload.y == "none" else formula


def allowed(wanted: Wanted, name: str) -> Array | None:
    """How far an update may be off since its gradient may be: where it is no multiple of that.

    Adam's change is lr times the sign of a first gradient, however small; what the limit of the
    gradients leaves open decides it there. A parameter that is decayed first costs two roundings
    more, of half a spacing each: the factor's and the product's. None: the update's own limit says
    it all.
    """
    optimiser, dtype = wanted.workload.optimiser, str(wanted.state[name].dtype)
    limit = limit_for("gradients", dtype, "")
    if RULES[optimiser.rule].linear or limit is None:
        return None
    grad = wanted.grads[name]
    wide = cast({n: v for n, v in wanted.state.items() if n.partition("/")[0] in (name, STEP)})
    off = limit.value * norm(grad) / math.sqrt(max(grad.size, 1))
    moves = [moved(optimiser, wide, {name: grad + d})[0][name] for d in (off, -off)]
    found = np.asarray(np.maximum(*(np.abs(move - wanted.changes[name]) for move in moves)))
    if RULES[optimiser.rule].decays:
        found += np.spacing(np.abs(wanted.state[name])).astype(np.float64)
    return found


def distance_of(asked: Asked, tensors: dict[str, Array]) -> float | None:
    """How far one of the tensors is from what is asked, in whichever dtype it has; None: no way."""
    got = tensors[asked.key]
    distance = compare(got, asked.want, str(got.dtype), asked.formula).distance
    return distance if distance is not None and math.isfinite(distance) else None


def teacher_forced(
    tensors: dict[str, Array],
    wanted: Wanted,
    *,
    process: str,
    case: str,
    step: int | None,
    judge: Reference | None = None,
) -> list[Measurement]:
    """Every measurement of one teacher-forced batch, rung by rung.

    tensors: what the worker wrote; judge: where it knows the layers, their own errors are measured
    too.
    """
    where: dict[str, Any] = {"process": process, "case": case, "step": step}
    got = tensors.get
    held = {name: identical(name, got(name), v, **where) for name, v in wanted.batch.items()}
    # What is minimised may be called x: a model without inputs is given a blank one.
    held |= {n: identical(n, got(f"held.{n}"), v, **where) for n, v in wanted.state.items()}
    measurements = [*held.values()]
    if isinstance(judge, Composed):
        measurements += own_errors(tensors, wanted, judge, where)
    for one in asked(wanted):
        at = where | {"dtype": one.dtype, "formula": one.formula}
        measurements.append(measure(one.rung, one.tensor, got(one.key), one.want, **at))
    return measurements


def own_errors(
    tensors: dict[str, Array], wanted: Wanted, judge: Composed, where: dict[str, Any]
) -> list[Measurement]:
    """What each named value adds to the error of those before it, in order, as far as shown.

    Beside it stands the distance from the judge's own value, which has all that was inherited.
    """
    measurements = []
    for name, want, true in inside(tensors, wanted, judge):
        got = tensors[f"trace.{name}"]
        own = measure(
            "forward", f"{name}{OWN}", got, want, formula=own_formula(wanted.workload), **where
        )
        inherited = compare(got, true, str(got.dtype)).distance
        if inherited is not None:
            own.beside = {"reference": number(inherited)}
        measurements.append(own)
    return measurements


def inside(
    tensors: dict[str, Array], wanted: Wanted, judge: Composed
) -> Iterator[tuple[str, Array, Array]]:
    """Each value that a process shows: its name, what is wanted of it, and the judge's own.

    Wanted is what the judge makes, in float64, of the values that the process itself had before.
    """
    true = wanted.traced(judge)
    names = [name for name in true if f"trace.{name}" in tensors]
    given: State = {}
    for place, name in enumerate(names):
        got = tensors[f"trace.{name}"]
        if got.shape != true[name].shape or got.dtype.kind != "f":
            names = names[: place + 1]  # of what follows it nothing is known
            break
        given[name] = got.astype(np.float64)
    own = judge.own(cast(wanted.state), cast(wanted.batch), given, true) if names else {}
    for name in names:
        yield name, own[name], true[name]


def evaluation(
    tensor: str,
    outputs: Array | None,
    want: Array,
    *,
    process: str,
    seed: int,
    epoch: int,
    step: int,
) -> Measurement:
    """The outputs (called `tensor`) that a metric is counted from, at the state as held then."""
    case = evaluation_case(seed, epoch)
    return measure("forward", tensor, outputs, want, process=process, case=case, step=step)


def lockstep(
    params: State,
    want_params: State,
    losses: Array,
    want_losses: Array,
    before: int,
    least: float = 0.0,
) -> list[Measurement]:
    """Free-running float64 after some steps: every parameter, and every loss since `before`.

    losses: float64 (steps since the last comparison,); one below `least` is compared as if it were
    so large: a function that ends at 0 has no relative error there.
    """
    last = before + len(want_losses) - 1
    where: dict[str, Any] = {"process": "float64", "step": last}
    after = f"after step {last}"
    measurements = [
        measure("lockstep", name, params.get(name), want, case=after, **where)
        for name, want in want_params.items()
    ]
    case = f"steps {before} to {last}"
    of_losses = measure(
        *("lockstep", "losses", losses, want_losses),
        case=case,
        formula=loss_formula(least),
        **where,
    )
    if of_losses.worst is not None:
        of_losses.worst.index = [of_losses.worst.index[0] + before]
    return [*measurements, of_losses]


def together(params: State, want: State) -> tuple[float, dict[str, float]]:
    """Distance of all parameters together, as one vector, and of each by name."""
    each, errors, wanted = {}, [], []
    for name, value in want.items():
        error = params[name].astype(np.float64) - value
        each[name] = relative(error, value)
        errors.append(error.ravel())
        wanted.append(value.ravel())
    return relative(np.concatenate(errors), np.concatenate(wanted)), each


def trajectory(regime: str, params: State, want: State, *, process: str, after: int) -> Measurement:
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
    losses: Array, params: State, again_losses: Array, again_params: State, process: str
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
