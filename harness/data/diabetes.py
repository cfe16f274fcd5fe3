"""Pima diabetes: 759 rows of eight numbers in [-1, 1] and a last one, 0 (diabetic) or 1.

The file is that of https://github.com/hunkim/PyTorchZeroToAll, without a header. There is no test
set: what is trained on is what is evaluated on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from harness.data import stand_ins, table
from harness.data.packed import FETCH_AGAIN, defect
from harness.data.source import Arrays, Source

ROWS, INPUTS = 759, 8
# The file's arrays.
REAL_SHA256 = "0e6169dd60154bd8fab6978e3f0aa6a6c3e8273f432209a427f5fbecf94d7137"


def read(paths: Sequence[Path]) -> Arrays:
    """x: float32 (n, 8); y: float32 (n, 1), each 0 or 1; the same twice."""
    (path,) = paths
    x, y = table.read(path, FETCH_AGAIN)
    if x.shape[1] != INPUTS:
        raise defect(path, f"{x.shape[1] + 1} columns, expected {INPUTS + 1}")
    wrong = (y[:, 0] != 0) & (y[:, 0] != 1)
    if wrong.any():
        where = int(np.argmax(wrong))
        raise defect(path, f"{y[where, 0]} in the last column of row {where}, expected 0 or 1")
    return x, y, x, y


SOURCE = Source(
    name="diabetes",
    title="the diabetes data",
    files=(("diabetes.csv",),),
    read=read,
    class_names=("diabetic", "not diabetic"),
    make=partial(stand_ins.rows, INPUTS, ROWS),
    maker="harness.data.stand_ins",
    folders=("diabetes",),
    origin="https://github.com/hunkim/PyTorchZeroToAll (data/diabetes.csv.gz)",
    pinned={
        (REAL_SHA256, None): (
            "11a587a05e564840a70a9ab647c0604878eabaf8494ecf6881c682db8ffa64fc",
            "11a587a05e564840a70a9ab647c0604878eabaf8494ecf6881c682db8ffa64fc",
        )
    },
)
