"""The store: every run under results/runs/ found, and what its verdict says.

The files are the truth: no index, no server, no lock. A run is a folder with a record.json; trees
merge by copying folders. What is known of a run here is its verdict.json (see
`verdict/document.py`), so that thousands are read in a second; a run without a readable one is *not
judged*. A folder with a scale.json is a run of `harness scale`, which has no verdict: it is left
alone. Any other is of a run in progress, or what a killed one left. Symbolic links are not
followed. Two folders that hold the same run (a copy) count once.

What is asked of it: `query.py` (SQL), `history.py` (trends), `prune.py` (what may go).
Imports msgspec; no framework.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import InputError
from harness.files import why
from harness.run.scale import FILE as SCALE
from harness.text import many
from harness.verdict.document import Document

# A verdict.json of twelve labels and five seeds is 150 kB; more than this is none.
MOST_BYTES = 20_000_000
# How a run's folder is named by `record.new_run_folder`: the time it was made, UTC, and a few
# random digits.
RUN_NAME = re.compile(r"(\d{8}T\d{6})-[0-9a-f]{6}", re.ASCII)
# Stands for the time of a run that has none, in sorting.
EARLIEST = datetime.min.replace(tzinfo=UTC)


class Run(NamedTuple):
    """One stored run. `judged`: None where verdict.json is missing or not whole.

    `id`: the folder's name, with what is not UTF-8 replaced. `started`: UTC; from the verdict, else
    from the folder's name.
    """

    id: str
    folder: str
    started: datetime | None
    judged: Document | None


class Store(NamedTuple):
    """What lies under results/runs/. `runs`: oldest first, those without a time before all.

    `copies`: folders of a run that another folder holds already; `scale`: runs of `harness scale`;
    `rest`: folders without a record (of a run in progress or of a killed one, or foreign); `links`:
    symbolic links. Names of folders, sorted.
    """

    root: str
    runs: list[Run]
    copies: list[str]
    scale: list[str]
    rest: list[str]
    links: list[str]

    @property
    def not_judged(self) -> list[Run]:
        """Runs without a readable verdict.json."""
        return [run for run in self.runs if run.judged is None]

    def notes(self) -> list[str]:
        """What a reader of the figures must know of what is not in them, a line each."""
        found = []
        if missing := self.not_judged:
            where = missing[0].folder if len(missing) == 1 else f"{self.root}/RUN"
            found.append(
                f"{many(len(missing), 'run')} not judged (no whole verdict.json): "
                f"{some([run.id for run in missing])}; mend with: harness check {where}"
            )
        if self.copies:
            found.append(f"copies of a run, not counted again: {some(self.copies)}")
        if self.links:
            found.append(f"symbolic links, not followed: {some(self.links)}")
        return found


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
        with os.scandir(root) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        raise InputError(
            f"no stored runs: there is no folder {results_dir / 'runs'}; make one with: "
            "harness compare, or choose another --results-dir"
        ) from None
    except OSError as error:
        raise InputError(f"stored runs {results_dir / 'runs'}: {why(error)}") from None
    store = Store(shown(root), [], [], [], [], [])
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            store.links.append(entry.name)
        elif not entry.is_dir(follow_symlinks=False):
            continue
        elif is_file(f"{entry.path}/record.json"):
            store.runs.append(_read(entry.name, entry.path))
        elif is_file(f"{entry.path}/{SCALE}"):
            store.scale.append(entry.name)
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
    """Of folders that hold the same run keep the one that is named after it, else the first."""
    kept: dict[str, Run] = {}
    for run in store.runs:
        name = run.judged.run if run.judged is not None and run.judged.run else run.id
        if name not in kept or run.id == name:
            if name in kept:
                store.copies.append(kept[name].id)
            kept[name] = run
        else:
            store.copies.append(run.id)
    store.runs[:] = kept.values()


def _read(name: str, folder: str) -> Run:
    judged = read_verdict(f"{folder}/verdict.json")
    started = moment(judged.started) if judged is not None and judged.started else None
    return Run(shown(name), shown(folder), started or time_of(name), judged)


def read_verdict(path: str) -> Document | None:
    """What a verdict.json says; None where it is missing, a link, damaged, or of another kind."""
    data = read_file(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_file(path: str) -> bytes | None:
    """A file's bytes; None for a link, a pipe, a folder, or one of more than MOST_BYTES."""
    try:
        # A pipe must not be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise InputError(f"{shown(path)}: {why(error)}") from None
        return None
    try:
        told = os.fstat(handle)
        if not stat.S_ISREG(told.st_mode) or told.st_size > MOST_BYTES:
            return None
        with open(handle, "rb", closefd=False) as file:
            return file.read(MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(handle)


def moment(text: str) -> datetime | None:
    """A time as records write it, ISO 8601, in UTC; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def age(option: str, text: str) -> timedelta:
    """An age as it is given to an option: 36h, 90d or 12w; InputError for anything else."""
    told = re.fullmatch(r"([0-9]{1,4})([hdw])", text)
    if told is None:
        raise InputError(f"{option} {text!r}: expected hours, days or weeks, as 36h, 90d or 12w")
    return int(told[1]) * {"h": timedelta(hours=1), "d": timedelta(1), "w": timedelta(7)}[told[2]]


def time_of(folder: str) -> datetime | None:
    """When a run's folder was made, by its name; None for one that was renamed."""
    named = RUN_NAME.fullmatch(folder)
    try:
        return datetime.strptime(f"{named[1]}+0000", "%Y%m%dT%H%M%S%z") if named else None
    except ValueError:
        return None
