"""Values on the way forward computed again, with another convention in one layer or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from harness.explain.seen import Seen
from harness.interface import Array
from harness.record.schema import TRAINING
from harness.workloads.reference.base import Keep, Pass, Piece
from harness.workloads.reference.pieces import Residual

# Where a layer stands: its number, and inside a block the side and its number there.
Place = tuple[int] | tuple[int, str, int]
# What a layer gives in place of its value: of the layer, its input, the pass and a number.
Value = Callable[[Any, Array, Pass, float], Array]


class Instead:
    """A layer on the way forward whose value is another."""

    def __init__(self, layer: Piece, value: Value, number: float) -> None:
        self._layer, self._value, self._number = layer, value, number
        self.letter, self.makes_units = layer.letter, layer.makes_units

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return self._value(self._layer, x, at, self._number)


@dataclass(frozen=True, eq=False)
class Stretch:
    """The layers from what a process showed last to a value that is off.

    given: float64, what the first of them was given; leaves: those that may be at fault. shown:
    whether values on the way are the process's own (a step's, never an evaluation's).
    """

    seen: Seen
    name: str
    first: int
    last: int
    given: Array
    training: bool
    shown: bool
    leaves: tuple[tuple[Place, Piece], ...]

    def value(self, others: dict[Place, tuple[Value, float]]) -> Array:
        """What stands at its end, with others in place of the layers' own values."""
        made: dict[str, Array] = {}
        net, tensors = self.seen.judge.net, self.seen.tensors

        def show(name: str, value: Array) -> Array:
            made[name] = value
            shown = tensors.get(f"trace.{name}") if self.shown else None
            return value if shown is None else shown.astype(value.dtype)

        at = Pass(self.seen.state, self.seen.batch, self.training, lambda _, a, b: a @ b, show=show)
        value, names = self.given, net.names()
        for place in range(self.first, self.last + 1):
            layer: Any = _changed(net.layers[place], place, others)
            value = layer.run(value, at, Keep())
            made[names[place]] = value
        return made[self.name]


def stretch(seen: Seen, key: str) -> Stretch:
    """The way to what stands under a key: a value on it, or the outputs."""
    net = seen.judge.net
    names, leaves = net.names(), [*_leaves(net.layers)]
    if not key.startswith("trace."):
        training = key.endswith(TRAINING) or not seen.wanted.workload.two_modes
        every = tuple((place, layer) for place, layer, _ in leaves if layer is not None)
        end = len(names) - 1
        return Stretch(seen, names[-1], 0, end, seen.batch["x"], training, False, every)
    name = key.removeprefix("trace.")
    last = next(i for i, one in enumerate(net.layers) if name in (names[i], *_inside(one)))
    before = [i for i in range(last) if names[i] and f"trace.{names[i]}" in seen.tensors]
    given = seen.tensors[f"trace.{names[before[-1]]}"] if before else seen.batch["x"]
    own: list[tuple[Place, Piece]] = []
    for place, layer, made in leaves:
        own += [(place, layer)] if layer is not None else []
        if made == name:
            break
        if made and f"trace.{made}" in seen.tensors:
            own = []
    first = before[-1] + 1 if before else 0
    return Stretch(seen, name, first, last, given.astype("float64"), True, True, tuple(own))


def _inside(layer: Piece) -> tuple[str, ...]:
    return layer.inside() if isinstance(layer, Residual) else ()


def _leaves(layers: tuple[Piece, ...]) -> Iterator[tuple[Place, Piece | None, str]]:
    """Every layer in order, with what its value is called; of a block those inside, then a sum."""
    number = 0
    for place, layer in enumerate(layers):
        number += layer.makes_units
        if isinstance(layer, Residual):
            names = iter(layer.inside())
            for side, inner in (("branch", layer.branch), ("shortcut", layer.shortcut)):
                for i, one in enumerate(inner):
                    yield (place, side, i), one, next(names)
        own = None if isinstance(layer, Residual) else layer
        last = place == len(layers) - 1
        yield (place,), own, "" if last or not layer.letter else f"{layer.letter}{number}"


def _changed(layer: Piece, place: int, others: dict[Place, tuple[Value, float]]) -> Any:
    """The layer at a place, with what stands instead of it or inside it."""
    if (place,) in others:
        return Instead(layer, *others[place,])
    if not isinstance(layer, Residual) or not any(at[0] == place for at in others):
        return layer
    sides = {}
    for side in ("branch", "shortcut"):
        inner: list[Any] = [*getattr(layer, side)]
        for i, one in enumerate(inner):
            if (place, side, i) in others:
                inner[i] = Instead(one, *others[place, side, i])
        sides[side] = tuple(inner)
    return msgspec.structs.replace(layer, **sides)


def plainly(layer: Piece, x: Array, at: Pass, **changed: Any) -> Array:
    """A layer's own value, with other fields where they are named."""
    return msgspec.structs.replace(layer, **changed).run(x, at, Keep())


def with_tensor(at: Pass, **tensors: Array) -> Pass:
    """A pass in which these tensors are others."""
    return replace(at, state=at.state | tensors)
