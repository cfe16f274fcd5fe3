"""How far two tensors are apart, by the harness's own formulas; copied into every bundle.

Imports NumPy, msgspec, safetensors and, from the harness, `interface` only: a bundle holds no more.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load_file

from harness.interface import Array, Params, Workload

# From what was computed and what is expected, both float64 and finite at the same places: the
# error (of their shape), whose largest element is the worst, and the distance.
Formula = Callable[[Array, Array], tuple[Array, float]]

KINDS = (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf))


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle's files. `stated`: divergence.json, what the run said; `want`: the reference."""

    stated: dict[str, Any]
    workload: Workload
    given: dict[str, Array]
    want: dict[str, Array]

    @property
    def params(self) -> Params:
        """The parameters that were given, by name."""
        return {p.name: self.given[f"param.{p.name}"] for p in self.workload.parameters}

    def batches(self) -> Iterator[tuple[Array, Array]]:
        """The batches of a lockstep: x float64 (n, inputs), pixels / 255 in float32; y (n,)."""
        start = 0
        for size in self.given["sizes"].tolist():
            rows = slice(start, start + size)
            x = self.given["images"][rows].astype(np.float32) / np.float32(255)
            yield x.astype(np.float64), self.given["y"][rows]
            start += size


@dataclass(frozen=True)
class Difference:
    """One tensor against the reference: a distance, or the problem that leaves none.

    `index`: the worst element, with what is expected and what was computed there.
    """

    distance: float | None = None
    problem: str | None = None
    index: list[int] | None = None
    expected: float | None = None
    got: float | None = None


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
    found = getattr(_module(place), name)
    if not isinstance(found, type):
        raise TypeError(f"{place}: {name} is no class")
    return found


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


def plain(got: Array, want: Array) -> tuple[Array, float]:
    """||got - want|| / ||want||."""
    error = got - want
    return error, relative(error, want)


def centred(got: Array, want: Array) -> tuple[Array, float]:
    """The same of logits less their row's mean, which a shift of all classes leaves unchanged."""
    base = want - want.mean(axis=1, keepdims=True)
    error = (got - got.mean(axis=1, keepdims=True)) - base
    return error, relative(error, base)


def excess_update(given: Array, change: Array) -> Formula:
    """Excess update error over the change wanted: ||excess|| / ||change||.

    given: the parameter before the step, as the backend holds it; change: lr * gradient, float64.
    excess = max(0, |(got - given) + change| - spacing(max(|given|, |got|)) / 2): what is left of
    the error after the half spacing that storing the new parameter may cost.
    """

    def formula(got: Array, want: Array) -> tuple[Array, float]:  # noqa: ARG001 (given - change)
        error = np.abs((got - given.astype(np.float64)) + change)
        stored = np.maximum(np.abs(given), np.abs(got.astype(given.dtype)))
        excess = np.maximum(0.0, error - 0.5 * np.spacing(stored).astype(np.float64))
        return excess, relative(excess, change)

    return formula


def relative(error: Array, want: Array) -> float:
    """||error|| / ||want||; 0 / 0 is 0, and NaN stands for what is not finite."""
    top, bottom = norm(error), norm(want)
    if not (math.isfinite(top) and math.isfinite(bottom)):
        return math.nan
    if bottom > 0:
        return top / bottom
    return 0.0 if top == 0 else math.inf


def norm(array: Array) -> float:
    """The square root of the sum of squares, scaled by the largest so that no square overflows."""
    largest = float(np.max(np.abs(array), initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(array / largest))


def compare(
    got: Any, want: Array, dtype: str, formula: Formula = plain, first: int = 0
) -> Difference:
    """What was computed (None: nothing) against the reference's float64.

    dtype: what `got` must have; first: the number of the first row, for the index.
    """
    got = np.zeros(0, dtype) if got is None else np.asarray(got)
    if got.shape != want.shape or got.dtype != np.dtype(dtype):
        problem = f"{got.dtype} {got.shape} where {dtype} {want.shape} is wanted"
        return Difference(problem=problem)
    odd = np.any([test(got) != test(want) for _, test in KINDS], axis=0)
    if np.any(odd):
        problem = f"NaN or infinity on one side only, in {np.count_nonzero(odd)} elements"
        return _at(odd, got, want, first, problem=problem)
    finite = np.isfinite(want)
    error, distance = formula(
        np.where(finite, got.astype(np.float64), 0.0), np.where(finite, want, 0.0)
    )
    return _at(error, got, want, first, distance=distance)


def compare_bits(got: Any, want: Array) -> Difference:
    """Bit for bit: the distance is the number of elements that differ."""
    got = np.zeros(0, want.dtype) if got is None else np.asarray(got)
    if got.shape != want.shape or got.dtype != want.dtype:
        problem = f"{got.dtype} {got.shape} where {want.dtype} {want.shape} is wanted"
        return Difference(problem=problem)
    bits = np.dtype(f"u{want.dtype.itemsize}")
    here, there = (np.ascontiguousarray(array).view(bits) for array in (got, want))
    return _at(here != there, got, want, 0, distance=float(np.count_nonzero(here != there)))


def _at(error: Array, got: Array, want: Array, first: int, **told: Any) -> Difference:
    """A Difference with the element of the largest error, where there is any."""
    if error.size == 0:
        return Difference(**told)
    index = np.unravel_index(int(np.argmax(np.abs(error))), error.shape)
    place = [int(i) for i in index]
    if place:
        place[0] += first
    return Difference(index=place, expected=float(want[index]), got=float(got[index]), **told)


def is_over(found: Difference, limit: float) -> bool:
    """Whether a difference is over the limit; one without a distance is."""
    return found.distance is None or not found.distance <= limit


def show(bundle: Bundle, name: str, found: Difference) -> int:
    """Print what a framework gives here beside what the run stated; 1 if over the limit, else 0."""
    stated = bundle.stated
    over = is_over(found, stated["limit"])
    lines = [
        f"{stated['rung']}, {stated['case']}, {stated['dtype']}: {stated['tensor']} in {name}",
        f"distance  {_figure(found.distance)} here, {_figure(stated['distance'])} in the run",
        f"limit     {stated['limit']:g}; the run's difference was in {stated['label']}",
        f"worst     {_element(found.index, found.expected, found.got)} here",
        f"          {_element(stated['index'], stated['expected'], stated['got'])} in the run",
    ]
    if found.problem or stated["problem"]:
        lines += [f"problem   {found.problem} here", f"          {stated['problem']} in the run"]
    lines += ["The difference is there." if over else "No difference beyond the limit."]
    print("\n".join(lines))
    return 1 if over else 0


def _figure(distance: float | str | None) -> str:
    return f"{distance:.9g}" if isinstance(distance, (int, float)) else str(distance).lower()


def _element(index: list[int] | None, expected: Any, got: Any) -> str:
    return "none" if index is None else f"{index}: expected {expected}, got {got}"
