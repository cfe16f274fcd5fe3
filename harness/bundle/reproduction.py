"""What every script of a bundle does: read the bundle, show what is there beside what was.

Copied into every bundle as it is. Imports NumPy, msgspec, safetensors and, from the harness,
`interface` and `measure/distance.py` only: a bundle holds no more.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file

from harness.interface import Array, State, Workload
from harness.measure.distance import Difference


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle's files. `stated`: divergence.json, what the run said; `want`: the reference."""

    stated: dict[str, Any]
    workload: Workload
    given: dict[str, Array]
    want: dict[str, Array]

    @property
    def state(self) -> State:
        """The state that was given, by name."""
        return {t.name: self.given[f"state.{t.name}"] for t in self.workload.tensors}

    @property
    def batch(self) -> State:
        """The batch that was given, by name."""
        return {n: v for n, v in self.given.items() if not n.startswith("state.")}

    def batches(self) -> Iterator[State]:
        """The batches of a lockstep, float64: x of its pixels in float32, where it was made so."""
        start = 0
        for size in self.given["sizes"].tolist():
            rows = {n: v[start : start + size] for n, v in self.batch.items() if n != "sizes"}
            if "images" in rows:
                rows["x"] = self._prepared(rows.pop("images"))
            floats = {n: v.astype(np.float64) for n, v in rows.items() if v.dtype.kind == "f"}
            yield rows | floats
            start += size

    def _prepared(self, images: Array) -> Array:
        """As the harness makes x of pixels of 8 bits."""
        x = images.reshape(-1, *self.workload.x).astype(np.float32) / np.float32(255)
        if self.workload.normalise is None:
            return x
        mean, deviation = map(np.float32, self.workload.normalise)
        return (x - mean) / deviation


def read(folder: Path) -> Bundle:
    """The bundle in a folder."""
    return Bundle(
        stated=json.loads((folder / "divergence.json").read_text(encoding="utf-8")),
        workload=msgspec.json.decode((folder / "workload.json").read_bytes(), type=Workload),
        given=load_file(folder / "given.safetensors"),
        want=load_file(folder / "want.safetensors"),
    )


def load_class(place: str, name: str) -> Any:
    """A plug-in's class: of a module that is installed, or of a file in the folder plug_in here.

    The file may import what lies beside it there.
    """
    loaded = getattr(_module(place), name)
    if not isinstance(loaded, type):
        raise TypeError(f"{place}: {name} is no class")
    return loaded


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    folder = Path(__file__).resolve().parent / "plug_in"
    sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location("loaded_plug_in", folder / place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module


def is_over(difference: Difference, limit: float) -> bool:
    """Whether a difference is over the limit; one without a distance is."""
    return difference.distance is None or not difference.distance <= limit


def show(bundle: Bundle, name: str, difference: Difference) -> int:
    """Print what a framework gives here beside what the run stated; 1 if over the limit, else 0."""
    stated, index = bundle.stated, difference.index
    over = is_over(difference, stated["limit"])
    if index:  # the losses of a lockstep are compared from this one on
        index = [index[0] + stated["first_loss"], *index[1:]]
    lines = [
        f"{stated['rung']}, {stated['case']}, {stated['dtype']}: {stated['tensor']} in {name}",
        f"distance  {_figure(difference.distance)} here, {_figure(stated['distance'])} in the run",
        f"limit     {stated['limit']:g}; the run's difference was in {stated['label']}",
        f"worst     {_element(index, difference.want, difference.got)} here",
        f"          {_element(stated['index'], stated['expected'], stated['got'])} in the run",
    ]
    if difference.problem or stated["problem"]:
        lines.append(f"problem   {difference.problem} here")
        lines.append(f"          {stated['problem']} in the run")
    lines.append("The difference is there." if over else "No difference beyond the limit.")
    print("\n".join(lines))
    return 1 if over else 0


def _figure(distance: float | str | None) -> str:
    return f"{distance:.9g}" if isinstance(distance, (int, float)) else str(distance).lower()


def _element(index: list[int] | None, expected: Any, got: Any) -> str:
    return "none" if index is None else f"{index}: expected {expected}, got {got}"
