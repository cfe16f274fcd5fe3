"""Checks of what a backend computes, by the ladder's own measurements and limits.

The judge is the workload's net in float64. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from harness.conformance.check import Evidence, Failed, NotPossible, hold
from harness.conformance.material import STEPS
from harness.conformance.subject import Judged, Subject, copied, judged
from harness.interface import Array, State, Traces
from harness.measure import distance, ladder
from harness.record.schema import number
from harness.workloads.reference.composed import cast

RUNGS = ("inputs", "forward", "loss", "gradients", "update")

# Central differences: with h = 1e-5 their own error, h² and rounding / h together, is below 1e-8 of
# a gradient of the judge's; a gradient that is wrong in kind is off by far more. Smaller steps are
# for nets in which some unit is so near a kink that a larger one crosses it.
DIFFERENCES = (1e-5, 1e-6, 1e-7)
DIFFERENCE_LIMIT = 1e-6
# By so many of its last places a loss may be off: a bias before batch norm moves it by no more.
ROUNDED = 8
DIFFERENCE_WHY = (
    "of the gradient's norm; h = 1e-5 leaves 1e-8 in float64, a gradient that is wrong in kind "
    "1e-3 and more"
)
# Samples whose kinks are looked at together.
PIECE = 64


def outputs(subject: Subject) -> Evidence:
    """Outputs in evaluation are the judge's, at every batch size, untrained and trained."""
    _rungs(subject, "inputs")
    return _rungs(subject, "forward", tensor=subject.workload.trace[-1])


def training_outputs(subject: Subject) -> Evidence:
    """Outputs as a step computes them, by the batch's noise and statistics, are the judge's."""
    if not subject.workload.two_modes:
        raise NotPossible(f"{subject.workload.name} computes the same in both modes")
    return judged(list(_beside_the_judge(subject, _training_outputs)))


def trace(subject: Subject) -> Evidence:
    """Every value on the way that a trainer shows is the judge's."""
    trainer, known = subject.started(), {*subject.workload.trace}
    if not isinstance(trainer, Traces):
        raise NotPossible("this trainer has no trace; it is optional")
    shown = trainer.trace(trainer.put(subject.few(7)))
    if unknown := shown.keys() - known:
        raise Failed(f"trace shows {', '.join(unknown)}; known: {', '.join(known)}")
    if not shown:
        raise NotPossible("this trainer shows nothing of this workload")
    return judged(list(_beside_the_judge(subject, _trace)))


# By name, what a trainer computes of a batch, and what the judge says it is.
Pairs = dict[str, tuple[Array, Array]]


def _training_outputs(subject: Subject, batch: Any, state: State, wide: State) -> Pairs:
    got = subject.trainer.outputs(batch, training=True)
    return {"outputs, training": (got, subject.judge.look(state, wide).outputs)}


def _trace(subject: Subject, batch: Any, state: State, wide: State) -> Pairs:
    assert isinstance(subject.trainer, Traces)
    want = subject.judge.trace(state, wide)
    return {n: (value, want[n]) for n, value in subject.trainer.trace(batch).items()}


def _beside_the_judge(subject: Subject, computed: Callable[..., Pairs]) -> Iterator[Judged]:
    """What is computed of a batch of each size beside what the judge says of the same numbers."""
    for case, probe in subject.material.cases.items():
        if case.startswith("step"):
            state, batch = cast(probe.state, subject.dtype), cast(probe.batch, subject.dtype)
            subject.trainer.set_state(copied(state))
            held = subject.trainer.put(copied(batch))
            for name, pair in computed(subject, held, cast(state), cast(batch)).items():
                yield subject.compared("forward", name, *pair, case)


def loss(subject: Subject) -> Evidence:
    """The mean loss that loss_and_grads gives is the judge's, at every batch size."""
    return _rungs(subject, "loss", tensor="loss")


def finite_differences(subject: Subject) -> Evidence:
    """Gradients are those of the backend's own loss, by central differences.

    By each trained tensor: in a random direction and at the two largest elements.
    """
    trainer, state = subject.trainer, subject.initial
    batch = trainer.put(_far_from_kinks(subject))
    trainer.set_state(copied(state))
    loss, grads = trainer.loss_and_grads(batch)

    def loss_at(name: str, moved: Array) -> float:
        trainer.set_state(copied(state | {name: moved}))
        return trainer.loss_and_grads(batch)[0]

    def differs(name: str, direction: Array, element: list[int] | None) -> Evidence:
        derivative = float(np.vdot(grads[name], direction))
        off, slope = np.inf, np.nan
        for step in DIFFERENCES:
            moved = step * direction
            found = loss_at(name, state[name] + moved) - loss_at(name, state[name] - moved)
            found /= 2 * step
            # Neither may be 0 and the other not, but for what the loss itself rounds to.
            scale = max(distance.norm(grads[name]), abs(found))
            if max(scale, abs(derivative)) <= ROUNDED * np.spacing(abs(loss)) / step:
                scale = 0.0
            if (error := abs(found - derivative) / scale if scale > 0 else 0.0) < off:
                off, slope = error, found
            if off <= DIFFERENCE_LIMIT:
                break
        where = f"{name} {'in a random direction' if element is None else f'at {element}'}"
        return hold(
            off,
            DIFFERENCE_LIMIT,
            why=DIFFERENCE_WHY,
            failure=f"gradient of {where}: {derivative!r}, but the loss changes by {slope!r}",
            passed=where,
            tensor=name,
            element=element,
            got=number(derivative),
            want=number(slope),
        )

    evidences = [differs(*place) for place in _directions(subject, grads)]
    return max(evidences, key=lambda evidence: float(evidence.value or 0))


def _directions(subject: Subject, grads: State) -> Iterator[tuple[str, Array, list[int] | None]]:
    """By trained tensor a random direction (normal), then its two largest elements one by one."""
    rng = np.random.default_rng(0)
    for name, shape in ((tensor.name, tensor.shape) for tensor in subject.workload.trained):
        yield name, np.asarray(rng.standard_normal(shape)), None
        for place in np.argsort(-np.abs(grads[name]), axis=None, kind="stable")[:2]:
            index = np.unravel_index(int(place), shape)
            direction = np.zeros(shape)
            direction[index] = 1.0
            yield name, direction, [int(i) for i in index]


def _far_from_kinks(subject: Subject) -> State:
    """Seven samples of the pool that are furthest from a kink.

    A direction moves a pre-activation by h * |x|, some 1e-4 in a net of a few hundred units, and
    these are then clear by 1e-3.
    """
    made, state = subject.material, cast(subject.initial)
    n = len(made.pool["x"])
    pieces = [made.taken(slice(start, start + PIECE)) for start in range(0, n, PIECE)]
    kinks = [subject.judge.kink_distance(state, cast(piece)) for piece in pieces]
    furthest = np.argsort(-np.concatenate(kinks), kind="stable")[:7]
    return cast(made.taken(furthest), subject.dtype)


def gradients(subject: Subject) -> Evidence:
    """The gradient of every trained tensor is the judge's, at every batch size."""
    return _rungs(subject, "gradients")


def update(subject: Subject) -> Evidence:
    """A step changes every tensor of the state by what the judge says, at every batch size."""
    return _rungs(subject, "update")


def step_loss(subject: Subject) -> Evidence:
    """The loss of a step is the mean loss before its update, at every batch size."""
    return _rungs(subject, "loss", tensor="step loss")


def corner(subject: Subject) -> Evidence:
    """A blank sample, all ones and a repeat: ReLU has derivative 0 at 0."""
    return _rungs(subject, *RUNGS, cases="corner")


def confident(subject: Subject) -> Evidence:
    """A true class of probability 1e-30, and of 1 - 1e-12: the loss stays exact."""
    return _rungs(subject, *RUNGS, cases="confident")


def shifted(subject: Subject) -> Evidence:
    """All logits moved by +-1000, which means nothing: the softmax subtracts the largest."""
    return _rungs(subject, *RUNGS, cases="shifted")


def far(subject: Subject) -> Evidence:
    """Units of 30 and more: no ReLU is cut off."""
    return _rungs(subject, *RUNGS, cases="far")


def lockstep(subject: Subject) -> Evidence:
    """30 free steps in float64, short batches among them, end where the judge's do."""
    trainer, made = subject.started(), subject.material
    losses = [trainer.wait(trainer.step(trainer.put(subject.rows(s)))) for s in range(STEPS)]
    measured = ladder.lockstep(trainer.get_state(), made.trained, np.array(losses), made.losses, 0)
    limit = subject.limit("lockstep")
    # The losses first: they say at which step it began.
    return judged([(measurement, limit) for measurement in reversed(measured)])


def _rungs(subject: Subject, *rungs: str, cases: str = "step", tensor: str = "") -> Evidence:
    """The measurements of some rungs (of one tensor, where named) of these cases, judged.

    cases: how their names begin; a workload may have no such batch.
    """
    chosen = [case for case in subject.material.cases if case.startswith(cases)]
    if not chosen:
        raise NotPossible(f"{subject.workload.name} has no such batch")
    return judged(
        [
            (measurement, subject.limit_of(measurement))
            for case in chosen
            for measurement in subject.measured(case)
            if measurement.rung in rungs and tensor in ("", measurement.tensor)
        ]
    )
