"""Named arrays as files, safetensors, never pickle. Imports NumPy, safetensors and files only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.files import open_plain
from harness.interface import Array

# The largest file is a gradient beside its batch and parameters: 200 MB for the widest model.
MOST_BYTES = 2 * 2**30


def save_tensors(path: str, tensors: Mapping[str, Array]) -> None:
    """Write named arrays; layouts are made contiguous, values are kept bit for bit.

    Raises OSError where the file cannot be written.
    """
    # asarray with an order keeps 0-d arrays 0-d, which ascontiguousarray does not.
    data = save({name: np.asarray(value, order="C") for name, value in tensors.items()})
    with open(path, "wb") as file:
        file.write(data)


def load_tensors(path: str) -> dict[str, Array]:
    """Read what `save_tensors` wrote: fresh arrays. Raises one of UNUSABLE for another file."""
    with open_plain(path, MOST_BYTES):
        return load_file(path)


# What reading a worker's answer raises where it is cut off, misnamed or of the wrong kind.
UNUSABLE = (SafetensorError, KeyError, ValueError, TypeError, OSError)
