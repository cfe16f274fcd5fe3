"""A run that is cut off in a step of its free training: killed as the system does it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from callers import Wrapped, wrap


def off(backend):
    """Kill the run and this process once a free training has had as many steps here as a file says.

    $CUT_AT names the file, in the results' folder: a line a kill, which is taken out of it; empty:
    nothing is killed.
    """
    file = Path(os.environ["CUT_AT"])

    class Cut(Wrapped):
        done = 0

        def step(self, batch):
            return self.after(1, self.trainer.step(batch))

        def after(self, steps, found):
            numbers = file.read_text().split()
            if numbers and any(file.parent.glob("runs/.*/checkpoint/training-*")):
                self.done += steps
                if self.done >= int(numbers[0]):
                    file.write_text("\n".join(numbers[1:]))
                    os.kill(os.getppid(), signal.SIGKILL)
                    os.kill(os.getpid(), signal.SIGKILL)
            return found

    class CutMany(Cut):
        def run(self, batches):
            return self.after(len(batches), self.trainer.run(batches))

    return wrap(backend, CutMany if backend.variant == "scan" else Cut)
