"""Checks of what a trainer keeps from one call to the next, and what it must not.

Imports NumPy; no framework.
"""

from __future__ import annotations

import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.material import SIZES
from harness.conformance.subject import Subject, copied, same_bits, same_training
from harness.conformance.system import give_back_free_memory, resident_bytes
from harness.interface import Trainer
from harness.measure.distance import relative
from harness.record.schema import number
from harness.workloads.mlp_scratch import resized

# A trainer of so many hidden units holds 13 MB in float32: one that is kept shows.
WIDE = 4096
# Trainers made and closed.
TRAINERS = 6


def looking_changes_nothing(subject: Subject) -> Evidence:
    """Between steps logits, loss_and_grads, fetch, get_params and put change nothing."""
    trainer = subject.trainer
    batch = trainer.put(*subject.few(7))
    plain = subject.train(trainer, subject.initial, [batch, batch])
    trainer.set_params(copied(subject.initial))
    losses = []
    for _ in range(2):
        before = trainer.get_params()
        trainer.logits(batch)
        trainer.loss_and_grads(batch)
        trainer.fetch(batch)
        trainer.put(*subject.few(7, start=7))
        for name, value in trainer.get_params().items():
            same_bits(f"{name} after only looking", value, before[name], subject.dtype)
        losses.append(trainer.wait(trainer.step(batch)))
    looked_at = losses, trainer.get_params()
    what = "two steps with and without"
    return same_training(subject, looked_at, plain, subject.initial, what)


def set_params_resets(subject: Subject) -> Evidence:
    """After set_params a trainer is as new, the optimiser's state included."""
    trainer = subject.trainer
    batches = [trainer.put(*subject.few(7, start)) for start in (0, 7, 14)]
    first = subject.train(trainer, subject.initial, batches)
    for _ in range(2):
        trainer.wait(trainer.step(batches[-1]))
    again = subject.train(trainer, subject.initial, batches)
    return same_training(subject, again, first, subject.initial, "three steps, and again")


def instances_independent(subject: Subject) -> Evidence:
    """Two trainers side by side do not touch each other."""
    one = subject.trainer
    batches = [one.put(*subject.few(7, start)) for start in (0, 7, 14)]
    want = subject.train(one, subject.initial, batches)
    trained = {n: v.astype(subject.dtype) for n, v in subject.material.trained.items()}
    with subject.another_trainer() as other:
        others = [other.put(*subject.few(7, start)) for start in (21, 28, 35)]
        one.set_params(copied(subject.initial))
        other.set_params(copied(trained))
        losses: tuple[list[float], list[float]] = ([], [])
        for mine, theirs in zip(batches, others, strict=True):
            here, there = one.step(mine), other.step(theirs)
            losses[0].append(one.wait(here))
            losses[1].append(other.wait(there))
        got = (losses[0], one.get_params()), (losses[1], other.get_params())
        want_of_other = subject.train(other, trained, others)
    what = "by turns and alone"
    same_training(subject, got[1], want_of_other, trained, f"the second trainer, {what}")
    return same_training(subject, got[0], want, subject.initial, f"the first trainer, {what}")


def repeatable(subject: Subject) -> Evidence:
    """The same training twice is the same bit for bit."""
    trainer = subject.trainer
    batches = [trainer.put(*subject.rows(step)) for step in (0, 1, 2, 3, 7)]
    losses, params = subject.train(trainer, subject.initial, batches)
    again_losses, again = subject.train(trainer, subject.initial, batches)
    differ = [step for step in range(len(batches)) if losses[step] != again_losses[step]]
    if differ:
        step = differ[0]
        off = relative(np.array(again_losses[step] - losses[step]), np.array(losses[step]))
        raise Failed(
            f"the loss of step {step} is {losses[step]!r} and then {again_losses[step]!r}",
            value=number(off),
            limit=0.0,
            why="of the loss; a training that does not repeat itself cannot be looked into",
            tensor="loss",
            element=[step],
            got=number(again_losses[step]),
            want=number(losses[step]),
        )
    for name, value in params.items():
        same_bits(f"{name} after the same {len(batches)} steps", again[name], value, subject.dtype)
    sizes = ", ".join(str(len(subject.material.batches[step])) for step in (0, 7))
    return Evidence(
        message=f"{len(batches)} steps, batches of {sizes}",
        value=0.0,
        limit=0.0,
        why="elements that differ",
    )


def close(subject: Subject) -> Evidence:
    """What a closed trainer held is given back, and others work beside it and after it."""
    shared = subject.trainer
    kept, size = _kept_by_closed_trainers(subject)
    with subject.another_trainer() as new:
        _right_logits(subject, new, "a trainer made after others were closed")
        new.wait(new.step(new.put(*subject.few(7))))
    _right_logits(subject, shared, "a trainer whose neighbours were closed")
    why = "bytes of memory that a closed trainer keeps; half of its parameters"
    if not kept <= size / 2:
        raise Failed(
            f"a trainer that was closed keeps {kept / 1e6:.1f} MB; its parameters had "
            f"{size / 1e6:.1f} MB",
            value=kept,
            limit=size / 2,
            why=why,
        )
    trainers = f"{TRAINERS} trainers of {size / 1e6:.0f} MB"
    return Evidence(message=trainers, value=kept, limit=size / 2, why=why)


def _kept_by_closed_trainers(subject: Subject) -> tuple[float, int]:
    """Bytes of memory that a wide trainer keeps once it is closed, and those of its parameters.

    By the least over some: a library, and the system's allocator, take what memory they keep when
    it suits them, but what each trainer keeps is kept by every one.
    """
    wide = resized(WIDE, SIZES[0])
    rng = np.random.default_rng(0)
    params = {p.name: rng.random(p.shape).astype(subject.dtype) for p in wide.parameters}
    held: list[int] = []
    for _ in range(TRAINERS):
        with subject.another_trainer(wide) as trainer:
            trainer.set_params(params)
            trainer.put(*subject.few(SIZES[0]))
        del trainer
        give_back_free_memory()
        held.append(resident_bytes())
    return float(np.min(np.diff(held))), sum(value.nbytes for value in params.values())


def _right_logits(subject: Subject, trainer: Trainer, what: str) -> None:
    """Failed unless a trainer's logits of seven samples are the judge's."""
    trainer.set_params(copied(subject.initial))
    x, y = subject.few(7)
    got = trainer.logits(trainer.put(x, y)).astype(np.float64)
    wide = {name: value.astype(np.float64) for name, value in subject.initial.items()}
    want = subject.reference.logits(wide, x.astype(np.float64))
    limit = subject.limit("forward")
    off = relative(got - want, want)
    if not off <= limit.value:
        raise Failed(
            f"{what} gives other logits: off by {off:.3g}",
            value=number(off),
            limit=limit.value,
            why=limit.reason,
            tensor="logits",
        )
