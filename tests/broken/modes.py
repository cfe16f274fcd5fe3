"""Backends that are wrong where training and evaluation differ, or where a state is more than
what is trained: what a model without noise, running tensors and slots does not show.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from shared import Broken, broken

from backends.arguments import check_batch, check_state
from harness.workloads.declare import declare, normal
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import adam, stepped
from harness.workloads.reference.pieces import BatchNorm, Dense, Dropout, Relu

MODES = declare(
    "modes",
    Dense("W1", "", 784, 32),
    BatchNorm("g1", "s1", "mean1", "variance1", 32),
    Relu(),
    Dropout("U1", 0.5),
    Dense("W2", "b2", 32, 10),
    loss=SoftmaxCrossEntropy(),
    optimiser=adam(lr=0.001),
    init=normal(0.05),
    x=(784,),
    data="fashion-mnist",
    batch_size=64,
    epochs=1,
)


class Trainer:
    """The judge's own pieces, in the dtype that is asked for."""

    def __init__(self, backend, workload):
        self.workload = workload
        self.dtype = np.dtype(backend.dtype)
        self.judge = Composed(MODES.net)
        self.state = {}

    def held(self, arrays):
        return {
            name: np.array(v, self.dtype if v.dtype.kind == "f" else np.int64)
            for name, v in arrays.items()
        }

    def set_state(self, state):
        check_state(state, self.workload)
        self.state = self.held(state)

    def get_state(self):
        return {name: value.copy() for name, value in self.state.items()}

    def put(self, batch):
        check_batch(batch, self.workload)
        return self.held(batch)

    def fetch(self, batch):
        return {name: value.copy() for name, value in batch.items()}

    def outputs(self, batch, *, training):
        if training:
            return self.judge.look(self.state, batch).outputs
        return self.judge.outputs(self.state, batch)

    def loss_and_grads(self, batch):
        look = self.judge.look(self.state, batch)
        return look.loss, self.held(look.grads)

    def step(self, batch):
        look = self.judge.look(self.state, batch)
        state = self.state | look.running
        new = stepped(self.workload.optimiser, state, look.grads)
        self.state = self.held({name: np.asarray(value) for name, value in new.items()})
        return look.loss

    def wait(self, loss):
        return loss

    def close(self):
        self.state = {}


class OfModes(Broken):
    """What has modes, and nothing wrong with it."""

    workload: ClassVar = MODES
    kind: ClassVar[type] = Trainer

    def trainer(self, workload):
        known = (MODES.workload.model, MODES.workload.loss, MODES.workload.optimiser.rule)
        given = (workload.model, workload.loss, workload.optimiser.rule)
        if given != known:
            raise ValueError(f"unknown: {', '.join(given)}; known: {', '.join(known)}")
        return self.kind(self, workload)


def of_modes(fails):
    """As `broken`, of the workload with modes."""
    return lambda kind: type(kind.__name__, (OfModes,), vars(broken(fails)(kind)) | {"kind": kind})


@of_modes("training-outputs")
class IgnoresItsNoise(Trainer):
    """Asked for the outputs of training it gives those of evaluation."""

    def outputs(self, batch, *, training):
        return super().outputs(batch, training=False)


@of_modes("outputs")
class EvaluatesWithTheBatch(Trainer):
    """In evaluation too the statistics are the batch's, and units are dropped."""

    def outputs(self, batch, *, training):
        return super().outputs(batch, training=True)


@of_modes("looking-changes-nothing")
class RunsOnWhenLookedAt(Trainer):
    """The running tensors move when outputs of training are asked for."""

    def outputs(self, batch, *, training):
        if training:
            self.state = self.held(self.state | self.judge.look(self.state, batch).running)
        return super().outputs(batch, training=training)


@of_modes("state-round-trip")
class ForgetsItsSlots(Trainer):
    """The optimiser's tensors are new whenever a state is set, whatever it says."""

    def set_state(self, state):
        super().set_state(state)
        for tensor in self.workload.tensors:
            if tensor.role == "optimiser":
                self.state[tensor.name][...] = 0


@of_modes("update")
class RunningStandsStill(Trainer):
    """A step leaves the running tensors as they are."""

    def step(self, batch):
        running = {t.name for t in self.workload.tensors if t.role == "running"}
        before = {name: self.state[name] for name in running}
        loss = super().step(batch)
        self.state |= before
        return loss


@of_modes("bad-batches-refused")
class MakesItsNoise(Trainer):
    """Noise that a batch lacks is drawn."""

    def put(self, batch):
        rng = np.random.default_rng(0)
        drawn = {t.name: rng.random((7, *t.shape), np.float32) for t in self.workload.noise}
        return super().put(drawn | batch)
