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
    """Make `backend` build trainers of `kind`, which know their workload."""
    original = backend.trainer

    def trainer(workload):
        made = kind(original(workload))
        made.workload = workload
        return made

    backend.trainer = trainer
    return backend


class Stepping(Wrapped):
    """Every step is finished at once; `done` are those since the state was set."""

    done = 0
    run = None  # many steps at once would go round the fault

    def set_state(self, state):
        self.done = 0
        self.trainer.set_state(state)

    def step(self, batch):
        loss = self.do(batch)
        self.done += 1
        return loss

    def wait(self, loss):
        return loss

    def do(self, batch):
        """One step, with its fault; the loss."""
        raise NotImplementedError

    def do_right(self, batch):
        """One step, to its end; the loss."""
        return self.trainer.wait(self.trainer.step(batch))

    def do_nothing(self, batch):
        """All but the update; the loss."""
        return self.trainer.loss_and_grads(batch)[0]

    def change(self, batch):
        """One step; the loss, the state before it, and what it added to each tensor."""
        before = self.trainer.get_state()
        loss = self.do_right(batch)
        return loss, before, {k: v - before[k] for k, v in self.trainer.get_state().items()}


class Regraded(Stepping):
    """Other gradients than the trainer's own, also in a step: `regrade` says which."""

    def regrade(self, grads, state, batch):
        """What takes the place of gradients by name; state and batch as they are held."""
        raise NotImplementedError

    def loss_and_grads(self, batch):
        loss, grads = self.trainer.loss_and_grads(batch)
        state, held = self.trainer.get_state(), self.trainer.fetch(batch)
        return loss, grads | self.regrade(grads, state, held)

    def do(self, batch):
        # Here: a bundle that a fault is copied into has nothing of the judge.
        from harness.workloads.reference.optimisers import stepped

        before, (_, grads) = self.trainer.get_state(), self.loss_and_grads(batch)
        loss = self.do_right(batch)
        moved = stepped(self.workload.optimiser, before, grads)
        running = {t.name for t in self.workload.tensors if t.role == "running"}
        new = {name: value for name, value in moved.items() if name not in running}
        self.trainer.set_state(self.trainer.get_state() | like(new, before))
        return loss


def like(state, other):
    """A state's arrays in the dtypes of another's: scalars of NumPy are none."""
    return {name: np.asarray(value, other[name].dtype) for name, value in state.items()}


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

    def set_state(self, state):
        mine = {name: np.array(value) for name, value in state.items()}
        self.trainer.set_state(mine)
        for value in mine.values():
            value += 1

    def put(self, batch):
        mine = {name: np.array(value) for name, value in batch.items()}
        made = self.trainer.put(mine)
        for value in mine.values():
            value[...] = (value + 1) % 10 if value.dtype.kind in "iu" else value + 1
        return made

    def get_state(self):
        state = self.trainer.get_state()
        self.watch(**{f"held {name}": value for name, value in state.items()})
        # A caller may also write into what is its own: the next copy must not show it.
        scribbled = self.trainer.get_state()
        for value in scribbled.values():
            value += 1
        return state

    def fetch(self, batch):
        held = self.trainer.fetch(batch)
        self.watch(**held)
        return held

    def outputs(self, batch, *, training):
        found = self.trainer.outputs(batch, training=training)
        self.watch(outputs=found)
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
        def put(self, batch):
            self.kept = batch
            return self.trainer.put(batch)

        def fetch(self, batch):
            return self.kept

    return wrap(wrap(backend, Aliasing), Hostile)


def handing_out_itself(backend):
    """A backend that hands out its own memory, under the hostile caller: must be caught."""

    class Sharing(Wrapped):
        shared = None

        def get_state(self):
            now = self.trainer.get_state()
            if self.shared is None:
                self.shared = now
            for name, value in now.items():
                self.shared[name][...] = value
            return self.shared

    return wrap(wrap(backend, Sharing), Hostile)
