"""The idx parser reads what is right, and refuses all else in one line and little memory."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import idx
from harness.errors import InputError
from tests.make import idx_bytes

Bytes = npt.NDArray[np.uint8]

IMAGES_MAGIC, LABELS_MAGIC = 0x803, 0x801
SLACK_BYTES = 4 << 20  # buffers of the standard library: what a refused file may cost in all


def images(items: int = 3) -> Bytes:
    """Images with all byte values in them."""
    values: Bytes = (np.arange(items * 784) * 37 % 256).astype(np.uint8)
    return values.reshape(items, 28, 28)


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    """The message that `read` refuses the file with: one line that names it."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


IMAGES = idx_bytes(images())
LABELS = idx_bytes(np.arange(10, dtype=np.uint8))
PACKED = gzip.compress(IMAGES, mtime=0)


def test_other_item_shapes_are_read_where_the_caller_asks_for_them(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "images"
    path.write_bytes(idx_bytes(array))
    assert np.array_equal(idx.read_images(path, item_shape=(3, 4)), array)
    assert "(3, 4), expected (4, 3)" in refusal(lambda p: idx.read_images(p, (4, 3)), path)


def test_the_largest_number_of_items_is_allowed_and_one_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(LABELS)
    assert len(idx.read_labels(path, max_items=10)) == 10
    assert "10 items, expected 1 to 9" in refusal(lambda p: idx.read_labels(p, 9), path)


def header(items: int, rows: int = 28, cols: int = 28, magic: int = IMAGES_MAGIC) -> bytes:
    return struct.pack(">IIII", magic, items, rows, cols)


BAD_IMAGES = {
    "empty": (b"", "is empty"),
    "gzip of nothing": (gzip.compress(b"", mtime=0), "is empty"),
    "html": (b"<!DOCTYPE html><html>not found</html>", "magic 0x3c21444f, expected 0x00000803"),
    "html, packed": (gzip.compress(b"<html>", mtime=0), "magic 0x3c68746d, expected 0x00000803"),
    "labels": (LABELS, "magic 0x00000801, expected 0x00000803"),
    "short magic": (IMAGES[:3], "magic 0x000008, expected"),
    "short header": (IMAGES[:15], "header of 15 bytes, expected 16"),
    "no items": (header(0), "promises 0 items, expected 1 to 1000000"),
    "2**31 items": (header(2**31) + bytes(784), "promises 2147483648 items"),
    "2**31 items, packed": (gzip.compress(header(2**31) + bytes(784)), "2147483648 items"),
    "huge rows": (header(3, 2**32 - 1) + bytes(784), "shape (4294967295, 28), expected (28, 28)"),
    "same size, other shape": (header(3, 14, 56) + bytes(2352), "shape (14, 56), expected"),
    "short data": (
        IMAGES[:-1],
        "2352 bytes of data for shape (3, 28, 28), impossible in",
    ),
    "long data": (IMAGES + b"x", "expected 2352 bytes of data for shape (3, 28, 28), got more"),
    "short data, packed": (gzip.compress(IMAGES[:-1], mtime=0), "expected 2352 bytes of data"),
    "long data, packed": (gzip.compress(IMAGES + b"x", mtime=0), "got more"),
    "million items, packed": (gzip.compress(header(10**6), mtime=0), "impossible in a file of"),
    "truncated": (PACKED[:-20], "cut short"),
    "truncated trailer": (PACKED[:-1], "cut short"),
    "truncated header": (PACKED[:9], "cut short"),
    "only gzip's magic": (PACKED[:2], "cut short"),
    "bad crc": (PACKED[:-8] + bytes(4) + PACKED[-4:], "CRC"),
    "bad length": (PACKED[:-4] + bytes(4), "damaged"),
    "bad deflate": (PACKED[:10] + b"\xff" * 40, "damaged"),
    "unknown method": (b"\x1f\x8b\x07" + PACKED[3:], "damaged"),
    "bomb": (gzip.compress(header(1) + bytes(16 << 20), 1), "expected 784 bytes of data for shape"),
    "second member": (PACKED + gzip.compress(b"more", mtime=0), "got more"),
    "garbage after the member": (PACKED + b"garbage", "damaged"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_images_file_is_refused_in_one_line(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        message = refusal(idx.read_images, path)
        assert tracemalloc.get_traced_memory()[1] < SLACK_BYTES
    finally:
        tracemalloc.stop()
    assert reason in message
    assert "fetch it again" in message


def test_labels_of_ten_and_more_and_images_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(idx_bytes(np.array([9, 0, 10, 255], dtype=np.uint8)))
    assert "label 10 at index 2, expected 0 to 9" in refusal(idx.read_labels, path)
    path.write_bytes(PACKED)
    assert "magic 0x00000803, expected 0x00000801" in refusal(idx.read_labels, path)


def test_what_is_no_regular_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "not a file" in refusal(idx.read_images, fifo)
    assert "not a file" in refusal(idx.read_images, tmp_path)
    assert "No such file" in refusal(idx.read_images, tmp_path / "none")


def test_reading_makes_no_second_copy_of_the_data(tmp_path: Path) -> None:
    array = np.zeros((20_000, 28, 28), dtype=np.uint8)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(array), compresslevel=1, mtime=0))
    tracemalloc.start()
    try:
        idx.read_images(path)
        assert tracemalloc.get_traced_memory()[1] < array.nbytes + SLACK_BYTES
    finally:
        tracemalloc.stop()


arrays = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.binary(min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda content: np.frombuffer(content, dtype=np.uint8).reshape(shape)
    )
)


def read_content(content: bytes, item_shape: tuple[int, int], name: str = "x") -> Bytes | None:
    """What the parser makes of a file with that content; None where it refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return idx.read_images(path, item_shape)
        except InputError as error:
            message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None


@settings(deadline=None)
@given(array=arrays, packed=st.booleans(), name=st.sampled_from(["images", "images.gz"]))
def test_what_was_written_is_read_back_whatever_its_name(
    array: Bytes, packed: bool, name: str
) -> None:
    content = idx_bytes(array)
    got = read_content(
        gzip.compress(content, mtime=0) if packed else content, array.shape[1:], name
    )
    assert got is not None
    assert got.dtype == np.uint8
    assert np.array_equal(got, array)


@settings(deadline=None)
@given(array=arrays, packed=st.booleans(), data=st.data())
def test_a_truncated_file_is_refused(array: Bytes, packed: bool, data: st.DataObject) -> None:
    content = gzip.compress(idx_bytes(array), mtime=0) if packed else idx_bytes(array)
    cut = data.draw(st.integers(0, len(content) - 1))
    assert read_content(content[:cut], array.shape[1:]) is None


@settings(deadline=None, max_examples=300)
@given(array=arrays, packed=st.booleans(), data=st.data())
def test_a_corrupted_file_is_refused_or_read_as_it_stands(
    array: Bytes, packed: bool, data: st.DataObject
) -> None:
    """Gzip's CRC finds changed pixels; in a plain file a changed pixel is just another pixel."""
    content = bytearray(gzip.compress(idx_bytes(array), mtime=0) if packed else idx_bytes(array))
    changes = st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255))
    for position, flip in data.draw(st.lists(changes, min_size=1, max_size=4)):
        content[position] ^= flip
    got = read_content(bytes(content), array.shape[1:])
    if got is not None:
        written = array.tobytes() if packed else bytes(content[16:])
        assert got.shape == array.shape
        assert got.tobytes() == written


@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=64), packed=st.booleans())
def test_any_other_bytes_are_refused(content: bytes, packed: bool) -> None:
    assert read_content(gzip.compress(content, mtime=0) if packed else content, (28, 28)) is None
