"""Every kind of layer alone: the table that its proofs are parametrised over."""

from __future__ import annotations

from typing import NamedTuple, get_args

import numpy as np

from harness.interface import Array, State
from harness.workloads.reference import pieces
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Bias,
    Conv,
    Dense,
    Dropout,
    Enlarge,
    Flatten,
    Keep,
    Layer,
    MaxPool,
    Pass,
    Polynomial,
    Relu,
    Residual,
    Sigmoid,
    Softmax,
    Tanh,
    Variable,
)

NORM = BatchNorm("gamma", "beta", "mean", "variance", 3)
BLOCK = (
    Conv("K1", "", 3, 4, 3, stride=2, pad=1),
    BatchNorm("g1", "n1", "m1", "v1", 4),
    Relu(),
    Dropout("drop", 0.25),
    Conv("K2", "c2", 4, 4, 3, pad=1),
)
# 2 x²y - y³ + .5, and x.
SUMS = (((2.0, (2, 1)), (-1.0, (0, 3)), (0.5, (0, 0))), ((1.0, (1, 0)),))
# A layer, and the shape of one sample that it is given.
LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "dense": (Dense("W", "b", 5, 3), (5,)),
    "dense, no bias": (Dense("W", "", 5, 3), (5,)),
    "dense, a row as bias": (Dense("W", "b", 5, 3, row=True), (5,)),
    "variable": (Variable("v", 3), (2,)),
    "polynomial": (Polynomial(SUMS), (2,)),
    "conv": (Conv("K", "c", 2, 3, 3), (6, 5, 2)),
    "conv, stride and pad": (Conv("K", "c", 2, 3, 3, stride=2, pad=1), (6, 5, 2)),
    "conv, no bias": (Conv("K", "", 2, 3, 2), (3, 4, 2)),
    "bias": (Bias("b", 3), (3,)),
    "bias of channels": (Bias("b", 3), (4, 2, 3)),
    "enlarge": (Enlarge(3), (2, 3, 2)),
    "relu": (Relu(), (6,)),
    "sigmoid": (Sigmoid(), (6,)),
    "tanh": (Tanh(), (6,)),
    "softmax": (Softmax(), (5,)),
    "max pool": (MaxPool(2), (4, 6, 2)),
    "max pool, overlapping": (MaxPool(3, stride=2, pad=1), (7, 6, 2)),
    "average pool": (AveragePool(2), (4, 6, 2)),
    "average pool, padding counted": (AveragePool(3, stride=2, pad=1), (7, 6, 2)),
    "average pool, padding not": (AveragePool(3, stride=2, pad=1, counted=False), (7, 6, 2)),
    "flatten": (Flatten(), (2, 3, 2)),
    "batch norm": (NORM, (3,)),
    "batch norm of images": (NORM, (4, 2, 3)),
    "dropout": (Dropout("drop", 0.3), (8,)),
    "residual": (Residual((Dense("W1", "b1", 4, 6), Tanh(), Dense("W2", "", 6, 4))), (4,)),
    "residual, shortcut": (Residual(BLOCK, (Conv("Ks", "", 3, 4, 1, stride=2),)), (5, 6, 3)),
}


def kinds() -> set[type]:
    """What a net's layers can be."""
    return set(get_args(pieces.Layer))


class Alone(NamedTuple):
    """A layer with a state, noise and an input of n samples, all drawn."""

    layer: Layer
    state: State
    noise: State
    x: Array

    def run(self, training: bool = True, **changed: Array) -> Array:
        """Its value, with x or a tensor changed."""
        x = changed.pop("x", self.x)
        return self.layer.run(x, self.at(training, self.state | changed), Keep())

    def at(self, training: bool = True, state: State | None = None) -> Pass:
        times = lambda part, a, b: a @ b  # noqa: E731
        return Pass(self.state if state is None else state, self.noise, training, times)

    def gradients(self, weights: Array, training: bool = True) -> State:
        """Of sum(weights * value), by x and by each trained tensor."""
        keep, at = Keep(), self.at(training)
        self.layer.run(self.x, at, keep)
        grads = self.layer.grads(weights, at, keep)
        return grads | {"x": self.layer.back(weights, at, keep)}

    def running(self) -> State:
        """What a training pass makes of the running tensors."""
        keep, at = Keep(), self.at()
        self.layer.run(self.x, at, keep)
        return self.layer.running(at, keep)


def alone(layer: Layer, given: tuple[int, ...], n: int = 3, seed: int = 0) -> Alone:
    """The layer with standard normal values; a variance is positive."""
    rng = np.random.default_rng(seed)
    state = {}
    for slot in layer.slots("", ""):
        value = rng.standard_normal(slot.tensor.shape)
        positive = slot.tensor.role == "running" and slot.kind == "ones"
        state[slot.tensor.name] = np.exp(value) if positive else value
    noise = {one.name: rng.random((n, *one.shape)) for one in layer.noise("", "", given)}
    return Alone(layer, state, noise, rng.standard_normal((n, *given)))
