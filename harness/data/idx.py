"""Reads idx files, the format of MNIST and Fashion-MNIST, and believes nothing in them.

Magic number, dimensions and lengths are checked before anything is allocated, and decompression
stops one byte after the size that the header promises. Format: http://yann.lecun.com/exdb/mnist/
(big-endian uint32: magic number, then one number per dimension; then the bytes, C order).

Imports the standard library, NumPy and harness.errors; opens no file but the one it is given.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import InputError
from harness.files import open_plain, why

MAX_ITEMS = 1_000_000  # images or labels: 784 MB of pixels, far above any set in this format
MAX_LABEL = 9  # ten classes

_IMAGES_MAGIC = 0x00000803  # unsigned bytes, three dimensions
_LABELS_MAGIC = 0x00000801  # unsigned bytes, one dimension
_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, section 2.3.1
_MAX_EXPANSION = 1032  # deflate's limit: 258 bytes from 2 bits, https://zlib.net/zlib_tech.html
_BLOCK_BYTES = 1 << 18  # read at a time, so that no second copy of the data is made

_REMEDY = "delete it and fetch it again, or give another directory"

Bytes = npt.NDArray[np.uint8]


def read_images(
    path: Path, item_shape: tuple[int, int] = (28, 28), max_items: int = MAX_ITEMS
) -> Bytes:
    """The images of an idx3 file, plain or gzip (told by its first bytes): uint8 (n, rows, cols).

    Raises InputError where the file is anything but 1 .. max_items images of `item_shape`.
    """
    return _read(path, _IMAGES_MAGIC, item_shape, max_items)


def read_labels(path: Path, max_items: int = MAX_ITEMS) -> Bytes:
    """The labels of an idx1 file, plain or gzip (told by its first bytes): uint8 (n,), each 0 .. 9.

    Raises InputError where the file is anything but 1 .. max_items such labels.
    """
    labels = _read(path, _LABELS_MAGIC, (), max_items)
    largest = int(labels.max())
    if largest > MAX_LABEL:
        where = int(np.argmax(labels > MAX_LABEL))
        raise _error(path, f"label {labels[where]} at index {where}, expected 0 to {MAX_LABEL}")
    return labels


def _error(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}; {_REMEDY}")


def _read(path: Path, magic: int, item_shape: tuple[int, ...], max_items: int) -> Bytes:
    """The array of an idx file, uint8 (n, *item_shape); InputError for every defect."""
    try:
        with open_plain(path) as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file_bytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            most = file_bytes * (_MAX_EXPANSION if packed else 1)
            with gzip.GzipFile(fileobj=file, mode="rb") if packed else file as stream:
                shape = _shape(path, stream, magic, item_shape, max_items)
                expected = f"expected {math.prod(shape)} bytes of data for shape {shape}"
                if 4 + 4 * len(shape) + math.prod(shape) > most:
                    raise _error(path, f"{expected}, impossible in a file of {file_bytes} bytes")
                return _data(path, stream, np.empty(shape, dtype=np.uint8), expected)
    except EOFError as error:
        raise _error(path, "the gzip stream is cut short (an interrupted download?)") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _error(path, f"the gzip stream is damaged ({error})") from error
    except OSError as error:
        raise _error(path, f"cannot be read ({why(error)})") from error


def _shape(
    path: Path, stream: io.BufferedIOBase, magic: int, item_shape: tuple[int, ...], max_items: int
) -> tuple[int, ...]:
    """The shape that the header promises, checked: (n, *item_shape)."""
    layout = struct.Struct(f">{2 + len(item_shape)}I")
    header = stream.read(layout.size)
    if not header:
        raise _error(path, f"is empty, expected an idx file with magic 0x{magic:08x}")
    if header[:4] != struct.pack(">I", magic):
        raise _error(
            path, f"not such an idx file: magic 0x{header[:4].hex()}, expected 0x{magic:08x}"
        )
    if len(header) < layout.size:
        raise _error(path, f"header of {len(header)} bytes, expected {layout.size}")
    _, items, *item = layout.unpack(header)
    if not 1 <= items <= max_items:
        raise _error(path, f"the header promises {items} items, expected 1 to {max_items}")
    if tuple(item) != item_shape:
        raise _error(path, f"items of shape {tuple(item)}, expected {item_shape}")
    return (items, *item)


def _data(path: Path, stream: io.BufferedIOBase, array: Bytes, expected: str) -> Bytes:
    """The array, filled with the bytes after the header: exactly as many as it takes."""
    view = array.reshape(-1).data
    filled = 0
    while filled < len(view):
        got = stream.readinto(view[filled : filled + _BLOCK_BYTES])
        if not got:
            raise _error(path, f"{expected}, got {filled}")
        filled += got
    if stream.read(1):  # reaching the end is also what makes gzip check the CRC
        raise _error(path, f"{expected}, got more")
    return array
