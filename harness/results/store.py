"""The store: every run under results/runs/ found, and what its verdict says.

The files are the truth: no index, no server, no lock. A run is a folder with a record.json; trees
merge by copying folders. What is known of a run here is its verdict.json (see
`verdict/document.py`), so that thousands are read in a second; a run without a readable one is *not
judged*. Of a record only what it says of its samples is taken, which stands at its end: a run whose
record is cut, empty or another document is *damaged*, and its verdict does not count. Any other
folder is of a run in progress, or what a killed one left. Symbolic links are not followed. Two
folders that hold the same run (a copy) count once. A run of `harness scale` lies apart, in
results/scale/, and is a folder of results itself: each size is a run in its runs/.

What is asked of it: `query.py` (SQL), `history.py` (trends), `prune.py` (what may go).
Imports msgspec; no framework.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from harness.errors import InputError
from harness.files import MOST_BYTES, UNREADABLE, open_plain, why
from harness.record.schema import Samples
from harness.text import many
from harness.verdict.document import Document

T = TypeVar("T")
# A verdict.json of twelve labels and five seeds is 150 kB; more than this is none.
MOST_VERDICT = 20_000_000
# Of a record: its samples' digest, and the names of some runs that it goes on from.
END_BYTES = 4096
# How a run's folder is named by `new_run_folder`: the time it was made, UTC, and a few
# random digits.
RUN_NAME = re.compile(r"(\d{8}T\d{6})-[0-9a-f]{6}", re.ASCII)
# Stands for the time of a run that has none, in sorting.
EARLIEST = datetime.min.replace(tzinfo=UTC)


class Run(NamedTuple):
    """One stored run. `judged`: None where verdict.json is missing or not whole, or it is damaged.

    `id`: the folder's name, with what is not UTF-8 replaced. `started`: UTC; from the verdict, else
    from the folder's name. `samples`: None where it is damaged.
    """

    id: str
    folder: str
    started: datetime | None
    judged: Document | None
    samples: Samples | None


class _Record(msgspec.Struct):
    """What is taken of a record."""

    samples: Samples


class Store(NamedTuple):
    """What lies under results/runs/. `runs`: oldest first, those without a time before all.

    `copies`: folders of a run that another folder holds already; `rest`: folders without a record
    (of a run in progress or of a killed one, or foreign); `links`: symbolic links. Names of
    folders, sorted.
    """

    root: str
    runs: list[Run]
    copies: list[str]
    rest: list[str]
    links: list[str]

    @property
    def not_judged(self) -> list[Run]:
        """Runs without a readable verdict.json that are not damaged."""
        return [run for run in self.runs if run.judged is None and run.samples is not None]

    @property
    def damaged(self) -> list[Run]:
        """Runs whose record is not whole."""
        return [run for run in self.runs if run.samples is None]

    def notes(self) -> list[str]:
        """What a reader of the figures must know of what is not in them, a line each."""
        notes = []
        if missing := self.not_judged:
            where = missing[0].folder if len(missing) == 1 else f"{self.root}/RUN"
            notes.append(
                f"{many(len(missing), 'run')} not judged (no whole verdict.json): "
                f"{some([run.id for run in missing])}; mend with: harness check {where}"
            )
        if damaged := self.damaged:
            notes.append(
                f"{many(len(damaged), 'run')} not counted (record.json is damaged): "
                f"{some([run.id for run in damaged])}"
            )
        if self.copies:
            notes.append(f"copies of a run, not counted again: {some(self.copies)}")
        if self.links:
            notes.append(f"symbolic links, not followed: {some(self.links)}")
        return notes


def some(names: list[str]) -> str:
    """The first three of some names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shown, names[:3])) + more


def shown(name: str) -> str:
    """The name of a file as text: what is not UTF-8 is replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def find(results_dir: Path) -> Store:
    """Every run under results_dir/runs; InputError where that is no folder that can be read.

    What goes or comes meanwhile is there or not; files are written whole or not at all.
    """
    root = os.path.realpath(results_dir / "runs")
    try:
        with os.scandir(root) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise InputError(
            f"no stored runs: there is no folder {results_dir / 'runs'}; make one with: "
            "harness compare, or choose another --results-dir"
        ) from None
    except OSError as error:
        raise InputError(f"stored runs {results_dir / 'runs'}: {why(error)}") from None
    store = Store(shown(root), [], [], [], [])
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            store.links.append(entry.name)
        elif not entry.is_dir(follow_symlinks=False):
            continue
        elif is_file(f"{entry.path}/record.json"):
            store.runs.append(_read(entry.name, entry.path))
        else:
            store.rest.append(entry.name)
    _count_once(store)
    store.runs.sort(key=lambda run: (run.started or EARLIEST, run.id))
    return store


def is_file(path: str) -> bool:
    """Whether there is a regular file, not a link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _count_once(store: Store) -> None:
    """Of folders that hold the same run keep the one that is named after it, else the first.

    A damaged one only where there is no other.
    """
    kept: dict[str, Run] = {}
    for run in store.runs:
        name = run.judged.run if run.judged is not None else run.id
        if (other := kept.setdefault(name, run)) is not run:
            ranks = [(each.samples is None, each.id != name) for each in (other, run)]
            kept[name], copy = (run, other) if ranks[1] < ranks[0] else (other, run)
            store.copies.append(copy.id)
    store.runs[:] = kept.values()


def _read(name: str, folder: str) -> Run:
    judged = read_verdict(f"{folder}/verdict.json")
    started = moment(judged.started) if judged is not None else None
    samples = _decoded(f"{folder}/record.json", _samples)
    whole = judged if samples is not None else None
    return Run(shown(name), shown(folder), started or time_of(name), whole, samples)


def _samples(file: BufferedReader) -> Samples:
    """What a record says of its samples; raises as UNREADABLE.

    Where that stands at the end, as it is written, no more is read: a record may have megabytes.
    """
    begins, size = file.read(1), file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_BYTES))
    end = file.read().rpartition(b'"samples":')[2]
    if begins == b"{":
        with suppress(*UNREADABLE):
            return msgspec.json.decode(b'{"samples":' + end, type=_Record).samples
    file.seek(0)
    return msgspec.json.decode(file.read(), type=_Record).samples


def read_verdict(path: str) -> Document | None:
    """What a verdict.json says; None where it is missing, a link, damaged, or of another kind."""

    def document(file: BufferedReader) -> Document:
        return msgspec.json.decode(file.read(), type=Document)

    return _decoded(path, document, MOST_VERDICT)


def _decoded(path: str, decode: Callable[[BufferedReader], T], most: int = MOST_BYTES) -> T | None:
    """What a file holds; None where it is missing, a link, damaged, or of another kind."""
    try:
        with open_plain(path, most, follow=False) as file:
            return decode(file)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise InputError(f"{shown(path)}: {why(error)}") from None
        return None
    except UNREADABLE:
        return None


def moment(text: str) -> datetime | None:
    """A time as records write it, ISO 8601, in UTC; None for what is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def age(option: str, text: str) -> timedelta:
    """An age as it is given to an option: 36h, 90d or 12w; InputError for anything else."""
    parts = re.fullmatch(r"([0-9]{1,4})([hdw])", text)
    if parts is None:
        raise InputError(f"{option} {text!r}: expected hours, days or weeks, as 36h, 90d or 12w")
    unit = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[parts[2]]
    return int(parts[1]) * unit


def time_of(folder: str) -> datetime | None:
    """When a run's folder was made, by its name; None for one that was renamed."""
    named = RUN_NAME.fullmatch(folder)
    try:
        return datetime.strptime(f"{named[1]}+0000", "%Y%m%dT%H%M%S%z") if named else None
    except ValueError:
        return None
