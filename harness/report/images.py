"""The test images on which labels differ, as a page shows them: pixels as a PNG, who says what.

Takes a stored record; pixels that are no image are left out.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence

from harness.record.schema import Differing, Record
from harness.report.page import data_address
from harness.report.sections import Image
from harness.text import clean

# A test image larger than this (rows or columns) is not one of a set like MNIST.
LARGEST_IMAGE = 64
# Of a PNG, by what follows rows and columns in an image's shape: grey, or red, green and blue.
COLOUR_TYPES = {(): 0, (1,): 0, (3,): 2}


def image(record: Record, one: Differing) -> Image:
    """A test image that labels classify differently."""
    named = record.dataset.class_names if record.dataset is not None else []

    def name(number: int) -> str:
        if number < 0:
            return "none (NaN)"
        return named[number] if number < len(named) else f"class {number}"

    # A list: a label may be called "reference".
    said = [("reference", one.reference), *one.predicted.items()]
    words = "; ".join(f"{who} says {name(what)}" for who, what in said)
    facts = [(who, f"{'✓ ' if what == one.true else ''}{name(what)}") for who, what in said]
    return Image(
        source=png(one),
        caption=clean(f"test image {one.index}: true {name(one.true)}; {words}")[:500],
        number=f"test image {one.index}",
        facts=[("true", name(one.true)), *facts],
    )


def png(one: Differing) -> str:
    """The pixels as a PNG in a data: address; "" where they are not the image they claim to be."""
    try:
        pixels = base64.b64decode(one.pixels, validate=True)
    except (binascii.Error, ValueError):
        return ""
    height, width, *channels = [*one.shape, 0, 0][: max(2, len(one.shape))]
    kind = COLOUR_TYPES.get(tuple(channels))
    if kind is None or not all(0 < n <= LARGEST_IMAGE for n in (height, width)):
        return ""
    row = width * (channels[0] if channels else 1)
    if len(pixels) != height * row:
        return ""
    rows = [pixels[i : i + row] for i in range(0, len(pixels), row)]
    return data_address("image/png", encode(rows, width, kind))


def encode(rows: Sequence[bytes], width: int, kind: int) -> bytes:
    """A PNG of rows of samples of 8 bits; kind: 0 grey, 2 colours, 6 colours and how opaque."""
    head = struct.pack(">IIBBBBB", width, len(rows), 8, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row for row in rows)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
