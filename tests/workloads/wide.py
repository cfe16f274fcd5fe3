"""A plug-in workload with a reference of its own: the MLP with 40 hidden units and another rate."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.workloads.mlp_scratch import MLPScratchReference, resized
from harness.workloads.probes import Probe


class Reference(MLPScratchReference):
    """The plug-in's own, to be spoilt below."""


class Wide:
    workload = msgspec.structs.replace(resized(40, 128), name="wide", lr=0.05, epochs=1)

    def __init__(self):
        self.reference = Reference()

    def probes(self, initial, x, y, clear):
        rows = np.flatnonzero(clear(initial, x))[:128]
        return [Probe("doubled", {n: 2 * v for n, v in initial.items()}, x[rows], y[rows])]


class WithoutReference:
    workload = Wide.workload


class Wrong(Wide):
    """Its reference is wrong: the bias has no gradient."""

    def __init__(self):
        self.reference = Reference()
        right = self.reference.loss_and_grads

        def wrong(params, x, y):
            loss, grads = right(params, x, y)
            return loss, grads | {"b1": 0 * grads["b1"]}

        self.reference.loss_and_grads = wrong


class Fails(Wide):
    def __init__(self):
        self.reference = Reference()
        self.reference.loss_and_grads = lambda params, x, y: 1 / 0


class Misshapen(Wide):
    def __init__(self):
        self.reference = Reference()
        self.reference.loss_and_grads = lambda params, x, y: (1.0, {"W1": np.zeros(3)})


class Shy(Wide):
    """It calls every sample a kink whose middle pixel is bright."""

    def __init__(self):
        self.reference = Reference()
        self.reference.kink_margin = lambda params, x: np.where(x[:, 400] > 0.5, 0.0, 1.0)


def no_workload():
    raise RuntimeError("never called")


class Nameless:
    workload = msgspec.structs.replace(Wide.workload, name="../x")


class Endless:
    workload = msgspec.structs.replace(Wide.workload, lr=float("inf"))


class Adaptive:
    workload = msgspec.structs.replace(Wide.workload, optimiser="adam")


class Elsewhere:
    workload = msgspec.structs.replace(Wide.workload, dataset="cifar10")


class Symmetric:
    workload = msgspec.structs.replace(Wide.workload, symmetries=("hiddens", "heads"))


class Flipped:
    products = (msgspec.structs.replace(Wide.workload.products[0], transposed="A"),)
    workload = msgspec.structs.replace(Wide.workload, products=products)


NOT_ONE = 7
