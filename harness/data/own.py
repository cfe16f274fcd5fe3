"""A user's own data: a .npz, .npy files side by side, a .csv, or a folder of images.

Where there is no test set, every fifth row is held out as one: files are often sorted by class, so
the last rows would not do. Imports NumPy, harness.errors and the readers beside it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.data import arrays, images, table
from harness.data.packed import MEND, defect
from harness.data.source import Arrays
from harness.errors import InputError
from harness.interface import Array

HELD_OUT = 5  # every fifth row is a test row: 4, 9, 14, …
MOST_NAMED = 1000  # classes that are called by their number

_SPLIT, _WHOLE = ("train_x", "train_y", "test_x", "test_y"), ("x", "y")


class Own(NamedTuple):
    """Arrays as read; the classes' names, where they have any; how the test set came about."""

    arrays: Arrays
    class_names: tuple[str, ...]
    split: str


def is_path(source: str) -> bool:
    """Whether a source that is no name is meant as a path."""
    return os.sep in source or Path(source).suffix in (".npz", ".npy", ".csv", ".gz")


def read(path: Path) -> Own:
    """What lies there; InputError where it is none of the kinds, damaged, or no numbers."""
    if os.path.isdir(path):
        return _folder(path)
    if path.suffix == ".npz":
        return _npz(path)
    if path.name.endswith("x.npy"):
        return _npy(path)
    if path.name.endswith((".csv", ".csv.gz")):
        return _own(path, table.read(path))
    kind = "no such file" if not os.path.lexists(path) else "no data by its name"
    raise InputError(
        f"{path}: {kind}: name a .npz, an x.npy with a y.npy beside it, a .csv, or a folder of "
        "images"
    )


def _npz(path: Path) -> Own:
    found = arrays.read_npz(path, (*_SPLIT, *_WHOLE))
    if set(found) not in ({*_SPLIT}, {*_WHOLE}):
        raise defect(
            path,
            f"has {', '.join(found) or 'none'} of the arrays {', '.join((*_SPLIT, *_WHOLE))}: "
            "the first four or the last two are wanted",
            MEND,
        )
    return _own(path, tuple(found[name] for name in (_SPLIT if len(found) == 4 else _WHOLE)))


def _npy(path: Path) -> Own:
    """NAMEx.npy and NAMEy.npy; of a name with "train" in it also those with "test"."""
    targets = path.with_name(f"{path.name.removesuffix('x.npy')}y.npy")
    paths = [path, targets]
    if "train" in path.name:
        tests = [each.with_name(each.name.replace("train", "test")) for each in paths]
        if any(map(os.path.lexists, tests)):
            paths += tests
    return _own(path, tuple(map(arrays.read_npy, paths)))


def _folder(path: Path) -> Own:
    """Subfolders are classes; train/ and test/ hold them where there is a test set."""
    names = images.class_names(path)
    if set(names) != {"train", "test"}:
        return _own(path, images.read(path, names), names)
    names = images.class_names(path / "train")
    if (others := images.class_names(path / "test")) != names:
        odd = sorted({*names} ^ {*others})[0]
        raise defect(path, f"train and test have other classes: {odd!a}", MEND)
    parts = [images.read(path / part, names) for part in ("train", "test")]
    return _own(path, (*parts[0], *parts[1]), names)


def _own(path: Path, found: tuple[Array, ...], names: tuple[str, ...] = ()) -> Own:
    """The four arrays, checked: as many targets as samples, of one shape and kind."""
    if len(found) == 2:
        x, y = _pair(path, *found)
        held = np.arange(len(x)) % HELD_OUT == HELD_OUT - 1
        if not held.any():
            raise defect(path, f"{len(x)} rows, and {HELD_OUT} are needed to hold one out", MEND)
        four, split = (x[~held], y[~held], x[held], y[held]), ", every fifth row held out for test"
    else:
        (x, y), (test_x, test_y) = _pair(path, *found[:2]), _pair(path, *found[2:])
        kinds = [(a.dtype, a.shape[1:]) for a in (x, y, test_x, test_y)]
        if kinds[:2] != kinds[2:]:
            told = [f"{dtype} {shape}" for dtype, shape in kinds]
            raise defect(path, f"training has {told[:2]}, and test {told[2:]}", MEND)
        four, split = (x, y, test_x, test_y), ""
    if not names and y.dtype.kind in "iu":
        classes = int(max(four[1].max(), four[3].max())) + 1
        names = tuple(map(str, range(classes))) if classes <= MOST_NAMED else ()
    return Own(four, names, split)


def _pair(path: Path, x: Array, y: Array) -> tuple[Array, Array]:
    """Samples uint8 or float32 (n, ...); targets classes int64 (n,), or float32 (n, ...)."""
    if len(x) != len(y):
        raise defect(path, f"{len(x)} samples and {len(y)} targets: they must agree", MEND)
    if x.ndim < 2:
        raise defect(path, f"x of shape {x.shape}: a sample has one number at least", MEND)
    if x.dtype != np.uint8:
        x = _floats(path, "x", x)
    if y.dtype.kind == "f":
        y = _floats(path, "y", y)
        return x, y[:, None] if y.ndim == 1 else y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        told = "a class is one integer a sample, several numbers are floats"
        raise defect(path, f"y of shape {y.shape}: {told}", MEND)
    if y.min() < 0 or y.max() > np.iinfo(np.int64).max:
        raise defect(path, f"y from {y.min()} to {y.max()}: classes count from 0", MEND)
    return x, y.astype(np.int64)


def _floats(path: Path, name: str, values: Array) -> Array:
    """As float32, rounded once; finite."""
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(floats))[0]))
        raise defect(path, f"{name}{list(where)} is {values[where]}: no finite float32", MEND)
    return floats
