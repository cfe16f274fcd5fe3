"""Steps that are not what they seem: not repeatable, not finished, not done at all."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from callers import Wrapped, wrap


def not_deterministic(backend):
    """Every update is off by a random last digit."""

    class Wavering(Wrapped):
        def step(self, batch):
            loss = self.trainer.wait(self.trainer.step(batch))
            rng = np.random.default_rng(int.from_bytes(os.urandom(8), "little"))
            params = self.trainer.get_params()
            eps = np.finfo(next(iter(params.values())).dtype).eps
            params = {
                name: (v * (1 + eps * rng.integers(-1, 2, v.shape))).astype(v.dtype)
                for name, v in params.items()
            }
            self.trainer.set_params(params)
            return loss

        def wait(self, loss):
            return loss

    return wrap(backend, Wavering)


class Remembering(Wrapped):
    """Knows the loss of every batch it has seen."""

    def __init__(self, trainer):
        super().__init__(trainer)
        self.seen = {}

    def set_params(self, params):
        self.seen = {}
        self.trainer.set_params(params)

    def wait(self, loss):
        return loss


def returns_early(backend):
    """A step returns before its work is done, on every batch it has seen before."""

    class Early(Remembering):
        def __init__(self, trainer):
            super().__init__(trainer)
            self.queue = ThreadPoolExecutor(1)

        def step(self, batch):
            if id(batch) in self.seen:
                self.queue.submit(self.work, batch)
            else:
                self.seen[id(batch)] = (batch, self.queue.submit(self.work, batch).result())
            return self.seen[id(batch)][1]

        def work(self, batch):
            return self.trainer.wait(self.trainer.step(batch))

        def get_params(self):
            return self.queue.submit(self.trainer.get_params).result()

        def set_params(self, params):
            self.queue.submit(super().set_params, params).result()

    return wrap(backend, Early)


def cached(backend):
    """A batch that was seen before gets its old result, and nothing is computed."""

    class Cached(Remembering):
        def step(self, batch):
            if id(batch) not in self.seen:
                self.seen[id(batch)] = (batch, self.trainer.wait(self.trainer.step(batch)))
            return self.seen[id(batch)][1]

    return wrap(backend, Cached)
