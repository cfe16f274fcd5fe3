"""Which processes a process has started, as the system tells (Linux), and how they are ended.

Whatever belongs to a worker is found by three signs: it descends from it, it is of its session, or
it carries the worker's mark in its environment. Where /proc is missing nothing is found; of the
worker's own process group all is ended there too. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import NamedTuple

# A variable of a worker's environment, and so of that of all that it starts: whose it is.
MARK = "FRAMEWORK_HARNESS_WORKER"
# How often processes that are to end are looked at, and how long those that were killed are waited
# for: the last of a few hundred that multiply meanwhile is gone long before.
POLL_S = 0.02
GONE_S = 5.0
# Enough to know a command by.
LONGEST_COMMAND = 200
# prctl's numbers for "send me this signal when my parent is gone", and for "orphans below this
# process become its children".
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36


class Left(NamedTuple):
    """A process that outlived its worker: its command, and processor time, its children's too."""

    command: str
    cpu_ns: int


def descendants(pid: int) -> dict[int, str]:
    """The live processes that one has started, and that these have: by id, when each started.

    None where /proc is missing; one whose parent is gone is nobody's.
    """
    seen = _all()
    return {child: seen[child].since for child in _below({pid}, seen)}


def belonging(pid: int, mark: str) -> dict[int, str]:
    """The live processes, this one excepted, that belong to a worker: by id, when each started.

    They descend from it, are of the session that it leads, or carry its mark. One that was orphaned
    while the worker lived descends from it (`hold_family`); one that left its session, wiped its
    environment and outlived the worker is not to be known.
    """
    seen = _all()
    session = {each for each, stat in seen.items() if stat.session == pid}
    members = _family({pid} | session, mark, seen)
    members.pop(pid, None)
    return members


def _family(first: set[int], mark: str, seen: dict[int, _Stat]) -> dict[int, str]:
    """Some processes, those with the mark and all that descend from these; not this one."""
    members = first | {each for each in seen if each not in first and _carries(each, mark)}
    members |= _below(members, seen)
    return {each: seen[each].since for each in members - {os.getpid()} if each in seen}


def end_left(mark: str, known: dict[int, str], settle_s: float) -> list[Left]:
    """Kill whatever belongs to a worker that is gone; what still lived after `settle_s` seconds.

    known: what belonged to it when it was last there. Helpers that end when their parent is gone
    have that time to do so; none is spent where nothing is left.
    """

    def alive() -> dict[int, str]:
        seen = _all()
        # The worker's own number may be another's by now.
        same = {each for each, since in known.items() if each in seen and seen[each].since == since}
        return _family(same, mark, seen)

    now = time.monotonic()
    settled, given_up = now + settle_s, now + settle_s + GONE_S
    while (left := alive()) and time.monotonic() < settled:
        time.sleep(POLL_S)
    outlived = [words for each in sorted(left) if (words := _tell(each)) is not None]
    while left and time.monotonic() < given_up:
        known = known | left
        for each, since in left.items():
            if started(each) == since:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
        time.sleep(POLL_S)
        left = alive()
    return outlived


def hold_family() -> None:
    """Let this process see its parent go even while it is stopped, and have its orphans.

    Stopped (SIGSTOP), it is woken when its parent is gone. Whatever its children leave behind
    becomes its own child, not the system's: else a daemon would be nobody's as soon as it is one.
    Linux only; elsewhere nothing happens.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, int(signal.SIGCONT), 0, 0, 0)
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def started(pid: int) -> str | None:
    """When a live process started, in ticks of the system; None where there is none."""
    stat = _stat(pid)
    return None if stat is None else stat.since


class _Stat(NamedTuple):
    parent: int
    session: int
    since: str
    cpu_ticks: int


def _stat(pid: int) -> _Stat | None:
    """What the system tells of a live process; None where it is gone but for its status."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        return _Stat(int(fields[1]), int(fields[3]), fields[19], sum(map(int, fields[11:15])))
    except (OSError, IndexError, ValueError):
        return None


def _all() -> dict[int, _Stat]:
    """Every live process."""
    seen = {}
    with contextlib.suppress(OSError):
        for name in filter(str.isdecimal, os.listdir("/proc")):
            if (stat := _stat(int(name))) is not None:
                seen[int(name)] = stat
    return seen


def _below(family: set[int], seen: dict[int, _Stat]) -> set[int]:
    """All that descend from some processes."""
    below: set[int] = set()
    while (
        born := {child for child, stat in seen.items() if stat.parent in family | below}
        - family
        - below
    ):
        below |= born
    return below


def _carries(pid: int, mark: str) -> bool:
    """Whether a process was started with this mark; of other users' processes nothing is known."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARK}={mark}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def _tell(pid: int) -> Left | None:
    """A live process in words; None where it is gone."""
    stat, words = _stat(pid), b""
    if stat is None:
        return None
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4 * LONGEST_COMMAND)
        if not words.strip(b"\0"):
            with open(f"/proc/{pid}/comm", "rb") as file:
                words = file.read().strip()
    text = words.replace(b"\0", b" ").decode("utf-8", "replace")
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return Left(plain[:LONGEST_COMMAND], stat.cpu_ticks * 10**9 // os.sysconf("SC_CLK_TCK"))
