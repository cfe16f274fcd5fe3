"""`declare`: a workload from its layers; nobody types a shape twice. Imports NumPy; no framework."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from harness.interface import Optimiser, Outcome, Tensor, Workload
from harness.workloads.reference import optimisers
from harness.workloads.reference.composed import Net
from harness.workloads.reference.losses import Loss, SoftmaxCrossEntropy, loss_name
from harness.workloads.reference.pieces import Layer, Shape, Slot

# How a tensor starts: the law and its scale.
Start = tuple[Literal["normal", "uniform", "zeros", "ones"], float]
INPUTS, OUTPUTS = "inputs", "outputs"
# By how much trainings may differ where a workload does not say: shares of the samples, nats.
OUTCOME = (Outcome("test accuracy", margin=0.01), Outcome("training loss", margin=0.01))


@dataclass(frozen=True)
class Declared:
    """A workload and the net that judges it: what `--workload FILE.py:NAME` names."""

    workload: Workload
    net: Net
    default: bool = False


def normal(sigma: float) -> Callable[[Slot], Start]:
    """Weights standard normal times sigma; biases 0."""
    return lambda slot: ("normal", sigma) if slot.kind == "weight" else ("zeros", 0.0)


def he_normal(slot: Slot) -> Start:
    """Weights standard normal times sqrt(2 / fan-in); biases 0."""
    return ("normal", math.sqrt(2 / slot.fan_in)) if slot.kind == "weight" else ("zeros", 0.0)


def fan_in_uniform(slot: Slot) -> Start:
    """All from -1 / sqrt(fan-in) to 1 / sqrt(fan-in)."""
    return "uniform", 1 / math.sqrt(slot.fan_in)


def declare(
    name: str,
    *layers: Layer,
    loss: Loss,
    optimiser: Optimiser,
    init: Callable[[Slot], Start],
    x: Shape,
    data: str,
    batch_size: int | None,
    epochs: int,
    sizes: dict[str, int] | None = None,
    normalise: tuple[float, float] | None = None,
    outcome: tuple[Outcome, ...] | None = None,
    model: str = "",
) -> Declared:
    """A workload of these layers, one after another; ValueError where one does not fit the other.

    x: the shape of one sample; init: how each tensor starts; model: its file in every room, if it
    is not called as the workload; outcome: by default, where there are classes, OUTCOME. See
    `Workload` for the others.
    """
    net = Net(x, layers, loss)
    if (reason := optimisers.problem(optimiser)) is not None:
        raise ValueError(reason)
    classes = isinstance(loss, SoftmaxCrossEntropy)
    tensors, axes, outputs = _tensors(net, init)
    trained = tuple(tensor for tensor in tensors if tensor.role == "trained")
    workload = Workload(
        name=name,
        model=model or name,
        sizes=sizes or {},
        tensors=(*tensors, *optimisers.slots_of(optimiser, trained)),
        trace=tuple(filter(None, net.names())),
        x=x,
        y="class" if classes else "number",
        outputs=outputs,
        loss=loss_name(loss),
        optimiser=optimiser,
        batch_size=batch_size,
        epochs=epochs,
        data=data,
        normalise=normalise,
        symmetries=tuple(axis for axis in axes if axis != OUTPUTS),
        outcome=(OUTCOME if classes else ()) if outcome is None else outcome,
    )
    return Declared(workload if batch_size is None else of_batches(workload, net, batch_size), net)


def of_batches(workload: Workload, net: Net | None, batch_size: int) -> Workload:
    """The workload with so many samples a batch: the products follow."""
    products = workload.products if net is None else tuple(net.products(batch_size).values())
    return msgspec.structs.replace(workload, batch_size=batch_size, products=products)


def _tensors(
    net: Net, init: Callable[[Slot], Start]
) -> tuple[tuple[Tensor, ...], tuple[str, ...], Shape]:
    """Every layer's tensors, the axes whose units they count, and the shape of an output."""
    makers = [place for place, layer in enumerate(net.layers) if layer.makes_units]
    axis, axes, tensors, made = INPUTS, [INPUTS], [], net.x
    for place, (layer, given, made) in enumerate(net.shapes()):
        number = makers.index(place) + 1 if place in makers else 0
        own = OUTPUTS if number == len(makers) else f"units{number}"
        for slot in layer.slots(axis, own):
            law, scale = init(slot) if slot.kind in ("weight", "bias") else (slot.kind, 0.0)
            tensors.append(msgspec.structs.replace(slot.tensor, init=law, scale=scale))
        axis = layer.axis(axis, own, given)
        if number:
            axes.append(own)
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ValueError("two layers have a tensor of one name")
    return tuple(tensors), tuple(axes), made
