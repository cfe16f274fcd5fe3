"""What the system tells of this process: processors and memory. Imports NumPy."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
from collections.abc import Iterator, Sequence

import numpy as np

from harness.conformance.check import NotPossible
from harness.interface import Array


@contextlib.contextmanager
def allowed(chosen: Sequence[int]) -> Iterator[None]:
    """All threads of this process may run on these processors, and on their own again after.

    A worker starts with as many processors as threads; kept to them, more threads do not show.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before: dict[int, set[int]] = {}
    for task in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(ProcessLookupError):
            before[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, chosen)
    try:
        yield
    finally:
        for task, own in before.items():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, own)


def processors() -> tuple[int, ...]:
    """Those that this process may use; none where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def processor_time() -> Array:
    """Seconds of processors that all threads of this process have had, and wanted: float64 (2,).

    What a live thread waits for while others hold the processors counts as wanted, so that this
    says how many threads compute on a busy machine too. Where the system does not tell, it is 0.
    """
    wanted_ns = 0
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/schedstat") as file:
                running_ns, waiting_ns = file.read().split()[:2]
                wanted_ns += int(running_ns) + int(waiting_ns)
    return np.array([time.process_time(), wanted_ns / 1e9])


def resident_bytes() -> int:
    """Bytes of memory this process holds now; NotPossible where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    raise NotPossible("this system does not tell how much memory a process holds")


def give_back_free_memory() -> None:
    """Return what was freed in this process to the system: growth would hide in it (glibc)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def typical_growth(held: list[int]) -> float:
    """The median change from one to the next: a few single jumps are not counted as growth."""
    return float(np.median(np.diff(held)))
