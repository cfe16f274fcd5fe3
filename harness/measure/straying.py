"""How far correct code may stray on a batch: replicas of the reference, and kinks near by.

Judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from harness.interface import State, Workload
from harness.measure.distance import norm
from harness.measure.ladder import Asked, Wanted, asked, distance_of, inside, own_formula
from harness.record.schema import OWN, Measurement
from harness.workloads.reference.composed import Composed, Reference, cast
from harness.workloads.reference.limits import NOISE
from harness.workloads.reference.noise import replica_answers
from harness.workloads.reference.optimisers import RULES, STEP, moved

# Distances by rung and tensor; those of float32 where no dtype is named behind them.
Noise = dict[tuple[str, ...], float]
# Unit roundoff of a dtype in float32's.
UNIT = {"float32": 1.0, "float64": 2.0**-29}
# Where rounding is more than this share of a float64 number, float32 does not say how much more.
LOST = 0.01
# A few replicas know the size of such a number to an order of magnitude: of correct code up to 7
# times theirs was seen (a bias before batch norm, three frameworks, four seeds).
UNKNOWN = 10


def find_noise(
    reference: Reference, workload: Workload, state: State, batch: State, centred: bool
) -> Noise:
    """How far float32 replicas of the reference stray on a batch, by rung and tensor.

    Float64's too, by rung, tensor and dtype, where what is wanted may be nothing but its rounding:
    at the end of a function without data, and of a gradient that is 0 in exact arithmetic (a bias
    before batch norm). A distance that is not finite tells nothing, and is left out.
    """
    found = _strayed(Wanted.of(reference, workload, state, batch, "float32", centred), reference)
    if workload.y == "none" or max(found.values()) * UNIT["float64"] > LOST:
        wanted = Wanted.of(reference, workload, state, batch, "float64", centred)
        for place, value in _strayed(wanted, reference).items():
            found[*place, "float64"] = value * (UNKNOWN if value > LOST else 1)
    return found


def _strayed(wanted: Wanted, reference: Reference) -> Noise:
    """How far replicas stray in the dtype of what is wanted."""
    workload = wanted.workload
    furthest: Noise = {}
    for tensors in replica_answers(reference, workload, wanted.state, wanted.batch):
        for one in asked(wanted):
            distance = distance_of(one, tensors)
            if distance is not None:
                furthest[one.place] = max(distance, furthest.get(one.place, 0.0))
    for name, share in _carried(wanted).items():
        noise = share * furthest.get(("gradients", name), 0.0)
        furthest["update", name] = max(noise, furthest.get(("update", name), 0.0))
    for name in wanted.grads:
        for slot, noise in _squared(wanted, name, furthest.get(("gradients", name), 0.0)).items():
            furthest["update", slot] = max(noise, furthest.get(("update", slot), 0.0))
    if isinstance(reference, Composed):
        for up in (True, False):
            form = reference.textbook(up)
            traced = form.trace(wanted.state, wanted.batch)
            tensors = {f"trace.{name}": value for name, value in traced.items()}
            for name, want, _ in inside(tensors, wanted, reference):
                place = "forward", f"{name}{OWN}"
                one = Asked(*place, f"trace.{name}", want, own_formula(workload))
                distance = distance_of(one, tensors)
                if distance is not None:
                    furthest[place] = max(distance, furthest.get(place, 0.0))
    return furthest


def _carried(wanted: Wanted) -> dict[str, float]:
    """By how much a gradient's relative error is one of the update, by tensor, for linear rules.

    Replicas show it only as far as a change reaches the last place of what it is taken from, and of
    a gradient that is 0 but for rounding (a bias before batch norm) it reaches it now and then.
    """
    optimiser = wanted.workload.optimiser
    if wanted.workload.y == "none" or not RULES[optimiser.rule].linear:
        return {}
    twice, _ = moved(optimiser, cast(wanted.state), {n: 2 * g for n, g in wanted.grads.items()})
    return {
        name: norm(twice[name] - change) / norm(change)
        for name, change in wanted.changes.items()
        if norm(change) > 0
    }


def _squared(wanted: Wanted, name: str, noise: float) -> dict[str, float]:
    """The noise of a rule's slots, if it is not linear: what its gradient's limit leaves open.

    A square doubles a relative error, and of a gradient that is 0 but for rounding it squares it:
    ten times a replica's would be a hundred times its square. All of it in the largest element.
    """
    optimiser, grad = wanted.workload.optimiser, wanted.grads[name]
    if RULES[optimiser.rule].linear or wanted.workload.y == "none" or not grad.size:
        return {}
    wide = cast({n: v for n, v in wanted.state.items() if n.partition("/")[0] in (name, STEP)})
    other, at = grad.copy(), np.unravel_index(np.argmax(np.abs(grad)), grad.shape)
    other[at] += math.copysign(NOISE * noise * norm(grad), float(grad[at]))
    _, slots = moved(optimiser, wide, {name: other})
    found = {
        slot: norm(value - wanted.after[slot]) / norm(wanted.after[slot]) / NOISE
        for slot, value in slots.items()
        if slot != STEP and norm(wanted.after[slot]) > 0
    }
    return {slot: share for slot, share in found.items() if math.isfinite(share)}


def find_jumps(judge: Composed, state: State, batch: State, margin: float) -> dict[str, float]:
    """By how much near kinks can move each gradient of a batch, relative to it, by tensor.

    margin: as `kink_margin` tells what is near. What moves none is left out; so is a gradient that
    is 0, of which nothing is a share.
    """
    moved_by = judge.jumps(cast(state), cast(batch), margin)
    sums = {name: float(of_samples.sum()) for name, of_samples in moved_by.items()}
    return {name: jump for name, jump in sums.items() if 0 < jump < math.inf}


def grant(
    measurements: list[Measurement],
    noise: Noise,
    *,
    limits: bool = False,
    jumps: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Give a batch's measurements its noise: float32's, smaller by `UNIT` in another dtype.

    limits: it sets their limits, and does not only keep those of the table from lying below it.
    jumps: by trained tensor, see `find_jumps`; float64 has none.
    """
    for m in measurements:
        if (m.rung, m.tensor) in noise:
            of_float32 = noise[m.rung, m.tensor] * UNIT[m.dtype]
            m.noise = max(of_float32, noise.get((m.rung, m.tensor, m.dtype), 0.0))
            # A layer's own error has one limit at any depth; its noise only widens it.
            m.measured = limits and not m.tensor.endswith(OWN)
        if m.rung in ("gradients", "update") and m.dtype == "float32":
            m.jump = jumps.get(m.tensor.partition("/")[0])
