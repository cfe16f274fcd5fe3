"""What every backend is given: images, batches and parameters, made here, and the judge's training.

The images are like photographs of clothes in what matters to arithmetic: half their pixels are
exactly 0, the others k/255 in float32. The batches are screened as in a run, so that no unit near
ReLU's kink can flip in correct code. Imports NumPy; no framework.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from harness.interface import Array, Params, Workload
from harness.measure.ladder import Wanted
from harness.workloads import PROBES, REFERENCES, WORKLOADS
from harness.workloads.reference.canonical import initial_params
from harness.workloads.reference.pieces import Reference, sgd
from harness.workloads.reference.screening import (
    SCREEN_MARGINS,
    SMALL_LEAST_LOSS,
    UNIT_ROUNDOFF,
    screen,
)

WORKLOAD = WORKLOADS["mlp-scratch"]
# Of each of these sizes a backend is given batches; 96 is the last one of 60 000 in steps of 256.
SIZES = (256, 96, 7, 1)
# Enough for 256 samples that are bright and clear of every kink, of which probes are made.
POOL = 2048
# Of so many samples dozens are clear and unsure, at the start and after STEPS.
LOOKED_AT = 256
# Steps of free training: seven full batches of the pool and the short one, four times over.
STEPS = 30
SEED = 0


@dataclass(frozen=True, eq=False)
class Case:
    """One batch at given parameters: params float32 or float64, x: float32 (n, inputs), y: int64.

    `name` is that of `limits.Limit.case`; `centred` as in `workloads.probes.Probe`.
    """

    name: str
    params: Params
    x: Array
    y: Array
    centred: bool = False


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that checks are made of; nobody writes into it.

    x: float32 (POOL, inputs), y: int64 (POOL,); initial: float32; batches: the rows of each step of
    the free training; losses: float64 (STEPS,), mean loss of each in nats; trained: float64, the
    judge's parameters after them; cases: by name.
    """

    workload: Workload
    reference: Reference
    x: Array
    y: Array
    initial: Params
    batches: list[Array]
    losses: Array
    trained: Params
    cases: dict[str, Case] = field(default_factory=dict)


@functools.cache
def wanted(name: str, dtype: str) -> Wanted:
    """What a process of a dtype is given of a case, and the judge's word on those very values."""
    made = material()
    case = made.cases[name]
    held = {n: value.astype(dtype) for n, value in case.params.items()}
    wide = {n: value.astype(np.float64) for n, value in held.items()}
    x = case.x.astype(np.float64)
    loss, grads = made.reference.loss_and_grads(wide, x, case.y)
    logits = made.reference.logits(wide, x)
    return Wanted(held, case.x.astype(dtype), logits, loss, grads, case.centred)


@functools.cache
def material() -> Material:
    """All of it; made once in a process."""
    x, y = images(POOL)
    reference = REFERENCES[WORKLOAD.name]
    initial = initial_params(WORKLOAD, SEED)
    batches = _batches(initial, x)
    params = {name: value.astype(np.float64) for name, value in initial.items()}
    losses = []
    for rows in batches:
        loss, grads = reference.loss_and_grads(params, x[rows].astype(np.float64), y[rows])
        losses.append(loss)
        sgd(params, grads, WORKLOAD.lr)
    made = Material(WORKLOAD, reference, x, y, initial, batches, np.array(losses), params)
    for place, given in (("step 0", initial), (f"step {STEPS}", params)):
        _add_sizes(made, place, given)
    for probe in PROBES[WORKLOAD.name](initial, x, y, clear):
        made.cases[probe.case] = Case(probe.case, probe.params, probe.x, probe.y, probe.centred)
    for array in (x, y, *initial.values(), *params.values(), made.losses):
        array.flags.writeable = False
    return made


def images(n: int) -> tuple[Array, Array]:
    """N made images, float32 (n, inputs) with values k/255, and their classes, int64 (n,).

    Each class has a pattern of its own, half of it blank; an image is its class's under noise, a
    brightness of its own, and some pixels blanked.
    """
    inputs, classes = WORKLOAD.sizes["num_inputs"], WORKLOAD.sizes["num_outputs"]
    rng = np.random.default_rng([SEED, 2])
    patterns = rng.random((classes, inputs)) * (rng.random((classes, inputs)) < 0.6)
    y = rng.integers(classes, size=n)
    bright = patterns[y] * rng.uniform(0.4, 1.0, (n, 1)) + rng.normal(0, 0.05, (n, inputs))
    shown = (patterns[y] > 0) & (rng.random((n, inputs)) < 0.85)
    levels = np.where(shown, np.clip(bright * 255, 0, 255), 0).astype(np.uint8)
    return levels / np.float32(255), y


def clear(params: Params, x: Array) -> Array:
    """Which rows of x have no pre-activation within float32's rounding of a kink: bool (n,)."""
    wide = {name: value.astype(np.float64) for name, value in params.items()}
    margin = REFERENCES[WORKLOAD.name].kink_margin(wide, x.astype(np.float64))
    found: Array = margin >= SCREEN_MARGINS["strict"] * UNIT_ROUNDOFF
    return found


def _batches(initial: Params, x: Array) -> list[Array]:
    """The rows of each step: full batches of the pool and the short one, in turn."""
    size, short = SIZES[:2]
    order = np.random.default_rng([SEED, 3]).permutation(len(x))
    # The last full batch of the pool gives way to the short one.
    ends = [(start, start + size) for start in range(0, len(x) - size, size)]
    ends.append((len(x) - size, len(x) - size + short))
    once = [screen(order, *rows, lambda rows: clear(initial, x[rows]))[0] for rows in ends]
    return [once[step % len(once)] for step in range(STEPS)]


def _add_sizes(made: Material, place: str, params: Params) -> None:
    """A case of each size; the small ones of samples that the judge is not confident of."""
    order = np.random.default_rng([SEED, 4]).permutation(len(made.x))
    rounded = {name: value.astype(np.float32) for name, value in params.items()}
    for size in SIZES:
        if size >= 96:
            rows = screen(order, 0, size, lambda rows: clear(rounded, made.x[rows]))[0]
        else:
            rows = _unsure(made, params, order[:LOOKED_AT])[:size]
        name = place if size == SIZES[0] else f"{place}, batch of {size}"
        made.cases[name] = Case(name, params, made.x[rows], made.y[rows])


def _unsure(made: Material, params: Params, order: Array) -> Array:
    """The clear rows whose loss is at least SMALL_LEAST_LOSS nats, in order."""
    wide = {name: value.astype(np.float64) for name, value in params.items()}
    logits = made.reference.logits(wide, made.x[order].astype(np.float64))
    top = logits.max(axis=1)
    losses = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    losses -= logits[np.arange(len(order)), made.y[order]]
    found: Array = order[(losses >= SMALL_LEAST_LOSS) & clear(params, made.x[order])]
    return found
