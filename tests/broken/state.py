"""Backends that keep what they should forget, or forget what they should keep."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from shared import OtherUpdate, Trainer, broken


class WithMomentum(OtherUpdate):
    """What a step adds, and a hundredth of what the step before added."""

    velocity: Mapping = MappingProxyType({})

    def updated(self, name, before, after):
        change = after - before + 0.01 * self.velocity.get(name, 0)
        self.velocity = {**self.velocity, name: change}
        return before + change


@broken("set-params-resets")
class KeepsItsMomentum(WithMomentum):
    """The optimiser's state outlives set_params."""


@broken("set-params-resets")
class CountsItsSteps(OtherUpdate):
    """The learning rate decays with every step, and set_params does not count anew."""

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
class GradientsAddUp(OtherUpdate):
    """The next step applies the gradients of loss_and_grads too: they were not reset."""

    waiting: Mapping = MappingProxyType({})

    def set_params(self, params):
        super().set_params(params)
        self.waiting = {}

    def loss_and_grads(self, batch):
        loss, grads = super().loss_and_grads(batch)
        self.waiting = {n: g.copy() for n, g in grads.items()}
        return loss, grads

    def updated(self, name, before, after):
        return after - self.workload.lr * self.waiting.get(name, 0)

    def step(self, batch):
        loss = super().step(batch)
        self.waiting = {}
        return loss


@broken("instances-independent")
class SharesItsParameters(Trainer):
    """All trainers of one size have the same model."""

    models: ClassVar[dict] = {}

    def __init__(self, backend, workload):
        super().__init__(backend, workload)
        key = backend.dtype, workload.sizes["num_hiddens"]
        self.model = self.models.setdefault(key, self.model)


@broken("lockstep")
class Momentum(WithMomentum):
    """A momentum of 0.01 that nobody asked for; set_params resets it."""

    def set_params(self, params):
        super().set_params(params)
        self.velocity = {}


@broken("repeatable")
class FlipsALastBit(Trainer):
    """One weight differs in its last bit from run to run."""

    count = itertools.count()

    def step(self, batch):
        loss = super().step(batch)
        if next(self.count) % 7 == 3:
            weight = self.model.W1
            weight[0, 0] = np.nextafter(weight[0, 0], weight.dtype.type(1))
        return loss


@broken("close")
class KeepsWhatIsClosed(Trainer):
    """A list somewhere holds on to every model."""

    kept: ClassVar[list] = []

    def __init__(self, backend, workload):
        super().__init__(backend, workload)
        self.kept.append(self.model)


@broken("close")
class ClosesItsNeighbours(Trainer):
    """Closing one wide trainer scales the weights of all others."""

    scale: ClassVar[dict] = {"all": 1.0}

    def logits(self, batch):
        return super().logits(batch) * self.model.W1.dtype.type(self.scale["all"])

    def close(self):
        if self.workload.sizes["num_hiddens"] > 1000:
            self.scale["all"] = 0.5
        super().close()


@broken("clean-end")
class LeavesAThread(Trainer):
    """A thread of each trainer goes on after close, and is no daemon."""

    released = threading.Event()

    def __init__(self, backend, workload):
        super().__init__(backend, workload)
        threading.Thread(target=self.released.wait, name="left over").start()
