"""What goes between processes: bulk arrays as safetensors files, never pickle; messages; words.

Imports NumPy and safetensors only.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from harness.interface import Array

# The largest file is a gradient beside its batch and parameters: 200 MB for the widest model.
MOST_BYTES = 2 * 2**30
# Facts are a few versions and settings, to be read by people: beyond this they are cut.
MOST_FACTS, LONGEST_NAME, LONGEST_FACT = 200, 100, 1000


def save_tensors(path: str, tensors: Mapping[str, Array]) -> None:
    """Write named arrays; layouts are made contiguous, values are kept bit for bit.

    Raises OSError where the file cannot be written.
    """
    # asarray with an order keeps 0-d arrays 0-d, which ascontiguousarray does not.
    data = save({name: np.asarray(value, order="C") for name, value in tensors.items()})
    with open(path, "wb") as file:
        file.write(data)


def load_tensors(path: str) -> dict[str, Array]:
    """Read what `save_tensors` wrote: fresh arrays. ValueError where no such file can be that."""
    told = os.stat(path)
    if not stat.S_ISREG(told.st_mode):  # a pipe would be waited for
        raise ValueError(f"{os.path.basename(path)} is no plain file")
    if told.st_size > MOST_BYTES:
        raise ValueError(f"{os.path.basename(path)} has {told.st_size / 1e9:.1f} GB")
    return load_file(path)


def plain(text: str, most: int = 200) -> str:
    """Text that can be stored and shown: no control characters, of bounded length."""
    found = "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in text[: most + 1])
    return found if len(found) <= most else f"{found[: most - 1]}…"


def plain_facts(told: Mapping[Any, Any]) -> dict[str, str]:
    """What a backend says of itself as it is stored, whatever it is; how much was left out."""
    few = len(told) <= MOST_FACTS
    found = {
        plain(str(name), LONGEST_NAME): plain(str(value), LONGEST_FACT)
        for name, value in list(told.items())[: MOST_FACTS if few else MOST_FACTS - 1]
    }
    return found if few else found | {"facts left out": str(len(told) - len(found))}


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
