"""MNIST: 60 000 + 10 000 handwritten digits, 28 x 28. http://yann.lecun.com/exdb/mnist/

Also grown by shifts, as Nielsen's expand_mnist.py does (http://neuralnetworksanddeeplearning.com).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from harness.data import idx, stand_ins
from harness.data.source import Arrays, Source

# Of the training images, the last so many validate: they are not grown.
VALIDATE = 10_000
# Rows down and columns right.
SHIFTS = ((1, 0), (-1, 0), (0, 1), (0, -1))

# The official files' arrays.
REAL_SHA256 = "21b4688f20b46395e3a8cb00eec54d9106ea50c3e9064f71374f48ccd74e83ae"

SOURCE = Source(
    name="mnist",
    title="MNIST",
    files=(idx.NAMES,),
    read=idx.read_set,
    class_names=tuple("0123456789"),
    make=partial(stand_ins.images, (28, 28), 10, 60_000, 10_000),
    maker="harness.data.stand_ins",
    folders=("mnist",),
    origin="http://yann.lecun.com/exdb/mnist/",
    sha256=idx.packed(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    # Those of PyTorch and of TensorFlow's data sets. What they send is checked.
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    pinned={
        (REAL_SHA256, (0.1307, 0.3081)): (
            "f1c2bb7165ea73871fe2009a9e6c6d555ceb6ddc9d484219ca231a524b401391",
            "757b3cee157a4aa2c485805da043b480cbfaf2ac25054baf1a0d998fbb91f8b4",
        ),
        (REAL_SHA256, None): (
            "257f039238a0be158bad088c051a53908383fd47df03a7b1c229bb7bc968f160",
            "bc9f8f501f39b3ca61f899a2f402edf2024bde012b73223431b6bd735e47a165",
        ),
    },
)


def shifted(arrays: Arrays) -> Arrays:
    """The images that train, then all moved by a pixel down, up, right and left; then the others.

    Blank where nothing moves in. The last VALIDATE training images and the test set stay as they
    are.
    """
    x, y, test_x, test_y = arrays
    many = len(x) - VALIDATE
    if many <= 0:
        return arrays
    grown = np.zeros((many * (1 + len(SHIFTS)) + VALIDATE, *x.shape[1:]), x.dtype)
    grown[:many], grown[-VALIDATE:] = x[:many], x[-VALIDATE:]
    for place, move in enumerate(SHIFTS, 1):
        to, taken = zip(*map(_overlap, move), strict=True)
        grown[place * many : (place + 1) * many][:, *to] = x[:many, *taken]
    labels = np.concatenate([np.tile(y[:many], 1 + len(SHIFTS)), y[-VALIDATE:]])
    return grown, labels, test_x, test_y


def _overlap(by: int) -> tuple[slice, slice]:
    """Along an axis moved `by` places: where what stays inside goes, and where it comes from."""
    to, taken = slice(max(by, 0), min(by, 0) or None), slice(max(-by, 0), min(-by, 0) or None)
    return to, taken


def _read(paths: Sequence[Path]) -> Arrays:
    return shifted(idx.read_set(paths))


def _made() -> Arrays:
    """As many as MNIST's own stand-in has, with the shifted ones."""
    return shifted(stand_ins.images((28, 28), 10, 20_000, 10_000))


SHIFTED = replace(
    SOURCE,
    name="mnist-shifted",
    title="MNIST grown by shifts",
    read=_read,
    make=_made,
    cached="mnist",
    pinned={
        ("b5693302f10f96a3ced205a6df5b8683484f52ea43a03ddf0bfe37f713da819f", None): (
            "f1943617090b4d768ca955d808b0cf4a9d62666d2b027dac2788c0332ba94a88",
            "bc9f8f501f39b3ca61f899a2f402edf2024bde012b73223431b6bd735e47a165",
        ),
    },
)
