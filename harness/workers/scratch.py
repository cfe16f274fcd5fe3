"""The run's scratch folder: bulk arrays between the processes, gone when the run ends.

A folder whose owner was killed is swept by the next run: its lock is free then.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import InputError
from harness.files import remove, why
from harness.plan.model import Plan

PREFIX = "framework-harness-"
# The whole name of a folder's lock: what only begins so is not a run's.
LOCK = re.compile(f"{PREFIX}[0-9a-f]{{16}}\\.lock")
# Batches, orders and answers stay below this.
REST_BYTES = 200_000_000


def scratch_bytes(plan: Plan, samples: int) -> int:
    """Room that a run needs: so many samples, and the states of judge and worker at checkpoints."""
    held = sum(8 * math.prod(tensor.shape) for tensor in plan.workload.tensors)
    snapshots = len(plan.checkpoints) if plan.checkpoints is not None else 260
    data = 4 * samples * math.prod(plan.workload.x)
    return REST_BYTES + data + 2 * (snapshots + plan.workload.epochs) * held


@contextlib.contextmanager
def scratch_folder(needed: int) -> Iterator[Path]:
    """A fresh folder, removed on the way out. InputError where there is no room for one."""
    base = Path(tempfile.gettempdir())
    _sweep(base)
    free = shutil.disk_usage(base).free
    if free < needed:
        raise InputError(
            f"temporary directory {base}: {free // 10**6} MB free, {needed // 10**6} MB "
            "needed; free some space or set TMPDIR"
        )
    folder = base / f"{PREFIX}{secrets.token_hex(8)}"
    lock = FileLock(_lock_of(folder))
    try:
        # The lock first: a folder without one in use belongs to nobody and is swept.
        lock.acquire()
        folder.mkdir(mode=0o700)
    except OSError as error:
        lock.release()
        raise InputError(f"temporary directory {base}: {why(error)}; set TMPDIR") from None
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            remove(folder)
        shutil.rmtree(folder, ignore_errors=True)  # what else can be removed, where that failed
        lock.release()
        if not os.path.lexists(folder):  # else the lock says to the next run whose it was
            _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _sweep(base: Path) -> None:
    """Remove what killed runs left: folders whose lock nobody holds."""
    for lock_file in base.glob(f"{PREFIX}*.lock"):
        if not LOCK.fullmatch(lock_file.name) or os.path.islink(lock_file):
            continue
        with contextlib.suppress(Timeout, OSError):
            with FileLock(lock_file, timeout=0):
                remove(lock_file.with_suffix(""))
            lock_file.unlink(missing_ok=True)
