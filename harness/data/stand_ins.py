"""Procedural stand-ins of any shape, where a source's files are nowhere.

A class is a coarse pattern of random patches. Each sample shows its class's, moved a little, mixed
with another class's, under noise: where the other one outweighs it no model can tell them apart,
so that a net learns much and never all. Integer arithmetic only, as in harness.data.synthetic,
whose random numbers these are: the bytes are the same on every platform. Imports NumPy only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.data.synthetic import Ints, Words, balanced, draws, splitmix64

PATCHES = 4  # both ways
MOST_BYTES = 1 << 28  # of a set as made; as float32 it has four times that
ITEMS = (10_000, 2_000)  # training and test, where nothing says how many

_PATTERN_USE, _NOISE_USE = (np.uint64(use << 56) for use in (4, 5))
_SHIFTS = 3  # places, both ways, an eighth of the side apart
_OWN_SHARE = (104, 256)  # of 256: below 128 the other class outweighs it
_GRAIN = (20, 90)  # of 256: how much noise
_CHUNK_BYTES = 1 << 20  # made at once

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def images(
    shape: tuple[int, ...], classes: int, train: int, test: int
) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Train images (train, *shape), classes (train,), test images, classes: all uint8."""
    train_y, test_y = (
        balanced(np.arange(first, first + items, dtype=np.uint64), classes)
        for first, items in ((0, train), (train, test))
    )
    return (
        *(_samples(shape, classes, 0, train_y), train_y.astype(np.uint8)),
        *(_samples(shape, classes, train, test_y), test_y.astype(np.uint8)),
    )


def numbers(
    shape: tuple[int, ...], classes: int, train: int, test: int
) -> tuple[Floats, Ints, Floats, Ints]:
    """As `images`, from -1 to 127 / 128 in steps of 1 / 128, float32; classes int64."""
    x, y, test_x, test_y = images(shape, classes, train, test)
    return _floats(x), y.astype(np.int64), _floats(test_x), test_y.astype(np.int64)


def rows(inputs: int, items: int) -> tuple[Floats, Floats, Floats, Floats]:
    """x: float32 (items, inputs) from -1 to 1; y: (items, 1), 0 or 1; the same twice."""
    y = balanced(np.arange(items, dtype=np.uint64), 2)
    x, targets = _floats(_samples((inputs,), 2, 0, y)), y.astype(np.float32)[:, None]
    return x, targets, x, targets


def items(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many samples of a shape a set has of which nothing else is known: training and test."""
    share = min(1.0, MOST_BYTES / (int(np.prod(shape)) * sum(ITEMS)))
    return int(ITEMS[0] * share), int(ITEMS[1] * share)


def _floats(samples: Bytes) -> Floats:
    return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)


def _samples(shape: tuple[int, ...], classes: int, first: int, labels: Ints) -> Bytes:
    """Samples first .. of these classes: uint8 (n, *shape)."""
    patterns, size = _patterns(shape, classes), int(np.prod(shape))
    words = -(-size // 8)  # eight values a word of noise
    word = np.arange(words, dtype=np.uint64)
    made = np.empty((len(labels), size), np.uint8)
    step = max(1, _CHUNK_BYTES // size)
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        index = np.arange(first + start, first + start + len(part), dtype=np.uint64)
        draw = draws(index, first_number=0)
        other = (part + draw(1, max(1, classes - 1))) % classes
        places = draw(0, patterns.shape[1] - 1)
        share = draw(*_OWN_SHARE).astype(np.int16)[:, None]
        grain = draw(*_GRAIN).astype(np.int16)[:, None]
        own = patterns[part, places].astype(np.int32) * share
        own += patterns[other, places].astype(np.int32) * (256 - share)
        counter: Words = index[:, None] * np.uint64(words) + word
        noise = splitmix64(_NOISE_USE + counter).astype("<u8").view(np.uint8)[:, :size]
        own += (noise.astype(np.int32) - 128) * grain
        made[start : start + len(part)] = np.clip(own >> 8, 0, 255)
    return made.reshape(len(labels), *shape)


def _patterns(shape: tuple[int, ...], classes: int) -> Bytes:
    """Each class's pattern in each place: uint8 (classes, places, values of a sample)."""
    coarse = tuple(min(side, PATCHES) for side in shape[:2]) if len(shape) > 1 else ()
    coarse += shape[len(coarse) :]
    counter: Words = np.arange(classes * int(np.prod(coarse)), dtype=np.uint64)
    word = splitmix64(_PATTERN_USE + counter)
    patches = (word >> np.uint64(56)).astype(np.uint8).reshape(classes, *coarse)
    if len(shape) == 1:
        return patches[:, None]
    rows_at, columns_at = (
        np.arange(n) * c // n for n, c in zip(shape[:2], coarse[:2], strict=True)
    )
    whole = patches[:, rows_at][:, :, columns_at]
    moves = [
        (down * (shape[0] // 8), right * (shape[1] // 8))
        for down in range(_SHIFTS)
        for right in range(_SHIFTS)
    ]
    moved = [np.roll(whole, move, axis=(1, 2)).reshape(classes, -1) for move in moves]
    return np.stack(moved, axis=1)
