"""A procedural stand-in for Fashion-MNIST, for machines that have neither the files nor a network.

It has the real set's shapes, sizes and class names and is about as hard. Each image is a
silhouette (torso and sleeves, legs, sole and shaft, body and handle) whose proportions are drawn
from ranges that overlap between neighbouring classes: where two ranges overlap no model can tell
the classes apart, which is what keeps the accuracy below 92 %, as a shirt and a pullover do in the
real set.

Integer arithmetic only, random numbers included (SplitMix64 on a counter; NumPy does not promise
that the streams of `numpy.random` never change): the bytes are the same on every platform, and a
test pins their SHA-256. Imports NumPy only; reads and writes no file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

TRAIN_ITEMS = 60_000  # images, as in the real set
TEST_ITEMS = 10_000  # images, as in the real set
SIDE = 28  # pixels, both ways
CLASSES = 10

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint32]  # (n, 28): one bit per pixel of a row, bit 0 is the left edge
Bytes = npt.NDArray[np.uint8]
Draw = Callable[[int, int], Ints]
Range = tuple[int, int]  # both ends belong to it

# SplitMix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
# OOPSLA 2014; increment and multipliers as in its reference implementation.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))

# Counters are (use, image, number): no two draws share one. Uses 4 and 5 are those of stand_ins.
_ORDER_USE, _SHAPE_USE, _NOISE_USE = (np.uint64(use << 56) for use in (1, 2, 3))
_NUMBERS_PER_IMAGE = np.uint64(128)  # more than the 98 words of noise, and than any shape draws
_NOISE_WORDS = SIDE * SIDE // 8  # eight pixels a word

_CHUNK = 1000  # images rendered at once: 1.6 MB of int16, which stays in a core's cache

# Upper garments: T-shirt, pullover, dress, coat, shirt; in pixels.
# The opening is the chance in 16 of a dark line down the front. Chosen so that the MLP ends
# at about the accuracy it reaches on the real set.
_UPPER: dict[int, dict[str, Range]] = {
    0: {"top": (1, 4), "length": (20, 23), "shoulder": (6, 9), "hem": (6, 9), "sleeve": (3, 10)},
    2: {"top": (1, 4), "length": (20, 23), "shoulder": (6, 9), "hem": (6, 9), "sleeve": (15, 23)},
    3: {"top": (0, 3), "length": (23, 26), "shoulder": (3, 6), "hem": (4, 10), "sleeve": (0, 8)},
    4: {"top": (1, 3), "length": (22, 25), "shoulder": (6, 9), "hem": (7, 10), "sleeve": (15, 23)},
    6: {"top": (1, 4), "length": (21, 24), "shoulder": (6, 9), "hem": (6, 9), "sleeve": (8, 17)},
}
_OPENING = {0: 1, 2: 1, 3: 1, 4: 14, 6: 11}

# Shoes: sandal, sneaker, ankle boot; in pixels. The hole is the chance in 16 of gaps between
# straps.
_SHOE: dict[int, dict[str, Range]] = {
    5: {"height": (4, 9), "shaft": (0, 6), "ankle": (11, 20)},
    7: {"height": (6, 9), "shaft": (0, 4), "ankle": (11, 17)},
    9: {"height": (6, 10), "shaft": (4, 12), "ankle": (9, 15)},
}
_HOLE = {5: 14, 7: 1, 9: 1}


def make() -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Train images (60000, 28, 28), train labels (60000,), test images, test labels: all uint8."""
    train_images, train_labels = split(0, TRAIN_ITEMS)
    test_images, test_labels = split(TRAIN_ITEMS, TEST_ITEMS)
    return train_images, train_labels, test_images, test_labels


def split(first: int, items: int) -> tuple[Bytes, Bytes]:
    """Images first .. first + items - 1, (items, 28, 28), and their labels: each class as often.

    How many there are decides which image is of which class.
    """
    index = np.arange(first, first + items, dtype=np.uint64)
    labels = balanced(index, CLASSES).astype(np.uint8)
    outline = np.empty((items, SIDE), dtype=np.uint32)
    detail = np.empty((items, SIDE), dtype=np.uint32)
    for label in range(CLASSES):
        members = np.flatnonzero(labels == label)
        outline[members], detail[members] = _shape(label, draws(index[members], first_number=8))
    images = np.empty((items, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, items, _CHUNK):
        part = slice(start, start + _CHUNK)
        images[part] = _paint(index[part], outline[part], detail[part])
    return images, labels


def balanced(index: Words, classes: int) -> Ints:
    """A class for each of these images, (n,), each class as often, in an order that is mixed."""
    order = np.argsort(splitmix64(_ORDER_USE + index), kind="stable")
    labels = np.empty(len(index), dtype=np.int64)
    labels[order] = np.arange(len(index)) % classes
    return labels


def splitmix64(counter: Words) -> Words:
    """SplitMix64's output function at each counter."""
    word = (counter + np.uint64(1)) * _INCREMENT
    word = (word ^ (word >> _SHIFTS[0])) * _MULTIPLIERS[0]
    word = (word ^ (word >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return word ^ (word >> _SHIFTS[2])


def draws(index: Words, first_number: int) -> Draw:
    """A function (it keeps count) that draws one integer in low .. high for each image."""
    base = _SHAPE_USE + index * _NUMBERS_PER_IMAGE
    numbers = itertools.count(first_number)

    def draw(low: int, high: int) -> Ints:
        word = splitmix64(base + np.uint64(next(numbers))) >> np.uint64(32)
        return low + ((word * np.uint64(high - low + 1)) >> np.uint64(32)).astype(np.int64)

    return draw


def _trapezoid(top: Any, bottom: Any, upper: tuple[Any, Any], lower: tuple[Any, Any]) -> Rows:
    """Rows top .. bottom - 1, filled from left to right - 1; `upper` and `lower` are (left, right).

    Every argument is an int or (n,), at least one of them (n,).
    """
    y = np.arange(SIDE)
    top, bottom = (np.reshape(edge, (-1, 1)) for edge in (top, bottom))
    height = np.maximum(bottom - top, 1)
    left, right = (
        np.clip(np.reshape(a, (-1, 1)) + np.reshape(b - a, (-1, 1)) * (y - top) // height, 0, SIDE)
        for a, b in zip(upper, lower, strict=True)
    )
    inside = (y >= top) & (y < bottom) & (left < right)
    one = np.int64(1)
    return np.where(inside, (one << right) - (one << left), 0).astype(np.uint32)


def _shape(label: int, draw: Draw) -> tuple[Rows, Rows]:
    """Outline and dark details of one image of class `label` per draw, both (n, 28)."""
    if label in _UPPER:
        return _upper(draw, _UPPER[label], _OPENING[label])
    if label in _SHOE:
        return _shoe(draw, _SHOE[label], _HOLE[label])
    return _trouser(draw) if label == 1 else _bag(draw)


def _upper(draw: Draw, size: dict[str, Range], opening: int) -> tuple[Rows, Rows]:
    """Torso, two sleeves, neck; a line down the front in `opening` of 16 images."""
    middle = draw(13, 15)
    top = draw(*size["top"])
    bottom = top + draw(*size["length"])
    shoulder, hem, sleeve = draw(*size["shoulder"]), draw(*size["hem"]), draw(*size["sleeve"])
    width, out = draw(3, 4), draw(0, 4)
    end, reach = top + sleeve, out * sleeve // 16
    left, right = middle - shoulder, middle + shoulder
    outline = _trapezoid(top, bottom, (left, right), (middle - hem, middle + hem))
    far = left - reach - 2
    outline |= _trapezoid(top + 1, end, (left - 1, left + width), (far, far + width))
    far = right + reach + 2
    outline |= _trapezoid(top + 1, end, (right - width, right + 1), (far - width, far))
    neck, depth = draw(1, 3), draw(1, 4)
    outline &= ~_trapezoid(top, top + depth, (middle - neck, middle + neck), (middle, middle))
    line = np.where(draw(0, 15) < opening, bottom, 0)
    detail = _trapezoid(top + depth, line, (middle, middle + 1), (middle, middle + 1))
    return outline, detail


def _trouser(draw: Draw) -> tuple[Rows, Rows]:
    """Hips and two legs; narrow ones look like a plain dress."""
    middle = draw(13, 15)
    top = draw(0, 3)
    bottom = top + draw(22, 26)
    hip, spread, gap = draw(4, 7), draw(0, 4), draw(0, 2)
    fork = top + draw(5, 18)
    outline = _trapezoid(
        top, bottom, (middle - hip, middle + hip), (middle - hip - spread, middle + hip + spread)
    )
    between = _trapezoid(fork, bottom, (middle, middle + 1), (middle - gap, middle + gap + 1))
    return outline & ~between, _trapezoid(top, top + 2, (middle - hip, middle + hip), (0, SIDE))


def _shoe(draw: Draw, size: dict[str, Range], hole: int) -> tuple[Rows, Rows]:
    """Sole, upper and shaft, toe to the left; gaps between straps in `hole` of 16 images."""
    base = draw(20, 24)
    toe, heel = draw(0, 3), draw(25, 28)
    height, shaft, ankle = draw(*size["height"]), draw(*size["shaft"]), draw(*size["ankle"])
    outline = _trapezoid(base - height, base, (ankle, heel), (toe, heel))
    outline |= _trapezoid(base - height - shaft, base - height, (ankle, heel), (ankle, heel))
    sole = _trapezoid(base, base + draw(1, 3), (toe, heel), (toe, heel))
    strap, slant = draw(5, 16), draw(-3, 3)
    top = np.where(draw(0, 15) < hole, base - height - shaft, SIDE)
    for left in (strap, strap + 6):
        outline &= ~_trapezoid(top, base, (left, left + 4), (left + slant, left + slant + 4))
    return outline | sole, sole


def _bag(draw: Draw) -> tuple[Rows, Rows]:
    """Body with a flap, and a handle; a tall bag with a short handle looks like a top."""
    left, right = draw(1, 6), draw(22, 27)
    top, bottom = draw(6, 13), draw(21, 27)
    slant = draw(-1, 3)
    outline = _trapezoid(top, bottom, (left + slant, right - slant), (left, right))
    inset, rise, thick = draw(2, 7), draw(0, 7), draw(1, 2)
    left, right = left + inset, right - inset
    outline |= _trapezoid(top - rise, top, (left + 2, right - 2), (left, right))
    hole, left, right = top - rise + thick, left + thick, right - thick
    outline &= ~_trapezoid(hole, top, (left + 2, right - 2), (left, right))
    flap = top + draw(3, 9)
    return outline, _trapezoid(flap, flap + 1, (0, SIDE), (0, SIDE))


def _paint(index: Words, outline: Rows, detail: Rows) -> Bytes:
    """Grey values (n, 28, 28): brightness, stripes, dark details and noise inside the outline."""
    draw = draws(index, first_number=0)

    def column(low: int, high: int) -> npt.NDArray[np.int16]:
        return draw(low, high).astype(np.int16)[:, None]

    bright, dark, grain = column(140, 255), column(60, 140), column(10, 80)
    period, depth = draw(2, 5)[:, None], column(0, 60)
    across = (draw(0, 1) == 1)[:, None]
    step = np.arange(SIDE) // period % 2
    stripe = np.where(across[:, :, None], step[:, :, None], step[:, None, :]).astype(np.int16)
    words: Words = np.arange(_NOISE_WORDS, dtype=np.uint64)
    first: Words = index[:, None] * _NUMBERS_PER_IMAGE
    counter = first + words
    noise = splitmix64(_NOISE_USE + counter).astype("<u8").view(np.uint8).astype(np.int16)
    noise -= 128
    noise *= grain
    noise >>= 8
    noise += bright
    noise -= _pixels(detail) * dark
    noise -= stripe.reshape(len(index), -1) * depth
    np.clip(noise, 0, 255, out=noise)
    noise *= _pixels(outline)
    return noise.astype(np.uint8).reshape(-1, SIDE, SIDE)


def _pixels(rows: Rows) -> Bytes:
    """One uint8 0 or 1 per pixel, (n, 784)."""
    octets = rows.astype("<u4").view(np.uint8).reshape(-1, SIDE, 4)
    return np.unpackbits(octets, axis=2, count=SIDE, bitorder="little").reshape(len(rows), -1)
