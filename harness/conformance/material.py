"""What every backend is given: made images, batches and parameters, and the judge's training.

All of it is made as in a run: the synthetic data set, its batches screened so that no unit near a
kink can flip in correct code, small ones of samples that the judge is unsure of, the workload's
probes. Imports NumPy; no framework.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from harness.data import pixels, synthetic
from harness.interface import Array, Params, Workload
from harness.measure.ladder import Wanted
from harness.workloads import PROBES, REFERENCES, WORKLOADS
from harness.workloads.probes import Probe
from harness.workloads.reference.canonical import epoch_order, initial_params, schedule
from harness.workloads.reference.pieces import Reference, cast, sample_losses, sgd
from harness.workloads.reference.screening import SMALL_LEAST_LOSS, clear, screen

# Beside the workload's own batch size: the last batch of 60 000 in steps of 256, and small ones.
SHORT, SMALL = 96, (7, 1)
# Enough for 256 samples that are bright and clear of every kink, of which probes are made.
POOL = 2048
# Steps of free training: seven full batches and a short one, four times over.
STEPS = 30
SEED = 0


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that checks of a workload are made of; nobody writes into it.

    x: float32 (POOL, inputs), y: int64 (POOL,); initial: float32; batches: the rows of each step of
    the free training; losses: float64 (STEPS,), mean loss of each in nats; trained: float64, the
    judge's parameters after them; cases: the batches of the teacher-forced rungs, by the name that
    limits know them by.
    """

    workload: Workload
    reference: Reference
    x: Array
    y: Array
    initial: Params
    batches: list[Array]
    losses: Array
    trained: Params
    cases: dict[str, Probe]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many samples a batch has: every one of these is tried."""
        return (self.workload.batch_size, SHORT, *SMALL)


@functools.cache
def samples() -> tuple[Array, Array]:
    """Images of the synthetic data set, float32 (POOL, inputs), and classes, int64 (POOL,)."""
    images, labels = synthetic.split(0, POOL)
    x, y = pixels(images), labels.astype(np.int64)
    x.flags.writeable = y.flags.writeable = False
    return x, y


@functools.cache
def material(name: str) -> Material:
    """All of it for a workload; made once in a process."""
    workload, reference = WORKLOADS[name], REFERENCES[name]
    x, y = samples()
    initial = initial_params(workload, SEED)
    far = functools.partial(clear, reference)
    order = epoch_order(SEED, 0, POOL)
    once = [
        screen(order, slot.start, slot.stop, lambda rows: far(initial, x[rows]))[0]
        for slot in schedule(7 * workload.batch_size + SHORT, workload.batch_size, epochs=1)
    ]
    batches = [once[step % len(once)] for step in range(STEPS)]
    params, losses = cast(initial), []
    for rows in batches:
        loss, grads = reference.loss_and_grads(params, x[rows].astype(np.float64), y[rows])
        losses.append(loss)
        sgd(params, grads, workload.lr)
    made = Material(workload, reference, x, y, initial, batches, np.array(losses), params, {})
    cases = [*_sizes(made, "step 0", initial), *_sizes(made, f"step {STEPS}", params)]
    cases += PROBES[name](initial, x, y, far)
    made.cases.update({case.case: case for case in cases})
    writable: list[Array] = [made.losses, *initial.values(), *params.values()]
    for array in writable:
        array.flags.writeable = False
    return made


def _sizes(made: Material, place: str, params: Params) -> list[Probe]:
    """A batch of each size; the small ones of samples that the judge is unsure of."""
    order, size = epoch_order(SEED, 1, POOL), made.workload.batch_size
    rounded = cast(params, "float32")
    rows, _ = screen(order, 0, size, lambda rows: clear(made.reference, rounded, made.x[rows]))
    logits = made.reference.logits(cast(params), made.x[rows].astype(np.float64))
    unsure = rows[sample_losses(logits, made.y[rows]) >= SMALL_LEAST_LOSS]
    cases = []
    for n in made.sizes:
        few = (unsure if n in SMALL else rows)[:n]
        name = place if n == size else f"{place}, batch of {n}"
        cases.append(Probe(name, params, made.x[few], made.y[few]))
    return cases


@functools.cache
def wanted(workload: str, case: str, dtype: str) -> Wanted:
    """What a process of a dtype is given of a case, and the judge's word on those very values."""
    made = material(workload)
    batch = made.cases[case]
    return Wanted.of(made.reference, batch.params, batch.x, batch.y, dtype, batch.centred)
