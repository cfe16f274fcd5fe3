"""How far a session is: a bar with rate and time left on a terminal, plain lines elsewhere.

Writes to stderr only: stdout belongs to results.
"""

from __future__ import annotations

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


class PlainProgress:
    """A line when a phase begins, with the time since the start, and one every ten seconds."""

    def __init__(self) -> None:
        self._name, self._total, self._began, self._spoke = "", 0, 0.0, 0.0
        self._start = time.monotonic()

    def phase(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._began = self._spoke = time.monotonic()
        print(f"[{self._began - self._start:5.1f} s] {name} ({total})", file=sys.stderr, flush=True)

    def advance(self, done: int) -> None:
        now = time.monotonic()
        if now - self._spoke < LINE_EVERY_S or not done:
            return
        self._spoke = now
        rate = done / (now - self._began)
        left = (self._total - done) / rate
        line = f"{self._name} {done}/{self._total}, {rate:.0f}/s, {left:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        print(f"harness: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to put away."""


class TerminalProgress:
    """A bar with the rate and the time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=1, rate="")
        self._began = 0.0
        self._progress.start()

    def phase(self, name: str, total: int) -> None:
        self._began = time.monotonic()
        self._progress.reset(self._task, total=total, description=name, rate="")

    def advance(self, done: int) -> None:
        passed = time.monotonic() - self._began
        rate = f"{done / passed:.0f}/s" if passed > 0 else ""
        self._progress.update(self._task, completed=done, rate=rate)

    def note(self, text: str) -> None:
        self._progress.console.print(f"harness: {text}", markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def make_progress() -> PlainProgress | TerminalProgress:
    """The one that fits stderr."""
    return TerminalProgress() if sys.stderr.isatty() else PlainProgress()
