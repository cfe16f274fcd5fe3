"""Checks of how steps are queued, made at once, and waited for. Imports NumPy; no framework."""

from __future__ import annotations

import time

import numpy as np

from harness.conformance.check import Evidence, Failed, NotPossible, hold
from harness.conformance.subject import Subject, copied, judged
from harness.interface import RunsMany

# Steps made by one call of `run`.
MANY = 3
# Steps queued before one wait. An attempt that was disturbed says nothing: the best one counts.
QUEUED, ATTEMPTS = 8, 8
# Of a step's time, what may be left to do after a wait: its update takes half of it and more.
LEFT_OVER = 0.3


def run(subject: Subject) -> Evidence:
    """Many steps by run are the same updates as single steps, with the same losses."""
    trainer = subject.trainer
    if not isinstance(trainer, RunsMany):
        raise NotPossible("this trainer has no run; it is optional")
    batches = [trainer.put(subject.rows(step)) for step in range(MANY)]
    want = subject.train(trainer, subject.initial, batches)
    trainer.set_state(copied(subject.initial))
    losses = trainer.run(batches)
    if len(losses) != MANY:
        raise Failed(f"run told {len(losses)} losses of {MANY} steps")
    got = [float(loss) for loss in losses], trainer.get_state()
    return subject.same_training(got, want, subject.initial, f"{MANY} steps by run")


def loss_handles(subject: Subject) -> Evidence:
    """Several steps may be queued: each one's handle, waited for later, tells its own loss."""
    trainer = subject.trainer
    batches = [trainer.put(subject.rows(step)) for step in range(4)]
    want, _ = subject.train(trainer, subject.initial, batches)
    trainer.set_state(copied(subject.initial))
    handles = [trainer.step(batch) for batch in batches]
    got = [trainer.wait(handle) for handle in reversed(handles)][::-1]
    case = f"{len(batches)} steps queued, the last waited for first"
    return judged(subject.same_losses(got, want, case), case)


def wait(subject: Subject) -> Evidence:
    """When wait returns every queued update is done: nothing is left for who reads next."""
    trainer, clock = subject.started(), time.perf_counter
    batch = trainer.put(subject.rows(0))
    trainer.wait(trainer.step(batch))
    trainer.get_state()
    # So much memory written in between, the state comes from no cache the second time either.
    others = np.empty(32_000_000, np.uint8)
    first, again, steps = [], [], []
    for _ in range(ATTEMPTS):
        began = clock()
        for _ in range(QUEUED):
            loss = trainer.step(batch)
        trainer.wait(loss)
        waited = clock()
        held = trainer.get_state()
        read = clock()
        first.append(read - waited)
        steps.append((read - began) / QUEUED)
        others.fill(0)
        read = clock()
        # What was read before is still held, so that this allocates as that did.
        held |= {f"{name} again": value for name, value in trainer.get_state().items()}
        again.append(clock() - read)
    step, left = min(steps), max(0.0, min(first) - min(again))
    return hold(
        left / step,
        LEFT_OVER,
        why=f"of a step's time, the best of {ATTEMPTS} attempts; the last step's update alone "
        "takes longer",
        failure=f"after wait, get_state takes {left * 1e3:.2f} ms longer than once more: "
        f"{left / step:.1f} steps were not done",
        passed=f"{QUEUED} steps of {step * 1e3:.2f} ms queued",
    )
