"""Checks of what a trainer keeps from one call to the next, and what it must not.

Imports NumPy; no framework.
"""

from __future__ import annotations

import numpy as np

from harness.conformance.check import Evidence, hold
from harness.conformance.subject import Subject, copied, judged, same_bits
from harness.conformance.system import give_back_free_memory, resident_bytes
from harness.interface import Traces, Trainer
from harness.workloads.reference.composed import cast

# Bytes that closed trainers must have held to show where they are kept, and how many are made for
# that at most, in each of so many rounds.
LEAST_BYTES, MOST_TRAINERS, ROUNDS = 4_000_000, 16, 4


def looking_changes_nothing(subject: Subject) -> Evidence:
    """Between steps outputs, loss_and_grads, fetch, get_state and put change nothing."""
    trainer = subject.trainer
    batch = trainer.put(subject.few(7))
    plain = subject.train(trainer, subject.initial, [batch, batch])
    trainer.set_state(copied(subject.initial))
    losses = []
    for _ in range(2):
        before = trainer.get_state()
        for training in (False, True):
            trainer.outputs(batch, training=training)
        trainer.loss_and_grads(batch)
        if isinstance(trainer, Traces):
            trainer.trace(batch)
        trainer.fetch(batch)
        trainer.put(subject.few(7, start=7))
        same_bits("{} after only looking", trainer.get_state(), before)
        losses.append(trainer.wait(trainer.step(batch)))
    looked_at = losses, trainer.get_state()
    return subject.same_training(looked_at, plain, subject.initial, "two steps with and without")


def set_state_is_whole(subject: Subject) -> Evidence:
    """From the same state the same steps follow, whatever was trained before.

    From the initial one, and from that in the middle of a training: the optimiser's tensors and
    the running ones are all that a trainer remembers.
    """
    trainer = subject.trainer
    batches = [trainer.put(subject.few(7, start)) for start in (0, 7, 14)]
    losses, middle = subject.train(trainer, subject.initial, batches[:1])
    further, end = subject.train(trainer, middle, batches[1:])
    for _ in range(2):
        trainer.wait(trainer.step(batches[-1]))
    again = subject.train(trainer, subject.initial, batches)
    by_parts = [*losses, *further], end
    return subject.same_training(by_parts, again, subject.initial, "three steps, and by parts")


def instances_independent(subject: Subject) -> Evidence:
    """Two trainers side by side do not touch each other."""
    one = subject.trainer
    batches = [one.put(subject.few(7, start)) for start in (0, 7, 14)]
    want = subject.train(one, subject.initial, batches)
    trained = cast(subject.material.trained, subject.dtype)
    with subject.another_trainer() as other:
        others = [other.put(subject.few(7, start)) for start in (21, 28, 35)]
        one.set_state(copied(subject.initial))
        other.set_state(copied(trained))
        losses: tuple[list[float], list[float]] = ([], [])
        for pair in zip(batches, others, strict=True):
            handles = one.step(pair[0]), other.step(pair[1])
            losses[0].append(one.wait(handles[0]))
            losses[1].append(other.wait(handles[1]))
        got = (losses[0], one.get_state()), (losses[1], other.get_state())
        want_of_other = subject.train(other, trained, others)
    subject.same_training(got[1], want_of_other, trained, "the second trainer by turns and alone")
    return subject.same_training(
        got[0], want, subject.initial, "the first trainer by turns and alone"
    )


def repeatable(subject: Subject) -> Evidence:
    """The same training twice is the same bit for bit."""
    trainer = subject.trainer
    batches = [trainer.put(subject.rows(step)) for step in (0, 1, 2, 3, 7)]
    losses, trained = subject.train(trainer, subject.initial, batches)
    again_losses, again = subject.train(trainer, subject.initial, batches)
    what = f"{{}} of the same {len(batches)} steps"
    same_bits(what, {"losses": np.array(again_losses)}, {"losses": np.array(losses)})
    same_bits(what, again, trained)
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
    size = sum(value.nbytes for value in subject.initial.values())
    trainers = min(MOST_TRAINERS, -(-LEAST_BYTES // size))
    kept = _kept_by_closed_trainers(subject, trainers)
    with subject.another_trainer() as new:
        _right_outputs(subject, new, "a trainer made after others were closed")
        new.wait(new.step(new.put(subject.few(7))))
    _right_outputs(subject, shared, "a trainer whose neighbours were closed")
    size *= trainers
    if size < LEAST_BYTES / 2:
        return Evidence(message=f"{trainers} trainers of {size / 1e6:.1f} MB would not show")
    return hold(
        kept,
        size / 2,
        why=f"bytes of memory that {trainers} closed trainers keep; half of their states",
        failure=f"{trainers} trainers that were closed keep {kept / 1e6:.1f} MB; their states had "
        f"{size / 1e6:.1f} MB",
        passed=f"{ROUNDS} times {trainers} trainers, of {size / 1e6:.0f} MB together",
    )


def _kept_by_closed_trainers(subject: Subject, trainers: int) -> float:
    """Bytes of memory that so many trainers keep once they are closed.

    By the least over some rounds: a library, and the system's allocator, take what memory they keep
    when it suits them, but what each trainer keeps is kept in every one.
    """
    held: list[int] = []
    for _ in range(ROUNDS):
        for _ in range(trainers):
            with subject.another_trainer() as trainer:
                trainer.set_state(copied(subject.initial))
                trainer.put(subject.few(7))
            del trainer
        give_back_free_memory()
        held.append(resident_bytes())
    return float(np.min(np.diff(held)))


def _right_outputs(subject: Subject, trainer: Trainer, case: str) -> None:
    """Failed unless a trainer's outputs of seven samples are the judge's."""
    trainer.set_state(copied(subject.initial))
    batch, name = subject.few(7), subject.workload.trace[-1]
    want = subject.judge.outputs(cast(subject.initial), cast(batch))
    got = trainer.outputs(trainer.put(batch), training=False)
    judged([subject.compared("forward", name, got, want, case)])
