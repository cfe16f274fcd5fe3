"""Finds a named source: a folder that was named, the user's cache, or a download into it.

A folder that the user names for a source must hold its files; it is never passed over in silence,
and its files need not be the official ones. Files in the cache are the official ones, and their
SHA-256 is verified every time. Imports the standard library, harness.errors and
harness.data.source; filelock and pooch only where a cache is looked at, because they take time to
import.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from harness.data.source import Source
from harness.errors import InputError

ENVIRONMENT_VARIABLE = "HARNESS_DATA_DIR"

_REACH_S = 4.0  # for some mirror to answer at all; the whole must give up within 5 s offline
_CONNECT_S = 4.0  # for a connection to a mirror that answered a moment ago
_READ_S = 10.0  # without a single byte, then the next mirror; a slow download may take its time


class NotAvailable(InputError):
    """Nobody named a folder that has it, and neither the cache nor a download has the files."""


def find(source: Source, data_dir: Path | None) -> tuple[list[Path], str]:
    """The files of a source, and a sentence part that says how they were found.

    Looks at `data_dir`, then the source's own variable (empty counts as unset), then
    $HARNESS_DATA_DIR, then the user's cache; fills the cache from the source's mirrors where files
    are missing there or damaged. Raises InputError where a folder is named but unusable,
    NotAvailable where nothing works. $HARNESS_DATA_DIR may lack a source altogether.
    """
    if data_dir is not None:
        return _named(source, data_dir, "--data-dir")
    if source.variable and (named := os.environ.get(source.variable)):
        return _named(source, Path(named), f"${source.variable}")
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named and (found := _within(source, Path(named), f"${ENVIRONMENT_VARIABLE}")):
        return found
    if not source.sha256:
        raise NotAvailable(f"{source.title} is nowhere: {_remedy(source)}")
    give_up_at = time.monotonic() + _REACH_S  # importing pooch counts: it may take a second
    cache = cache_dir(source)
    paths = [cache / name for name in source.sha256]
    if not _defects(cache, source):
        return paths, f"cache {cache}"
    mirror = _download(cache, source, give_up_at)
    return paths, f"cache {cache}, downloaded from {mirror}"


def cache_dir(source: Source) -> Path:
    """Where a source's downloads are kept. Need not exist."""
    return cache_home() / (source.cached or source.name)


def cache_home() -> Path:
    """The user's cache of this harness; $XDG_CACHE_HOME is respected. Need not exist."""
    import pooch

    return Path(pooch.os_cache("framework-harness"))


def _path(folder: Path, name: str) -> Path:
    """The file as published (.gz) where there is one, else the unpacked one."""
    packed = folder / f"{name}.gz"
    return packed if os.path.exists(packed) else folder / name


def _named(source: Source, folder: Path, named_by: str) -> tuple[list[Path], str]:
    """The files in a folder that is named for this source; InputError where it lacks any."""
    found = _within(source, folder, named_by)
    if found is None:
        raise _lacking(source, folder, named_by)
    return found


def _within(source: Source, folder: Path, named_by: str) -> tuple[list[Path], str] | None:
    """The files in a folder, or in one in it that is called after the source; None: no trace of it.

    InputError where there is no folder, or where some of the files are there and others are not.
    """
    if not os.path.isdir(folder):
        what = "is not a directory" if os.path.exists(folder) else "does not exist"
        raise InputError(f"{named_by} {folder} {what}: name one with the files of {source.title}")
    places = [folder, *(folder / name for name in source.folders)]
    for place in places:
        for names in source.files:
            paths = [_path(place, name) for name in names]
            if all(map(os.path.exists, paths)):
                return paths, f"{named_by} {place}"
    for place in places:
        some = any(os.path.exists(_path(place, name)) for names in source.files for name in names)
        if some or (place is not folder and os.path.lexists(place)):
            raise _lacking(source, place, named_by)
    return None


def _lacking(source: Source, folder: Path, named_by: str) -> InputError:
    """Which files a folder lacks: of the set that it has most of."""
    lacks = [
        [name for name in names if not os.path.exists(_path(folder, name))]
        for names in source.files
    ]
    missing = min(lacks, key=len)
    return InputError(
        f"{named_by} {folder} lacks {', '.join(missing)} (with or without .gz): put the files of "
        f"{source.title} there, or name another directory"
    )


def _defects(folder: Path, source: Source) -> list[str]:
    """What is wrong with the files of the cache, empty where all are good."""
    missing, defects = [], []
    for name, expected in source.sha256.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            missing.append(name)
        except OSError as error:
            defects.append(f"{name} cannot be read ({error.strerror})")
        else:
            if found != expected:
                defects.append(f"{name} is damaged (SHA-256 {found[:12]}, not {expected[:12]})")
    return [f"missing: {', '.join(missing)}", *defects] if missing else defects


def _remedy(source: Source) -> str:
    names = " and ".join(", ".join(names) for names in source.files[:1])
    variable = source.variable or ENVIRONMENT_VARIABLE
    return (
        f"get it from {source.origin}, put {names} into a directory and name it with --data-dir or "
        f"${variable}, or choose --dataset synthetic"
    )


def _download(cache: Path, source: Source, give_up_at: float) -> str:
    """Fill the cache from the first mirror that can; returns that mirror. NotAvailable if none can.

    Nothing but the verified file gets the file's name. Two processes may do this at once: who has
    the lock fetches, the other then finds the files there. Whether a mirror answers is asked
    outside the lock, so that without a network neither waits for the other.
    """
    import filelock
    import pooch

    fetch = pooch.HTTPDownloader(timeout=(_CONNECT_S, _READ_S), chunk_size=1 << 16)
    failures = []
    for mirror in _answering(source, give_up_at):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(cache / "download.lock"):
                for name, sha256 in source.sha256.items():
                    pooch.retrieve(
                        mirror + name, f"sha256:{sha256}", fname=name, path=cache, downloader=fetch
                    )
        except (OSError, ValueError) as error:  # requests' errors are OSError; ValueError: checksum
            failures.append(f"{mirror}: {error}")
        else:
            return mirror
    why = "; ".join(failures) or f"no mirror answered, limit {_REACH_S:.0f} s"
    raise NotAvailable(
        f"{source.title} is not in the cache {cache} ({'; '.join(_defects(cache, source))}) and "
        f"cannot be downloaded ({why}): {_remedy(source)}"
    )


def _answering(source: Source, give_up_at: float) -> Iterator[str]:
    """The mirrors that say they have the first file, as they answer, until then (monotonic s).

    Each is asked in a daemon thread: looking up a name can hang far longer than any timeout that
    can be set, and must hold up neither this function nor the end of the process.
    """
    import pooch

    ask = pooch.HTTPDownloader(timeout=_REACH_S)
    answers: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
    name = next(iter(source.sha256))

    def answer(mirror: str) -> None:
        try:
            answers.put((mirror, bool(ask(mirror + name, None, None, check_only=True))))
        except OSError:  # requests' errors are OSError
            answers.put((mirror, False))

    for mirror in source.mirrors:
        threading.Thread(target=answer, args=(mirror,), daemon=True).start()
    for _ in source.mirrors:
        try:
            mirror, has_file = answers.get(timeout=max(0.0, give_up_at - time.monotonic()))
        except queue.Empty:
            return
        if has_file:
            yield mirror
