"""What the harness's own judge has computed, kept in the user's cache: nothing else decides it.

A result is a folder of tensor files, known by all that its bits depend on: what is asked, the
harness's own files, NumPy, its BLAS with its threads, the processor. Every file carries the
SHA-256 of what it holds and of what it is called: one that is damaged, cut off or another's is
computed again, never believed. Imports no framework.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from threadpoolctl import threadpool_info

import backends
import harness
from harness import files
from harness.data.finding import cache_home
from harness.record.facts import processor

# All results together: some thirty of the profile default, or three of the profile full.
MOST_BYTES = 2 * 2**30
# One that is larger is computed every time: of a large model each state has hundreds of MB.
LARGEST = MOST_BYTES // 4
# What NumPy's own loops compute with, beside the processor.
DISPATCH = ("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
OF_BLAS = ("internal_api", "version", "architecture", "threading_layer", "num_threads")
SHA256_BYTES = 32


class Memo:
    """Results in a folder; None: nothing is kept, and nothing found.

    most: bytes of all together; those that nobody asked for longest go first.
    """

    def __init__(self, folder: Path | None = None, most: int = MOST_BYTES) -> None:
        self.folder = folder
        self._most = most
        # Now: whoever computes may change the number of threads for a while.
        self._facts = _facts() if folder is not None else ()

    def lay_out(
        self, asked: object, names: Collection[str], out: Path, make: Callable[[Path], None]
    ) -> None:
        """Have the folder `out`, which is not there yet, filled with these files.

        asked: all that decides what they hold beside the harness and this machine, as msgspec
        encodes it. make: computes them, where no whole result is kept.
        """
        if self.folder is None:
            make(out)
            return
        key = hashlib.sha256(msgspec.json.encode((asked, sorted(names), self._facts))).hexdigest()
        kept = self.folder / key
        if _taken(kept, key, names, out):
            with suppress(OSError):
                os.utime(kept)
            return
        shutil.rmtree(out, ignore_errors=True)
        make(out)
        # A cache that cannot be written is none: what was computed is there all the same.
        with suppress(OSError):
            self._keep(kept, key, names, out)

    def _keep(self, kept: Path, key: str, names: Collection[str], out: Path) -> None:
        size = sum(os.path.getsize(out / name) for name in names)
        if size > min(LARGEST, self._most):
            return
        made = files.beside(kept)
        try:
            made.mkdir(parents=True)
            for name in names:
                data = (out / name).read_bytes()
                (made / name).write_bytes(_sum(key, name, data) + data)
            files.remove(kept)  # a damaged one
            made.rename(kept)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        self._prune()

    def _prune(self) -> None:
        """Remove what was asked for longest ago, and what a process that was killed has left."""
        assert self.folder is not None
        places = [place for place in self.folder.iterdir() if os.path.isdir(place)]
        held = sorted((place.stat().st_mtime, place) for place in places)
        sizes = [sum(file.stat().st_size for file in place.iterdir()) for _, place in held]
        total = sum(sizes)
        for (_, place), size in zip(held, sizes, strict=True):
            if total <= self._most:
                return
            shutil.rmtree(place, ignore_errors=True)
            total -= size


def of_user(*, wanted: bool = True) -> Memo:
    """That of the user's cache; one that keeps nothing unless it is wanted."""
    return Memo(cache_home() / "judge") if wanted else Memo()


def _taken(kept: Path, key: str, names: Collection[str], out: Path) -> bool:
    """Whether a whole result is kept; its files are then in `out`."""
    if not os.path.isdir(kept):
        return False
    out.mkdir(parents=True)
    for name in names:
        try:
            with files.open_plain(kept / name, 2 * LARGEST) as file:
                found, data = file.read(SHA256_BYTES), file.read()
        except OSError:
            return False
        if found != _sum(key, name, data):
            return False
        (out / name).write_bytes(data)
    return True


def _sum(key: str, name: str, data: bytes) -> bytes:
    return hashlib.sha256(f"{key} {name}\n".encode() + hashlib.sha256(data).digest()).digest()


def _facts() -> tuple[object, ...]:
    """What bits depend on beside what is asked."""
    blas = {
        tuple(str(each.get(name)) for name in OF_BLAS)
        for each in threadpool_info()
        if each["user_api"] == "blas"
    }
    dispatch = [os.environ.get(name) for name in DISPATCH]
    machine = platform.machine(), processor(), platform.python_version(), np.__version__
    return own_digest(), sorted(blas), dispatch, machine


@cache
def own_digest() -> str:
    """SHA-256 (hex) of the harness's own files, as they were when it was first asked for."""
    return digest_of(sorted(own_files()))


def own_files() -> Iterator[Path]:
    """The files that the harness itself computes with."""
    for package in (harness, backends):
        for folder in package.__path__:
            yield from Path(folder).rglob("*.py")


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) of what these files hold, in this order."""
    found = hashlib.sha256()
    for path in paths:
        found.update(hashlib.sha256(files.read_bytes(path, "file")).digest())
    return found.hexdigest()
