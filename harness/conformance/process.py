"""Checks of the process that a backend lives in: threads, memory, what is left at the end.

Imports NumPy and threadpoolctl; no framework.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from threadpoolctl import threadpool_info

from harness.conformance.check import Evidence, Failed, NotPossible, hold
from harness.conformance.subject import Subject, copied
from harness.conformance.system import (
    allowed,
    give_back_free_memory,
    processor_time,
    resident_bytes,
    typical_growth,
)
from harness.workers.processes import descendants

# How long steps are watched, and processor time beyond the threads that were asked for: that of a
# quarter of one more thread is more than housekeeping takes.
WATCHED_S, MOST_EXTRA = 0.4, 0.25
# Steps that have less than so much of the threads asked for tell nothing of more.
LEAST_USE = 0.7
# Steps before, and under watch; the parts whose growth is taken each by itself.
WARM_UP, WATCHED, PARTS = 500, 2000, 8
# Bytes a step that memory may grow by: a batch of 7 that is kept is 22 kB, parameters 800 kB.
MOST_GROWTH = 2048
# Growth that ends the check at once.
MOST_BYTES = 400_000_000


def threads(subject: Subject) -> Evidence:
    """No more threads compute than were asked for.

    By the facts, by the thread libraries that are loaded, and by processor time where more
    processors are allowed.
    """
    asked = subject.threads
    fact = subject.backend.facts().get("threads", "")
    if {each.strip() for each in fact.split(",")} != {str(asked)}:  # one for each library
        raise Failed(f"facts tell of {fact!r} threads; {asked} were asked for")
    for pool in threadpool_info():
        hold(
            pool["num_threads"],
            asked,
            why="threads of a library, as threadpoolctl finds it",
            failure=f"{pool['internal_api']} ({pool['user_api']}) has {pool['num_threads']} "
            f"threads; {asked} were asked for",
        )
    if len(subject.processors) <= asked:
        raise NotPossible(
            f"the facts and libraries tell of {asked}; whether more compute cannot be seen, for "
            f"there is no more than {len(subject.processors)} processor(s)"
        )
    trainer = subject.started()
    batch = trainer.put(subject.rows(0))
    with allowed(subject.processors):
        for _ in range(5):
            trainer.wait(trainer.step(batch))
        before, wall = processor_time(), time.perf_counter()
        while time.perf_counter() - wall < WATCHED_S:
            trainer.wait(trainer.step(batch))
        used, wall = processor_time() - before, time.perf_counter() - wall
    (share, wanted), limit = (used / wall).tolist(), asked + MOST_EXTRA
    at_work = hold(
        share,
        limit,
        why="processors at work in steps, on average; a quarter of one more is housekeeping",
        failure=f"{share:.2f} processors are at work; {asked} thread(s) were asked for",
        passed=f"{asked} asked for",
    )
    # On a busy machine a thread waits for a processor longer than it has one, also a short-lived
    # or mostly idle one: what is wanted can say that there are no more threads, not that there are.
    if wanted > limit or max(share, wanted) < LEAST_USE * asked:
        raise NotPossible(
            f"the facts and libraries tell of {asked}; steps have {share:.2f} processors, so more "
            "threads would not show: the machine is busy, or a device computes"
        )
    return at_work


def memory(subject: Subject) -> Evidence:
    """Memory stays flat over 2 000 steps, each with a batch of its own."""
    trainer = subject.started()
    given = subject.few(7)
    held: list[int] = []
    for step in range(WARM_UP + WATCHED + 1):
        if step == WARM_UP:
            give_back_free_memory()
        if step >= WARM_UP and (step - WARM_UP) % (WATCHED // PARTS) == 0:
            held.append(resident_bytes())
            if held[-1] - held[0] > MOST_BYTES:
                break
        trainer.wait(trainer.step(trainer.put(given)))
    growth = typical_growth(held) / (WATCHED // PARTS)
    return hold(
        growth,
        MOST_GROWTH,
        why=f"bytes a step, the median over {len(held) - 1} parts of {WATCHED // PARTS} steps; a "
        "batch of 7 that is kept has 22 kB",
        failure=f"memory grows by {growth / 1000:.1f} kB a step",
        passed=f"{WATCHED} steps",
    )


def clean_end(subject: Subject) -> Evidence:
    """When all is closed no process and no thread is left, and a worker ends by itself.

    A worker's status is then 0. (That it ends is for `harness certify` to see; elsewhere it is
    checked that closed trainers leave no process and no thread that is not a daemon.)
    """
    subject.renew()
    with subject.another_trainer() as trainer:
        trainer.set_state(copied(subject.initial))
        trainer.wait(trainer.step(trainer.put(subject.few(7))))
    del trainer
    left = [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread not in subject.first_threads
    ]
    if left:
        raise Failed(f"non-daemon threads are left after close: {', '.join(left)}")
    left = [
        f"{_command(pid)} ({pid})"
        for pid in sorted({*descendants(os.getpid())} - subject.first_children)
    ]
    if left:
        raise Failed(f"processes are left after close: {', '.join(left)}")
    return Evidence(message="no thread, no process")


def _command(pid: int) -> str:
    """The name of a process's program."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
        return file.read().strip()
    return "a process"
