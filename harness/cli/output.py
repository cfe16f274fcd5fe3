"""What every verb shares: reading records, and writing to stdout and stderr. Imports lazily."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, InputError
from harness.record import store
from harness.text import clean

if TYPE_CHECKING:
    from rich.console import Console

    from harness.progress import Progress
    from harness.record.schema import Record
    from harness.report.sections import Report


def read(paths: list[Path], results_dir: Path) -> list[tuple[Record, Path]]:
    """Stored records, and the folder of each; InputError for the first that is not whole."""
    places = [locate(path, results_dir / "runs") for path in paths]
    for path in places:
        if not os.path.lexists(path / "record.json") and os.path.isdir(path / "runs"):
            raise InputError(
                f"{path}: a run of harness scale, a record a size in {path / 'runs'}; show it "
                f"with: harness scale {path}"
            )
    return [(store.read(path), path if os.path.isdir(path) else path.parent) for path in places]


def locate(path: Path, runs: Path, holds: str = "record.json") -> Path:
    """A path as it stands, where there is one; else one of `runs` by its name.

    holds: what the folder of such a run does.

    "latest" is the newest stored run there, "latest~1" the one before. InputError for one of those
    where there are not so many runs.
    """
    if os.path.lexists(path):
        return path
    if re.fullmatch(r"latest(~[0-9]{1,6})?", str(path)):
        back = int(str(path).partition("~")[2] or 0)
        from harness.results.store import EARLIEST, time_of

        stored = [held.parent for held in runs.glob(f"*/{holds}")]
        # By the time in its name: a folder that was renamed is older than any.
        stored.sort(key=lambda folder: (time_of(folder.name) or EARLIEST, folder.name))
        if len(stored) <= back:
            raise InputError(f"{path}: there are {len(stored)} stored runs in {runs}")
        return stored[-1 - back]
    if path.name == str(path) and os.path.isdir(runs / path):
        return runs / path
    return path


@contextlib.contextmanager
def at_work() -> Iterator[Progress]:
    """While workers compute: how far they are on stderr, and signals as Ctrl-C."""
    from harness.progress import make_progress
    from harness.signals import as_interrupt

    with as_interrupt(), contextlib.closing(make_progress()) as progress:
        yield progress


def print_document(document: Any, as_json: bool, text: str) -> None:
    """A document as JSON, or what it says for people; a record's texts steer no terminal."""
    told = json.dumps(document) if as_json else "\n".join(map(clean, text.split("\n")))
    out(told + "\n")


def out(text: str) -> bool:
    """Text to stdout; a reader that went away changes no exit status, a full disk is told.

    Whether there still is a reader.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    except OSError as error:
        raise HarnessError(f"cannot write to standard output: {error.strerror}") from None
    return True


@contextlib.contextmanager
def on_console() -> Iterator[Console]:
    """A console to draw tables on; what was drawn goes to stdout at the end, by `out`."""
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        yield console
    out(captured.get())


def show(report: Report) -> None:
    """A report on stdout."""
    from harness.report import terminal

    with on_console() as console:
        terminal.show(report, console)


def warn(text: str) -> None:
    """One line on stderr, whatever names of files or texts of a record it holds."""
    print(f"harness: {clean(text)}", file=sys.stderr)
