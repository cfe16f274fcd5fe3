"""Backends that keep what they should forget, or forget what they should keep."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from shared import Trainer, broken


class WithMomentum(Trainer):
    """What a step adds, and a hundredth of what the step before added."""

    velocity: Mapping = MappingProxyType({})

    def updated(self, name, before, after):
        change = after - before + 0.01 * self.velocity.get(name, 0)
        self.velocity = {**self.velocity, name: change}
        return before + change


@broken("set-state-is-whole")
class KeepsItsMomentum(WithMomentum):
    """The optimiser's state outlives set_state."""


@broken("set-state-is-whole")
class HidesItsMomentum(WithMomentum):
    """A momentum that is not in the state: what goes on from there goes on without."""

    def set_state(self, state):
        super().set_state(state)
        self.velocity = {}


@broken("set-state-is-whole")
class CountsItsSteps(Trainer):
    """The learning rate decays with every step, and set_state does not count anew."""

    steps = 0

    def updated(self, name, before, after):
        return before + (after - before) * (1 - 1e-3 * self.steps)

    def step(self, batch):
        loss = super().step(batch)
        self.steps += 1
        return loss


@broken("looking-changes-nothing")
class LooksAndUpdates(Trainer):
    """loss_and_grads takes a step on the way."""

    def loss_and_grads(self, batch):
        found = super().loss_and_grads(batch)
        self.step(batch)
        return found


@broken("looking-changes-nothing")
class GradientsAddUp(Trainer):
    """The next step applies the gradients of loss_and_grads too: they were not reset."""

    waiting: Mapping = MappingProxyType({})

    def set_state(self, state):
        super().set_state(state)
        self.waiting = {}

    def loss_and_grads(self, batch):
        loss, grads = super().loss_and_grads(batch)
        self.waiting = {n: g.copy() for n, g in grads.items()}
        return loss, grads

    def updated(self, name, before, after):
        return after - self.workload.optimiser.lr * self.waiting.get(name, 0)

    def step(self, batch):
        loss = super().step(batch)
        self.waiting = {}
        return loss


@broken("instances-independent")
class SharesItsState(Trainer):
    """All trainers of one dtype have the same state."""

    states: ClassVar[dict] = {}

    @property
    def state(self):
        return self.states[self.dtype]

    @state.setter
    def state(self, state):
        self.states[self.dtype] = state


@broken("lockstep")
class EveryTenthUpdateTwice(Trainer):
    """The tenth update since the state was set, and every tenth after it, is applied twice."""

    def set_state(self, state):
        super().set_state(state)
        self.done = 0

    def updated(self, name, before, after):
        return after + (after - before) if self.done % 10 == 9 else after

    def step(self, batch):
        loss = super().step(batch)
        self.done += 1
        return loss


@broken("repeatable")
class FlipsALastBit(Trainer):
    """One weight differs in its last bit from run to run."""

    count = itertools.count()

    def step(self, batch):
        loss = super().step(batch)
        if next(self.count) % 7 == 3:
            weight = self.state["W1"]
            weight[0, 0] = np.nextafter(weight[0, 0], weight.dtype.type(1))
        return loss


@broken("close")
class KeepsWhatIsClosed(Trainer):
    """A list somewhere holds on to every state."""

    kept: ClassVar[list] = []

    def close(self):
        self.kept.append(self.state)
        super().close()


@broken("close")
class ClosesItsNeighbours(Trainer):
    """Once eight are closed, the outputs of all others are half of what they were."""

    closed: ClassVar[list] = []

    def outputs(self, batch, *, training):
        found = super().outputs(batch, training=training)
        return found / 2 if len(self.closed) > 8 else found

    def close(self):
        self.closed.append(None)
        super().close()


@broken("clean-end")
class LeavesAThread(Trainer):
    """A thread of each trainer goes on after close, and is no daemon."""

    released = threading.Event()

    def __init__(self, backend, workload):
        super().__init__(backend, workload)
        threading.Thread(target=self.released.wait, name="left over").start()
