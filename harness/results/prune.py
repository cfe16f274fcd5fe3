"""What may go from the store: old runs, and what killed runs left. Removes nothing unless told to.

Never removed: the newest run; a run of which anything was written in the last minutes; one that a
baseline names, without `force`; runs of `harness scale`, copies, links, and folders that are not
named as the harness names them. Nothing outside results/runs/ is touched. What holds no record may
be a run in progress: it is what a killed run left only once nothing in it was written for a day.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.errors import InputError
from harness.files import why
from harness.results.store import RUN_NAME, Run, Store, find, read_file, shown

# A command writes all it has to write within moments of one another: the record, then verdict and
# report. A run without a record writes to its logs when it starts processes.
SETTLED = timedelta(minutes=10)
IDLE = timedelta(days=1)
# What `files.atomic` writes before it is whole; a run that has not ended, and one on its way out.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}", re.ASCII)
ASIDE = re.compile(rf"\.(pruned-[0-9a-f]{{16}}|{RUN_NAME.pattern})", re.ASCII)


class Removal(NamedTuple):
    """A folder under results/runs/, or a file in one; `path` is relative to that folder."""

    path: str
    why: str
    bytes: int


class Pruning(NamedTuple):
    """What would go from `root`, and what was asked for and stays, a line each."""

    root: str
    removals: list[Removal]
    kept: list[str]

    @property
    def bytes(self) -> int:
        """How much that would free."""
        return sum(removal.bytes for removal in self.removals)


class _Named(msgspec.Struct):
    run: str


def choose(
    results_dir: Path,
    *,
    keep: int | None = None,
    older_than: timedelta | None = None,
    debris: bool = False,
    force: bool = False,
    now: datetime | None = None,
) -> Pruning:
    """What would go.

    `keep`: all but so many newest of each machine and profile; `older_than`: what started longer
    ago, with `keep` of those only; `debris`: what killed runs left. `now` stands for the clock.
    Runs that are not judged have no machine or profile, so `keep` alone leaves them. InputError
    where nothing is asked for, or a baseline cannot be read.
    """
    if keep is None and older_than is None and not debris:
        raise InputError("prune: say what may go: --keep N, --older-than 90d or --debris")
    at = now or datetime.now(UTC)
    store = find(results_dir)
    root = os.path.realpath(results_dir / "runs")
    pruning = Pruning(root, [], [])
    if keep is not None or older_than is not None:
        named = {} if force else _baselines(results_dir)
        for run, reason in _old(store, keep, older_than, at):
            name = os.path.basename(run.folder)
            held = _held(run, store, named, root, at)
            if held is not None:
                pruning.kept.append(f"{run.id}: {held}")
            else:
                pruning.removals.append(Removal(name, reason, _size(os.path.join(root, name))))
    if debris:
        pruning.removals.extend(_debris(store, root, at, {r.path for r in pruning.removals}))
    return pruning


def _old(
    store: Store, keep: int | None, older_than: timedelta | None, now: datetime
) -> Iterator[tuple[Run, str]]:
    """Runs that are beyond what is kept and older than asked for, each with the reason."""
    groups: dict[tuple[str, str] | None, list[Run]] = defaultdict(list)
    for run in reversed(store.runs):
        j = run.judged
        groups[(j.machine or "unknown", j.profile) if j is not None else None].append(run)
    for group, runs in groups.items():
        if group is None and older_than is None:
            continue
        beyond = runs[keep:] if keep is not None and group is not None else runs
        for run in beyond:
            reasons = []
            if keep is not None and group is not None:
                reasons.append(f"not among the newest {keep} of {group[1]} on {group[0]}")
            if older_than is not None:
                started = run.started or _written(run.folder)
                if started is None or now - started <= older_than:
                    continue
                reasons.append(f"{(now - started).days} days old")
            yield run, ", ".join(reasons)


def _held(run: Run, store: Store, named: dict[str, str], root: str, now: datetime) -> str | None:
    """Why a run stays though it is old; None if it may go."""
    if run is store.runs[-1]:
        return "the newest run"
    if not RUN_NAME.fullmatch(os.path.basename(run.folder)):
        return "renamed, and so kept"
    baseline = named.get(run.id) or (named.get(run.judged.run or "") if run.judged else None)
    if baseline is not None:
        return f"the baseline {baseline} rests on it (--force removes it all the same)"
    written = _written(os.path.join(root, os.path.basename(run.folder)))
    if written is None or now - written < SETTLED:
        return "written to within the last minutes"
    return None


def _baselines(results_dir: Path) -> dict[str, str]:
    """Run -> the baseline that was made of it; InputError for one that cannot be read."""
    folder = results_dir / "baselines"
    found = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        if not name.endswith(".json") or name.startswith("."):
            continue
        data = read_file(str(folder / name))
        try:
            run = msgspec.json.decode(data or b"", type=_Named).run
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(
                f"baseline {shown(str(folder / name))}: not a valid one ({error}); it may "
                "rest on a run that would go: mend or remove it, or use --force"
            ) from None
        found[run] = shown(name)
    return found


def _debris(store: Store, root: str, now: datetime, gone: set[str]) -> Iterator[Removal]:
    """What killed runs left: folders without a record, and files that were never whole."""
    for name in store.rest + [n for n in os.listdir(root) if ASIDE.fullmatch(n)]:
        path = os.path.join(root, name)
        if not (RUN_NAME.fullmatch(name) or ASIDE.fullmatch(name)) or os.path.islink(path):
            continue
        written = _written(path)
        if written is not None and now - written > IDLE:
            yield Removal(name, "holds no record; nothing written for a day", _size(path))
    for run in store.runs:
        folder = os.path.basename(run.folder)
        if folder in gone:
            continue
        for path, told in _files(os.path.join(root, folder), deep=False):
            written = datetime.fromtimestamp(told.st_mtime, UTC)
            if TEMPORARY.fullmatch(os.path.basename(path)) and now - written > IDLE:
                yield Removal(os.path.relpath(path, root), "was never whole", told.st_size)


def _files(folder: str, *, deep: bool = True) -> Iterator[tuple[str, os.stat_result]]:
    """Every file in a folder, and what the system tells of it; links are not followed."""
    for at, folders, files in os.walk(folder):
        for name in files:
            path = os.path.join(at, name)
            try:
                yield path, os.lstat(path)
            except FileNotFoundError:
                continue
        if not deep:
            folders.clear()


def _size(folder: str) -> int:
    return sum(told.st_size for _, told in _files(folder))


def _written(folder: str) -> datetime | None:
    """When anything in a folder was written last; None if it is gone."""
    try:
        newest = os.lstat(folder).st_mtime
    except OSError:
        return None
    newest = max([newest, *(told.st_mtime for _, told in _files(folder))])
    return datetime.fromtimestamp(newest, UTC)


def carry_out(pruning: Pruning) -> list[str]:
    """Remove what was chosen. What could not be, a line each.

    A folder is renamed first, in one step, so that a half removed run is never taken for a run.
    """
    failed = []
    root = os.open(pruning.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for removal in pruning.removals:
            try:
                _remove(root, removal.path)
            except OSError as error:
                failed.append(f"{shown(removal.path)}: {why(error)}")
    finally:
        os.close(root)
    return failed


def _remove(root: int, path: str) -> None:
    """Remove a folder, or a file in one, below the open folder `root`."""
    folder, _, file = path.partition("/")
    if file:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
        try:
            os.unlink(file, dir_fd=handle)
        finally:
            os.close(handle)
        return
    if not stat.S_ISDIR(os.stat(folder, dir_fd=root, follow_symlinks=False).st_mode):
        return
    aside = folder
    if not ASIDE.fullmatch(folder):
        aside = f".pruned-{secrets.token_hex(8)}"
        os.rename(folder, aside, src_dir_fd=root, dst_dir_fd=root)
    shutil.rmtree(aside, dir_fd=root)


def as_document(pruning: Pruning, *, removed: bool) -> dict[str, Any]:
    """What went, or would go, as plain data."""
    return {
        "removed": removed,
        "runs": shown(pruning.root),
        "bytes": pruning.bytes,
        "removals": [
            {"path": shown(r.path), "why": r.why, "bytes": r.bytes} for r in pruning.removals
        ],
        "kept": pruning.kept,
    }


def as_text(pruning: Pruning, *, removed: bool) -> str:
    """The same for people."""
    from harness.text import clean

    lines = [f"{shown(r.path)}  {_megabytes(r.bytes)}  {r.why}" for r in pruning.removals]
    lines += [f"stays: {line}" for line in pruning.kept]
    lines = [clean(line) for line in lines]
    count = len(pruning.removals)
    verb = "removed" if removed else "would go"
    lines.append(f"{count} {verb}, {_megabytes(pruning.bytes)}" if count else "nothing may go")
    if count and not removed:
        lines.append("nothing was removed: --yes removes it")
    return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
