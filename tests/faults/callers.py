"""Callers that test a backend's manners from inside its worker: a planted function wraps it.

`hostile` changes every array it handed in right after the call, and watches every array it was
handed out for later changes. A backend that copies is not disturbed; one that aliases shows.
"""

from __future__ import annotations

import numpy as np


class Wrapped:
    """A trainer behind another; what a subclass does not define goes through unchanged."""

    def __init__(self, trainer):
        self.trainer = trainer

    def __getattr__(self, name):
        return getattr(self.trainer, name)


def wrap(backend, kind):
    """Make `backend` build trainers of `kind`."""
    original = backend.trainer
    backend.trainer = lambda workload: kind(original(workload))
    return backend


class Hostile(Wrapped):
    def __init__(self, trainer):
        super().__init__(trainer)
        self.watched = []

    def watch(self, **arrays):
        self.watched += [(name, array, np.array(array)) for name, array in arrays.items()]
        for name, array, copy in self.watched:
            if not np.array_equal(array, copy, equal_nan=True):
                raise AssertionError(f"{name}, handed out earlier, has changed")
        del self.watched[:-40]

    def set_params(self, params):
        mine = {name: np.array(value) for name, value in params.items()}
        self.trainer.set_params(mine)
        for value in mine.values():
            value += 1

    def put(self, x, y):
        x, y = np.array(x), np.array(y)
        batch = self.trainer.put(x, y)
        x += 1
        y[:] = (y + 1) % 10
        return batch

    def get_params(self):
        params = self.trainer.get_params()
        self.watch(**{f"parameter {name}": value for name, value in params.items()})
        # A caller may also write into what is its own: the next copy must not show it.
        scribbled = self.trainer.get_params()
        for value in scribbled.values():
            value += 1
        return params

    def fetch(self, batch):
        x, y = self.trainer.fetch(batch)
        self.watch(x=x, y=y)
        return x, y

    def logits(self, batch):
        found = self.trainer.logits(batch)
        self.watch(logits=found)
        return found

    def loss_and_grads(self, batch):
        loss, grads = self.trainer.loss_and_grads(batch)
        self.watch(**{f"gradient {name}": value for name, value in grads.items()})
        return loss, grads

    def step(self, batch):
        loss = self.trainer.step(batch)
        self.watch()
        return loss


def hostile(backend):
    return wrap(backend, Hostile)


def aliasing_put(backend):
    """A backend that keeps the caller's memory, under the hostile caller: must be caught."""

    class Aliasing(Wrapped):
        def put(self, x, y):
            self.kept = (x, y)
            return self.trainer.put(x, y)

        def fetch(self, batch):
            return self.kept

    return wrap(wrap(backend, Aliasing), Hostile)


def handing_out_itself(backend):
    """A backend that hands out its own memory, under the hostile caller: must be caught."""

    class Sharing(Wrapped):
        shared = None

        def get_params(self):
            now = self.trainer.get_params()
            if self.shared is None:
                self.shared = now
            for name, value in now.items():
                self.shared[name][:] = value
            return self.shared

    return wrap(wrap(backend, Sharing), Hostile)
