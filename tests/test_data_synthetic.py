"""The synthetic set is the same everywhere, small to make, and about as hard as the real one."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from harness import data
from harness.data import synthetic
from harness.errors import InputError

# Written down when the set was last changed (which makes old records incomparable: think twice).
SHA256 = "9e3dfb914f5829d9ce3a1a6aca16f9ef520ac20f042995f59546c3b3124e2daa"
TRAIN_IMAGES_SHA256 = "df3eeb4cdc966296d412e02efdb19b145cad17b021f0f859bf7630dff73377dd"

PEAK_LIMIT_BYTES = 600 << 20  # 55 MB of them are the pixels


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    return data.load("fashion-mnist", "synthetic", warn=pytest.fail)


def test_the_bytes_are_the_same_on_every_platform(dataset: data.Dataset) -> None:
    assert hashlib.sha256(dataset.train_x.tobytes()).hexdigest() == TRAIN_IMAGES_SHA256
    assert dataset.sha256 == SHA256


def test_shapes_types_and_names_are_those_of_the_real_set(dataset: data.Dataset) -> None:
    assert dataset.name == "synthetic"
    assert dataset.synthetic
    assert dataset.train_x.shape == (60_000, 28, 28)
    assert dataset.train_y.shape == (60_000,)
    assert dataset.test_x.shape == (10_000, 28, 28)
    assert dataset.test_y.shape == (10_000,)
    arrays = (
        dataset.train_x,
        dataset.train_y,
        dataset.test_x,
        dataset.test_y,
    )
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}
    assert len(dataset.class_names) == 10


def test_a_data_set_cannot_be_changed(dataset: data.Dataset) -> None:
    with pytest.raises(ValueError, match="read-only"):
        dataset.train_x[0] = 0


def test_every_class_is_as_frequent_and_the_order_is_mixed(dataset: data.Dataset) -> None:
    assert np.bincount(dataset.train_y).tolist() == [6000] * 10
    assert np.bincount(dataset.test_y).tolist() == [1000] * 10
    for start in range(0, 60_000, 1000):
        counts = np.bincount(dataset.train_y[start : start + 1000], minlength=10)
        assert counts.min() >= 60  # of 100 expected, standard deviation 9.5
        assert counts.max() <= 140


def test_no_test_image_is_a_train_image(dataset: data.Dataset) -> None:
    train = {image.tobytes() for image in dataset.train_x}
    assert len(train) == 60_000
    assert not any(image.tobytes() in train for image in dataset.test_x)


def test_brightness_and_spread_are_about_those_of_the_real_set(dataset: data.Dataset) -> None:
    """The real set: mean 0.286, standard deviation 0.353 (of pixels from 0 to 1)."""
    levels = dataset.train_x / np.float32(255)
    assert 0.24 < levels.mean() < 0.33
    assert 0.30 < levels.std() < 0.40
    assert (dataset.train_x == 0).mean() > 0.4
    assert (dataset.train_x[:, :, (0, -1)] == 0).mean() > 0.9


def test_it_is_made_in_little_memory() -> None:
    tracemalloc.start()
    try:
        synthetic.make()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 55_000_000 < peak_bytes < PEAK_LIMIT_BYTES


def last_accuracies(dataset: data.Dataset, epochs: int, items: int) -> npt.NDArray[np.float64]:
    """Test accuracy after each of the last three epochs of the MLP's training, in plain NumPy."""
    seed = 0
    x, y = data.prepared(dataset.train_x[:items], (784,), None), dataset.train_y[:items]
    x_test = data.prepared(dataset.test_x, (784,), None)
    rng = np.random.default_rng([seed, 0])
    w1 = (rng.standard_normal((784, 256)) * 0.01).astype(np.float32)
    w2 = (rng.standard_normal((256, 10)) * 0.01).astype(np.float32)
    b1, b2 = np.zeros(256, np.float32), np.zeros(10, np.float32)
    accuracies = []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, 1, epoch]).permutation(items)
        for start in range(0, items, 256):
            batch = order[start : start + 256]
            hidden = np.maximum(x[batch] @ w1 + b1, 0)
            logits = hidden @ w2 + b2
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(batch)), y[batch]] -= 1
            p *= np.float32(0.1 / len(batch))
            back = (p @ w2.T) * (hidden > 0)
            w2 -= hidden.T @ p
            b2 -= p.sum(axis=0)
            w1 -= x[batch].T @ back
            b1 -= back.sum(axis=0)
        guess = (np.maximum(x_test @ w1 + b1, 0) @ w2 + b2).argmax(axis=1)
        accuracies.append(float((guess == dataset.test_y).mean()))
    return np.array(accuracies[-3:])


def test_the_mlp_ends_between_80_and_92_percent(dataset: data.Dataset) -> None:
    accuracies = last_accuracies(dataset, epochs=10, items=60_000)
    assert 0.80 < accuracies.mean() < 0.92


def test_a_data_dir_with_the_synthetic_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no meaning with --dataset synthetic"):
        data.load("fashion-mnist", "synthetic", data_dir=tmp_path, warn=pytest.fail)


def test_an_unknown_data_set_is_refused_with_the_choices() -> None:
    names = "fashion-mnist, mnist, mnist-shifted, cifar-10"
    with pytest.raises(InputError, match=f"'imagenet' is unknown: {names}"):
        data.load("imagenet", warn=pytest.fail)
    with pytest.raises(InputError, match=r"--dataset mnist: .* auto, synthetic or fashion-mnist"):
        data.load("fashion-mnist", "mnist", warn=pytest.fail)


def test_pixels_are_float32_quotients_for_every_byte_in_the_array_that_is_given() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(784).reshape(256, 28, 28)
    out = np.zeros((256, 784), dtype=np.float32)
    got = data.prepared(images, (784,), None, out)
    assert got is out
    assert np.array_equal(data.prepared(images, (784,), None), got)
    assert got.dtype == np.float32
    assert got.shape == (256, 784)
    exact = np.arange(256, dtype=np.float64) / 255  # one rounding of the exact quotient is enough
    assert np.array_equal(got[:, 0], exact.astype(np.float32))
    assert np.array_equal(got, np.repeat(got[:, :1], 784, axis=1))
