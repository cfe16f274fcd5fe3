"""Checks of what a trainer keeps from one call to the next, and what it must not.

Imports NumPy; no framework.
"""

from __future__ import annotations

import numpy as np

from harness.conformance.check import Evidence, hold
from harness.conformance.subject import Subject, copied, judged, same_bits
from harness.conformance.system import give_back_free_memory, resident_bytes
from harness.interface import Trainer
from harness.workloads.mlp_scratch import resized
from harness.workloads.reference.pieces import cast

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
        same_bits("{} after only looking", trainer.get_params(), before)
        losses.append(trainer.wait(trainer.step(batch)))
    looked_at = losses, trainer.get_params()
    return subject.same_training(looked_at, plain, subject.initial, "two steps with and without")


def set_params_resets(subject: Subject) -> Evidence:
    """After set_params a trainer is as new, the optimiser's state included."""
    trainer = subject.trainer
    batches = [trainer.put(*subject.few(7, start)) for start in (0, 7, 14)]
    first = subject.train(trainer, subject.initial, batches)
    for _ in range(2):
        trainer.wait(trainer.step(batches[-1]))
    again = subject.train(trainer, subject.initial, batches)
    return subject.same_training(again, first, subject.initial, "three steps and again")


def instances_independent(subject: Subject) -> Evidence:
    """Two trainers side by side do not touch each other."""
    one = subject.trainer
    batches = [one.put(*subject.few(7, start)) for start in (0, 7, 14)]
    want = subject.train(one, subject.initial, batches)
    trained = cast(subject.material.trained, subject.dtype)
    with subject.another_trainer() as other:
        others = [other.put(*subject.few(7, start)) for start in (21, 28, 35)]
        one.set_params(copied(subject.initial))
        other.set_params(copied(trained))
        losses: tuple[list[float], list[float]] = ([], [])
        for pair in zip(batches, others, strict=True):
            handles = one.step(pair[0]), other.step(pair[1])
            losses[0].append(one.wait(handles[0]))
            losses[1].append(other.wait(handles[1]))
        got = (losses[0], one.get_params()), (losses[1], other.get_params())
        want_of_other = subject.train(other, trained, others)
    subject.same_training(got[1], want_of_other, trained, "the second trainer by turns and alone")
    return subject.same_training(
        got[0], want, subject.initial, "the first trainer by turns and alone"
    )


def repeatable(subject: Subject) -> Evidence:
    """The same training twice is the same bit for bit."""
    trainer = subject.trainer
    batches = [trainer.put(*subject.rows(step)) for step in (0, 1, 2, 3, 7)]
    losses, params = subject.train(trainer, subject.initial, batches)
    again_losses, again = subject.train(trainer, subject.initial, batches)
    what = f"{{}} of the same {len(batches)} steps"
    same_bits(what, {"losses": np.array(again_losses)}, {"losses": np.array(losses)})
    same_bits(what, again, params)
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
    return hold(
        kept,
        size / 2,
        why="bytes of memory that a closed trainer keeps; half of its parameters",
        failure=f"a trainer that was closed keeps {kept / 1e6:.1f} MB; its parameters had "
        f"{size / 1e6:.1f} MB",
        passed=f"{TRAINERS} trainers of {size / 1e6:.0f} MB",
    )


def _kept_by_closed_trainers(subject: Subject) -> tuple[float, int]:
    """Bytes of memory that a wide trainer keeps once it is closed, and those of its parameters.

    By the least over some: a library, and the system's allocator, take what memory they keep when
    it suits them, but what each trainer keeps is kept by every one.
    """
    workload, rng = resized(WIDE, subject.workload.batch_size), np.random.default_rng(0)
    params = {p.name: rng.random(p.shape).astype(subject.dtype) for p in workload.parameters}
    held: list[int] = []
    for _ in range(TRAINERS):
        with subject.another_trainer(workload) as trainer:
            trainer.set_params(params)
            trainer.put(*subject.few(workload.batch_size))
        del trainer
        give_back_free_memory()
        held.append(resident_bytes())
    return float(np.min(np.diff(held))), sum(value.nbytes for value in params.values())


def _right_logits(subject: Subject, trainer: Trainer, case: str) -> None:
    """Failed unless a trainer's logits of seven samples are the judge's."""
    trainer.set_params(copied(subject.initial))
    x, y = subject.few(7)
    want = subject.reference.logits(cast(subject.initial), x.astype(np.float64))
    judged([subject.compared("forward", "logits", trainer.logits(trainer.put(x, y)), want, case)])
