"""A plug-in workload with a reference of its own: the MLP with 40 hidden units and another rate."""

from __future__ import annotations

import msgspec
import numpy as np

from harness.workloads.mlp_scratch import resized
from harness.workloads.probes import Probe


class Reference:
    def forward(self, params, x):
        z = x @ params["W1"] + params["b1"]
        return z, np.maximum(z, 0) @ params["W2"] + params["b2"]

    def logits(self, params, x):
        return self.forward(params, x)[1]

    def loss_and_grads(self, params, x, y):
        z, logits = self.forward(params, x)
        rows = np.arange(len(y))
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        d = np.exp(log_p)
        d[rows, y] -= 1
        d /= len(y)
        d_z = (d @ params["W2"].T) * (z > 0)
        hidden = np.maximum(z, 0)
        grads = {"W1": x.T @ d_z, "b1": d_z.sum(0), "W2": hidden.T @ d, "b2": d.sum(0)}
        return float(-log_p[rows, y].mean()), grads

    def kink_margin(self, params, x):
        z, _ = self.forward(params, x)
        scale = np.abs(x) @ np.abs(params["W1"]) + np.abs(params["b1"])
        return (np.abs(z) / np.maximum(scale, 1e-300)).min(axis=1)

    def kink_distance(self, params, x):
        return np.abs(self.forward(params, x)[0]).min(axis=1)


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


NOT_ONE = 7
