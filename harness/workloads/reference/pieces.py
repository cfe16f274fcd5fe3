"""The judge's pieces: every layer that a net can have, and the one that holds others.

Each is proven by tests: central differences, brute force, the frameworks' autodiff. Imports NumPy
and the interface only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from harness.interface import Array, Product, State, Tensor
from harness.workloads.reference.base import Keep, Kink, Pass, Piece, Seen, Shape, Slot
from harness.workloads.reference.images import AveragePool, Conv, Enlarge, Flatten, MaxPool
from harness.workloads.reference.modes import BatchNorm, Dropout
from harness.workloads.reference.units import (
    Bias,
    Dense,
    Polynomial,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
    Variable,
)

__all__ = [
    "AveragePool",
    "BatchNorm",
    "Bias",
    "Conv",
    "Dense",
    "Dropout",
    "Enlarge",
    "Flatten",
    "Keep",
    "Kink",
    "Layer",
    "MaxPool",
    "Pass",
    "Piece",
    "Polynomial",
    "Relu",
    "Residual",
    "Seen",
    "Shape",
    "Sigmoid",
    "Slot",
    "Softmax",
    "Tanh",
    "Variable",
    "called",
]

# What a residual block can hold.
Inner = (
    Dense
    | Conv
    | Bias
    | Relu
    | Sigmoid
    | Tanh
    | Softmax
    | MaxPool
    | AveragePool
    | BatchNorm
    | Dropout
)


class Residual(Piece, frozen=True):
    """branch(x) + shortcut(x): layers one after another each; with no shortcut layers x itself.

    name: what values inside are called by: "block1" has "block1.z1", "block1.n1", ..., and in its
    shortcut "block1.zs", "block1.ns"; none of them where it is empty.
    """

    branch: tuple[Inner, ...]
    shortcut: tuple[Inner, ...] = ()
    name: str = ""
    letter: ClassVar[str] = "r"
    makes_units: ClassVar[bool] = True

    @property
    def couples(self) -> bool:
        return any(layer.couples for layer in (*self.branch, *self.shortcut))

    def shape(self, given: Shape) -> Shape:
        made = []
        for layers in (self.branch, self.shortcut):
            shape = given
            for layer in layers:
                shape = layer.shape(shape)
            made.append(shape)
        if made[0] != made[1]:
            raise ValueError(f"a branch makes {made[0]}, its shortcut {made[1]}: they do not add")
        return made[0]

    def axis(self, axis: str, made: str, given: Shape) -> str:  # noqa: ARG002
        # What is added to the input itself counts the input's units.
        sides = (self.branch, self.shortcut)
        return made if all(any(one.makes_units for one in side) for side in sides) else axis

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:
        return tuple(slot for layer, *axes in self._axes(axis, made) for slot in layer.slots(*axes))

    def noise(self, axis: str, made: str, given: Shape) -> tuple[Tensor, ...]:
        every = zip(self._axes(axis, made), self._inside(given), strict=True)
        return tuple(
            noise
            for (layer, before, own), (_, _, shape) in every
            for noise in layer.noise(before, own, shape)
        )

    def least(self, given: Shape) -> int:
        return max((layer.least(shape) for _, layer, shape in self._inside(given)), default=1)

    def products(self, n: int, given: Shape) -> dict[str, Product]:
        forward: dict[str, Product] = {}
        back: dict[str, Product] = {}
        for name, layer, shape in self._inside(given):
            parts = layer.products(n, shape)
            forward |= {f"{name}.{part}": p for part, p in parts.items() if part == "forward"}
            own = {f"{name}.{part}": p for part, p in parts.items() if part != "forward"}
            back = own | back
        return forward | back

    def unasked(self) -> tuple[str, ...]:
        found: list[str] = []
        for side, layers in (("branch", self.branch), ("shortcut", self.shortcut)):
            for i, layer in enumerate(layers):
                found += (f"{side}{i}.{part}" for part in layer.unasked())
                if layer.slots("", ""):
                    break
        return tuple(found)

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        sums, names = [], iter(self.inside())
        for side, layers in (("branch", self.branch), ("shortcut", self.shortcut)):
            value, keep[side] = x, []
            for i, layer in enumerate(layers):
                inner, own = replace(at, times=partial(_times, at, f"{side}{i}")), Keep()
                given, value = value, layer.run(value, inner, own)
                if name := next(names):
                    value = at.show(name, value)
                keep[side].append((layer, given, value, inner, own))
            sums.append(value)
        return np.asarray(sums[0] + sums[1])

    def inside(self) -> tuple[str, ...]:
        """What the value of each layer inside is called in a trace, "" where it is called nothing.

        Numbers count those of the branch that make units; the shortcut has "s" for a number.
        """
        names, made = called(self.branch), list[str]()
        for layer in self.shortcut:
            more = sum(name.startswith(f"{layer.letter}s") for name in made)
            made.append(f"{layer.letter}s{more + 1 if more else ''}" if layer.letter else "")
        return tuple(f"{self.name}.{n}" if self.name and n else "" for n in (*names, *made))

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        """The gradients; the one by its input, which is found on the way, is kept for `back`."""
        grads: State = {}
        keep["d"] = 0.0
        for side in ("branch", "shortcut"):
            back = d
            for layer, _, _, inner, own in keep[side][::-1]:
                grads |= layer.grads(back, inner, own)
                back = layer.back(back, inner, own)
            keep["d"] = keep["d"] + back
        return grads

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(keep["d"])

    def running(self, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        found: State = {}
        for layer, _, _, inner, own in (*keep["branch"], *keep["shortcut"]):
            found |= layer.running(inner, own)
        return found

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        total = value**2
        for side in ("branch", "shortcut"):
            own = error
            for layer, given, made, inner, kept in keep[side]:
                own = layer.spread(given, made, own, inner, kept)
            total = total + own
        return np.asarray(total)

    def kinks(self, seen: Seen, keep: Keep) -> Iterator[Kink]:
        for side in ("branch", "shortcut"):
            error, scale = np.broadcast_to(seen.error, seen.x.shape), seen.scale
            for layer, given, value, inner, kept in keep[side]:
                yield from layer.kinks(Seen(given, value, error, scale), kept)
                error = layer.spread(given, value, error, inner, kept)
                scale = np.sqrt(error)

    def _inside(self, given: Shape) -> Iterator[tuple[str, Inner, Shape]]:
        """Every layer inside with its name, and what shape it is given."""
        for side, layers in (("branch", self.branch), ("shortcut", self.shortcut)):
            shape = given
            for i, layer in enumerate(layers):
                yield f"{side}{i}", layer, shape
                shape = layer.shape(shape)

    def _axes(self, axis: str, made: str) -> Iterator[tuple[Inner, str, str]]:
        """Every layer inside with what the last axes of its input and its value count."""
        end = self.axis(axis, made, ())
        for side, layers in (("branch", self.branch), ("shortcut", self.shortcut)):
            last = max((i for i, one in enumerate(layers) if one.makes_units), default=-1)
            before = axis
            for i, layer in enumerate(layers):
                own = end if i == last else f"{made}.{side}{i}"
                yield layer, before, own
                before = layer.axis(before, own, ())


def called(layers: Iterable[Piece]) -> list[str]:
    """What each one's value is called: "z2" and "h2" belong to the second that makes units."""
    names, number = [], 0
    for layer in layers:
        number += layer.makes_units
        names.append(f"{layer.letter}{number}" if layer.letter else "")
    return names


Layer = Inner | Flatten | Enlarge | Residual | Variable | Polynomial


def _times(at: Pass, name: str, part: str, a: Array, b: Array) -> Array:
    return at.times(f"{name}.{part}", a, b)
