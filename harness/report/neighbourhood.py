"""Values around the worst element of a first divergence, from the tensors kept beside a record.

A record may come from anywhere: `harness.bundle` reads no file outside the run's own folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.interface import Array
from harness.record.schema import Record
from harness.results import kept
from harness.verdict.verdict import Verdict

# Rows above and below the worst element, columns to its left and right.
ROWS_AROUND, COLUMNS_AROUND = 2, 3


@dataclass(frozen=True)
class Window:
    """Values around the worst element: texts by row and column, and what stands in their margins.

    `shades`: how dark each is, 0 to 9; `worst`: its row and column here.
    """

    caption: str
    rows: list[str]
    columns: list[str]
    values: list[list[str]]
    shades: list[list[int]]
    worst: tuple[int, int]


def neighbourhood(record: Record, verdict: Verdict, folder: Path) -> tuple[list[Window], str]:
    """Got, expected and difference around the worst element, and what they are in a sentence.

    folder: of the run. No window where they cannot be had; the sentence then says why.
    """
    try:
        found = kept.find(record, verdict)
        tensors = kept.read_tensors(record, folder, found)
    except InputError as error:
        return [], f"No neighbourhood: {error}"
    got, want = tensors.got.get(found.key), tensors.want.get(found.key)
    if found.at.rung == "loss":
        want = tensors.want.get("loss")
    if got is None or want is None or got.shape != want.shape or found.at.worst is None:
        return [], "No neighbourhood: got and expected were not kept in one shape."
    index = list(found.at.worst.index)
    first = found.first if found.kind == "losses" else 0
    if index:
        index[0] -= first
    if len(index) != got.ndim or any(not 0 <= i < n for i, n in zip(index, got.shape, strict=True)):
        return [], "No neighbourhood: the worst element lies outside the kept tensor."
    told = f"{found.at.tensor}, {found.at.case}, {found.at.dtype}: the worst element is outlined."
    if found.instead:
        told = f"{found.instead} {told}"
    if found.kind == "centred":
        told += " Its distance is that of logits less their row's mean."
    return windows(np.asarray(got), np.asarray(want), index, first), told


def windows(got: Array, want: Array, index: list[int], first: int) -> list[Window]:
    """Three of them; of a tensor with more than two axes, the last two at the worst's others."""
    while len(index) < 2:
        got, want, index = got[None], want[None], [0, *index]
    for axis in index[:-2]:
        got, want = got[axis], want[axis]
    y, x = index[-2:]
    down = range(max(0, y - ROWS_AROUND), min(got.shape[0], y + ROWS_AROUND + 1))
    over = range(max(0, x - COLUMNS_AROUND), min(got.shape[1], x + COLUMNS_AROUND + 1))
    part = np.ix_(list(down), list(over))
    with np.errstate(all="ignore"):
        here, there = got[part].astype(np.float64), want[part].astype(np.float64)
        apart = here - there
    single = got.shape[0] == 1
    found = []
    for caption, values, digits in (
        ("got", here, ".7g"),
        ("expected", there, ".7g"),
        ("difference, got − expected", apart, "+.2e"),
    ):
        found.append(
            Window(
                caption=caption,
                rows=["" if single else str(i) for i in down],
                columns=[str(i + (first if single else 0)) for i in over],
                values=[[_value(v, digits) for v in row] for row in values],
                shades=_shades(values) if caption.startswith("difference") else
                       [[0] * len(over) for _ in down],
                worst=(y - down.start, x - over.start),
            )
        )  # fmt: skip
    return found


def _value(value: float, digits: str) -> str:
    return "0" if value == 0 else format(value, digits)


def _shades(values: Array) -> list[list[int]]:
    size = np.abs(values)
    most = float(np.max(size, initial=0.0, where=np.isfinite(size)))
    shades = np.where(np.isfinite(size), size / most * 9 if most > 0 else 0.0, 9.0)
    return [[int(v) for v in row] for row in np.nan_to_num(shades, nan=9.0)]
