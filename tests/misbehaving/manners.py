"""Plug-ins without manners: they change their process, or break off."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import Any

from well import Backend, NumPyTrainer


class Stubborn(Backend):
    """Ends when it likes, elsewhere, unseen, last, and with its hands tied."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        os.nice(5)
        os.umask(0o777)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.environ.clear()


class ClosesAll(Backend):
    class Trainer(NumPyTrainer):
        def step(self, batch: Any) -> Any:
            os.closerange(3, 1024)
            return super().step(batch)


class Quits(Backend):
    class Trainer(NumPyTrainer):
        def step(self, batch: Any) -> Any:
            raise SystemExit("that is enough")


class Unsayable(Backend):
    class Trainer(NumPyTrainer):
        def step(self, batch: Any) -> Any:
            class NoWordsError(Exception):
                def __str__(self) -> str:
                    raise RuntimeError

            raise NoWordsError


class Misnames(Backend):
    class Trainer(NumPyTrainer):
        def trace(self, batch: Any) -> Any:
            return {"z9": self.outputs(batch, training=False)}


class Clutters(Backend):
    """Keeps its things where it happens to be, under names that others have."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        for name in ("x.npy", "y.npy", "answer", "initial-0", "train", "case-0-0"):
            with contextlib.suppress(OSError), open(name, "w") as file:
                file.write("a note")
