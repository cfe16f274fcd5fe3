"""Reads a user's arrays: a .npz, or .npy files side by side; never pickle.

A header is believed once the file can hold what it promises. Nothing is allocated before that, and
decompression stops one byte behind it. Format: numpy.lib.format. Imports the standard library,
NumPy, harness.errors, harness.files and harness.data.packed.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from harness.data.packed import MAX_EXPANSION, MEND, defect, fill
from harness.files import open_plain, why
from harness.interface import Array

MOST_BYTES = 4 * 10**9  # of a file, and of one array: what a machine with 16 GB can work on
MOST_ARRAYS = 1000  # of a .npz: of four the names are known
MAX_DIMENSIONS = 8

_MAGIC = b"\x93NUMPY"
# What np.save writes; objects and structures are not numbers.
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?)([biufcOSUVmM]\d*)', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\),? *\} *\n?"
)
_NUMBERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
# What a damaged archive makes the library raise.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(struct.error, ValueError, OverflowError, IndexError, KeyError),
)


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """The arrays of these names that a .npz has: numbers, at least one row each.

    Raises InputError for a file that is none, is damaged, or promises what it cannot hold.
    """
    try:
        with open_plain(path, MOST_BYTES) as file, zipfile.ZipFile(file) as archive:
            held = os.fstat(file.fileno()).st_size * MAX_EXPANSION
            members = archive.infolist()
            if len(members) > MOST_ARRAYS:
                raise defect(path, f"{len(members)} arrays, and {MOST_ARRAYS} are read", MEND)
            found = {member.filename.removesuffix(".npy"): member for member in members}
            return {
                name: _member(path, archive, found[name], held) for name in names if name in found
            }
    except _BROKEN as error:
        raise defect(path, f"no .npz file, or a damaged one ({_line(error)})", MEND) from error
    except OSError as error:
        raise defect(path, f"cannot be read ({why(error)})", MEND) from error


def read_npy(path: Path) -> Array:
    """The array of a .npy file: numbers, at least one row. Raises InputError as `read_npz`."""
    try:
        with open_plain(path, MOST_BYTES) as file:
            return _array(path, "", file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise defect(path, f"cannot be read ({why(error)})", MEND) from error


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, held: int) -> Array:
    """One array, stored or deflated, of an archive that has `held` bytes at most, unpacked."""
    name = member.filename
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise defect(path, f"{name}: packed in a way that np.savez has not", MEND)
    if member.file_size > held:
        raise defect(path, f"{name}: {member.file_size} bytes, and it holds {held} at most", MEND)
    with archive.open(member) as stream:
        return _array(path, f"{name}: ", stream, member.file_size)  # type: ignore[arg-type]


def _array(path: Path, name: str, stream: io.BufferedIOBase, size: int) -> Array:
    """The array of a stream of `size` bytes; C order, native numbers."""
    dtype, fortran, shape, taken = _header(path, name, stream)
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) < 1 or not shape:
        raise defect(path, f"{name}shape {_short(shape)}: no rows of numbers", MEND)
    needed = math.prod(shape) * dtype.itemsize
    promised = f"{name}{needed} bytes of data for shape {_short(shape)}"
    if needed > MOST_BYTES:
        raise defect(path, f"{promised}, and {MOST_BYTES} are read", MEND)
    if needed != size - taken:
        raise defect(path, f"{promised}, and there are {size - taken}", MEND)
    flat = np.empty(math.prod(shape), dtype)
    if (filled := fill(stream, flat)) < needed:
        raise defect(path, f"{promised}, got {filled}", MEND)
    if stream.read(1):  # reaching the end is also what makes zip check the CRC
        raise defect(path, f"{promised}, got more", MEND)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def _header(
    path: Path, name: str, stream: io.BufferedIOBase
) -> tuple[np.dtype[np.generic], bool, tuple[int, ...], int]:
    """What a .npy says of itself: dtype, whether columns come first, shape; bytes read."""
    start = stream.read(8)
    width = 2 if start[6:7] == b"\x01" else 4
    length = stream.read(width)
    if start[:6] != _MAGIC or len(start) < 8 or len(length) < width:
        raise defect(path, f"{name}no .npy file", MEND)
    header_bytes = int.from_bytes(length, "little")
    if header_bytes > 1 << 16:
        raise defect(path, f"{name}a header of {header_bytes} bytes", MEND)
    header = stream.read(header_bytes).decode("latin-1")
    known = _HEADER.fullmatch(header)
    if known is None:
        raise defect(path, f"{name}a header that np.save does not write: {header[:80]!a}", MEND)
    order, kind, fortran, dimensions = known.groups()
    if kind not in _NUMBERS:
        raise defect(path, f"{name}holds {order}{kind}: integers or floats are wanted", MEND)
    shape = tuple(int(text) for text in dimensions.replace(",", " ").split())
    taken = len(start) + width + header_bytes
    return np.dtype(order.replace("|", "") + kind), fortran == "True", shape, taken


def _short(shape: tuple[int, ...]) -> str:
    return str(shape) if len(shape) <= MAX_DIMENSIONS else f"of {len(shape)} dimensions"


def _line(error: BaseException) -> str:
    return ascii(str(error))[1:-1][:200]
