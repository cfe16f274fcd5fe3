"""Reads idx files, the format of MNIST and Fashion-MNIST, and believes nothing in them.

Magic number, dimensions and lengths are checked before anything is allocated, and decompression
stops one byte after the size that the header promises. Format: http://yann.lecun.com/exdb/mnist/
(big-endian uint32: magic number, then one number per dimension; then the bytes, C order).

Imports NumPy, harness.errors and harness.data.packed; opens no file but the one it is given.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data.packed import defect, fill, unpacked
from harness.errors import InputError

MAX_ITEMS = 1_000_000  # images or labels: 784 MB of pixels, far above any set in this format
MAX_LABEL = 9  # ten classes
# What a set in this format consists of: images and labels of training, then of test.
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

_IMAGES_MAGIC = 0x00000803  # unsigned bytes, three dimensions
_LABELS_MAGIC = 0x00000801  # unsigned bytes, one dimension

Bytes = npt.NDArray[np.uint8]


def packed(*sha256: str) -> dict[str, str]:
    """SHA-256 of the four files as they are published, by name."""
    return {f"{name}.gz": digest for name, digest in zip(NAMES, sha256, strict=True)}


def read_set(paths: Sequence[Path]) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Train images (n, 28, 28), train labels (n,), test images, test labels, of the four files.

    Raises InputError where a file is missing or damaged, or numbers disagree.
    """
    train_images, train_labels, test_images, test_labels = paths
    return *_read_pair(train_images, train_labels), *_read_pair(test_images, test_labels)


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
        raise defect(path, f"label {labels[where]} at index {where}, expected 0 to {MAX_LABEL}")
    return labels


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Bytes, Bytes]:
    images, labels = read_images(images_path), read_labels(labels_path)
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} has {len(images)} images but {labels_path} has {len(labels)} labels: "
            "they must agree; fetch both again, or give another directory"
        )
    return images, labels


def _read(path: Path, magic: int, item_shape: tuple[int, ...], max_items: int) -> Bytes:
    """The array of an idx file, uint8 (n, *item_shape); InputError for every defect."""
    with unpacked(path) as (stream, file_bytes, most):
        shape = _shape(path, stream, magic, item_shape, max_items)
        expected = f"expected {math.prod(shape)} bytes of data for shape {shape}"
        if 4 + 4 * len(shape) + math.prod(shape) > most:
            raise defect(path, f"{expected}, impossible in a file of {file_bytes} bytes")
        array = np.empty(shape, dtype=np.uint8)
        if (filled := fill(stream, array)) < array.size:
            raise defect(path, f"{expected}, got {filled}")
        if stream.read(1):  # reaching the end is also what makes gzip check the CRC
            raise defect(path, f"{expected}, got more")
        return array


def _shape(
    path: Path, stream: io.BufferedIOBase, magic: int, item_shape: tuple[int, ...], max_items: int
) -> tuple[int, ...]:
    """The shape that the header promises, checked: (n, *item_shape)."""
    layout = struct.Struct(f">{2 + len(item_shape)}I")
    header = stream.read(layout.size)
    if not header:
        raise defect(path, f"is empty, expected an idx file with magic 0x{magic:08x}")
    if header[:4] != struct.pack(">I", magic):
        raise defect(
            path, f"not such an idx file: magic 0x{header[:4].hex()}, expected 0x{magic:08x}"
        )
    if len(header) < layout.size:
        raise defect(path, f"header of {len(header)} bytes, expected {layout.size}")
    _, items, *item = layout.unpack(header)
    if not 1 <= items <= max_items:
        raise defect(path, f"the header promises {items} items, expected 1 to {max_items}")
    if tuple(item) != item_shape:
        raise defect(path, f"items of shape {tuple(item)}, expected {item_shape}")
    return (items, *item)
