"""What every verb shares: reading records, and writing to stdout and stderr. Imports lazily."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, InputError
from harness.files import check_place
from harness.record import store
from harness.text import clean

if TYPE_CHECKING:
    from rich.console import Console

    from harness.progress import Progress
    from harness.record.schema import Record
    from harness.report.sections import Report


def read(paths: list[Path], results_dir: Path) -> list[tuple[Record, Path]]:
    """Stored records, and the folder of each; InputError for the first that is not whole."""
    places = [_inside(locate(path, results_dir / "runs")) for path in paths]
    for path in places:
        if not os.path.lexists(path / "record.json") and os.path.isdir(path / "runs"):
            raise InputError(
                f"{path}: a run of harness scale, a record a size in {path / 'runs'}; show it "
                f"with: harness scale {path}"
            )
    return [(store.read(path), path if os.path.isdir(path) else path.parent) for path in places]


def _inside(path: Path) -> Path:
    """Of a sweep's cell the run that is in it; any other path as it is."""
    if os.path.lexists(path / "record.json") or not os.path.lexists(path / "plan.json"):
        return path
    return next((file.parent for file in path.glob("runs/[!.]*/record.json")), path)


def check_page(file: Path) -> None:
    """Whether a report can be written there, in the form that its ending says; InputError."""
    if file.suffix not in (".html", ".md"):
        raise InputError(f"--page {file}: a name that ends in .html or .md")
    check_place(file, "--page")


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
def at_work(phases: int = 0) -> Iterator[Progress]:
    """While workers compute: how far they are on stderr, and signals as Ctrl-C.

    phases: how many there will be, 0 where nobody knows.
    """
    from harness.progress import make_progress
    from harness.signals import as_interrupt

    with as_interrupt(), contextlib.closing(make_progress(phases)) as progress:
        yield progress


def print_document(document: Any, as_json: bool, text: str) -> None:
    """A document as JSON, or what it says for people; a record's texts steer no terminal."""
    told = json.dumps(document) if as_json else "\n".join(map(clean, text.split("\n")))
    out(told + "\n")


def out(text: str) -> bool:
    """Text for people to stdout, at once; whether there still is a reader."""
    sys.stdout.write(text)
    sys.stdout.flush()
    return not _Stdout.gone


def out_file(text: str) -> bool:
    """Text for a program to stdout: UTF-8, whatever the terminal speaks; as `out`."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    return not _Stdout.gone


class _Stdout(io.FileIO):
    """Standard output itself; what comes after a write that failed goes nowhere.

    HarnessError for that write; none where a reader went away, which changes no exit status.
    `gone`: whether one has.
    """

    gone = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                _Stdout.gone = True
                return len(data)
            raise HarnessError(f"cannot write to standard output: {error.strerror}") from None


# In place of marks that a terminal's encoding does not have. None becomes a question mark, which
# says "not decided".
PLAIN = {
    "✓": "v",
    "✗": "x",
    "×": "x",
    "–": "-",
    "−": "-",
    "·": "-",
    "≤": "<=",
    "≠": "!=",
    "→": "->",
    "±": "+-",
    "…": "...",
    "²": "^2",
    "½": "1/2",
    "µ": "u",
    "Σ": "sum ",
}


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter, "?") for letter in letters), error.end


def guard_streams() -> None:
    """Streams that a verb can rely on, whatever it was started with.

    A stream that is closed keeps its number, so that no file comes to lie there. Letters that
    stdout's encoding does not have are replaced, and writes that fail are told as `_Stdout` does.
    """
    for number, way in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:  # the lowest number that is free, which is this one
            os.set_inheritable(os.open(os.devnull, way), True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__ or sys.stdout is None:
        codecs.register_error("harness-plain", _plain)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "w", closefd=False)),
            encoding=getattr(sys.stdout, "encoding", "utf-8"),
            errors="harness-plain",
        )


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
    from harness.progress import say

    say(f"harness: {clean(text)}")
