"""CIFAR-10: 50 000 + 10 000 colour photographs, 32 x 32 x 3, ten classes; or a subset of them.

A record of the binary version has 3073 bytes: the label, then 32 x 32 red, green and blue ones.
Format and source: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.data import stand_ins
from harness.data.packed import defect, unpacked
from harness.data.source import Arrays, Source

SIDE, CHANNELS, CLASSES = 32, 3, 10
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE
MAX_RECORDS = 100_000  # of a file: 307 MB, ten times the largest of the full set

# The arrays of a subset of 7 292 + 1 000 images.
SUBSET_SHA256 = "8ceed80e81fd43aa9524d880a7cae208328e6616b6ec5bc73aeff9564f6e7a07"

_BLOCK_RECORDS = 1000  # read at a time

# Images of the stand-in: a fifth of the full set, which would take 740 MB as float32.
_STAND_IN = (10_000, 2_000)

Bytes = npt.NDArray[np.uint8]


def read(paths: Sequence[Path]) -> Arrays:
    """Images uint8 (n, 32, 32, 3) and labels uint8 (n,): the last file is the test set's.

    Raises InputError for a file that is missing, damaged, or of other records.
    """
    *train, test = map(_records, paths)
    return *_images(np.concatenate(train)), *_images(test)


def _images(records: Bytes) -> tuple[Bytes, Bytes]:
    planes = records[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].copy()


def _records(path: Path) -> Bytes:
    """The records of a file, plain or gzip: uint8 (n, 3073)."""
    blocks: list[bytes] = []
    found = 0
    with unpacked(path) as (stream, _, _):
        while block := stream.read(_BLOCK_RECORDS * RECORD_BYTES):
            blocks.append(block)
            found += len(block)
            if found > MAX_RECORDS * RECORD_BYTES:
                raise defect(path, f"more than {MAX_RECORDS} records of {RECORD_BYTES} bytes")
    if not found or found % RECORD_BYTES:
        raise defect(path, f"{found} bytes, expected a multiple of {RECORD_BYTES}, a record's")
    records = np.frombuffer(b"".join(blocks), np.uint8).reshape(-1, RECORD_BYTES)
    wrong = records[:, 0] >= CLASSES
    if wrong.any():
        where = int(np.argmax(wrong))
        raise defect(path, f"label {records[where, 0]} in record {where}, expected 0 to 9")
    return records


SOURCE = Source(
    name="cifar-10",
    title="CIFAR-10",
    files=(
        (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
        ("train.bin", "test.bin"),
    ),
    read=read,
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    make=partial(stand_ins.images, (SIDE, SIDE, CHANNELS), CLASSES, *_STAND_IN),
    maker="harness.data.stand_ins",
    folders=("cifar-10", "cifar-10-batches-bin", "cifar-10-subset"),
    origin="https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)",
    pinned={
        (SUBSET_SHA256, (0.5, 0.5)): (
            "fe817cf273fe86fe8a2da1e49c376120617375603b3bdfcee9dbe1b58a264ad8",
            "b30654489ee1926ca8963924451127f3722049fc11077231989a81bbe4835a53",
        )
    },
)
