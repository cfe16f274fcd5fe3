"""What goes between processes: bulk arrays as safetensors files, never pickle; messages; words.

Imports NumPy and safetensors only.
"""

from __future__ import annotations

import os
import struct


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
