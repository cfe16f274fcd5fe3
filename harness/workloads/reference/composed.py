"""The judge of a model: its layers and its loss, one after another, in float64 NumPy.

A net is plain data, stored with the plan; `Composed` computes it. Whatever else judges (a plug-in's
own object, a label) is a `Reference` too. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np

from harness.interface import Array, Product, State
from harness.workloads.reference.losses import (
    BinaryCrossEntropy,
    Loss,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from harness.workloads.reference.pieces import (
    Bias,
    Conv,
    Dense,
    Keep,
    Kink,
    Layer,
    MaxPool,
    Pass,
    Relu,
    Residual,
    Seen,
    Shape,
    Sigmoid,
    Softmax,
    called,
)


class Net(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model as data: x: the shape of one sample.

    l2: the loss has + l2 / 2 times the sum of the squares of all weights and kernels.
    """

    x: Shape
    layers: tuple[Layer, ...]
    loss: Loss
    l2: float = 0.0

    @property
    def can_fail(self) -> bool:
        """Whether its loss may be undefined: a binary cross-entropy of unbounded outputs."""
        bounded = isinstance(self.layers[-1], Sigmoid | Softmax)
        return isinstance(self.loss, BinaryCrossEntropy) and not bounded

    def shapes(self) -> Iterator[tuple[Layer, Shape, Shape]]:
        """Every layer with the shapes of one sample before and after it; ValueError."""
        shape = self.x
        for layer in self.layers:
            made = layer.shape(shape)
            yield layer, shape, made
            shape = made

    @property
    def least(self) -> int:
        """How many samples a step needs at least."""
        return max((layer.least(given) for layer, given, _ in self.shapes()), default=1)

    @property
    def first(self) -> int:
        """The place of the first layer that has tensors: no gradient is wanted before it."""
        return next((i for i, layer in enumerate(self.layers) if layer.slots("", "")), 0)

    def names(self) -> tuple[str, ...]:
        """What each layer's value is called in a trace, "" where it is called nothing.

        "z2" and "h2" belong to the second layer that makes units; the last are the outputs.
        """
        names = called(self.layers)
        of_logits = isinstance(self.loss, SoftmaxCrossEntropy | SigmoidCrossEntropy)
        unscaled = isinstance(self.layers[-1], Dense) and of_logits
        return (*names[:-1], "logits" if unscaled else "outputs")

    def trace(self) -> tuple[str, ...]:
        """What the values on the way are called, in order: those inside a block before its own."""
        names: list[str] = []
        for layer, name in zip(self.layers, self.names(), strict=True):
            names += layer.inside() if isinstance(layer, Residual) else ()
            names.append(name)
        return tuple(filter(None, names))

    def weights(self) -> tuple[str, ...]:
        """What an L2 term is of: weights and kernels, no bias, nothing of a norm."""
        slots = (slot for layer in self.layers for slot in layer.slots("", ""))
        return tuple(slot.tensor.name for slot in slots if slot.kind == "weight")

    def products(self, n: int) -> dict[tuple[int, str], Product]:
        """The matrix products of a step on n samples, by layer and part, in the order of a step.

        Nobody asks for the gradient by x: the first layer that learns has none by its input.
        """
        of = [layer.products(n, given) for layer, given, _ in self.shapes()]
        unasked = {(self.first, part) for part in self.layers[self.first].unasked()}
        places = range(len(of))
        parts = [(place, part) for place in places for part in of[place] if _is_forward(part)]
        parts += [
            (place, part) for place in places[::-1] for part in of[place] if not _is_forward(part)
        ]
        return {
            (place, part): of[place][part] for place, part in parts if (place, part) not in unasked
        }


class Look(NamedTuple):
    """What a step computes, and what a training pass makes of the running tensors."""

    outputs: Array
    loss: float
    grads: State
    running: State


class Reference(Protocol):
    """What the judge of a workload can say of a given state and batch ("x", "y", noise)."""

    def outputs(self, state: State, batch: State) -> Array:
        """Outputs as they are when a model is evaluated."""

    def look(self, state: State, batch: State) -> Look:
        """What a step computes there, before it changes anything."""

    def kink_margin(self, state: State, batch: State) -> Array:
        """Per sample (n,): the least |z| over the scale of its rounding error; inf where that is 0.

        z is what stands before a kink. Of units that see the inputs themselves the scale is
        S = |x|·|W| + |b|: |error of z| is a small multiple of u·S for unit roundoff u. Deeper
        it is the root of the mean square of the error (see `Piece.spread`).
        """

    def kink_distance(self, state: State, batch: State) -> Array:
        """Per sample (n,): the least |z| before a kink."""


@runtime_checkable
class Opened(Reference, Protocol):
    """A reference whose arithmetic can be changed: the same function by other operations."""

    def textbook(self, up: bool) -> Reference:
        """The formulas that frameworks use for units and loss: they cancel where a model is sure.

        up: which way an error in the last place goes (see the loss's `textbook`, and `Pass`).
        """

    def rounded(self, product: int, operand: Callable[[Array], Array]) -> Opened:
        """Both operands of one product (its place in `Workload.products`) go through `operand`."""


# Each layer's value, with what its way back needs.
Way = list[tuple[Array, Pass, Keep]]


class _Walk(NamedTuple):
    """A way forward in the order in which it was gone, and the kinks on it."""

    layers: list[Layer]
    way: Way
    kinks: list[Kink]


class Composed:
    """The judge of a net."""

    def __init__(
        self,
        net: Net,
        loss: Callable[[Array, Array], tuple[float, Array]] | None = None,
        operands: dict[int, Callable[[Array], Array]] | None = None,
        up: bool | None = None,
    ) -> None:
        self.net = net
        self._up = up
        self._loss = loss or net.loss
        self._weights = net.weights() if net.l2 else ()
        self._operands = operands or {}
        self._first = net.first
        self._numbers = {place: number for number, place in enumerate(net.products(1))}

    @property
    def couples(self) -> bool:
        """Whether what a sample gives depends on the others of its batch."""
        return any(layer.couples for layer in self.net.layers)

    @property
    def kinked(self) -> bool:
        """Whether any layer has a kink."""
        return any(map(_kinked, self.net.layers))

    def textbook(self, up: bool) -> Composed:
        return Composed(self.net, partial(self.net.loss.textbook, up=up), self._operands, up)

    def rounded(self, product: int, operand: Callable[[Array], Array]) -> Composed:
        return Composed(self.net, self._loss, self._operands | {product: operand}, self._up)

    def outputs(self, state: State, batch: State) -> Array:
        return self._forward(state, batch, training=False)[-1][0]

    def look(self, state: State, batch: State) -> Look:
        way = self._forward(state, batch, training=True)
        outputs = way[-1][0]
        loss, d = self._loss(outputs, batch.get("y", np.zeros(0)))
        grads = self._back(self.net.layers, way, d)
        for name in self._weights:
            loss += self.net.l2 / 2 * float(np.sum(state[name] ** 2))
            grads[name] = grads[name] + self.net.l2 * state[name]
        running: State = {}
        for layer, (_, at, keep) in zip(self.net.layers, way, strict=True):
            running |= layer.running(at, keep)
        return Look(outputs, loss, grads, running)

    def trace(self, state: State, batch: State) -> State:
        """Every named value on the way of a step, in order."""
        return self.own(state, batch, {})

    def own(self, state: State, batch: State, shown: State, true: State | None = None) -> State:
        """What each layer makes in a step of the values before it, by name and in order.

        shown: float64, by name, in place of those that would be gone on with. true: what `trace`
        gives, where it is at hand: up to the first that is shown it holds what would be made.
        """
        made: State = {}
        first = next((name for name in true or () if name in shown), None)
        begun = None
        if true is not None and first in (names := self.net.names()):
            order = [*true]
            made = {name: true[name] for name in order[: order.index(first) + 1]}
            begun = names.index(first) + 1, shown[first]

        def show(name: str, value: Array) -> Array:
            made[name] = value
            return shown.get(name, value)

        self._forward(state, batch, training=True, show=show, begun=begun)
        return made

    def before_last(self, state: State, batch: State) -> Array:
        """What the last layer is given in a step."""
        return self._forward(state, batch, training=True)[-2][0]

    def largest(self, state: State, batch: State) -> float:
        """Of each ReLU's values the largest in a sample, in the median; of those the least."""
        way = self._forward(state, batch, training=True)
        relus = [
            v for layer, (v, _, _) in zip(self.net.layers, way, strict=True) if _is_relu(layer)
        ]
        return float(min(np.median(v.reshape(len(v), -1).max(axis=1)) for v in relus))

    def _forward(
        self,
        state: State,
        batch: State,
        *,
        training: bool,
        show: Callable[[str, Array], Array] = lambda _, value: value,
        begun: tuple[int, Array] | None = None,
    ) -> Way:
        """Each layer's value, with what its way back needs; `show` as in `Pass`.

        begun: the place of the layer that is the first, and what it is given.
        """
        start, value = begun or (0, batch["x"])
        way = []
        layers = [*enumerate(zip(self.net.layers, self.net.names(), strict=True))]
        for place, (layer, name) in layers[start:]:
            at = replace(self._pass(place, state, batch, training=training), show=show)
            keep = Keep()
            value = layer.run(value, at, keep)
            if name:
                value = show(name, value)
            way.append((value, at, keep))
        return way

    def _back(self, layers: Sequence[Layer], way: Way, d: Array) -> State:
        """The gradient by what is trained, from that by the outputs."""
        grads: State = {}
        for place in range(len(way))[::-1]:
            layer, (_, at, keep) = layers[place], way[place]
            grads |= layer.grads(d, at, keep)
            if place > self._first:
                d = layer.back(d, at, keep)
        return grads

    def _pass(self, place: int, state: State, batch: State, *, training: bool) -> Pass:
        def times(part: str, a: Array, b: Array) -> Array:
            # What only the gradient by x needs has no number; a block makes it all the same.
            operand = self._operands.get(self._numbers.get((place, part), -1))
            product: Array = a @ b if operand is None else operand(a) @ operand(b)
            return product

        return Pass(state, batch, training, times, self._up)

    def kink_margin(self, state: State, batch: State) -> Array:
        least = np.full(len(batch["x"]), np.inf)
        for kink in self._walk(state, batch).kinks:
            distance, scale = kink.distance, kink.scale
            margin = np.where(scale > 0, distance / np.where(scale > 0, scale, 1.0), np.inf)
            least = np.minimum(least, _least(margin))
        return least

    def kink_distance(self, state: State, batch: State) -> Array:
        least = np.full(len(batch["x"]), np.inf)
        for kink in self._walk(state, batch, scaled=False).kinks:
            least = np.minimum(least, _least(kink.distance))
        return least

    def jumps(self, state: State, batch: State, margin: float) -> State:
        """By how much each gradient would move, were a sample's near kinks on their other side.

        margin: kinks less than this from 0, as `kink_margin` tells it, are near. By trained tensor,
        (n,): the norm of the jump over that of the batch's gradient; 0 where no kink is near.
        """
        look = self.look(state, batch)
        n = len(batch["x"])
        d = self._loss(look.outputs, batch.get("y", np.zeros(0)))[1]
        jumps = {name: np.zeros(n) for name in look.grads}
        for i in np.flatnonzero(self.kink_margin(state, batch) < margin):
            rows = slice(None) if self.couples else slice(i, i + 1)
            walk = self._walk(state, {k: v[rows] for k, v in batch.items()}, whole=True)
            own = np.arange(n)[rows] == i
            before = self._back(walk.layers, walk.way, d[rows])
            for kink in walk.kinks:
                near = kink.distance < margin * kink.scale
                near &= own.reshape(-1, *[1] * (near.ndim - 1))
                kink.layer.other_side(kink.keep, near)
            after = self._back(walk.layers, walk.way, d[rows])
            for name, grad in look.grads.items():
                jump, whole = np.linalg.norm(after[name] - before[name]), np.linalg.norm(grad)
                jumps[name][i] = jump / whole if whole else np.inf * jump if jump else 0.0
        return jumps

    def _walk(
        self, state: State, batch: State, *, scaled: bool = True, whole: bool = False
    ) -> _Walk:
        """A step's way forward, pools first, with its kinks; to the last of them, or to the end.

        scaled: with the scale of each one's error.
        """
        places = _pooled_first(self.net.layers)
        layers = [self.net.layers[place] for place in places]
        last = max((i for i, layer in enumerate(layers) if _kinked(layer)), default=-1)
        way: Way = []
        kinks: list[Kink] = []
        value = batch["x"]
        scale = error = np.zeros((1,) * value.ndim)  # the inputs are exact
        exact = True
        for i, layer in enumerate(layers if whole else layers[: last + 1]):
            at, keep = self._pass(places[i], state, batch, training=True), Keep()
            given, value = value, layer.run(value, at, keep)
            way.append((value, at, keep))
            if i > last:
                continue
            at_relu = _at_relu(layers[i + 1 : i + 3], value, state)
            kinks += (
                kink if at_relu is None else _rectified(kink, at_relu)
                for kink in layer.kinks(Seen(given, value, error, scale), keep)
            )
            if not scaled or i == last or (exact and layer.selects):
                continue
            deeper = not all(later.selects for later in layers[i + 1 : last + 1])
            inherited = np.zeros_like(given) if exact else error
            first = exact and isinstance(layer, Dense | Conv)
            if deeper or not (layer.selects or first):
                error = layer.spread(given, value, inherited, at, keep)
            if first and isinstance(layer, Dense | Conv):
                scale = layer.scale(given, at)
            elif layer.selects:
                scale = layer.spread(given, value, scale, at, keep)
            else:
                scale = np.sqrt(error)
            exact = False
        return _Walk(layers, way, kinks)


def _pooled_first(layers: tuple[Layer, ...]) -> list[int]:
    """The layers' places, with a pool before the ReLU that it follows: the same function.

    Only the largest of a window is then near a kink that matters.
    """
    places = [*range(len(layers))]
    for i in places[1:]:
        if isinstance(layers[i], MaxPool) and isinstance(layers[i - 1], Relu):
            places[i - 1], places[i] = i, i - 1
    return places


def _is_relu(layer: Layer) -> bool:
    return isinstance(layer, Relu)


def _is_forward(part: str) -> bool:
    return part.endswith("forward")


def _kinked(layer: Layer) -> bool:
    if isinstance(layer, Residual):
        return any(map(_kinked, (*layer.branch, *layer.shortcut)))
    return isinstance(layer, Relu | MaxPool)


def _at_relu(behind: list[Layer], value: Array, state: State) -> Array | None:
    """What the ReLU right behind a value is given, or behind a bias; None: there is none."""
    if behind and isinstance(behind[0], Bias):
        value, behind = value + state[behind[0].name], behind[1:]
    return value if behind and isinstance(behind[0], Relu) else None


def _rectified(kink: Kink, value: Array) -> Kink:
    """Which of a window is taken does not matter where the ReLU behind it gives 0."""
    if not isinstance(kink.layer, MaxPool):
        return kink
    return kink._replace(distance=np.where(value < 0, np.inf, kink.distance))


def _least(of_units: Array) -> Array:
    """The least of each sample."""
    return np.asarray(of_units.reshape(len(of_units), -1).min(axis=1))


def cast(state: State, dtype: str = "float64") -> State:
    """Copies in a dtype; integers (classes) stay what they are."""
    return {
        name: value.astype(dtype) if value.dtype.kind == "f" else value.copy()
        for name, value in state.items()
    }
