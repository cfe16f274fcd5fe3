"""The test images on which labels differ, as a page shows them: pixels as a PNG, who says what.

Takes a stored record; pixels that are no image are left out.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib

from harness.record.schema import Differing, Record
from harness.report.page import data_address
from harness.report.sections import Image
from harness.text import clean

# A test image larger than this (rows or columns) is not one of a set like MNIST.
LARGEST_IMAGE = 64


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
    if len(one.shape) != 2 or not all(0 < n <= LARGEST_IMAGE for n in one.shape):
        return ""
    height, width = one.shape
    if len(pixels) != height * width:
        return ""
    lines = b"".join(b"\0" + pixels[i : i + width] for i in range(0, len(pixels), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8-bit grey
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return data_address("image/png", whole)
