"""How far a session is: a bar with rate and time left on a terminal, plain lines elsewhere.

Writes to stderr only: stdout belongs to results. A stderr that cannot be written stops nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from typing import Protocol

# Plain lines come at most so often within a phase.
LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Where a session says how far it is."""

    def phase(self, name: str, total: int) -> None:
        """A new stretch of work of so many units begins."""

    def advance(self, done: int) -> None:
        """So many units of the present phase are done."""

    def note(self, text: str) -> None:
        """One line the user must see."""


def say(line: str) -> None:
    """A line on stderr; where that is full or gone, nothing, now and at the end."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def load() -> float:
    """The load average of the last minute, tasks that compute or wait to; 0 where none is told."""
    with contextlib.suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return 0.0


def rate(done: int, seconds: float) -> str:
    """How fast it goes, in words: units a second, or seconds a unit; "" where nothing is done."""
    if done <= 0 or seconds <= 0:
        return ""
    each = seconds / done
    return f"{1 / each:.0f} a second" if each <= 0.5 else f"{each:.2g} s each"


def left(done: int, total: int, seconds: float) -> str:
    """The time left at that rate, in words: not 0 while there is work."""
    if not 0 < done < total:
        return ""
    ahead = max(1, math.ceil((total - done) * seconds / done))
    return f"about {ahead} s left" if ahead < 100 else f"about {math.ceil(ahead / 60)} min left"


class PlainProgress:
    """A line when a phase begins, with the time since the start, and one every ten seconds.

    expected: how many phases there will be, 0 where nobody knows.
    """

    def __init__(self, expected: int = 0) -> None:
        self._name, self._total, self._began, self._spoke = "", 0, 0.0, 0.0
        self._start, self._phases, self._expected = time.monotonic(), 0, expected

    def _counted(self, name: str) -> str:
        """A phase with its number; before the first it is said where the machine is loaded."""
        if not self._phases and (tasks := load()) > (cores := os.cpu_count() or 1):
            self.note(
                f"this machine is busy (load {tasks:.0f} on {cores} processors): times will "
                "suffer, what is computed will not"
            )
        self._phases += 1
        if self._phases > self._expected:
            return name
        return f"{self._phases} of {self._expected}: {name}"

    def phase(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._began = self._spoke = time.monotonic()
        say(f"[{self._began - self._start:5.1f} s] {self._counted(name)}")

    def advance(self, done: int) -> None:
        now = time.monotonic()
        if now - self._spoke < LINE_EVERY_S or not done:
            return
        self._spoke, passed = now, now - self._began
        parts = rate(done, passed), left(done, self._total, passed)
        counted = f"{self._name}: {done} of {self._total}"
        say(f"[{now - self._start:5.1f} s] {', '.join(filter(None, (counted, *parts)))}")

    def note(self, text: str) -> None:
        say(f"harness: {text}")

    def close(self) -> None:
        """Nothing to put away."""


class TerminalProgress(PlainProgress):
    """A bar with the rate and the time left."""

    def __init__(self, expected: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__(expected)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=1, state="")
        self._progress.start()

    def phase(self, name: str, total: int) -> None:
        self._total, self._began = total, time.monotonic()
        self._progress.reset(self._task, total=total, description=self._counted(name), state="")

    def advance(self, done: int) -> None:
        passed = time.monotonic() - self._began
        parts = f"{done} of {self._total}", rate(done, passed), left(done, self._total, passed)
        state = ", ".join(filter(None, parts))
        self._progress.update(self._task, completed=done, state=state)

    def note(self, text: str) -> None:
        self._progress.console.print(f"harness: {text}", markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def make_progress(expected: int = 0) -> PlainProgress:
    """The one that fits stderr."""
    return TerminalProgress(expected) if sys.stderr.isatty() else PlainProgress(expected)
