"""The run's scratch folder: bulk arrays between the processes, gone when the run ends.

A folder whose owner was killed is swept by the next run: its lock is free then.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import InputError
from harness.record import why

PREFIX = "framework-harness-"
# Pixels of 70 000 images as float32 take 220 MB; parameters and batches stay below 500 MB.
NEEDED_BYTES = 750_000_000


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A fresh folder, removed on the way out. InputError where there is no room for one."""
    base = Path(tempfile.gettempdir())
    _sweep(base)
    free = shutil.disk_usage(base).free
    if free < NEEDED_BYTES:
        raise InputError(
            f"temporary directory {base}: {free // 10**6} MB free, {NEEDED_BYTES // 10**6} MB "
            "needed; free some space or set TMPDIR"
        )
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        raise InputError(f"temporary directory {base}: {why(error)}; set TMPDIR") from None
    lock = FileLock(_lock_of(folder))
    lock.acquire()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _sweep(base: Path) -> None:
    """Remove what killed runs left: folders whose lock nobody holds."""
    for lock_file in base.glob(f"{PREFIX}*.lock"):
        with contextlib.suppress(Timeout, OSError):
            with FileLock(lock_file, timeout=0):
                shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
            lock_file.unlink(missing_ok=True)
