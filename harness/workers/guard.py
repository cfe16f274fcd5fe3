"""The first lines of a worker process, run before NumPy or any framework is loaded.

Sets the processors it may use, keeps its channel from its own children, and starts the thread
that ends all that belongs to this worker when the parent is gone: a worker deep in a computation
otherwise outlives a killed parent. Imports the standard library only, until all that is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time

from harness.workers.processes import MARK, belonging, hold_family

# How far apart the two pipes of a parent that is gone close.
CLOSING_S = 0.2


def watch(lifeline: int, mark: str) -> None:
    """Block until the parent's end of the lifeline closes, then end all that is this worker's."""
    while os.read(lifeline, 1):
        pass
    end_all(mark)


def end_all(mark: str) -> None:
    """Kill all that belongs to this worker, and itself."""
    for pid in belonging(os.getpid(), mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Secure this process, then serve commands. argv[1]: JSON with descriptors and processors."""
    started_ns = time.perf_counter_ns()
    config = json.loads(sys.argv[1])
    commands, replies, lifeline = config["commands"], config["replies"], config["lifeline"]
    for descriptor in (commands, replies, lifeline):
        os.set_inheritable(descriptor, False)
    hold_family()
    mark = os.environ[MARK]
    threading.Thread(target=watch, args=(lifeline, mark), daemon=True, name="lifeline").start()
    # A terminal's Ctrl-C is the parent's to handle: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if config["processors"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, config["processors"])
    from harness.workers.worker import serve

    serve(commands, replies, config["run"], config["desk"], started_ns)
    # The channel closes with the lifeline where the parent is gone: this process, ending by itself,
    # must not be faster than its watch.
    if select.select([lifeline], [], [], CLOSING_S)[0]:
        end_all(mark)


if __name__ == "__main__":
    main()
