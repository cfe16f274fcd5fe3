"""Data sets for the harness: Fashion-MNIST, or a synthetic stand-in of the same shapes.

`load` finds one and says where it came from; `pixels` turns its images into what a model is given.
Both are shared by all backends, so a comparison cannot see a mistake here: known answers pin them.
Imports NumPy, harness.errors and the modules beside it; no framework.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data import fashion_mnist, synthetic
from harness.errors import InputError
from harness.interface import Array

CHOICES = ("auto", "fashion-mnist", "synthetic")

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images uint8 (n, 28, 28) and labels uint8 (n,), 0 .. 9, for training and test; read-only.

    `sha256` is the identity of the four arrays, whatever file they came from; `source` is for
    people.
    """

    name: str
    synthetic: bool
    sha256: str
    source: str
    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    class_names: tuple[str, ...]


def load(
    dataset: str = "auto", data_dir: Path | None = None, *, warn: Callable[[str], None]
) -> Dataset:
    """The data set of that name; "auto" is Fashion-MNIST where there is one, else synthetic.

    `data_dir` names a directory with the four idx files. `warn` is called with one line where
    "auto" falls back. Raises InputError for a name or directory that cannot be used, a damaged
    file, or (with "fashion-mnist") where the files are nowhere and cannot be downloaded.
    """
    if dataset not in CHOICES:
        raise InputError(f"dataset {dataset!r} is unknown: choose one of {', '.join(CHOICES)}")
    if dataset == "synthetic":
        if data_dir is not None:
            raise InputError(
                f"--data-dir {data_dir} has no meaning with --dataset synthetic: drop one of them"
            )
        return _synthetic()
    try:
        directory, source = fashion_mnist.find(data_dir)
    except fashion_mnist.NotAvailable as error:
        if dataset == "fashion-mnist":
            raise
        warn(f"SYNTHETIC DATA, not Fashion-MNIST: {error}")
        return _synthetic()
    return _dataset("fashion-mnist", source, fashion_mnist.read(directory))


def pixels(images: Bytes, out: Floats | None = None) -> Floats:
    """Images uint8 (n, 28, 28) as float32 (n, 784): `uint8 / float32(255)`, computed in float32.

    Writes into `out` (a memory map, say) where given.
    """
    flat = images.reshape(len(images), -1)
    return np.divide(flat, np.float32(255), out=out, dtype=np.float32)


def _synthetic() -> Dataset:
    return _dataset("synthetic", "made by harness.data.synthetic", synthetic.make())


def _dataset(name: str, source: str, arrays: tuple[Bytes, Bytes, Bytes, Bytes]) -> Dataset:
    """SHA-256: over shape (decimal, "60000x28x28", newline) and C-order bytes of each array."""
    digest = hashlib.sha256()
    for array in arrays:
        array.setflags(write=False)
        digest.update(("x".join(map(str, array.shape)) + "\n").encode())
        digest.update(np.ascontiguousarray(array).data)
    names = fashion_mnist.CLASS_NAMES
    return Dataset(name, name == "synthetic", digest.hexdigest(), source, *arrays, names)


def evaluation_set(dataset: Dataset, out: Array | None = None) -> tuple[Array, Array]:
    """What accuracy is measured on: test pixels float32 (n, inputs) and labels int64 (n,).

    Writes the pixels into `out` (a mapped file, say) where given.
    """
    return pixels(dataset.test_images, out), dataset.test_labels.astype(np.int64)


def training_set(dataset: Dataset, out: Array | None = None) -> tuple[Array, Array]:
    """What is trained on: pixels float32 (n, inputs) and labels int64 (n,); `out` as above."""
    return pixels(dataset.train_images, out), dataset.train_labels.astype(np.int64)
