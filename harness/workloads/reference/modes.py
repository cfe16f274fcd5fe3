"""Pieces that compute other values in training than in evaluation: batch norm, dropout.

Imports NumPy and the interface only.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from harness.interface import Array, State, Tensor
from harness.workloads.reference.base import Keep, Pass, Piece, Shape, Slot


class BatchNorm(Piece, frozen=True):
    """(x - mean) / sqrt(variance + eps) * gamma + beta, per unit or channel.

    In training mean and variance are the batch's, over samples and positions, the variance over
    their number n; in evaluation they are the running ones. The first four fields are the tensors'
    names. momentum: what a step keeps of the running ones; the batch's variance goes in as
    variance * n / (n - 1).
    """

    gamma: str
    beta: str
    mean: str
    variance: str
    units: int
    eps: float = 1e-5
    momentum: float = 0.9
    letter: ClassVar[str] = "n"

    @property
    def couples(self) -> bool:
        return True

    def shape(self, given: Shape) -> Shape:
        if given[-1:] != (self.units,):
            raise ValueError(f"{self.gamma} takes {self.units} units or channels, given {given}")
        if not 0 < self.eps < math.inf:
            raise ValueError(f"{self.gamma} adds an eps above 0 to a variance, not {self.eps}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"{self.gamma} keeps a share from 0 to 1, not {self.momentum}")
        return given

    def least(self, given: Shape) -> int:
        # The variance that goes into the running one needs two values.
        return 2 if math.prod(given[:-1]) == 1 else 1

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:  # noqa: ARG002
        named = (
            (self.gamma, "ones", "trained"),
            (self.beta, "zeros", "trained"),
            (self.mean, "zeros", "running"),
            (self.variance, "ones", "running"),
        )
        return tuple(
            Slot(Tensor(name, (self.units,), role, axes=(axis,)), 1, start)  # type: ignore[arg-type]
            for name, start, role in named
        )

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        mean, variance = at.state[self.mean], at.state[self.variance]
        if at.training:
            over = tuple(range(x.ndim - 1))
            mean = x.mean(axis=over)
            variance = ((x - mean) ** 2).mean(axis=over)
            keep["mean"], keep["variance"], keep["n"] = mean, variance, x.size // self.units
        keep["inverse"] = 1 / np.sqrt(variance + self.eps)
        keep["normal"] = (x - mean) * keep["inverse"]
        return np.asarray(keep["normal"] * at.state[self.gamma] + at.state[self.beta])

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        over = tuple(range(d.ndim - 1))
        return {self.gamma: (d * keep["normal"]).sum(axis=over), self.beta: d.sum(axis=over)}

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:
        d = d * at.state[self.gamma]
        if at.training:
            over, normal = tuple(range(d.ndim - 1)), keep["normal"]
            d = d - d.mean(axis=over) - normal * (d * normal).mean(axis=over)
        return np.asarray(d * keep["inverse"])

    def running(self, at: Pass, keep: Keep) -> State:
        unbiased = keep["variance"] * (keep["n"] / (keep["n"] - 1))
        new = {self.mean: keep["mean"], self.variance: unbiased}
        return {
            name: self.momentum * at.state[name] + (1 - self.momentum) * value
            for name, value in new.items()
        }

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:
        # x - mean rounds in proportion to x where the mean is far from 0.
        slope = at.state[self.gamma] * keep["inverse"]
        return np.asarray((error + x**2) * slope**2 + value**2 + at.state[self.beta] ** 2)


class Dropout(Piece, frozen=True):
    """x * (U >= p) / (1 - p) in training, U the batch's noise of this name; x in evaluation."""

    name: str
    p: float
    letter: ClassVar[str] = "d"

    def noise(self, axis: str, made: str, given: Shape) -> tuple[Tensor, ...]:  # noqa: ARG002
        return (Tensor(self.name, given, axes=(*[""] * (len(given) - 1), axis)),)

    def shape(self, given: Shape) -> Shape:
        if not 0 <= self.p < 1:
            raise ValueError(f"{self.name} drops a share p from 0 to less than 1, not {self.p}")
        return given

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        keep["factor"] = np.ones((), x.dtype)
        if at.training:
            keep["factor"] = (at.noise[self.name] >= self.p).astype(x.dtype) / (1 - self.p)
        return np.asarray(x * keep["factor"])

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(d * keep["factor"])

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(error * keep["factor"] ** 2 + value**2)
