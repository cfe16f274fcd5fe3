"""Stand-ins of any shape are the same everywhere, and can be learned, but never all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import data
from harness.data import stand_ins

# Written down when a set was last changed (which makes old records incomparable: think twice).
SHA256 = {
    "mnist": "01dd16b6b02e285e9d4880f6a673b7f48e6c771636e4e6873d62916336db4f45",
    "cifar-10": "8e76342ab205e60fb99a79e0c67833a0691fae9c08e98d5baea9b843b6b1bb4c",
    "diabetes": "252c68efa1134162c8d6914b8f8de2b018f0975d0d4367a5bda6458f92a85b2e",
}
SHAPES = {
    "mnist": ((60_000, 28, 28), (10_000, 28, 28)),
    "cifar-10": ((10_000, 32, 32, 3), (2_000, 32, 32, 3)),
    "diabetes": ((759, 8), (759, 8)),
}


@pytest.mark.parametrize("source", SHA256)
def test_the_bytes_are_the_same_on_every_platform_and_of_the_sources_shape(source: str) -> None:
    made = data.load(source, "synthetic", warn=pytest.fail)
    assert made.sha256 == SHA256[source]
    assert (made.train_x.shape, made.test_x.shape) == SHAPES[source]
    assert made.name == "synthetic"
    assert made.synthetic
    assert made.source == "made by harness.data.stand_ins"
    assert made.class_names == data.SOURCES[source].class_names
    assert made.images == (source != "diabetes")


shapes = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)


@settings(deadline=None)
@given(shapes, st.integers(2, 12), st.integers(12, 40))
def test_any_shape_has_every_class_as_often(
    shape: tuple[int, ...], classes: int, items: int
) -> None:
    x, y, test_x, test_y = stand_ins.images(shape, classes, items, items)
    assert x.shape == test_x.shape == (items, *shape)
    assert x.dtype == y.dtype == np.uint8
    for labels in (y, test_y):
        counts = np.bincount(labels, minlength=classes)
        assert counts.max() - counts.min() <= 1
    numbers = stand_ins.numbers(shape, classes, items, items)
    assert numbers[0].tolist() == ((x.astype(float) - 128) / 128).tolist()
    assert numbers[1].dtype == np.int64


def test_a_large_sample_makes_a_small_set() -> None:
    assert stand_ins.items((28, 28)) == stand_ins.ITEMS
    train, test = stand_ins.items((224, 224, 3))
    assert (train + test) * 224 * 224 * 3 <= stand_ins.MOST_BYTES
    assert train > test > 100


def learned(made: data.Dataset, items: int) -> tuple[float, float]:
    """Share of the test set that logistic regression and the nearest class's mean get right."""
    size = made.train_x[0].size
    x, test_x = (
        data.prepared(part[:items], (size,), (0.5, 0.3)) for part in (made.train_x, made.test_x)
    )
    y, test_y = (data.targets(part[:items], "class") for part in (made.train_y, made.test_y))
    classes = int(y.max()) + 1
    w: Any = np.zeros((size + 1, classes))
    x, test_x = (np.hstack([part, np.ones((len(part), 1), np.float32)]) for part in (x, test_x))
    for _ in range(60):
        z = x @ w
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        w -= 0.5 / size * (x.T @ p) / len(y) * 10
    means = np.stack([x[y == c].mean(axis=0) for c in range(classes)])
    nearest = ((test_x[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    return float(((test_x @ w).argmax(axis=1) == test_y).mean()), float((nearest == test_y).mean())


@pytest.mark.parametrize("source", ["mnist", "cifar-10"])
def test_much_of_it_can_be_learned_and_never_all(source: str) -> None:
    made = data.load(source, "synthetic", warn=pytest.fail)
    for share in learned(made, 1000):
        assert 0.4 < share < 0.95


def test_both_kinds_of_rows_can_be_told_apart_and_not_all() -> None:
    made = data.load("diabetes", "synthetic", warn=pytest.fail)
    x, y = made.train_x, made.train_y[:, 0]
    assert x.min() >= -1
    assert x.max() <= 1
    solution, *_ = np.linalg.lstsq(np.hstack([x, np.ones((759, 1))]), 2 * y - 1, rcond=None)
    share = ((np.hstack([x, np.ones((759, 1))]) @ solution > 0) == (y == 1)).mean()
    assert 0.6 < share < 0.98


def test_no_test_image_is_a_train_image() -> None:
    made = data.load("cifar-10", "synthetic", warn=pytest.fail)
    train = {image.tobytes() for image in made.train_x}
    assert len(train) == 10_000
    assert not any(image.tobytes() in train for image in made.test_x)
