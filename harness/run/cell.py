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
from typing import BinaryIO

import msgspec
from filelock import FileLock

from harness import files
from harness.errors import HarnessError, InputError
from harness.plan.model import Plan
from harness.progress import PlainProgress
from harness.record import store
from harness.run import checkpoint, memo, session
from harness.run.memo import Memo
from harness.signals import as_interrupt
from harness.verdict.verdict import run_status, why_failed
from harness.workers.launch import how_ended

PLAN, DONE, RUNS, LOG = "plan.json", "done", "runs", "log.txt"
NO_CACHE = "--no-cache"


def done(folder: Path) -> tuple[Path | None, str]:
    """The run that nothing stopped and no process failed in, None where there was none yet.

    And what is wrong with it, "" if it is whole.
    """
    try:
        run = folder / RUNS / (folder / DONE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None, ""
    try:
        store.check(run)
    except InputError as error:
        return run, str(error)
    return run, ""


def finished(folder: Path) -> Path | None:
    """The same where it is whole, else None."""
    run, wrong = done(folder)
    return None if wrong else run


def stored(folder: Path) -> Path | None:
    """The run that is there, whether it went well or not; None where none has a record."""
    found = (folder / RUNS).glob("[!.]*/record.json")
    return next((record.parent for record in found), None)


def said(folder: Path) -> str:
    """The last line that the cell's process said: why it failed, if it did."""
    try:
        text = files.read_bytes(folder / LOG, "log").decode("utf-8", "replace")
    except HarnessError:
        return ""
    return text.strip().rpartition("\n")[2]


def tell_signal(log: BinaryIO, status: int) -> None:
    """A process that a signal ended could not say so: its log's last line does."""
    if status < 0:
        log.seek(0, os.SEEK_END)
        log.write(f"\nended by {how_ended(status)}\n".encode())


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
        else:
            sys.stderr.write(f"{' '.join(why_failed(record).split())}\n")
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
