"""Plug-ins that leave processes behind, each in another way."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from well import Backend

# By this the test finds them, whatever they have become.
TOKEN = os.environ["MISBEHAVING"]
SLEEP = [sys.executable, "-c", "import time; time.sleep(3600)", TOKEN]
BUSY = [sys.executable, "-c", "while True: pass", TOKEN]
QUIET: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


class Starts(Backend):
    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError


class InItsGroup(Starts):
    def begin(self) -> None:
        subprocess.Popen([*SLEEP, "in its group"])


class InASession(Starts):
    def begin(self) -> None:
        subprocess.Popen([*SLEEP, "in a session"], start_new_session=True)


class WithoutAName(Starts):
    """Nothing of the worker's is left to it: neither session, nor environment, nor descriptors."""

    def begin(self) -> None:
        subprocess.Popen([*SLEEP, "without a name"], start_new_session=True, env={}, **QUIET)


class Daemon(Starts):
    """As daemons are made: a child in a session of its own leaves a child, and ends."""

    def begin(self) -> None:
        if (child := os.fork()) == 0:
            os.setsid()
            if os.fork() == 0:
                os.execve(sys.executable, [*SLEEP, "a daemon"], {})
            os._exit(0)
        os.waitpid(child, 0)


class DaemonThatDied(Starts):
    """The same, and then the worker is gone at once: only the mark is left."""

    def begin(self) -> None:
        subprocess.Popen([*SLEEP, "of a dead one"], start_new_session=True, **QUIET)
        os._exit(9)


class Many(Starts):
    """Whoever is ended has a successor already."""

    def begin(self) -> None:
        code = "import subprocess, sys, time\nfor _ in range(3): subprocess.Popen(sys.argv[1:])\n"
        code += "time.sleep(3600)"
        subprocess.Popen(
            [sys.executable, "-c", code, *SLEEP, "many"], start_new_session=True, **QUIET
        )


class Computes(Starts):
    """Takes half the machine from all that are timed."""

    def begin(self) -> None:
        subprocess.Popen(BUSY, start_new_session=True)


class Honest(Starts):
    """Has a helper that ends with it, as a pool's: nothing to be told."""

    def begin(self) -> None:
        code = "import sys; sys.stdin.read()"
        self._helper = subprocess.Popen([sys.executable, "-c", code, TOKEN], stdin=subprocess.PIPE)
