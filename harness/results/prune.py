"""What may go from the store: old runs, and what killed runs left. Removes nothing unless told to.

Never removed: the newest run; a run of which anything was written in the last minutes; one that a
baseline names, without `force`; copies, links, and folders that are not named as the harness names
them. What holds no record, or lies under a dot, may be a run in progress: it is what a killed run
left only once nothing in it was written for a day.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import InputError
from harness.files import why
from harness.results.store import EARLIEST, RUN_NAME, Run, Store, find, shown
from harness.text import clean

# A command writes all it has to write within moments of one another: the record, then verdict and
# report. A run without a record writes to its logs when it starts processes.
SETTLED = timedelta(minutes=10)
IDLE = timedelta(days=1)
LATEST = datetime.max.replace(tzinfo=UTC)
# What `files.atomic` writes before it is whole; a run that has not ended, or is on its way out.
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
    asked = keep is not None or older_than is not None
    named = _baselines(results_dir) if asked and not force else {}
    for run, reason in _old(store, keep, older_than, at) if asked else ():
        name = os.path.basename(run.folder)
        size, written = _extent(os.path.join(root, name))
        held = _held(run, store, named)
        if held is None and (written is None or at - written < SETTLED):
            held = "written to within the last minutes"
        if held is not None:
            pruning.kept.append(f"{run.id}: {held}")
        else:
            pruning.removals.append(Removal(name, reason, size))
    if debris:
        pruning.removals.extend(_debris(store, root, at, {r.path for r in pruning.removals}))
    return pruning


def _old(
    store: Store, keep: int | None, older_than: timedelta | None, now: datetime
) -> Iterator[tuple[Run, str]]:
    """Runs that are beyond what is kept and older than asked for, each with the reason."""
    groups: dict[str, list[Run]] = defaultdict(list)  # "": not judged
    for run in reversed(store.runs):
        groups[f"{run.judged.profile} on {run.judged.machine}" if run.judged else ""].append(run)
    for group, runs in groups.items():
        counted = keep is not None and group != ""
        if not counted and older_than is None:
            continue
        for run in runs[keep if counted else 0 :]:
            reasons = [f"not among the newest {keep} of {group}"] if counted else []
            if older_than is not None:
                started = run.started or _extent(run.folder)[1]
                if started is None or now - started <= older_than:
                    continue
                reasons.append(f"{(now - started).days} days old")
            yield run, ", ".join(reasons)


def _held(run: Run, store: Store, named: dict[str, str]) -> str | None:
    """Why a run stays though it is old; None if it may go."""
    if run is store.runs[-1]:
        return "the newest run"
    if not RUN_NAME.fullmatch(os.path.basename(run.folder)):
        return "renamed, and so kept"
    baseline = named.get(run.id) or named.get(run.judged.run if run.judged else "")
    rests = f"the baseline {baseline} rests on it (--force removes it all the same)"
    return rests if baseline is not None else None


def _baselines(results_dir: Path) -> dict[str, str]:
    """Run -> the baseline that was made of it; InputError for one that cannot be read."""
    from harness.results import baseline

    try:
        files = sorted((results_dir / "baselines").glob("[!.]*.json"))
        return {baseline.read(file).run: shown(file.name) for file in files}
    except InputError as error:
        raise InputError(
            f"{error}; it may rest on a run that would go: mend or remove it, or use --force"
        ) from None


def _debris(store: Store, root: str, now: datetime, gone: set[str]) -> Iterator[Removal]:
    """What killed runs left: folders without a record, and files that were never whole."""
    names = [n for n in store.rest if RUN_NAME.fullmatch(n)]
    names += [
        n for n in os.listdir(root) if ASIDE.fullmatch(n) and not os.path.islink(f"{root}/{n}")
    ]
    left = [(name, "holds no record; nothing written for a day") for name in names]
    for folder in {os.path.basename(run.folder) for run in store.runs} - gone:
        inside = filter(TEMPORARY.fullmatch, sorted(os.listdir(os.path.join(root, folder))))
        left += [(f"{folder}/{name}", "was never whole") for name in inside]
    for path, reason in left:
        size, written = _extent(os.path.join(root, path))
        is_link = os.path.islink(os.path.join(root, path))
        if written is not None and now - written > IDLE and not is_link:
            yield Removal(path, reason, size)


def _extent(path: str) -> tuple[int, datetime | None]:
    """Bytes of a file, or of all files in a folder, and when anything there was written last.

    None if it is gone. Links are not followed.
    """
    inside = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]
    statuses = []
    for each in (path, *inside):
        with suppress(OSError):
            statuses.append(os.lstat(each))
    size = sum(status.st_size for status in statuses if not stat.S_ISDIR(status.st_mode))
    newest = max((status.st_mtime for status in statuses), default=None)
    return size, _moment(newest) if newest is not None else None


def _moment(seconds: float) -> datetime:
    """The time of a file; for one that no calendar has, the nearest that it has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return LATEST if seconds > 0 else EARLIEST


def carry_out(pruning: Pruning) -> list[str]:
    """Remove what was chosen. What could not be, a line each.

    A folder is renamed first, in one step, so that a half removed run is never taken for a run.
    """
    failed = []
    for removal in pruning.removals:
        path = Path(pruning.root, removal.path)
        try:
            if "/" in removal.path:
                path.unlink()
            elif os.path.isdir(path) and not os.path.islink(path):
                aside = path.with_name(f".pruned-{secrets.token_hex(8)}")
                os.rename(path, aside)
                shutil.rmtree(aside)
        except OSError as error:
            failed.append(f"{shown(removal.path)}: {why(error)}")
    return failed


def as_document(pruning: Pruning, *, removed: bool) -> dict[str, Any]:
    """What went, or would go, as plain data."""
    return {
        "removed": removed,
        "runs": shown(pruning.root),
        "bytes": sum(removal.bytes for removal in pruning.removals),
        "removals": [r._asdict() | {"path": shown(r.path)} for r in pruning.removals],
        "kept": pruning.kept,
    }


def as_text(pruning: Pruning, *, removed: bool) -> str:
    """The same for people."""
    lines = [f"{shown(r.path)}  {r.bytes / 1e6:.1f} MB  {r.why}" for r in pruning.removals]
    lines = [clean(line) for line in (*lines, *(f"stays: {line}" for line in pruning.kept))]
    if not pruning.removals:
        return "\n".join([*lines, "nothing may go"])
    size = sum(removal.bytes for removal in pruning.removals) / 1e6
    lines.append(
        f"{len(lines) - len(pruning.kept)} {'removed' if removed else 'would go'}, {size:.1f} MB"
    )
    return "\n".join(lines if removed else [*lines, "nothing was removed: --yes removes it"])
