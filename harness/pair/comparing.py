"""Two tables of arrays against each other: element by element, or bit by bit. Pure; NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harness.interface import Array
from harness.measure import rounding
from harness.measure.rounding import Numbers
from harness.record.schema import number
from harness.workers.calling import Called


class Off(NamedTuple):
    """Two compared: the distance nearest its limit, both relative, and the first element beyond.

    `of`, `element`: that one, "" where none is; `got`, `want`: what stands there, a whole number as
    an int; `most`: by how much they might differ. `counted`: the names in which a finite number was
    held to a limit, or is the same.
    """

    distance: float = 0.0
    limit: float = 0.0
    of: str = ""
    element: tuple[int, ...] = ()
    got: float = 0.0
    want: float = 0.0
    most: float = 0.0
    counted: frozenset[str] = frozenset()

    @property
    def beyond(self) -> bool:
        """Whether any element is."""
        return bool(self.of)

    @property
    def over(self) -> tuple[bool, float]:
        """Which of several is told: one beyond its limit, then the one nearest to it."""
        return self.beyond, self.distance / self.limit if self.limit else 0.0

    @property
    def at(self) -> str:
        """Which element, in words."""
        return f"{self.of}[{', '.join(map(str, self.element))}]" if self.element else self.of


def numbers(called: Called) -> dict[str, Array]:
    """Values and gradients of a call in one table: "value", "value[0]", "gradient by x"."""
    values = {f"value{name}": value for name, value in called.values.items()}
    return values | {f"gradient by {name}": grad for name, grad in called.gradients.items()}


def of_values(table: Numbers) -> dict[str, Array]:
    """Only values of a table."""
    return {name: array for name, array in table.items() if name.startswith("value")}


def of_gradients(table: Numbers) -> dict[str, Array]:
    """Only gradients of a table."""
    return {name: array for name, array in table.items() if name.startswith("gradient")}


def form(called: Called) -> str:
    """What came out, in words: dtype and shape of each output, or why there is none."""
    if called.said.failed is not None:
        return called.said.failed
    forms = [
        f"{name} {called.said.dtypes[name]} {value.shape}".strip()
        for name, value in called.values.items()
    ]
    return ", ".join(forms) or "nothing"


def shapes(called: Called) -> dict[str, tuple[int, ...]]:
    """By output."""
    return {name: value.shape for name, value in called.values.items()}


def compare(got: Numbers, want: Numbers, limits: Numbers) -> Off:
    """Element by element, of the names that `limits` has; infinities and NaN must be alike.

    limits: of |got - want|, by element, each of the arrays' shape.
    """
    worst, first, counted = Off(), Off(), set[str]()
    for name, limit in limits.items():
        one, other = got[name], want[name]
        if not one.size:
            continue
        with np.errstate(all="ignore"):
            # What is beyond the dtype is infinite in it.
            near = other.astype(one.dtype) if one.dtype.kind == "f" else other
            alike = rounding.alike(one, near) | rounding.alike(one, other)
            error = np.where(alike, 0.0, rounding.distance(one, other))
            ratio = np.where((error == 0) | np.isposinf(limit), 0.0, error / limit)
        held = np.isfinite(limit) | (error == 0)
        if (held & (np.isfinite(one) | np.isfinite(other))).any():
            counted.add(name)
        place = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        size = float(rounding.scale(other)[place]) or 1.0
        here = Off(float(error[place]) / size, float(limit[place]) / size)
        worst = max(worst, here, key=lambda off: (off.over[1], off.distance, off.limit))
        if not first.beyond and (ratio > 1).any():
            at = tuple(map(int, np.argwhere(ratio > 1)[0]))
            values = element(one, at), element(other, at)
            first = Off(0.0, 0.0, name, at, *values, float(limit[at]))
    return first._replace(distance=worst.distance, limit=worst.limit, counted=frozenset(counted))


def element(array: Array, at: tuple[int, ...]) -> float:
    """One element; a whole number as an int: a float may not hold it."""
    return float(array[at]) if array.dtype.kind == "f" else int(array[at])


def stored(value: float) -> int | float | str:
    """An element as a document has it: an int as it is, a float as `number` has it."""
    return value if isinstance(value, int) else number(value)


def identical(one: Numbers, other: Numbers) -> bool:
    """Whether two tables are the same bit for bit; any NaN is as good as another."""
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape
        and one[name].dtype.kind == other[name].dtype.kind
        and not unlike(one[name], other[name]).any()
        for name in one
    )


def unlike(one: Array, other: Array) -> Array:
    """Where the bits of two differ, any NaN being as good as another."""
    alike = rounding.alike(one, other)
    if one.dtype.kind == "f":
        alike &= (np.signbit(one) == np.signbit(other)) | np.isnan(one)
    return np.asarray(~alike)


def spelt(value: float | str, digits: int = 9) -> str:
    """A value in as many digits as tell float32's numbers apart, or as are asked for.

    A whole number has all of its own.
    """
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
