"""What every piece of the judge is: a layer as plain data that says its value, and what goes back.

Float64 NumPy, no buffers, no tricks; independent of the NumPy backend, and shares no line with it.
Imports NumPy and the interface only.

Shapes for a batch of n: x (n, ...), images (n, rows, columns, channels), kernels (height, width,
inputs, outputs). Whatever dtype goes in is computed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np

from harness.interface import Array, Product, State, Tensor

Shape = tuple[int, ...]
# What a layer leaves on the way forward for the way back.
Keep = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pass:
    """One way through the layers: state, noise, training or evaluation, and how to multiply.

    times(part, a, b): the layer's product of that name ("forward", "weights", "inputs"). up: not
    None where a layer computes as frameworks do, by formulas that cancel: what it rounds is then a
    unit in its last place off, upwards or downwards. show(name, value): every value inside a block
    on its way; what is gone on with.
    """

    state: State
    noise: State
    training: bool
    times: Callable[[str, Array, Array], Array]
    up: bool | None = None
    show: Callable[[str, Array], Array] = lambda _, value: value


class Kink(NamedTuple):
    """Units that stand before a kink: how far each is from it, and the scale of its error.

    keep: what its layer left on the way forward, which `layer.other_side` changes.
    """

    layer: Piece
    keep: Keep
    distance: Array
    scale: Array


class Seen(NamedTuple):
    """What a layer was given and made of it, and how exact its input is.

    error, scale: of its input, as mean square and as what a margin is told in.
    """

    x: Array
    value: Array
    error: Array
    scale: Array


class Slot(msgspec.Struct, frozen=True):
    """A tensor that a layer needs: how it starts is the workload's choice.

    fan_in: inputs of one unit; kind: "weight" or "bias", or "ones" and "zeros" for what starts so
    whatever is chosen.
    """

    tensor: Tensor
    fan_in: int
    kind: str


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A layer. `letter`: what its value is called in a trace ("" for none: nothing is computed).

    `makes_units`: whether the last axis of its value counts other units than that of its input;
    `selects`: whether each element of its value is one of its input, or 0.
    """

    letter: ClassVar[str] = "h"
    makes_units: ClassVar[bool] = False
    selects: ClassVar[bool] = False

    def shape(self, given: Shape) -> Shape:
        """Of one sample's value; ValueError where it cannot take what it is given."""
        return given

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:  # noqa: ARG002
        """Its tensors. axis, made: what the last axes of its input and of its value count."""
        return ()

    def axis(self, axis: str, made: str, given: Shape) -> str:  # noqa: ARG002
        """What the last axis of its value counts."""
        return made if self.makes_units else axis

    def noise(self, axis: str, made: str, given: Shape) -> tuple[Tensor, ...]:  # noqa: ARG002
        """The random numbers that a batch brings for it, of one sample's shape."""
        return ()

    @property
    def couples(self) -> bool:
        """Whether a sample's value in a step depends on the other samples."""
        return False

    def least(self, given: Shape) -> int:  # noqa: ARG002
        """How many samples of that shape a step needs at least."""
        return 1

    def products(self, n: int, given: Shape) -> dict[str, Product]:  # noqa: ARG002
        """Its matrix products for n samples, by part, in the order of a step.

        Parts that end with "forward" belong to the way forward.
        """
        return {}

    def unasked(self) -> tuple[str, ...]:
        """The parts of its products that only the gradient by its input needs."""
        return ("inputs",)

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        """Its value."""
        raise NotImplementedError

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        """The gradient by each of its trained tensors, from that by its value."""
        return {}

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:
        """The gradient by its input."""
        raise NotImplementedError

    def running(self, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        """What a training pass makes of its running tensors."""
        return {}

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:
        """Mean square of its value's rounding error, in units of u², from that of its input."""
        raise NotImplementedError

    def kinks(self, seen: Seen, keep: Keep) -> Iterator[Kink]:  # noqa: ARG002
        """Its kinks."""
        return iter(())

    def other_side(self, keep: Keep, near: Array) -> None:
        """Change what is kept, as if each unit that is near a kink (bool) lay on its other side."""
        raise NotImplementedError


def check_numbers(name: str, least: float, **numbers: float) -> None:
    """ValueError where a number of the layer called `name` is less than `least`, or is not finite.

    Named by what the layer calls them: stride=0.
    """
    for what, value in numbers.items():
        if not least <= value < math.inf:
            raise ValueError(f"{name}: {what} is {value}, and {least} is the least that it can be")


def off(value: Array, up: bool) -> Array:
    """The next number of its dtype, upwards or downwards."""
    return np.asarray(np.nextafter(value, np.asarray(np.inf if up else -np.inf, value.dtype)))


def with_bias(weight: Tensor, bias: Tensor, fan_in: int) -> tuple[Slot, ...]:
    """Both; the weight alone where the bias has no name."""
    weights = Slot(weight, fan_in, "weight")
    return (weights, Slot(bias, fan_in, "bias")) if bias.name else (weights,)
