"""`declare`: a workload from its layers; nobody types a shape twice.

Imports NumPy; no framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

import msgspec

from harness.interface import Optimiser, Outcome, Tensor, Workload
from harness.workloads.reference import optimisers
from harness.workloads.reference.composed import Net
from harness.workloads.reference.losses import Loss, check_outputs, loss_name
from harness.workloads.reference.pieces import Layer, Shape, Slot

# How a tensor starts: the law and its scale, or its values.
Start = (
    tuple[Literal["normal", "uniform", "unit", "zeros", "ones"], float]
    | tuple[Literal["values"], tuple[float, ...]]
)
INPUTS, OUTPUTS = "inputs", "outputs"
# By how much trainings may differ where a workload does not say: shares of the samples, nats.
OUTCOME = (Outcome("test accuracy", margin=0.01), Outcome("training loss", margin=0.01))


@dataclass(frozen=True, eq=False)
class Declared:
    """A workload and the net that judges it: what `--workload FILE.py:NAME` names."""

    workload: Workload
    net: Net
    default: bool = False


def normal(sigma: float) -> Callable[[Slot], Start]:
    """Weights standard normal times sigma; biases 0."""
    return lambda slot: ("normal", sigma) if slot.kind == "weight" else ("zeros", 0.0)


def fan_in_normal(slot: Slot) -> Start:
    """Weights standard normal over sqrt(fan-in); biases standard normal."""
    return "normal", 1 / math.sqrt(slot.fan_in) if slot.kind == "weight" else 1.0


def he_normal(slot: Slot) -> Start:
    """Weights standard normal times sqrt(2 / fan-in); biases 0."""
    return ("normal", math.sqrt(2 / slot.fan_in)) if slot.kind == "weight" else ("zeros", 0.0)


def fan_in_uniform(slot: Slot) -> Start:
    """All from -1 / sqrt(fan-in) to 1 / sqrt(fan-in)."""
    return "uniform", 1 / math.sqrt(slot.fan_in)


class Others(TypedDict, total=False):
    """What a workload says as it stands: see `Workload`."""

    normalise: tuple[float, float] | None
    validation: int
    gradients_of: int
    steps: int | None
    tests: int | None
    limits: Literal["measured", "table"]


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
    outcome: tuple[Outcome, ...] | None = None,
    model: str = "",
    l2: float = 0.0,
    **others: Unpack[Others],
) -> Declared:
    """A workload of these layers, one after another; ValueError where one does not fit the other.

    name: "-" stands for "_" of a module. x: the shape of one sample; init: how each tensor starts;
    model: its file in every room, if it is not called as the workload; outcome: by default, where
    there are classes, OUTCOME; l2: see `Net`. See `Workload` for the others.
    """
    if not name.replace("-", "_").isidentifier():
        raise ValueError(
            f"{name!r} is no name of a workload: letters, digits and -, no digit first"
        )
    if (reason := optimisers.problem(optimiser)) is not None:
        raise ValueError(f"{name}: {reason}")
    net = Net(x, layers, loss, l2)
    try:
        tensors, noise, symmetries, outputs = _tensors(net, init)
        check_outputs(loss, outputs)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    trained = tuple(tensor for tensor in tensors if tensor.role == "trained")
    workload = Workload(
        name=name,
        model=model or name,
        sizes=sizes or {},
        tensors=(*tensors, *optimisers.slots_of(optimiser, trained)),
        trace=net.trace(),
        x=x,
        y=loss.targets,
        outputs=outputs,
        loss=f"{loss_name(loss)}+l2" if l2 else loss_name(loss),
        optimiser=optimiser,
        batch_size=batch_size,
        epochs=epochs,
        data=data,
        noise=noise,
        symmetries=symmetries,
        outcome=(OUTCOME if loss.targets == "class" else ()) if outcome is None else outcome,
        **others,
    )
    if (reason := problem(workload)) is not None:
        raise ValueError(f"{name}: {reason}")
    return Declared(workload if batch_size is None else of_batches(workload, net, batch_size), net)


def problem(workload: Workload) -> str | None:
    """Why nothing can be trained, or counted, by a workload's numbers; None where it can."""
    some = (workload.batch_size, workload.epochs, workload.steps, workload.tests)
    if any(number is not None and number < 1 for number in some):
        return "batch_size, epochs, steps and tests are at least 1"
    if min(workload.validation, workload.gradients_of) < 0:
        return "validation and gradients_of are numbers of rows, 0 or more"
    if min((*workload.x, *workload.outputs), default=1) < 1:
        return f"x of shape {workload.x} and outputs of {workload.outputs}: an axis of no length"
    if workload.normalise is not None and not workload.normalise[1] > 0:
        return f"normalise is a mean and a deviation above 0, not {workload.normalise}"
    for metric in (outcome.metric for outcome in workload.outcome):
        if metric == "binary accuracy" and (workload.y, workload.outputs) != ("number", (1,)):
            return "binary accuracy is of one output, and of a target that is a number"
        if metric in ("test accuracy", "training accuracy") and workload.y != "class":
            return f"{metric} is of targets that are classes"
    return None


def of_batches(workload: Workload, net: Net | None, batch_size: int) -> Workload:
    """The workload with so many samples a batch: the products follow."""
    products = workload.products if net is None else tuple(net.products(batch_size).values())
    return msgspec.structs.replace(workload, batch_size=batch_size, products=products)


def _tensors(
    net: Net, init: Callable[[Slot], Start]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[str, ...], Shape]:
    """Every layer's tensors, the noise, the axes whose units may be permuted, an output's shape."""
    makers = sum(layer.makes_units for layer in net.layers)
    if not any(slot.tensor.role == "trained" for one in net.layers for slot in one.slots("", "")):
        raise ValueError("no layer has anything to train")
    axis, number = INPUTS, 0
    tensors: list[Tensor] = []
    noise: list[Tensor] = []
    shapes = [*net.shapes()]
    for layer, given, _ in shapes:
        number += layer.makes_units
        own = OUTPUTS if layer.makes_units and number == makers else f"units{number}"
        for slot in layer.slots(axis, own):
            law, of = init(slot) if slot.kind in ("weight", "bias") else (slot.kind, 0.0)
            how = {"values" if law == "values" else "scale": of}
            tensors.append(msgspec.structs.replace(slot.tensor, init=law, **how))
        noise += layer.noise(axis, own, given)
        axis = layer.axis(axis, own, given)
    _check_names([*tensors, *noise], given="x" if net.x else "")
    axes = dict.fromkeys(_units(one) for tensor in tensors for one in tensor.axes if one)
    # Nobody may permute the outputs.
    free = tuple(one for one in axes if one != _units(axis))
    return tuple(tensors), tuple(noise), free, shapes[-1][2]


def _units(axis: str) -> str:
    """Whose units an axis counts: "units2" of "25*units2"."""
    return axis.rpartition("*")[2]


def _check_names(tensors: list[Tensor], given: str) -> None:
    """given: what the input is called; "" where nothing is given to the model."""
    taken = {given, "y", optimisers.STEP}
    for tensor in tensors:
        if not tensor.name or "/" in tensor.name or tensor.name in taken:
            raise ValueError(f"a tensor called {tensor.name!r}: empty, with /, or taken already")
        taken.add(tensor.name)
