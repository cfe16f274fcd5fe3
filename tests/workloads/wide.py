"""Plug-in workloads: the MLP with 40 hidden units and another rate, in many ways."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.interface import Outcome
from harness.workloads.corners import Probe
from harness.workloads.declare import declare, normal
from harness.workloads.reference.composed import Look
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import momentum, sgd
from harness.workloads.reference.pieces import Dense, Relu

WIDE = declare(
    "wide",
    Dense("W1", "b1", 784, 40),
    Relu(),
    Dense("W2", "b2", 40, 10),
    model="mlp-scratch",
    sizes={"num_inputs": 784, "num_outputs": 10, "num_hiddens": 40},
    loss=SoftmaxCrossEntropy(),
    optimiser=sgd(lr=0.05),
    init=normal(0.01),
    x=(784,),
    data="fashion-mnist",
    batch_size=128,
    epochs=1,
)


class Reference:
    """The same by hand."""

    def outputs(self, state, batch):
        return self.hidden(state, batch) @ state["W2"] + state["b2"]

    def before_relu(self, state, batch):
        return batch["x"] @ state["W1"] + state["b1"]

    def hidden(self, state, batch):
        return np.maximum(self.before_relu(state, batch), 0)

    def look(self, state, batch):
        H, outputs, rows = self.hidden(state, batch), self.outputs(state, batch), len(batch["y"])
        places = np.arange(rows), batch["y"]
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        d = np.exp(log_p)
        d[places] -= 1
        d /= rows
        dZ = d @ state["W2"].T * (H > 0)
        grads = {"W1": batch["x"].T @ dZ, "b1": dZ.sum(0), "W2": H.T @ d, "b2": d.sum(0)}
        return Look(outputs, -log_p[places].mean(), grads, {})

    def kink_margin(self, state, batch):
        scale = np.abs(batch["x"]) @ np.abs(state["W1"]) + np.abs(state["b1"])
        distance = np.abs(self.before_relu(state, batch))
        return np.where(scale > 0, distance / np.where(scale > 0, scale, 1), np.inf).min(axis=1)

    def kink_distance(self, state, batch):
        return np.abs(self.before_relu(state, batch)).min(axis=1)


class Own:
    """Judged by an object of its own, with a made batch."""

    workload = WIDE.workload

    def __init__(self):
        self.reference = Reference()

    def probes(self, state, batch, clear):
        rows = np.flatnonzero(clear(state, batch))[:128]
        doubled = {name: 2 * value for name, value in state.items()}
        return [Probe("doubled", doubled, {name: value[rows] for name, value in batch.items()})]


class WithoutReference:
    workload = WIDE.workload


class Wrong(Own):
    """Its reference is wrong: the bias has no gradient."""

    def __init__(self):
        super().__init__()
        right = self.reference.look

        def wrong(state, batch):
            look = right(state, batch)
            return look._replace(grads=look.grads | {"b1": 0 * look.grads["b1"]})

        self.reference.look = wrong


class Fails(Own):
    def __init__(self):
        super().__init__()
        self.reference.look = lambda state, batch: 1 / 0


class Misshapen(Own):
    def __init__(self):
        super().__init__()
        self.reference.look = lambda state, batch: Look(
            self.reference.outputs(state, batch), 1.0, {"W1": np.zeros(3)}, {}
        )


class Shy(Own):
    """It calls every sample a kink whose middle pixel is bright."""

    def __init__(self):
        super().__init__()
        self.reference.kink_margin = lambda state, batch: np.where(
            batch["x"][:, 400] > 0.5, 0.0, 1.0
        )


def no_workload():
    raise RuntimeError("never called")


def changed(**fields):
    """A plug-in whose workload is another in these fields."""
    body = {"workload": msgspec.structs.replace(WIDE.workload, **fields), "net": WIDE.net}
    return type("Changed", (), body)


Nameless = changed(name="../x")
Endless = changed(optimiser=sgd(lr=float("inf")))
Adaptive = changed(optimiser=msgspec.structs.replace(WIDE.workload.optimiser, rule="adamax"))
Slotless = changed(optimiser=momentum(lr=0.05))
Elsewhere = changed(data="cifar10")
Symmetric = changed(symmetries=("units1", "heads"))
Traceless = changed(trace=())
_PRODUCT = msgspec.structs.replace(WIDE.workload.products[0], transposed="A")
Flipped = changed(products=(_PRODUCT,))
Batchless = changed(batch_size=0)
Uncounted = changed(outcome=(Outcome("binary accuracy", margin=0.01),))

NOT_ONE = 7
