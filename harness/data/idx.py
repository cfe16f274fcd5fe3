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
        if not path.is_file():  # a FIFO, say, would block for ever
            raise _error(path, "is not a regular file" if path.exists() else "does not exist")
        with path.open("rb") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file_bytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            with gzip.GzipFile(fileobj=file, mode="rb") if packed else file as stream:
                shape = _shape(path, stream, magic, item_shape, max_items)
                _require_size(path, shape, file_bytes, packed=packed)
                return _data(path, stream, shape)
    except EOFError as error:
        raise _error(path, "the gzip stream is cut short (an interrupted download?)") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _error(path, f"the gzip stream is damaged ({error})") from error
    except OSError as error:
        raise _error(path, f"cannot be read ({error.strerror or error})") from error


def _shape(
    path: Path,
    stream: io.BufferedIOBase,
    magic: int,
    item_shape: tuple[int, ...],
    max_items: int,
) -> tuple[int, ...]:
    """The shape that the header promises, checked: (n, *item_shape)."""
    start = stream.read(4)
    if not start:
        raise _error(path, f"is empty, expected an idx file with magic 0x{magic:08x}")
    if start != struct.pack(">I", magic):
        raise _error(path, f"not such an idx file: magic 0x{start.hex()}, expected 0x{magic:08x}")
    dimensions = 1 + len(item_shape)
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise _error(path, f"header of {4 + len(sizes)} bytes, expected {4 + 4 * dimensions}")
    items, *item = struct.unpack(f">{dimensions}I", sizes)
    if not 1 <= items <= max_items:
        raise _error(path, f"the header promises {items} items, expected 1 to {max_items}")
    if tuple(item) != item_shape:
        raise _error(path, f"items of shape {tuple(item)}, expected {item_shape}")
    return (items, *item)


def _require_size(path: Path, shape: tuple[int, ...], file_bytes: int, *, packed: bool) -> None:
    """InputError where a file of that size cannot hold what its header promises."""
    header_bytes, data_bytes = 4 + 4 * len(shape), math.prod(shape)
    expected = f"expected {data_bytes} bytes of data for shape {shape}"
    if not packed and file_bytes != header_bytes + data_bytes:
        raise _error(path, f"{expected}, got {file_bytes - header_bytes}")
    if packed and header_bytes + data_bytes > _MAX_EXPANSION * file_bytes:
        raise _error(path, f"{expected}, impossible in a gzip file of {file_bytes} bytes")


def _data(path: Path, stream: io.BufferedIOBase, shape: tuple[int, ...]) -> Bytes:
    """The bytes after the header, exactly as many as `shape` asks for."""
    array = np.empty(shape, dtype=np.uint8)
    view = array.reshape(-1).data
    filled = 0
    while filled < len(view):
        got = stream.readinto(view[filled : filled + _BLOCK_BYTES])
        if not got:
            raise _error(path, f"expected {len(view)} bytes of data for {shape}, got {filled}")
        filled += got
    if stream.read(1):  # reaching the end is also what makes gzip check the CRC
        raise _error(path, f"expected {len(view)} bytes of data for shape {shape}, got more")
    return array
