"""Steps that are not what they seem: not repeatable, not finished, not done at all."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from callers import Wrapped, wrap


def not_deterministic(backend):
    """Every update is off by a random last digit."""

    class Wavering(Wrapped):
        def step(self, batch):
            loss = self.trainer.wait(self.trainer.step(batch))
            rng = np.random.default_rng(int.from_bytes(os.urandom(8), "little"))
            state = self.trainer.get_state()
            for tensor in self.workload.trained:
                v = state[tensor.name]
                v *= (1 + np.finfo(v.dtype).eps * rng.integers(-1, 2, v.shape)).astype(v.dtype)
            self.trainer.set_state(state)
            return loss

        def wait(self, loss):
            return loss

    return wrap(backend, Wavering)


class Remembering(Wrapped):
    """Knows the loss of every batch it has seen."""

    def __init__(self, trainer):
        super().__init__(trainer)
        self.seen = {}

    def set_state(self, state):
        self.seen = {}
        self.trainer.set_state(state)

    def wait(self, loss):
        return loss


class Queueing(Remembering):
    """Works in a thread: a batch seen before is waited for `share` of the time it takes."""

    def __init__(self, trainer, share):
        super().__init__(trainer)
        self.share = share
        self.took_s = 0.0
        self.queue = ThreadPoolExecutor(1)

    def step(self, batch):
        if id(batch) in self.seen:
            self.queue.submit(self.work, batch)
            time.sleep(self.share * self.took_s)
        else:
            self.seen[id(batch)] = (batch, self.queue.submit(self.work, batch).result())
        return self.seen[id(batch)][1]

    def work(self, batch):
        before = time.perf_counter()
        loss = self.trainer.wait(self.trainer.step(batch))
        self.took_s = time.perf_counter() - before
        return loss

    def get_state(self):
        return self.queue.submit(self.trainer.get_state).result()

    def set_state(self, state):
        self.queue.submit(super().set_state, state).result()


def returns_early(backend):
    """A step returns before its work is done, on every batch it has seen before."""
    return wrap(backend, lambda trainer: Queueing(trainer, 0.0))


def waits_for_half(backend):
    """A step waits for half of its work only, on every batch it has seen before."""
    return wrap(backend, lambda trainer: Queueing(trainer, 0.5))


def cached(backend):
    """A batch that was seen before gets its old result, and nothing is computed."""

    class Cached(Remembering):
        def step(self, batch):
            if id(batch) not in self.seen:
                self.seen[id(batch)] = (batch, self.trainer.wait(self.trainer.step(batch)))
            return self.seen[id(batch)][1]

    return wrap(backend, Cached)


class Running(Wrapped):
    """Makes many steps as one, by making them one after the other."""

    def run(self, batches):
        return [self.trainer.wait(self.trainer.step(batch)) for batch in batches]


def runs_many(backend):
    """No fault: a trainer that can make many steps as one."""
    return wrap(backend, Running)


def runs_one_fewer(backend):
    """Of many steps made as one, the last has its loss and no update."""

    class Fewer(Running):
        def run(self, batches):
            return [*super().run(batches[:-1]), self.trainer.loss_and_grads(batches[-1])[0]]

    return wrap(backend, Fewer)
