"""Checks of the process that a backend lives in: threads, memory, what is left at the end.

Imports NumPy and threadpoolctl; no framework.
"""

from __future__ import annotations

import os
import threading
import time

from threadpoolctl import threadpool_info

from harness.conformance.check import Evidence, Failed, NotPossible
from harness.conformance.subject import Subject, copied
from harness.conformance.system import (
    allowed,
    command_of,
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
    told = subject.backend.facts().get("threads", "")
    if {each.strip() for each in told.split(",")} != {str(asked)}:  # one for each library
        raise Failed(f"facts tell of {told!r} threads; {asked} were asked for")
    for pool in threadpool_info():
        if pool["num_threads"] > asked:
            raise Failed(
                f"{pool['internal_api']} ({pool['user_api']}) has {pool['num_threads']} threads; "
                f"{asked} were asked for",
                value=pool["num_threads"],
                limit=asked,
                why="threads of a library, as threadpoolctl finds it",
            )
    if len(subject.processors) <= asked:
        raise NotPossible(
            f"the facts and libraries tell of {asked}; whether more compute cannot be seen, for "
            f"there is no more than {len(subject.processors)} processor(s)"
        )
    trainer = subject.trainer
    trainer.set_params(copied(subject.initial))
    batch = trainer.put(*subject.rows(0))
    with allowed(subject.processors):
        for _ in range(5):
            trainer.wait(trainer.step(batch))
        before, wall = processor_time(), time.perf_counter()
        while time.perf_counter() - wall < WATCHED_S:
            trainer.wait(trainer.step(batch))
        used = processor_time() - before
        wall = time.perf_counter() - wall
    share, wanted, limit = used.had / wall, used.wanted / wall, asked + MOST_EXTRA
    why = "processors at work in steps, on average; a quarter of one more is housekeeping"
    if share > limit:
        raise Failed(
            f"{share:.2f} processors are at work; {asked} thread(s) were asked for",
            value=share,
            limit=limit,
            why=why,
        )
    # On a busy machine a thread waits for a processor longer than it has one, also a short-lived
    # or mostly idle one: what is wanted can say that there are no more threads, not that there are.
    if wanted > limit or max(share, wanted) < LEAST_USE * asked:
        raise NotPossible(
            f"the facts and libraries tell of {asked}; steps have {share:.2f} processors, so more "
            "threads would not show: the machine is busy, or a device computes"
        )
    return Evidence(message=f"{asked} asked for", value=share, limit=limit, why=why)


def memory(subject: Subject) -> Evidence:
    """Memory stays flat over 2 000 steps, each with a batch of its own."""
    trainer = subject.trainer
    trainer.set_params(copied(subject.initial))
    x, y = subject.few(7)
    held: list[int] = []
    for step in range(WARM_UP + WATCHED + 1):
        if step == WARM_UP:
            give_back_free_memory()
        if step >= WARM_UP and (step - WARM_UP) % (WATCHED // PARTS) == 0:
            held.append(resident_bytes())
            if held[-1] - held[0] > MOST_BYTES:
                break
        trainer.wait(trainer.step(trainer.put(x, y)))
    growth = typical_growth(held) / (WATCHED // PARTS)
    why = (
        f"bytes a step, the median over {len(held) - 1} parts of {WATCHED // PARTS} steps; a batch "
        "of 7 that is kept has 22 kB"
    )
    if growth > MOST_GROWTH:
        raise Failed(
            f"memory grows by {growth / 1000:.1f} kB a step",
            value=growth,
            limit=MOST_GROWTH,
            why=why,
        )
    return Evidence(message=f"{WATCHED} steps", value=growth, limit=MOST_GROWTH, why=why)


def clean_end(subject: Subject) -> Evidence:
    """When all is closed no process and no thread is left, and a worker ends by itself.

    A worker's status is then 0. (That it ends is for `harness certify` to see; elsewhere it is
    checked that closed trainers leave no process and no thread that is not a daemon.)
    """
    subject.renew()
    with subject.another_trainer() as trainer:
        trainer.set_params(copied(subject.initial))
        trainer.wait(trainer.step(trainer.put(*subject.few(7))))
    del trainer
    left = [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread not in subject.first_threads
    ]
    if left:
        raise Failed(f"non-daemon threads are left after close: {', '.join(left)}")
    born = {*descendants(os.getpid())} - subject.first_children
    if born:
        names = ", ".join(f"{command_of(pid)} ({pid})" for pid in sorted(born))
        raise Failed(f"processes are left after close: {names}")
    return Evidence(message="no thread, no process")
