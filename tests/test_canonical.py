"""The shared numbers are the pinned ones, and the known answers see each fault planted in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness import data
from harness.data import Dataset, fashion_mnist
from harness.interface import Array
from harness.run import known_answers
from harness.workloads import WORKLOADS
from harness.workloads.reference import canonical

RIGHT = {name: getattr(canonical, name) for name in ("epoch_order", "schedule", "accuracy")}


def mismatches() -> set[str]:
    return {a.name for a in known_answers.check_shared_code() if a.got != a.want}


def pixels_over_256(images: Array, out: Array | None = None) -> Array:
    flat = images.reshape(len(images), -1)
    return np.divide(flat, np.float32(256), out=out, dtype=np.float32)


def same_order_every_epoch(seed: int, epoch: int, n: int) -> Array:
    return RIGHT["epoch_order"](seed, 0, n)


def batches_shuffled(seed: int, epoch: int, n: int) -> Array:
    batches = np.array_split(np.arange(n), range(256, n, 256))
    order = np.random.default_rng([seed, 1, epoch]).permutation(len(batches))
    return np.concatenate([batches[i] for i in order])


def accuracy_of_full_batches(logits: Array, labels: Array) -> float:
    whole = len(labels) // 256 * 256 or len(labels)
    return RIGHT["accuracy"](logits[:whole], labels[:whole])


def last_batch_dropped(n: int, batch_size: int, *args: Any) -> list[canonical.Slot]:
    slots = RIGHT["schedule"](n, batch_size, *args)
    return [slot for slot in slots if slot.stop - slot.start == batch_size]


def only_the_very_last_batch_dropped(*args: Any) -> list[canonical.Slot]:
    return RIGHT["schedule"](*args)[:-1]


def mean_of_batch_means(losses: Array, rows: Array) -> float:
    return float(np.mean(losses))


def evaluation_from_training_set(dataset: Dataset) -> tuple[Array, Array]:
    return data.training_set(dataset)


def evaluation_images_from_training_set(dataset: Dataset) -> tuple[Array, Array]:
    return data.training_set(dataset)[0], dataset.test_labels.astype(np.int64)


def biases_at_a_hundredth(workload: Any, seed: int) -> dict[str, Array]:
    params = PARAMS(workload, seed)
    return params | {"b1": params["b1"] + np.float32(0.01)}


PARAMS = canonical.initial_params

FAULTS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "same order every epoch": ("epoch_order", same_order_every_epoch, "order, seed 0, epoch 9"),
    "batches shuffled instead of samples": (
        "epoch_order",
        batches_shuffled,
        "order, seed 0, epoch 0",
    ),
    "accuracy on 9 984 of 10 000": ("accuracy", accuracy_of_full_batches, "accuracy over every"),
    "last batches dropped": ("schedule", last_batch_dropped, "ten epochs are 2350 steps"),
    "very last batch dropped": (
        "schedule",
        only_the_very_last_batch_dropped,
        "ten epochs are 2350 steps",
    ),
    "mean of batch means": ("epoch_loss", mean_of_batch_means, "a mean over samples"),
    "evaluation set from the training set": (
        "evaluation_set",
        evaluation_from_training_set,
        "evaluation is on the test",
    ),
    "evaluation images from the training set": (
        "evaluation_set",
        evaluation_images_from_training_set,
        "evaluation",
    ),
    "biases do not start at 0": ("initial_params", biases_at_a_hundredth, "biases start at 0"),
}


def test_the_known_answers_hold() -> None:
    answers = known_answers.check_shared_code()
    assert {a.name: a.got for a in answers} == {a.name: a.want for a in answers}
    assert set(known_answers.DIGESTS) < {a.name for a in answers}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_shared_code_is_a_mismatch_that_names_it(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, planted, answer = FAULTS[fault]
    monkeypatch.setattr(canonical if hasattr(canonical, name) else data, name, planted)
    assert any(answer in found for found in mismatches())


@pytest.mark.parametrize(
    ("modules", "answer"),
    [((data, known_answers), "pixels are v / 255"), ((data,), "evaluation is on the test")],
)
def test_pixels_over_256_are_a_mismatch_also_in_the_evaluation_set_alone(
    modules: tuple[Any, ...], answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in modules:
        monkeypatch.setattr(module, "pixels", pixels_over_256)
    assert any(answer in found for found in mismatches())


def test_a_digest_depends_on_bytes_and_not_on_layout_or_byte_order() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert canonical.digest(array) == canonical.digest(array.astype(">i4"))
    assert canonical.digest(array) == canonical.digest(np.asfortranarray(array))
    assert canonical.digest(array) != canonical.digest(array.T)
    assert canonical.digest(array) != canonical.digest(array.astype(np.int64))


def test_initial_weights_are_float32_of_the_workloads_shapes_and_scale() -> None:
    workload = WORKLOADS["mlp-scratch"]
    params = canonical.initial_params(workload, 3)
    assert list(params) == [p.name for p in workload.parameters]
    assert {p.name: p.shape for p in workload.parameters} == {k: v.shape for k, v in params.items()}
    assert {v.dtype for v in params.values()} == {np.dtype(np.float32)}
    assert abs(float(params["W1"].std()) / workload.sigma - 1) < 0.01


def test_another_seed_gives_other_weights_and_another_order() -> None:
    workload = WORKLOADS["mlp-scratch"]
    one, two = (canonical.initial_params(workload, seed) for seed in (0, 1))
    assert np.count_nonzero(one["W1"] == two["W1"]) < 10
    assert (
        np.count_nonzero(canonical.epoch_order(0, 0, 1000) == canonical.epoch_order(1, 0, 1000))
        < 20
    )


@given(n=st.integers(1, 2000), batch=st.integers(1, 300), epochs=st.integers(1, 4))
@example(n=256, batch=256, epochs=1)
@example(n=257, batch=256, epochs=2)
def test_a_schedule_gives_every_sample_once_an_epoch_with_only_the_last_batch_short(
    n: int, batch: int, epochs: int
) -> None:
    slots = canonical.schedule(n, batch, epochs)
    assert [s.epoch for s in slots] == sorted(s.epoch for s in slots)
    for epoch in range(epochs):
        mine = [s for s in slots if s.epoch == epoch]
        covered = np.concatenate([np.arange(s.start, s.stop) for s in mine])
        assert np.array_equal(covered, np.arange(n))
        sizes = [s.stop - s.start for s in mine]
        assert set(sizes[:-1]) <= {batch}
        assert sizes[-1] == (n % batch or batch)


@given(n=st.integers(1, 2000), batch=st.integers(1, 300), steps=st.integers(1, 40))
def test_a_short_schedule_is_the_first_full_batches_and_then_the_short_one(
    n: int, batch: int, steps: int
) -> None:
    slots = canonical.schedule(n, batch, 10, steps)
    whole = canonical.schedule(n, batch, 1)
    full = [s for s in whole if s.stop - s.start == batch]
    short = [s for s in whole if s.stop - s.start < batch]
    assert slots == full[:steps] + short
    assert len(short) == (n % batch > 0)


@given(seed=st.integers(0, 10**6), epoch=st.integers(0, 9), n=st.integers(1, 500))
def test_an_epochs_order_is_a_permutation_and_always_the_same(
    seed: int, epoch: int, n: int
) -> None:
    order = canonical.epoch_order(seed, epoch, n)
    assert np.array_equal(np.sort(order), np.arange(n))
    assert np.array_equal(order, canonical.epoch_order(seed, epoch, n))


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 256)), min_size=1, max_size=20))
def test_an_epochs_loss_is_the_mean_over_all_its_samples(batches: list[tuple[float, int]]) -> None:
    every = np.concatenate([np.full(rows, loss) for loss, rows in batches])
    got = canonical.epoch_loss(
        np.array([loss for loss, _ in batches]), np.array([rows for _, rows in batches])
    )
    assert got == pytest.approx(every.mean(), rel=1e-12, abs=1e-300)


def test_a_row_with_nan_is_never_right() -> None:
    labels = np.array([0, 1, 2])
    logits = np.eye(3)
    assert canonical.accuracy(logits, labels) == 1.0
    logits[2, 0] = np.nan
    assert canonical.accuracy(logits, labels) == pytest.approx(2 / 3)
    assert canonical.accuracy(np.full((3, 3), np.nan), np.zeros(3, int)) == 0.0


def made_set(train: list[int], test: list[int], sha256: str = "") -> Dataset:
    """Images of these labels: training ones of 51, test ones of 255."""
    images = (np.full((len(ys), 28, 28), v, np.uint8) for ys, v in ((train, 51), (test, 255)))
    labels = (np.array(ys, np.uint8) for ys in (train, test))
    (x, test_x), (y, test_y) = images, labels
    return Dataset("made", True, sha256, "", x, y, test_x, test_y, ())


def test_the_training_set_and_the_evaluation_set_are_what_they_are_called() -> None:
    made = made_set([1, 2, 3], [4, 5])
    x, y = data.training_set(made)
    assert x.shape == (3, 784)
    assert x.dtype == np.float32
    assert np.all(x == np.float32(51) / np.float32(255))
    assert y.tolist() == [1, 2, 3]
    x, y = data.evaluation_set(made)
    assert x.shape == (2, 784)
    assert np.all(x == 1)
    assert y.tolist() == [4, 5]


def test_the_official_pixels_are_pinned_and_no_other_data_is() -> None:
    zeros = (np.zeros((1, 784), np.float32),) * 2
    wrong = known_answers.check_pixels(made_set([0], [0], fashion_mnist.REAL_SHA256), *zeros)
    assert [a.got != a.want for a in wrong] == [True, True]
    assert known_answers.check_pixels(made_set([0], [0], "other"), *zeros) == []
