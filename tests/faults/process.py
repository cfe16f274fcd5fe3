"""Workers that misbehave as processes: each function is planted in a real backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
from callers import Wrapped, wrap

from harness.interface import NoFloat64

# The first step after the start, twice, and the teacher-forced batches: a worker then trains.
TRAINING = 60


def _in_step(action):
    """Do `action` in a step of a training."""

    def fault(backend):
        class Acting(Wrapped):
            count = 0

            def step(self, batch):
                self.count += 1
                if self.count == TRAINING:
                    action()
                return self.trainer.step(batch)

        return wrap(backend, Acting)

    return fault


killed = _in_step(lambda: os.kill(os.getpid(), signal.SIGKILL))
segfaults = _in_step(lambda: os.kill(os.getpid(), signal.SIGSEGV))
hangs = _in_step(lambda: time.sleep(3600))


def out_of_memory(backend):
    """Allocates until there is no more."""
    kept = []

    class Eating(Wrapped):
        def step(self, batch):
            while True:
                kept.append(np.ones(50_000_000, dtype=np.uint8))

    return wrap(backend, Eating)


def missing(backend):
    """As if the framework were not there."""
    raise ImportError("No module named 'frobnicate'")


def not_a_number(backend):
    """Every tensor becomes NaN in a step of a training."""

    class Nan(Wrapped):
        count = 0

        def step(self, batch):
            self.count += 1
            loss = self.trainer.step(batch)
            if self.count == TRAINING:
                self.trainer.wait(loss)
                state = self.trainer.get_state()
                self.trainer.set_state({k: np.full_like(v, np.nan) for k, v in state.items()})
            return loss

    return wrap(backend, Nan)


def nan_logit(backend):
    """One output of every batch is NaN."""

    class Nan(Wrapped):
        def outputs(self, batch, *, training):
            found = self.trainer.outputs(batch, training=training)
            found[-1, -1] = np.nan
            return found

    return wrap(backend, Nan)


def wrong_shape(backend):
    """Outputs with a column too few, everywhere."""

    class Narrow(Wrapped):
        def outputs(self, batch, *, training):
            return self.trainer.outputs(batch, training=training)[:, :-1]

    return wrap(backend, Narrow)


def wrong_gradient_names(backend):
    """The gradient of the last tensor is missing altogether."""

    class Missing(Wrapped):
        def loss_and_grads(self, batch):
            loss, grads = self.trainer.loss_and_grads(batch)
            del grads[self.workload.trained[-1].name]
            return loss, grads

    return wrap(backend, Missing)


def _compute_forever():
    a = np.ones((2000, 2000))
    while True:
        a @ a


def _with_a_child():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    _compute_forever()


computes_with_a_child = _in_step(_with_a_child)


def _dies_with_a_child():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    os.kill(os.getpid(), signal.SIGKILL)


dies_with_a_child = _in_step(_dies_with_a_child)


def answers_nothing(backend):
    """Says that it is done, and writes no file."""
    from harness.workers.desks import training

    training.save_tensors = lambda path, tensors: None
    return backend


def garbage(backend):
    """Writes files that are no tensors."""
    from harness.workers.desks import training

    def scribble(path, tensors):
        with open(path, "wb") as file:
            file.write(b"no tensors here")

    training.save_tensors = scribble
    return backend


def no_float64(backend):
    """A device that has no float64."""
    if "64" in str(getattr(backend, "dtype", "")):
        raise NoFloat64("this device has no float64")


def missing_in_float64(backend):
    """The second process of a label cannot import what the first one could."""
    if "64" in str(getattr(backend, "dtype", "")):
        raise ImportError("cannot allocate memory in static TLS block")


def earlier_run(backend):
    """Answers with the messages of another run."""
    from harness.workers import worker

    send = worker.send

    def replay(descriptor, message):
        import msgspec

        reply = msgspec.json.decode(message)
        reply["run"] = "20200101T000000-abcdef"
        send(descriptor, msgspec.json.encode(reply))

    worker.send = replay
    return backend


def _fill_the_disk():
    """Takes whatever is free on the disk that FILL_THIS names a file of."""
    with open(os.environ["FILL_THIS"], "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


fills_the_disk = _in_step(_fill_the_disk)


def dies_when_only_timed(backend):
    """A process that is there for timing alone is killed in its second block."""

    class Mortal(Wrapped):
        asked, count = False, 0

        def outputs(self, batch, *, training):
            self.asked = True
            return self.trainer.outputs(batch, training=training)

        def step(self, batch):
            self.count += 1
            if self.count == TRAINING and not self.asked:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.trainer.step(batch)

    return wrap(backend, Mortal)
