"""How a run ends: whatever stops it, no process is left, and its record is stored and says why."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, InputError
from harness.files import NO_SPACE, why, write_atomic
from harness.record.schema import INTERRUPTED
from harness.signals import undisturbed

# What is nobody else's fault; it is told whole in a file of the run's folder.
MISTAKE = "(a mistake in the harness itself)"
TRACEBACK = "traceback.txt"


class Ends(Protocol):
    """A record, as far as its end is concerned."""

    ended: str
    seconds: float


@contextmanager
def stored(
    record: Ends,
    folder: Path,
    scratch: Path,
    *,
    end_all: Callable[[], None],
    write: Callable[[], object],
    worth: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Measure in here. A signal or the harness's own failure is told in `record.ended`.

    In any case `end_all` ends what still lives, and `write` stores the record; neither is
    disturbed by a signal. InputError passes, with the folder gone and nothing written, unless it
    is `worth` to go on from; but for a disk that is full: what was measured is stored before it is
    told.
    """
    before = time.monotonic()
    full: InputError | None = None
    try:
        yield
    except KeyboardInterrupt:
        record.ended = INTERRUPTED
    except InputError:
        end_all()
        if not worth():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except HarnessError as error:
        record.ended = str(error)
    except OSError as error:
        record.ended = f"{type(error).__name__}: {error}"
        if error.errno in NO_SPACE:
            full = InputError(f"{error.filename or scratch}: {why(error)}; free some space")
    except Exception as error:
        record.ended = f"{type(error).__name__}: {error} {MISTAKE}"
        with suppress(OSError, InputError):
            write_atomic(folder / TRACEBACK, traceback.format_exc().encode())
    with undisturbed():
        end_all()
        record.seconds = time.monotonic() - before
        write()
    if full is not None:
        raise full
