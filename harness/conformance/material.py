"""What every backend is given: made samples, batches and states, and the judge's training.

All of it is made as in a run: the synthetic stand-in of the workload's data, its batches screened
so that no unit near a kink can flip in correct code, small ones of samples that the judge is unsure
of, the net's made batches. Imports NumPy; no framework.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.data import load, prepared, targets
from harness.interface import Array, State, Workload
from harness.measure.ladder import Wanted
from harness.measure.straying import Noise, find_noise
from harness.workloads.corners import Probe, probes
from harness.workloads.declare import Declared, of_batches
from harness.workloads.reference import canonical
from harness.workloads.reference.canonical import epoch_order, initial_state, schedule
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.optimisers import stepped
from harness.workloads.reference.screening import SMALL_LEAST_LOSS, clear, screen

# A short batch is to a full one as 96 to 256 (60 000 images in batches of 256); and small ones.
SHORT, SMALL = 96 / 256, (7, 1)
# Batches of the pool, and its least samples: enough for a batch that is bright and clear of every
# kink, of which others are made.
POOL_BATCHES, LEAST_POOL = 8, 128
# Steps of free training: seven full batches and a short one, four times over.
STEPS = 30
SEED = 0


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that checks of a workload are made of; nobody writes into it.

    pool: float32 samples by name ("x", "y", noise); full: how many a full batch has; initial:
    float32; batches: the rows of each step of the free training; losses: float64 (STEPS,), mean
    loss of each in nats; trained: float64, the judge's state after them; cases: the batches of the
    teacher-forced rungs, by the name that limits know them by.
    """

    workload: Workload
    judge: Composed
    pool: State
    full: int
    initial: State
    batches: list[Array]
    losses: Array
    trained: State
    cases: dict[str, Probe]

    @property
    def short(self) -> int:
        """How many samples a short batch has."""
        return max(self.judge.net.least, round(SHORT * self.full))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many samples a batch has: every one of these is tried."""
        small = (size for size in SMALL if size >= self.judge.net.least)
        return tuple(dict.fromkeys((self.full, self.short, *small)))

    def taken(self, rows: Array | slice) -> State:
        """The batch of these rows of the pool, fresh."""
        return {name: np.array(value[rows]) for name, value in self.pool.items()}


def _silent(_: str) -> None:
    """That data are made is no news here."""


def samples(workload: Workload, n: int | None) -> State:
    """The first n of the stand-in of a workload's data, with noise; None: all that it has.

    "x" float32, "y" int64 or float32. InputError where nothing stands in for a user's own data.
    """
    classes, numbers = (workload.outputs[-1] * (workload.y == y) for y in ("class", "number"))
    made = load(
        *(workload.data, "synthetic"),
        shape=workload.x,
        classes=classes,
        numbers=numbers,
        warn=_silent,
    )
    x, y = made.train_x[:n], made.train_y[:n]
    pool = {"x": prepared(x, workload.x, workload.normalise)}
    if workload.y != "none":
        pool["y"] = targets(y, workload.y)
    return pool | canonical.noise(workload, SEED, 0, len(x))


@functools.cache
def material(declared: Declared) -> Material:
    """All of it for a workload; made once in a process."""
    workload, judge = declared.workload, Composed(declared.net)
    size = workload.batch_size
    pool = samples(workload, None if size is None else max(POOL_BATCHES * size, LEAST_POOL))
    n = len(pool["x"])
    initial = initial_state(workload, SEED)
    made = Material(workload, judge, pool, size or n, initial, [], np.zeros(STEPS), {}, {})
    made.batches.extend(_batches(made))
    state = cast(initial)
    for step, rows in enumerate(made.batches):
        look = judge.look(state, cast(made.taken(rows)))
        made.losses[step] = look.loss
        state = stepped(workload.optimiser, state | look.running, look.grads)
    made.trained.update(state)
    cases = [*_sizes(made, "step 0", initial), *_sizes(made, f"step {STEPS}", state)]
    filled = of_batches(workload, declared.net, made.full)
    cases += probes(
        judge, filled, initial, made.taken(slice(None)), functools.partial(clear, judge)
    )
    made.cases.update({case.case: case for case in cases})
    for array in (made.losses, *pool.values(), *initial.values(), *state.values()):
        array.flags.writeable = False
    return made


def _batches(made: Material) -> Iterator[Array]:
    """The rows of each step: the pool's order, cut into full batches and a short one."""
    n = len(made.pool["x"])
    if made.workload.batch_size is None:  # all rows, in file order
        yield from [np.arange(n)] * STEPS
        return
    order = epoch_order(SEED, 0, n)
    slots = schedule(7 * made.full + made.short, made.full, epochs=1)
    once = [
        screen(order, slot.start, slot.stop, lambda rows: _clear(made, made.initial, rows))[0]
        for slot in slots
    ]
    yield from (once[step % len(once)] for step in range(STEPS))


def _clear(made: Material, state: State, rows: Array) -> Array:
    """Which of these rows of the pool are clear of every kink: bool."""
    return clear(made.judge, state, made.taken(rows))


def _sizes(made: Material, place: str, state: State) -> list[Probe]:
    """A batch of each size; the small ones of samples that the judge is unsure of."""
    order = epoch_order(SEED, 1, len(made.pool["x"]))
    rounded = cast(state, "float32")
    rows, _ = screen(order, 0, max(made.sizes), lambda rows: _clear(made, rounded, rows))
    unsure = _unsure(made, state, rows)
    cases = []
    for size in made.sizes:
        few = unsure[:size] if size in SMALL else rows[:size]
        name = place if size == made.full else f"{place}, batch of {size}"
        cases.append(Probe(name, state, made.taken(few)))
    return cases


def _unsure(made: Material, state: State, rows: Array) -> Array:
    """Of these rows those whose loss is large, in order; where few are, the largest ones."""
    batch = cast(made.taken(rows))
    outputs = made.judge.look(cast(state), batch).outputs
    losses = made.judge.net.loss.of_samples(outputs, batch.get("y", np.zeros(0)))
    unsure = rows[losses >= SMALL_LEAST_LOSS]
    return unsure if len(unsure) >= max(SMALL) else rows[np.argsort(-losses, kind="stable")]


@functools.cache
def wanted(declared: Declared, case: str, dtype: str) -> Wanted:
    """What a process of a dtype is given of a case, and the judge's word on those very values."""
    made = material(declared)
    probe = made.cases[case]
    return Wanted.of(made.judge, made.workload, probe.state, probe.batch, dtype, probe.centred)


@functools.cache
def noise(declared: Declared, case: str) -> Noise:
    """How far float32 replicas of the judge stray on a case, by rung and tensor."""
    made = material(declared)
    probe = made.cases[case]
    return find_noise(made.judge, made.workload, probe.state, probe.batch, probe.centred)
