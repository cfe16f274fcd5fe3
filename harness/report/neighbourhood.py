"""Values around the worst element of a first divergence, from the tensors kept beside a record.

A record may come from anywhere: `harness.bundle` reads no file outside the run's own folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.interface import Array
from harness.record.schema import Record
from harness.report.sections import Cell, Section, Value
from harness.results import kept
from harness.verdict.verdict import Verdict

# Rows above and below the worst element, columns to its left and right.
ROWS_AROUND, COLUMNS_AROUND = 2, 3


def neighbourhood(record: Record, verdict: Verdict, folder: Path) -> Section:
    """Got, expected and difference around the worst element, and what they are in a sentence.

    folder: of the run. No table where they cannot be had; the sentence then says why.
    """
    try:
        divergence = kept.find(record, verdict)
        tensors = kept.read_tensors(record, folder, divergence)
    except InputError as error:
        return Section(note=f"No neighbourhood: {error}")
    at = divergence.at
    got, want = tensors.got.get(divergence.key), tensors.want.get(divergence.key)
    if at.rung == "loss":
        want = tensors.want.get("loss")
    if got is None or want is None or got.shape != want.shape or at.worst is None:
        return Section(note="No neighbourhood: got and expected were not kept in one shape.")
    index = list(at.worst.index)
    first = divergence.first if divergence.kind == "losses" else 0
    if index:
        index[0] -= first
    if len(index) != got.ndim or any(not 0 <= i < n for i, n in zip(index, got.shape, strict=True)):
        return Section(note="No neighbourhood: the worst element lies outside the kept tensor.")
    note = f"{at.tensor}, {at.case}, {at.dtype}: the worst element is outlined."
    if divergence.instead:
        note = f"{divergence.instead} {note}"
    if divergence.kind == "centred":
        note += " Its distance is that of logits less their row's mean."
    tables = windows(np.asarray(got), np.asarray(want), index, first)
    return Section(note=note, inside=tables, look="windows")


def windows(got: Array, want: Array, index: list[int], first: int) -> list[Section]:
    """Three tables; of a tensor with more than two axes, the last two at the worst's others."""
    while len(index) < 2:
        got, want, index = got[None], want[None], [0, *index]
    for axis in index[:-2]:
        got, want = got[axis], want[axis]
    y, x = index[-2:]
    down = range(max(0, y - ROWS_AROUND), min(got.shape[0], y + ROWS_AROUND + 1))
    over = range(max(0, x - COLUMNS_AROUND), min(got.shape[1], x + COLUMNS_AROUND + 1))
    part = np.ix_(list(down), list(over))
    single = got.shape[0] == 1
    names = ["" if single else str(i) for i in down]
    header = ["", *(str(i + (first if single else 0)) for i in over)]
    with np.errstate(all="ignore"):
        near, wanted = got[part].astype(np.float64), want[part].astype(np.float64)
        apart = near - wanted
    tones = [[f"s{shade}" for shade in row] for row in _shades(apart)]
    tones[y - down.start][x - over.start] += " worst"
    unshaded = [[tone.partition(" ")[2] for tone in row] for row in tones]
    return [
        Section(caption, header=header, rows=_rows(names, values, digits, look), look="window")
        for caption, values, digits, look in (
            ("got", near, ".7g", unshaded),
            ("expected", wanted, ".7g", unshaded),
            ("difference, got − expected", apart, "+.2e", tones),
        )
    ]


def _rows(
    names: list[str], values: Array, digits: str, tones: list[list[str]]
) -> list[list[Value]]:
    return [
        [name, *(_cell(value, digits, tone) for value, tone in zip(row, looks, strict=True))]
        for name, row, looks in zip(names, values, tones, strict=True)
    ]


def _cell(value: float, digits: str, tone: str) -> Cell:
    text = "0" if value == 0 else format(value, digits)
    return Cell(text, tone, spoken="(the worst)" if tone.endswith("worst") else "")


def _shades(values: Array) -> list[list[int]]:
    """How dark each is, 0 to 9."""
    size = np.abs(values)
    most = float(np.max(size, initial=0.0, where=np.isfinite(size)))
    shades = np.where(np.isfinite(size), size / most * 9 if most > 0 else 0.0, 9.0)
    return [[int(v) for v in row] for row in np.nan_to_num(shades, nan=9.0)]
