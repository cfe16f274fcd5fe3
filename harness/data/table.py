"""Reads tables of numbers as text: comma-separated, the last column the target.

Plain or gzip, one line a row; a first line without any number is a header. Nothing but a decimal
number is taken for one: no "nan", no "inf", no gap. Imports the standard library, NumPy,
harness.errors and harness.data.packed.
"""

from __future__ import annotations

import array
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.packed import MEND, defect, unpacked
from harness.errors import InputError

MAX_VALUES = 100_000_000  # 800 MB while they are read
MAX_LINE_BYTES = 1 << 20

_NUMBER = rb"[ \t]*+[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d{1,4}+)?+[ \t]*+"
_CELL = re.compile(_NUMBER)
_ROW = re.compile(rb"%s(?:,%s)*+" % (_NUMBER, _NUMBER))
_BOM = b"\xef\xbb\xbf"

Floats = npt.NDArray[np.float32]


def read(path: Path, remedy: str = MEND) -> tuple[Floats, Floats]:
    """x: float32 (n, columns - 1), y: float32 (n, 1): the nearest float64, rounded once more.

    Raises InputError for a file that is damaged, ragged, empty, too large, or has one column.
    """
    values, columns, lines, header = array.array("d"), 0, 0, True
    with unpacked(path, remedy) as (stream, _, _):
        while line := stream.readline(MAX_LINE_BYTES):
            lines += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise defect(path, f"line {lines} is longer than {MAX_LINE_BYTES} bytes", remedy)
            if lines == 1:
                line = line.removeprefix(_BOM)
            if not (row := line.strip()):
                continue
            cells = row.split(b",")
            columns = columns or len(cells)
            if len(cells) != columns:
                raise defect(
                    path, f"line {lines} has {len(cells)} values, those before {columns}", remedy
                )
            if _ROW.fullmatch(row):
                values.extend(map(float, cells))
            elif not header or any(map(_CELL.fullmatch, cells)):
                raise _no_number(path, lines, cells, remedy)
            header = False
            if len(values) > MAX_VALUES:
                raise defect(path, f"more than {MAX_VALUES} values", remedy)
    if not values or columns < 2:
        raise defect(
            path, f"{len(values)} numbers in {columns} columns: no row of inputs and target", remedy
        )
    with np.errstate(over="ignore"):
        numbers = np.frombuffer(values).reshape(-1, columns).astype(np.float32)
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise defect(path, f"row {row}, column {column}: too large for float32", remedy)
    return np.ascontiguousarray(numbers[:, :-1]), np.ascontiguousarray(numbers[:, -1:])


def _no_number(path: Path, line: int, cells: list[bytes], remedy: str) -> InputError:
    column = next(i for i, cell in enumerate(cells) if not _CELL.fullmatch(cell))
    shown = cells[column][:30].decode("ascii", "replace")
    return defect(path, f"line {line}, column {column + 1}: {shown!a} is no number", remedy)
