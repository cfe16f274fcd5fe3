"""Reads a folder of images: a subfolder for each class, PNG or JPEG, all of one size.

Nothing is resized or converted: images that differ are refused. Imports NumPy, harness.errors and
harness.files; Pillow (optional) where there is a folder to be read.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.packed import MEND, defect
from harness.errors import InputError
from harness.files import open_plain, why

MOST_IMAGES = 1_000_000
MOST_CLASSES = 100_000
MOST_PIXELS = 1 << 24  # of one image: 4096 x 4096
MOST_BYTES = 4 * 10**9  # of all of them together
MOST_FILE_BYTES = 10**8  # of one file
ENDINGS = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
# Pillow's names of a pixel's type: one grey byte; red, green and blue ones.
MODES = ("L", "RGB")

Bytes = npt.NDArray[np.uint8]


def class_names(folder: Path) -> tuple[str, ...]:
    """The subfolders that are classes, by name; those that begin with a dot are none."""
    names = tuple(name for name, is_folder in _entries(folder) if is_folder)
    if not 1 <= len(names) <= MOST_CLASSES:
        raise defect(folder, f"{len(names)} subfolders, and each class has one", MEND)
    return names


def read(folder: Path, classes: tuple[str, ...]) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Images uint8 (n, rows, columns) or (n, rows, columns, 3), and classes int64 (n,).

    By class, then by name. Raises InputError where an image is damaged or differs from the first,
    for any other file, and where Pillow is missing.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for file, _ in _entries(folder / name):
            paths.append(folder / name / file)
            labels.append(label)
        if len(paths) > MOST_IMAGES:
            raise defect(folder, f"more than {MOST_IMAGES} images", MEND)
    if not paths:
        raise defect(folder, "no images in its subfolders", MEND)
    pillow = _pillow(folder)
    first = _pixels(pillow, paths[0], None)
    if first.nbytes * len(paths) > MOST_BYTES:
        raise defect(folder, f"{len(paths)} images of {first.nbytes} bytes: too many", MEND)
    x = np.empty((len(paths), *first.shape), np.uint8)
    for number, path in enumerate(paths):
        x[number] = _pixels(pillow, path, first.shape)
    return x, np.array(labels, np.int64)


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """What a folder holds, by name, and whether each is a folder; hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")
            )
    except (OSError, ValueError) as error:
        reason = why(error) if isinstance(error, OSError) else "no path"
        raise defect(folder, f"cannot be read ({reason})", MEND) from error


def _pillow(folder: Path) -> ModuleType:
    try:
        import PIL.Image
    except ImportError:
        raise InputError(
            f"{folder}: images are read by Pillow, which is not installed: pip install "
            "'framework-harness[images]'"
        ) from None
    return PIL.Image


def _pixels(pillow: ModuleType, path: Path, shape: tuple[int, ...] | None) -> Bytes:
    """One image, uint8 (rows, columns) or (rows, columns, 3), of this shape if one is given."""
    if path.suffix.lower() not in ENDINGS:
        raise defect(path, f"no image by its name ({', '.join(ENDINGS)})", MEND)
    try:
        with open_plain(path, MOST_FILE_BYTES) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Without it the CRC of a PNG's pixels is not looked at.
            pillow.open(file, formats=FORMATS).verify()
            file.seek(0)
            with pillow.open(file, formats=FORMATS) as image:
                found = _shape(path, image)
                if shape is not None and found != shape:
                    raise defect(path, f"shape {found}, and the first has {shape}", MEND)
                return np.array(image, np.uint8)
    except (
        *(OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError),
        *(AttributeError, OverflowError, MemoryError, struct.error, zlib.error),
        pillow.DecompressionBombError,
    ) as error:
        reason = why(error) if isinstance(error, OSError) else str(error)
        raise defect(path, f"not a whole image ({ascii(reason)[1:-1][:200]})", MEND) from error


def _shape(path: Path, image: Any) -> tuple[int, ...]:
    """The shape that an image's header promises, in a mode that is read as it stands."""
    columns, rows = image.size
    if rows * columns > MOST_PIXELS:
        raise defect(path, f"{columns} x {rows} pixels: too many", MEND)
    if image.mode not in MODES:
        raise defect(path, f"mode {image.mode}: grey or red-green-blue bytes are read", MEND)
    return (rows, columns) if image.mode == "L" else (rows, columns, 3)
