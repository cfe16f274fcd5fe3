"""Pieces of units: dense layers and what is applied to each unit, and softmax.

Imports NumPy and the interface only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from harness.interface import Array, Product, State, Tensor
from harness.workloads.reference.base import (
    Keep,
    Kink,
    Pass,
    Piece,
    Seen,
    Shape,
    Slot,
    check_numbers,
    off,
    with_bias,
)

# An exponent; powers are made by repeated multiplication.
Power = Annotated[int, msgspec.Meta(ge=0, le=64)]


class Dense(Piece, frozen=True):
    """x @ W + b: (n, inputs) -> (n, outputs). No bias where its name is empty.

    row: the bias is (1, outputs), else (outputs,).
    """

    weight: str
    bias: str
    inputs: int
    outputs: int
    row: bool = False
    letter: ClassVar[str] = "z"
    makes_units: ClassVar[bool] = True

    def shape(self, given: Shape) -> Shape:
        check_numbers(self.weight, 1, outputs=self.outputs)
        if given != (self.inputs,):
            raise ValueError(f"{self.weight} takes ({self.inputs},) and is given {given}")
        return (self.outputs,)

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:
        weight = Tensor(self.weight, (self.inputs, self.outputs), axes=(axis, made))
        one = (1,) if self.row else ()
        bias = Tensor(self.bias, (*one, self.outputs), axes=(*("" for _ in one), made))
        return with_bias(weight, bias, self.inputs)

    def products(self, n: int, given: Shape) -> dict[str, Product]:  # noqa: ARG002
        x, w, d = (n, self.inputs), (self.inputs, self.outputs), (n, self.outputs)
        return {
            "forward": Product(x, w),
            "weights": Product(x, d, transposed="a"),
            "inputs": Product(d, w, transposed="b"),
        }

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        keep["x"] = x
        z = at.times("forward", x, at.state[self.weight])
        if at.up is not None and self.inputs == 1:  # one product has no other order
            z = off(z, at.up)
        return z + at.state[self.bias] if self.bias else z

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:
        weights = {self.weight: at.times("weights", keep["x"].T, d)}
        return weights | ({self.bias: d.sum(axis=0, keepdims=self.row)} if self.bias else {})

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return at.times("inputs", d, at.state[self.weight].T)

    def scale(self, x: Array, at: Pass) -> Array:
        z = np.abs(x) @ np.abs(at.state[self.weight])
        return z + np.abs(at.state[self.bias]) if self.bias else z

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        z: Array = (x**2 + error) @ at.state[self.weight] ** 2
        return z + at.state[self.bias] ** 2 if self.bias else z


class Bias(Piece, frozen=True):
    """x + b over the last axis: units, or channels of an image."""

    name: str
    units: int
    letter: ClassVar[str] = "s"

    def shape(self, given: Shape) -> Shape:
        if given[-1:] != (self.units,):
            raise ValueError(f"{self.name} takes {self.units} units or channels, given {given}")
        return given

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:  # noqa: ARG002
        return (Slot(Tensor(self.name, (self.units,), axes=(axis,)), self.units, "bias"),)

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(x + at.state[self.name])

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        return {self.name: d.sum(axis=tuple(range(d.ndim - 1)))}

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return d

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(error + value**2)


class Variable(Piece, frozen=True):
    """A tensor (outputs,) whatever comes in: (n, ...) -> (n, outputs). What is minimised by it."""

    name: str
    outputs: int
    letter: ClassVar[str] = ""

    def shape(self, given: Shape) -> Shape:  # noqa: ARG002
        check_numbers(self.name, 1, outputs=self.outputs)
        return (self.outputs,)

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:  # noqa: ARG002
        return (Slot(Tensor(self.name, (self.outputs,), axes=("",)), 1, "weight"),)

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        keep["x"] = x
        return np.repeat(at.state[self.name][None], len(x), axis=0)

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        return {self.name: d.sum(axis=0)}

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.zeros_like(keep["x"])


class Polynomial(Piece, frozen=True):
    """Sums of powers of the inputs: (n, inputs) -> (n, len(sums)).

    sums: of each output its terms, a factor and an exponent for every input each, in the order in
    which they are added.
    """

    sums: tuple[tuple[tuple[float, tuple[Power, ...]], ...], ...]
    letter: ClassVar[str] = "q"
    makes_units: ClassVar[bool] = True

    def shape(self, given: Shape) -> Shape:
        inputs = {len(exponents) for terms in self.sums for _, exponents in terms}
        if inputs != {*given} or len(given) != 1:
            raise ValueError(f"a polynomial takes {sorted(inputs)} numbers and is given {given}")
        if not all(self.sums):
            raise ValueError("a polynomial has a sum of no terms")
        return (len(self.sums),)

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        keep["x"] = x
        values = []
        for sums in self.sums:
            terms = [_term(x, *term) for term in sums]
            value = sum(terms, np.zeros_like(terms[0]))
            if at.up is not None:
                unit = np.spacing(np.max(np.abs(terms), axis=0))
                value = value + unit if at.up else value - unit
            values.append(value)
        return np.stack(values, axis=1)

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        x, made = keep["x"], np.zeros_like(keep["x"])
        for place, terms in enumerate(self.sums):
            for factor, exponents in terms:
                for i, power in enumerate(exponents):
                    if power:
                        lower = tuple(e - (j == i) for j, e in enumerate(exponents))
                        made[:, i] += d[:, place] * _term(x, factor * power, lower)
        return np.asarray(made)


def _term(x: Array, factor: float, exponents: tuple[int, ...]) -> Array:
    """Factor times a product of powers, by repeated multiplication: (n,)."""
    value = np.full(len(x), factor, x.dtype)
    for i, power in enumerate(exponents):
        for _ in range(power):
            value = value * x[:, i]
    return value


class Relu(Piece, frozen=True):
    """max(z, 0); derivative 0 at 0, NaN passes."""

    selects: ClassVar[bool] = True

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        keep["z"] = x
        return np.asarray(np.maximum(x, 0.0))

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.where(keep["z"] <= 0.0, 0.0, d)  # NaN passes, as forward

    def kinks(self, seen: Seen, keep: Keep) -> Iterator[Kink]:
        yield Kink(self, keep, np.abs(seen.x), seen.scale)

    def other_side(self, keep: Keep, near: Array) -> None:
        keep["z"] = np.where(near, np.where(keep["z"] <= 0.0, 1.0, -1.0), keep["z"])

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return error


class Sigmoid(Piece, frozen=True):
    """1 / (1 + exp(-z)), without overflow."""

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        small = np.exp(-np.abs(x))
        value = np.where(x >= 0, 1.0, small) / (1.0 + small)
        # 1 - value, without cancellation.
        keep["slope"] = value * (np.where(x >= 0, small, 1.0) / (1.0 + small))
        if at.up is not None:
            value = off(value, at.up)
            keep["slope"] = value * (1 - value)
        return value

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(d * keep["slope"])

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(error * keep["slope"] ** 2 + value**2)


class Tanh(Piece, frozen=True):
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))."""

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        # 1 - tanh(z)², without cancellation.
        small = np.exp(-2 * np.abs(x))
        keep["slope"] = 4 * small / (1 + small) ** 2
        value = np.tanh(x)
        if at.up is not None:
            value = off(value, at.up)
            keep["slope"] = 1 - value**2
        return value

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(d * keep["slope"])

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(error * keep["slope"] ** 2 + value**2)


class Softmax(Piece, frozen=True):
    """exp(z) / sum of exp(z) over the last axis."""

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        exp = np.exp(x - x.max(axis=-1, keepdims=True))
        keep["p"] = exp / exp.sum(axis=-1, keepdims=True)
        return np.asarray(keep["p"])

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        p = keep["p"]
        return np.asarray(p * (d - (d * p).sum(axis=-1, keepdims=True)))

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        # exp makes an error of its argument, the shift's rounding too, a relative one.
        error = error + (x - x.max(axis=-1, keepdims=True)) ** 2
        mean = (value**2 * error).sum(axis=-1, keepdims=True)
        return np.asarray(value**2 * (error * np.abs(1 - 2 * value) + mean + 1))
