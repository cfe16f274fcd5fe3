"""Bulk arrays between processes: safetensors files, never pickle. NumPy and safetensors only."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

import numpy as np
from safetensors.numpy import load_file, save

from harness.interface import Array


def save_tensors(path: str, tensors: Mapping[str, Array]) -> None:
    """Write named arrays; layouts are made contiguous, values are kept bit for bit.

    Raises OSError where the file cannot be written.
    """
    # asarray with an order keeps 0-d arrays 0-d, which ascontiguousarray does not.
    data = save({name: np.asarray(value, order="C") for name, value in tensors.items()})
    with open(path, "wb") as file:
        file.write(data)


def load_tensors(path: str) -> dict[str, Array]:
    """Read what `save_tensors` wrote: fresh arrays."""
    return load_file(path)


def send(descriptor: int, message: bytes) -> None:
    """Write one length-prefixed message to a pipe, whole."""
    data = memoryview(struct.pack("<I", len(message)) + message)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int) -> bytes | None:
    """Read one message from a blocking pipe; None at end of file."""
    head = _read(descriptor, 4)
    return None if head is None else _read(descriptor, struct.unpack("<I", head)[0])


def _read(descriptor: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = os.read(descriptor, size - len(data))
        if not piece:
            return None
        data += piece
    return data
