"""One cell of a sweep: `python -m harness.run.cell FOLDER` carries out the plan that lies there.

It ends with whoever started it, however that ended. One process at a time has the folder: another
waits, and finds what the first one has done.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import msgspec
from filelock import FileLock

from harness import files
from harness.errors import HarnessError
from harness.plan.model import Plan
from harness.progress import PlainProgress
from harness.run import checkpoint, memo, session
from harness.run.memo import Memo
from harness.signals import as_interrupt
from harness.verdict.verdict import run_status

PLAN, DONE, RUNS, LOG = "plan.json", "done", "runs", "log.txt"
NO_CACHE = "--no-cache"


def finished(folder: Path) -> Path | None:
    """The cell's run, if it is one that nothing stopped and no process failed in."""
    try:
        run = folder / RUNS / (folder / DONE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return run if os.path.isfile(run / "record.json") else None


def stored(folder: Path) -> Path | None:
    """The run that is there, whether it went well or not; None where none is whole."""
    found = (folder / RUNS).glob("[!.]*/record.json")
    return next((record.parent for record in found), None)


def said(folder: Path) -> str:
    """The last line that the cell's process said."""
    try:
        text = files.read_bytes(folder / LOG, "log").decode("utf-8", "replace")
    except HarnessError:
        return ""
    return text.strip().rpartition("\n")[2]


def alone(folder: Path) -> FileLock:
    """Nobody else has the folder meanwhile."""
    return FileLock(folder / "lock")


def clear(folder: Path, but: Path | None = None) -> None:
    """Take away what runs that were cut off, or failed, have left; one of them may stay."""
    for left in (folder / DONE, *(folder / RUNS).glob("*")):
        if left != but:
            files.remove(left)


def carry_out(folder: Path, kept: Memo) -> int:
    """Do what the plan says unless that is done; the exit status. One run stays, the newest.

    A run that was cut off goes on where it was, if it can.
    """
    plan = msgspec.json.decode(files.read_bytes(folder / PLAN, "plan"), type=Plan)
    with alone(folder):
        if finished(folder) is not None:
            return 0
        left = checkpoint.newest_of(folder / RUNS)
        clear(folder, but=left)
        try:
            record, run = session.run(plan, folder, PlainProgress(), kept, left)
        except checkpoint.Refused:
            clear(folder)
            record, run = session.run(plan, folder, PlainProgress(), kept)
        clear(folder, but=run)
        if not (status := run_status(record)):
            files.write_atomic(folder / DONE, run.name.encode())
        return status


def _end_with(lifeline: int) -> None:
    """Once whoever has the other end is gone, stop as on Ctrl-C: workers are ended too."""
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Carry out argv[1]'s plan; what cannot be done is told in a line on stderr.

    NO_CACHE behind it: the judge computes anew.
    """
    threading.Thread(target=_end_with, args=(0,), daemon=True).start()
    try:
        with as_interrupt():
            folder, *words = sys.argv[1:]
            return carry_out(Path(folder), memo.of_user(wanted=NO_CACHE not in words))
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_status
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
