"""The arguments that both functions are given: read, or drawn, and every special point of them.

Floats are held as float64 and hold numbers that float32 has: a call in either dtype is given the
same numbers. Loads no code of others; imports NumPy.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.files import read_bytes
from harness.interface import Array
from harness.text import plain
from harness.workers.calling import arguments

# Of everything that is drawn.
SEED = 0
# Of one argument: what a worker is given in one file is four times that.
MOST_ELEMENTS = 10**8
DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
LIKE = re.compile(
    r"(?:([^\W\d]\w*)=)?([a-z]+[0-9]*)\[([0-9]{1,9}(?:,[0-9]{1,9})*)?\](?:<([0-9]{1,19}))?"
)
# How a .npz, which is a zip, begins: with a first member, or with none.
ARCHIVE = (b"PK\x03\x04", b"PK\x05\x06")
# What a damaged one makes NumPy raise; a header may promise more than memory holds.
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, TypeError, OSError, LookupError, OverflowError, SyntaxError, MemoryError),
)
MAX = float(np.finfo(np.float32).max)
# What one element is put to. The subnormal one is flushed to 0 by some processors' fast modes.
VALUES = {
    "0": 0.0,
    "-0": -0.0,
    "subnormal": float(np.float32(1e-40)),
    "max": MAX,
    "-max": -MAX,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}
# Where what is computed on the way may exceed float32, in one formula and not in another.
OVERFLOWING = ("max", "-max")
# A number of rows or columns that no vector unit's width divides.
ODD = 7


@dataclass(frozen=True)
class Arguments:
    """Arrays by name and settings (see `calling.arguments`).

    `dtypes`: by array, as it was given; `made`: where all come from, in words.
    """

    arrays: Mapping[str, Array]
    settings: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    made: str = "given"

    @property
    def floats(self) -> list[str]:
        """The arrays that a function may be differentiated by."""
        return [name for name, array in self.arrays.items() if array.dtype.kind == "f"]


@dataclass(frozen=True)
class Like:
    """One argument to draw: `below`: integers are from 0 to there, itself not among them."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    below: int | None = None

    def __str__(self) -> str:
        below = "" if self.below is None else f"<{self.below}"
        return f"{self.name}={self.dtype}[{','.join(map(str, self.shape))}]{below}"


@dataclass(frozen=True)
class Point:
    """All arguments as they are at a special point of one.

    `strided`: that one lies in memory with gaps; `kept`: elements of it that no rounding moves.
    """

    name: str
    argument: str
    arrays: Mapping[str, Array]
    strided: bool = False
    kept: Sequence[int] = ()


def made(values: Any, what: str = "args") -> Arguments:
    """From a dictionary (by name) or a tuple (by place); InputError, which names `what`."""
    try:
        return prepared(*arguments(values), "given")
    except ValueError as error:
        raise InputError(f"{what}: {error}") from None


def prepared(arrays: Mapping[str, Array], settings: Mapping[str, Any], made: str) -> Arguments:
    """Floats rounded to what float32 has; InputError for one that is beyond it."""
    held = {}
    for name, array in arrays.items():
        held[name] = array
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                held[name] = array.astype(np.float32).astype(np.float64)
            if (np.isinf(held[name]) & np.isfinite(array)).any():
                raise InputError(f"argument {name}: a number in it is beyond float32")
    if not held:
        raise InputError("arguments: there is no array among them")
    return Arguments(held, settings, {n: str(a.dtype) for n, a in arrays.items()}, made)


def read_npz(path: Path) -> Arguments:
    """From a file of numpy.savez; InputError where it is none. Nothing is unpickled."""
    data, said = read_bytes(path, "--args"), f"--args {path}: no arguments in it:"
    if not data.startswith(ARCHIVE):
        raise InputError(f"{said} it is no .npz file, as numpy.savez writes one")
    arrays: dict[str, Array] = {}
    name = ""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for name in archive.files:
                arrays[name] = archive[name]
                if not isinstance(arrays[name], np.ndarray):
                    raise InputError(f"{said} {plain(name)} is no array")
    except BROKEN:
        what = f"{plain(name)} is damaged, or holds Python objects" if name else "it is damaged"
        raise InputError(f"{said} {what}") from None
    try:
        return prepared(*arguments(arrays), path.name)
    except ValueError as error:
        raise InputError(f"{said} {plain(str(error))}") from None


def parse_like(texts: Sequence[str]) -> list[Like]:
    """[NAME=]DTYPE[SHAPE][<N], several divided by spaces; InputError for any other.

    What has no name is `arg0` and so on, in order.
    """
    found: list[Like] = []
    for word in " ".join(texts).split():
        match = LIKE.fullmatch(word)
        wrong = f"--like {word!r}:"
        if match is None or match[2] not in DTYPES:
            raise InputError(
                f"{wrong} expected [NAME=]DTYPE[SHAPE], as x=float32[8,64] or y=int64[8]<10, with "
                f"DTYPE one of {', '.join(DTYPES)}"
            )
        unnamed = sum(like.name.startswith("arg") and like.name[3:].isdecimal() for like in found)
        shape = tuple(map(int, match[3].split(","))) if match[3] else ()
        below = None if match[4] is None else int(match[4])
        whole = match[2].lstrip("u").startswith("int")
        if whole != (below is not None):
            needs = "say below what, as in int64[8]<10" if whole else "only integers have a <"
            raise InputError(f"{wrong} {needs}")
        if below is not None and not 1 <= below <= int(np.iinfo(match[2]).max) + 1:
            raise InputError(f"{wrong} a number from 1 to what {match[2]} holds, and 1")
        if math.prod(shape) > MOST_ELEMENTS:
            raise InputError(f"{wrong} more than {MOST_ELEMENTS:,} numbers")
        found.append(Like(match[1] or f"arg{unnamed}", match[2], shape, below))
    if not found or len({like.name for like in found}) < len(found):
        raise InputError("--like: every name once, at least one")
    return found


def draw(likes: Sequence[Like]) -> Arguments:
    """Floats standard normal, integers from 0 to below their number, bools of both kinds."""
    rng, arrays = np.random.default_rng(SEED), {}
    for like in likes:
        if like.below is not None:
            drawn = rng.integers(0, like.below, like.shape, like.dtype)
        elif like.dtype == "bool":
            drawn = rng.integers(0, 2, like.shape).astype(bool)
        else:
            drawn = rng.standard_normal(like.shape).astype(like.dtype)
        arrays[like.name] = np.asarray(drawn)
    texts = " ".join(map(str, likes))
    try:
        named, settings = arguments(arrays)
    except ValueError as error:
        raise InputError(f"--like {texts}: {error}") from None
    return prepared(named, settings, f"drawn with seed {SEED}: {texts}")


def special_points(given: Arguments) -> Iterator[Point]:
    """Every special point, one argument at a time; of sizes, all arguments that share an axis."""
    for name in given.floats:
        array = given.arrays[name]
        if array.size:
            yield from _values(given, name, array)
        if array.ndim:
            yield Point("non-contiguous", name, given.arrays, strided=True)
    yield from _sizes(given)


def _values(given: Arguments, name: str, array: Array) -> Iterator[Point]:
    middle = array.size // 2
    for point, value in VALUES.items():
        changed = array.copy()
        changed.reshape(-1)[middle] = value
        yield Point(point, name, {**given.arrays, name: changed}, kept=(middle,))
    first = float(array.reshape(-1)[0])
    level = first if first and math.isfinite(first) else 1.0
    for point, value in (("all equal", level), ("all 0", 0.0)):
        yield Point(point, name, {**given.arrays, name: np.full_like(array, value)})


def _sizes(given: Arguments) -> Iterator[Point]:
    """Another number of rows, or of columns: of all arguments that have as many as the first."""
    shaped = {name: array for name, array in given.arrays.items() if array.ndim}
    if not shaped:
        return
    first = next(iter(shaped))
    for axis, points in (
        (0, {"empty": 0, "one row": 1, f"{ODD} rows": ODD}),
        (-1, {f"{ODD} columns": ODD}),
    ):
        count = shaped[first].shape[axis]
        if axis and all(array.ndim == 1 for array in shaped.values()):
            continue  # those are its rows
        for point, size in points.items():
            if size and not count:
                continue
            changed = {
                name: array.take(np.arange(size) % max(count, 1), axis)
                for name, array in shaped.items()
                if array.shape[axis] == count
            }
            yield Point(point, " ".join(changed), {**given.arrays, **changed})


def broadcasts(given: Arguments) -> Iterator[Point]:
    """Each argument's first row in place of all, where there are others to be broadcast to."""
    if len(given.arrays) < 2:
        return
    for name, array in given.arrays.items():
        if array.ndim and array.shape[0] > 1:
            yield Point("first row", name, {**given.arrays, name: array[:1]})


def at(given: Arguments, arrays: Mapping[str, Array]) -> Arguments:
    """The same arguments with other arrays."""
    return dataclasses.replace(given, arrays=arrays)
