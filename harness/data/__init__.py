"""Data by source: named data sets, stand-ins for them, made ones, and what users bring themselves.

`load` finds a source and says where it came from; `prepared` and `targets` turn its arrays into
what a model is given. All of it is shared by all backends, so a comparison cannot see a mistake
here: known answers pin them. Imports NumPy, harness.errors, the interface and the modules beside
it; no framework.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.data import cifar_10, diabetes, fashion_mnist, mnist, own, stand_ins
from harness.data.finding import ENVIRONMENT_VARIABLE, NotAvailable, find
from harness.data.made import MADE, Made
from harness.data.source import Arrays, Source
from harness.errors import InputError
from harness.interface import Array, Workload

SOURCES = {
    source.name: source
    for source in (
        fashion_mnist.SOURCE,
        mnist.SOURCE,
        mnist.SHIFTED,
        cifar_10.SOURCE,
        diabetes.SOURCE,
    )
}
# What --dataset may be called with; of the sources only the workload's own.
CHOICES = ("auto", "synthetic", *SOURCES)

Floats = npt.NDArray[np.float32]
Normalise = tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a source has, training and test; read-only.

    x: images uint8 (n, rows, columns) or (n, rows, columns, channels), or numbers float32 (n, ...).
    y: classes uint8 or int64 (n,), from 0, or numbers float32 (n, ...). `sha256` is the identity
    of the four arrays, whatever file they came from; `source` is for people. `made_for`: of data
    that are made, the seeds whose trainings' samples stand behind one another, each in the order
    of its steps; empty: every training takes all samples, in an order of its own.
    """

    name: str
    synthetic: bool
    sha256: str
    source: str
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    class_names: tuple[str, ...]
    made_for: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Training and test samples together."""
        return len(self.train_x) + len(self.test_x)

    @property
    def images(self) -> bool:
        """Whether x is images: bytes, rows x columns."""
        return self.train_x.dtype == np.uint8 and self.train_x.ndim in (3, 4)


def load(
    source: str,
    choice: str = "auto",
    data_dir: Path | None = None,
    *,
    shape: tuple[int, ...] = (),
    classes: int = 0,
    numbers: int = 0,
    seeds: tuple[int, ...] = (0,),
    steps: int | None = None,
    warn: Callable[[str], None],
) -> Dataset:
    """The data of a source: a name of SOURCES or MADE, or a path to a user's own.

    choice: "auto" (a named source, or a synthetic stand-in where it is nowhere: `warn` is called
    with one line then), "synthetic", or the source itself. data_dir: a folder with the source's
    files, or with a folder for each source. shape: of one sample, as many numbers as its data must
    have; classes: how many there are, all labels lie below; numbers: how many a target has that is
    no class, which a stand-in is made with. seeds, steps: of data that are made, the trainings that
    they are for, and how many steps those take at least. Raises InputError for a
    source or folder that cannot be used, a damaged file, data of another shape, and where there are
    none.
    """
    if source in MADE:
        return _made(MADE[source], choice, seeds, steps)
    known = SOURCES.get(source)
    name = source if known else Path(source).name
    if known is None and not own.is_path(source):
        raise InputError(
            f"data set {source!r} is unknown: {', '.join((*SOURCES, *MADE))}, or a path to a .npz, "
            ".npy, .csv or a folder of images"
        )
    if choice not in ("auto", "synthetic", source, name):
        raise InputError(
            f"--dataset {choice}: the model's data are {source}: choose auto, synthetic or {name}"
        )
    if data_dir is not None and (choice == "synthetic" or known is None):
        what = "--dataset synthetic" if choice == "synthetic" else f"the data {source}"
        raise InputError(f"--data-dir {data_dir} has no meaning with {what}: drop one of them")
    if choice == "synthetic":
        made = _stand_in(known) if known else _like(source, shape, classes, numbers)
    elif known is None:
        made = _own(source)
    else:
        made = _named(known, choice, data_dir, warn)
    _check(made, shape, classes)
    return made


def of_workload(
    workload: Workload,
    choice: str = "auto",
    data_dir: Path | None = None,
    *,
    seeds: tuple[int, ...] = (0,),
    steps: int | None = None,
    warn: Callable[[str], None],
) -> Dataset:
    """The data of a workload, in the shape and with the classes or numbers that it takes.

    Raises InputError as `load`, and for targets of another number than the model's outputs.
    """
    classes = workload.outputs[-1] if workload.y == "class" else 0
    made = load(
        *(workload.data, choice, data_dir),
        shape=workload.x,
        classes=classes,
        numbers=workload.outputs[-1] if workload.y == "number" else 0,
        seeds=seeds,
        steps=steps,
        warn=warn,
    )
    if len(made.train_x) <= workload.validation:
        raise InputError(
            f"data set {made.source}: {len(made.train_x)} training samples, and "
            f"{workload.validation} are held out for validation"
        )
    found = targets(made.train_y[:1], "number").shape[1:]
    if workload.y == "number" and found != workload.outputs:
        raise InputError(
            f"data set {made.source}: targets of shape {found}, and the model's outputs have "
            f"{workload.outputs}"
        )
    return made


def title(source: str) -> str:
    """What people call a source."""
    known = SOURCES.get(source) or MADE.get(source)
    return known.title if known is not None else Path(source).name


def official(source: str, sha256: str) -> bool:
    """Whether data are a named source's own, as their digest tells; of a user's none are."""
    known = SOURCES.get(source)
    return known is not None and any(identity == sha256 for identity, _ in known.pinned)


def prepared(
    x: Array, shape: tuple[int, ...], normalise: Normalise, out: Floats | None = None
) -> Floats:
    """What a model is given of samples x: float32 (n, *shape), computed in float32.

    Bytes become `uint8 / float32(255)`; where normalise = (m, s) is given, p becomes
    `(p - float32(m)) / float32(s)`. Writes into `out` (a memory map, say) where given.
    """
    if out is None:
        out = np.empty((len(x), *shape), np.float32)
    samples = x.reshape(out.shape)
    if x.dtype == np.uint8:
        np.divide(samples, np.float32(255), out=out, dtype=np.float32)
    else:
        out[...] = samples
    if normalise is not None:
        mean, deviation = map(np.float32, normalise)
        np.subtract(out, mean, out=out)
        np.divide(out, deviation, out=out)
    return out


def targets(y: Array, kind: Literal["class", "number", "none"]) -> Array:
    """What a loss is given of targets y: int64 (n,) for "class", float32 (n, ...) for "number".

    Raises InputError where classes are asked for and y has other numbers than 0, 1, 2, …
    """
    if kind != "class":
        return (y if y.ndim > 1 else y[:, None]).astype(np.float32)
    if y.dtype.kind != "f":
        return y.astype(np.int64)
    if y[0].size != 1 or not np.array_equal(y, np.clip(np.rint(y), 0, 2**24)):
        raise InputError("targets: not one class, 0, 1, 2, …, for each sample")
    return y.reshape(len(y)).astype(np.int64)


def training_set(
    dataset: Dataset, workload: Workload, out: Floats | None = None
) -> tuple[Floats, Array]:
    """What is trained on: x float32 (n, *workload.x), written into `out` where given, and y.

    Of the training set all but what is held out for validation.
    """
    rows = slice(0, len(dataset.train_x) - workload.validation)
    x = prepared(dataset.train_x[rows], workload.x, workload.normalise, out)
    return x, targets(dataset.train_y[rows], workload.y)


def evaluation_set(
    dataset: Dataset, workload: Workload, out: Floats | None = None, most: int | None = None
) -> tuple[Floats, Array]:
    """What is evaluated on, as above: of the test set, and behind it of what is held out.

    most: of each no more than the first so many; None: all.
    """
    parts = []
    for test, train in ((dataset.test_x, dataset.train_x), (dataset.test_y, dataset.train_y)):
        held_out = train[len(train) - workload.validation :][:most]
        parts.append((test[: workload.tests][:most], held_out))
    x, y = (np.concatenate(part) if len(part[1]) else part[0] for part in parts)
    return prepared(x, workload.x, workload.normalise, out), targets(y, workload.y)


def answers(
    dataset: Dataset, normalise: Normalise, train: Floats, test: Floats
) -> list[tuple[str, str, str]]:
    """Known answers of what `prepared` made, (name, want, got); nothing is known of other data."""
    for source in SOURCES.values():
        if (wanted := source.pinned.get((dataset.sha256, normalise))) is not None:
            what = "pixels" if dataset.images else "numbers"
            return [
                (f"{what}, {part}", want, _digest(array))
                for part, want, array in zip(("train", "test"), wanted, (train, test), strict=True)
            ]
    return []


def _named(
    known: Source, choice: str, data_dir: Path | None, warn: Callable[[str], None]
) -> Dataset:
    """A named source from its files, or, where that was not ruled out, its stand-in."""
    try:
        paths, found = find(known, data_dir)
    except NotAvailable as error:
        if choice != "auto":
            raise
        warn(f"SYNTHETIC DATA, not {known.title}: {error}")
        return _stand_in(known)
    made = _dataset(known.name, found, known.read(paths), known.class_names)
    for other in SOURCES.values():
        if other is not known and any(made.sha256 == identity for identity, _ in other.pinned):
            raise InputError(f"{found}: the files are those of {other.title}, not {known.title}")
    return made


def _stand_in(known: Source) -> Dataset:
    return _dataset("synthetic", f"made by {known.maker}", known.make(), known.class_names)


def _like(source: str, shape: tuple[int, ...], classes: int, numbers: int) -> Dataset:
    """A stand-in of the shape that a model takes; of numbers the one of each class is 1."""
    if not shape or (classes < 2 and not numbers):
        raise InputError(f"--dataset synthetic: nothing stands in for {source}")
    make = stand_ins.images if len(shape) in (2, 3) else stand_ins.numbers
    arrays: Arrays = make(shape, classes or max(2, numbers), *stand_ins.items(shape))
    if not classes:
        one = np.eye(max(2, numbers), numbers, dtype=np.float32)
        arrays = arrays[0], one[arrays[1]], arrays[2], one[arrays[3]]
    names = tuple(map(str, range(classes)))
    return _dataset("synthetic", "made by harness.data.stand_ins", arrays, names)


def _made(source: Made, choice: str, seeds: tuple[int, ...], steps: int | None) -> Dataset:
    if choice not in ("auto", "synthetic", source.name):
        raise InputError(
            f"--dataset {choice}: the model's data are made, {source.name}: leave it out"
        )
    x, y = source.arrays(seeds, steps)
    made = _dataset(source.name, f"made by harness.data.made: {source.title}", (x, y, x, y), ())
    return replace(made, made_for=seeds)


def _own(source: str) -> Dataset:
    found = own.read(Path(source))
    return _dataset(Path(source).name, f"{source}{found.split}", found.arrays, found.class_names)


def _dataset(name: str, source: str, arrays: Arrays, class_names: tuple[str, ...]) -> Dataset:
    """SHA-256: over shape (decimal, "60000x28x28", newline) and C-order bytes of each array."""
    digest = hashlib.sha256()
    for array in arrays:
        array.setflags(write=False)
        digest.update(("x".join(map(str, array.shape)) + "\n").encode())
        digest.update(np.ascontiguousarray(array).data)
    return Dataset(name, name == "synthetic", digest.hexdigest(), source, *arrays, class_names)


def _check(dataset: Dataset, shape: tuple[int, ...], classes: int) -> None:
    """InputError where samples have another number of values, or labels count too far."""
    found = dataset.train_x.shape[1:]
    if shape and not _fits(found, shape):
        raise InputError(
            f"data set {dataset.source}: samples of shape {found}, and the model takes {shape}"
        )
    if not classes:
        return
    for y in (dataset.train_y, dataset.test_y):
        try:
            largest = int(targets(y, "class").max())
        except InputError as error:
            raise InputError(f"data set {dataset.source}: {error}") from None
        if largest >= classes:
            raise InputError(
                f"data set {dataset.source}: a label {largest}, and the model has {classes} classes"
            )


def _fits(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether samples can be read as this shape: flat, or grey images with a channel.

    As many numbers are not enough: channels first would become rows.
    """
    if 1 in (len(found), len(shape)):
        return math.prod(found) == math.prod(shape)
    return shape in (found, (*found, 1)) or found == (*shape, 1)


def _digest(array: Array) -> str:
    """SHA-256 of an array's little-endian bytes in C order."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.data).hexdigest()


__all__ = [
    "CHOICES",
    "ENVIRONMENT_VARIABLE",
    "MADE",
    "SOURCES",
    "Dataset",
    "NotAvailable",
    "answers",
    "evaluation_set",
    "load",
    "of_workload",
    "official",
    "prepared",
    "targets",
    "title",
    "training_set",
]
