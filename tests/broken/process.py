"""Backends that do as processes what they should not."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import ClassVar

import numpy as np
from shared import Broken, Trainer, broken
from threadpoolctl import threadpool_limits

from harness import interface


@broken("threads")
class TwoThreads(Broken):
    """After a while BLAS has one thread more than was asked for; the facts do not tell of it."""

    told = None

    def facts(self):
        # Not from the start: two threads that share a processor make every check before it slow.
        if self.told is None:
            self.told = super().facts()
        else:
            threadpool_limits(2)
        return self.told


@broken("threads")
class Helpers(Trainer):
    """Each step lets two helpers compute as well, in threads of their own."""

    def __init__(self, backend, workload):
        super().__init__(backend, workload)
        self.helpers = ThreadPoolExecutor(2)

    def step(self, batch):
        square = np.ones((200, 200))
        helped = [self.helpers.submit(np.matmul, square, square) for _ in range(8)]
        loss = super().step(batch)
        wait(helped)
        return loss

    def close(self):
        self.helpers.shutdown()
        super().close()


@broken("memory")
class KeepsEveryBatch(Trainer):
    """A list somewhere holds on to every batch."""

    kept: ClassVar[list] = []

    def put(self, batch):
        self.kept.append(super().put(batch))
        return self.kept[-1]


@broken("dtype-kept")
class Crashes(Trainer):
    """The process is killed in loss_and_grads."""

    def loss_and_grads(self, batch):
        os.kill(os.getpid(), signal.SIGSEGV)


@broken("dtype-kept")
class Hangs(Trainer):
    """A step never returns."""

    def step(self, batch):
        time.sleep(3600)


class CannotStart(Broken):
    """Building a trainer is not written yet."""

    def trainer(self, workload):
        raise NotImplementedError("trainer: to be written")


class DiesAtStart(Broken):
    """The process is gone before it has started."""

    def begin(self, dtype):
        os._exit(7)


class NotHere(Broken):
    """The library has no such device."""

    def begin(self, dtype):
        raise interface.Unavailable("there is no frobnicator here")


class NoFloat64(Broken):
    """The device has no float64."""

    def begin(self, dtype):
        if dtype == "float64":
            raise interface.NoFloat64("this device has no float64")


@broken("clean-end")
class NeverEnds(Broken):
    """A thread that is no daemon keeps the process alive for ever."""

    def begin(self, dtype):
        threading.Thread(target=time.sleep, args=(3600,)).start()


@broken("clean-end")
class LeavesAChild(Broken):
    """A child in a session of its own outlives the process."""

    def begin(self, dtype):
        code = "import time; time.sleep(3600)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


@broken("clean-end")
class EndsWithStatus3(Broken):
    """The process ends with another status than 0."""

    def begin(self, dtype):
        atexit.register(os._exit, 3)
