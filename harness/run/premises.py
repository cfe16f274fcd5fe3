"""What lies in the results that the harness did not write, or in place of what it wrote.

Code in a worker has the user's rights, and its own log tells it where the run's folder is. Nothing
keeps it from writing there, or into other runs; here that is found, told, and undone where it can
be: within the run's own folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from harness.files import _kind, ready, remove
from harness.text import plain

# Of an endless list of names so many are told.
MOST_TOLD = 20
# What is written once in a run's folder and never again.
WRITTEN_ONCE = ("record.json", "steps.parquet", "scale.json")

# A file's size, when it was written (ns), and its number: another file in its place differs.
State = tuple[int, int, int]


class Premises:
    """A run's folder, and the results that it lies among, as they were when the run began.

    `found`: what was wrong so far, a line each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: list[str] = []
        self._results = folder.parent.parent
        self._others = _stored(self._results, folder)

    def clear(self, own: Iterable[str]) -> None:
        """Remove whatever is not among the harness's own files (paths below the folder); OSError.

        What is in the place of an own file and is no plain file is removed too.
        """
        self.found += ready(self.folder, there=True)
        kept = {*own}
        folders = {os.path.dirname(name) for name in kept} - {""}
        for name in sorted(os.listdir(self.folder)):
            if name not in folders:
                self._clear(name, kept)
                continue
            self.found += ready(self.folder / name)
            for below in sorted(os.listdir(self.folder / name)):
                self._clear(f"{name}/{below}", kept)
        lost = [name for name in sorted(kept) if not os.path.lexists(self.folder / name)]
        self.found += [f"{name}: gone" for name in lost]

    def _clear(self, name: str, kept: set[str]) -> None:
        place = self.folder / name
        is_own = name in kept
        if is_own and stat.S_ISREG(os.lstat(place).st_mode):
            return
        of = " in place of the harness's own" if is_own else ""
        self.found.append(f"{name}: {_kind(place)}{of}, removed")
        remove(place)

    def told(self) -> list[str]:
        """All that was wrong, other runs that changed included: a few plain lines."""
        now = _stored(self._results, self.folder)
        others = [
            f"{name}: {'changed' if name in now else 'deleted'} while this run lived"
            for name, state in self._others.items()
            if now.get(name) != state
        ]
        found = [plain(line) for line in dict.fromkeys([*self.found, *others])]
        more = [f"and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []
        return found[:MOST_TOLD] + more


def _stored(results: Path, own: Path) -> dict[str, State]:
    """What other runs and baselines stored under the results: path below them -> state."""
    found: dict[str, State] = {}
    for name in _names(results / "baselines"):
        _note(found, results, f"baselines/{name}")
    for run in _names(results / "runs"):
        if run != own.name:
            for name in WRITTEN_ONCE:
                _note(found, results, f"runs/{run}/{name}")
    return found


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _note(found: dict[str, State], results: Path, name: str) -> None:
    with contextlib.suppress(OSError):
        told = os.lstat(results / name)
        found[name] = (told.st_size, told.st_mtime_ns, told.st_ino)
