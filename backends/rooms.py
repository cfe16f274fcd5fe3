"""Where a framework's file of a workload is, and how its tensors lie in it.

A room is backends/<framework>/: one Trainer that knows no model, and a file for each workload. A
user's own files lie in a folder outside, <framework>/<workload>.py each, named by the variable
ROOMS. Imports no framework; from the harness it may import `interface` only.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from harness.interface import Array, Tensor, Workload

# Of a worker's environment: the folder with a user's own files.
ROOMS = "HARNESS_ROOMS"


class Layout(NamedTuple):
    """How a framework has a tensor: its own name, and how it lies there.

    Ours is theirs, reshaped to `split` where that is given, then transposed by `axes`, then
    reshaped to ours: ("conv1.weight", (2, 3, 1, 0)); ("fc1.weight", (2, 3, 1, 0), (120, 16, 5, 5))
    where 16 channels of 5 x 5 are flattened channel by channel.
    """

    name: str
    axes: tuple[int, ...] = ()
    split: tuple[int, ...] = ()

    def ours(self, theirs: Array, shape: tuple[int, ...]) -> Array:
        """Their array in our layout; shape: ours."""
        if self.split:
            theirs = theirs.reshape(self.split)
        return theirs.transpose(self.axes).reshape(shape) if self.axes else theirs.reshape(shape)

    def theirs(self, ours: Array, shape: tuple[int, ...]) -> Array:
        """Our array in their layout; shape: theirs."""
        if not self.axes:
            return ours.reshape(shape)
        split = self.split or shape
        turned = ours.reshape([split[axis] for axis in self.axes])
        return turned.transpose(np.argsort(self.axes)).reshape(shape)

    def put(self, ours: Array) -> Array:
        """Our array in their layout, its shape following from ours: without `split`."""
        return ours.transpose(np.argsort(self.axes)) if self.axes else ours

    def fetch(self, theirs: Array) -> Array:
        """Their array in our layout, its shape following from theirs: without `split`."""
        return theirs.transpose(self.axes) if self.axes else theirs

    def fits(self, theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
        """Whether a tensor of their shape is one of ours in this layout."""
        if self.axes and sorted(self.axes) != [*range(len(self.split or theirs))]:
            return False
        if self.split:
            return math.prod(self.split) == math.prod(theirs) == math.prod(ours)
        turned = [theirs[axis] for axis in self.axes or range(len(theirs))]
        return [n for n in turned if n != 1] == [n for n in ours if n != 1]


def layouts(room: ModuleType, names: list[str], table: str = "LAYOUT") -> dict[str, Layout]:
    """How a room's file has each of these; what its table does not name is there as it is."""
    entries = getattr(room, table, {})
    return {name: Layout(*entries.get(name, (name,))) for name in names}


def check(
    where: str,
    layouts: dict[str, Layout],
    tensors: Sequence[Tensor],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    """The tensors are the Net's, each of them; ValueError, in one line, where they are not.

    shapes: of what the Net holds, by its own names.
    """
    for tensor in tensors:
        layout = layouts[tensor.name]
        if layout.name not in shapes:
            known = ", ".join(shapes)
            raise ValueError(f"{where}: its Net has no {layout.name} ({tensor.name}), but {known}")
        if not layout.fits(shapes[layout.name], tensor.shape):
            raise ValueError(
                f"{where}: its Net's {layout.name} has shape {shapes[layout.name]}, which LAYOUT "
                f"does not turn into {tensor.name} {tensor.shape}"
            )
    if rest := shapes.keys() - {layout.name for layout in layouts.values()}:
        raise ValueError(f"{where}: no tensor is its Net's {', '.join(sorted(rest))}")


def attributes(
    where: str, net: object, layouts: dict[str, Layout], tensors: Sequence[Tensor]
) -> dict[str, Any]:
    """What a Net has under the names of these tensors, dotted ones too, by our names; ValueError.

    For frameworks whose models keep no table of what they hold.
    """
    held: dict[str, Any] = {}
    for name, layout in layouts.items():
        held[name] = net
        for part in layout.name.split("."):
            held[name] = getattr(held[name], part, None)
    there = {layouts[name].name: tuple(t.shape) for name, t in held.items() if t is not None}
    check(where, layouts, tensors, there)
    return held


def place(framework: str, model: str, rooms: str = "") -> Path | None:
    """The file of a model in a framework's room; `rooms`: a user's folder, looked at first."""
    file = model.replace("-", "_") + ".py"
    if not file[:-3].isidentifier():
        return None
    folders = [Path(rooms) / framework] if rooms else []
    found = (folder / file for folder in (*folders, Path(__file__).parent / framework))
    return next((path for path in found if os.path.isfile(path)), None)


def find(framework: str, workload: Workload) -> ModuleType:
    """The module of a workload's model in a framework's room.

    ValueError where there is none, or where it says (LOSS) that its loss is another.
    """
    own = place(framework, workload.model, os.environ.get(ROOMS, ""))
    if own is None:
        raise ValueError(f"{framework}: unknown model {workload.model!r}: no such file in its room")
    module = _loaded(framework, own)
    if (loss := getattr(module, "LOSS", workload.loss)) != workload.loss:
        raise ValueError(f"{framework}: unknown loss {workload.loss!r}: {own.name} has {loss}")
    return module


def objective(room: ModuleType) -> Callable[..., Any]:
    """What a step minimises, of parameters as the framework has them, outputs and targets.

    The file's `loss(Y_hat, y)`, and what its `penalty(parameters)` adds where there is one.
    """
    loss, penalty = room.loss, getattr(room, "penalty", None)
    if penalty is None:
        return lambda _, *of: loss(*of)
    return lambda parameters, *of: loss(*of) + penalty(parameters)


def _loaded(framework: str, own: Path) -> ModuleType:
    if own.parent.parent == Path(__file__).parent:
        return importlib.import_module(f"backends.{framework}.{own.stem}")
    spec = importlib.util.spec_from_file_location(f"loaded_{framework}_{own.stem}", own)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and compilers look a class's module up there
    spec.loader.exec_module(module)
    return module
