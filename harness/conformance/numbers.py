"""Checks of what a backend computes, by the ladder's own measurements and limits.

The judge is the workload's float64 reference. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.conformance.check import Evidence, NotPossible, hold
from harness.conformance.material import STEPS
from harness.conformance.subject import Subject, copied, judged
from harness.interface import Array, Params
from harness.measure import distance, ladder
from harness.record.schema import number
from harness.workloads.reference.pieces import cast

RUNGS = ("inputs", "forward", "loss", "gradients", "update")

# Central differences: with h = 1e-5 their own error, h² and rounding / h together, is below 1e-8 of
# a gradient of the judge's; a gradient that is wrong in kind is off by far more.
DIFFERENCE = 1e-5
DIFFERENCE_LIMIT = 1e-6
DIFFERENCE_WHY = (
    "of the gradient's norm; h = 1e-5 leaves 1e-8 in float64, a gradient that is wrong in kind "
    "1e-3 and more"
)


def logits(subject: Subject) -> Evidence:
    """Logits are the judge's, at batch sizes 256, 96, 7 and 1, untrained and trained."""
    return _rungs(subject, "inputs", "forward")


def loss(subject: Subject) -> Evidence:
    """The mean loss that loss_and_grads gives is the judge's, at every batch size."""
    return _rungs(subject, "loss", tensor="loss")


def finite_differences(subject: Subject) -> Evidence:
    """Gradients are those of the backend's own loss, by central differences.

    In each parameter: in a random direction and at the two largest elements.
    """
    trainer, params = subject.trainer, subject.initial
    batch = trainer.put(*_far_from_kinks(subject))
    trainer.set_params(copied(params))
    grads = trainer.loss_and_grads(batch)[1]

    def loss_at(name: str, moved: Array) -> float:
        trainer.set_params(copied(params | {name: moved}))
        return trainer.loss_and_grads(batch)[0]

    def differs(name: str, direction: Array, element: list[int] | None) -> Evidence:
        step = DIFFERENCE * direction
        slope = loss_at(name, params[name] + step) - loss_at(name, params[name] - step)
        slope /= 2 * DIFFERENCE
        derivative = float(np.vdot(grads[name], direction))
        # Neither may be 0 and the other not.
        scale = max(distance.norm(grads[name]), abs(slope))
        where = f"{name} {'in a random direction' if element is None else f'at {element}'}"
        return hold(
            abs(slope - derivative) / scale if scale > 0 else 0.0,
            DIFFERENCE_LIMIT,
            why=DIFFERENCE_WHY,
            failure=f"gradient of {where}: {derivative!r}, but the loss changes by {slope!r}",
            passed=where,
            tensor=name,
            element=element,
            got=number(derivative),
            want=number(slope),
        )

    evidences = [differs(*place) for place in _directions(params, grads)]
    return max(evidences, key=lambda evidence: float(evidence.value or 0))


def _directions(params: Params, grads: Params) -> Iterator[tuple[str, Array, list[int] | None]]:
    """By parameter a random direction (normal), then its two largest elements one by one."""
    rng = np.random.default_rng(0)
    for name, value in params.items():
        yield name, rng.standard_normal(value.shape), None
        for place in np.argsort(-np.abs(grads[name]), axis=None, kind="stable")[:2]:
            index = np.unravel_index(int(place), value.shape)
            direction = np.zeros(value.shape)
            direction[index] = 1.0
            yield name, direction, [int(i) for i in index]


def _far_from_kinks(subject: Subject) -> tuple[Array, Array]:
    """Seven samples of the pool that no step of a difference takes over a kink: x, y.

    A direction moves a pre-activation by DIFFERENCE * |x|, some 1e-4; these are clear by 1e-3.
    """
    x, y = subject.few(len(subject.material.x))
    kinks = subject.reference.kink_distance(cast(subject.initial), x)
    furthest = np.argsort(-kinks, kind="stable")[:7]
    return x[furthest], y[furthest]


def gradients(subject: Subject) -> Evidence:
    """The gradient of every parameter is the judge's, at every batch size."""
    return _rungs(subject, "gradients")


def update(subject: Subject) -> Evidence:
    """A step changes every parameter by what the judge says, at every batch size."""
    return _rungs(subject, "update")


def step_loss(subject: Subject) -> Evidence:
    """The loss of a step is the mean loss before its update, at every batch size."""
    return _rungs(subject, "loss", tensor="step loss")


def corner(subject: Subject) -> Evidence:
    """A blank image, all ones and a repeat: ReLU has derivative 0 at 0."""
    return _rungs(subject, *RUNGS, cases="corner")


def confident(subject: Subject) -> Evidence:
    """A true class of probability 1e-30, and of 1 - 1e-12: the loss stays exact."""
    return _rungs(subject, *RUNGS, cases="confident")


def shifted(subject: Subject) -> Evidence:
    """All logits moved by +-1000, which means nothing: the softmax subtracts the largest."""
    return _rungs(subject, *RUNGS, cases="shifted")


def lockstep(subject: Subject) -> Evidence:
    """30 free steps in float64, short batches among them, end where the judge's do."""
    trainer, made = subject.started(), subject.material
    losses = [trainer.wait(trainer.step(trainer.put(*subject.rows(s)))) for s in range(STEPS)]
    measured = ladder.lockstep(trainer.get_params(), made.trained, np.array(losses), made.losses, 0)
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
            (measurement, subject.limit(measurement.rung, case))
            for case in chosen
            for measurement in subject.measured(case)
            if measurement.rung in rungs and tensor in ("", measurement.tensor)
        ]
    )
