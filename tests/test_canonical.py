"""The shared numbers are the pinned ones, and the known answers see each fault planted in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from harness import data
from harness.data import Dataset, fashion_mnist
from harness.interface import Array, Tensor, Workload
from harness.measure import outcome
from harness.run import known_answers
from harness.workloads import DEFAULT, WORKLOADS
from harness.workloads.reference import canonical

WORKLOAD = WORKLOADS[DEFAULT]
RIGHT = {
    name: getattr(canonical, name) for name in ("epoch_order", "schedule", "accuracy", "drawn")
}
PREPARED = data.prepared


def mismatches() -> set[str]:
    return {a.name for a in known_answers.check_shared_code() if a.got != a.want}


def pixels_over_256(x: Array, *args: Any) -> Array:
    return PREPARED(x, *args) * np.float32(255 / 256)


def same_order_every_epoch(seed: int, epoch: int, n: int) -> Array:
    return RIGHT["epoch_order"](seed, 0, n)


def batches_shuffled(seed: int, epoch: int, n: int) -> Array:
    batches = np.array_split(np.arange(n), range(256, n, 256))
    order = np.random.default_rng([seed, 1, epoch]).permutation(len(batches))
    return np.concatenate([batches[i] for i in order])


def accuracy_of_full_batches(predicted: Array, labels: Array) -> float:
    whole = len(labels) // 256 * 256 or len(labels)
    return RIGHT["accuracy"](predicted[:whole], labels[:whole])


def last_batch_dropped(n: int, batch_size: int, *args: Any) -> list[canonical.Slot]:
    slots = RIGHT["schedule"](n, batch_size, *args)
    return [slot for slot in slots if slot.stop - slot.start == batch_size]


def only_the_very_last_batch_dropped(*args: Any) -> list[canonical.Slot]:
    return RIGHT["schedule"](*args)[:-1]


def mean_of_batch_means(losses: Array, rows: Array) -> float:
    return float(np.mean(losses))


def evaluation_from_training_set(dataset: Dataset, workload: Workload) -> tuple[Array, Array]:
    return data.training_set(dataset, workload)


def evaluation_images_from_training_set(
    dataset: Dataset, workload: Workload
) -> tuple[Array, Array]:
    return data.training_set(dataset, workload)[0], dataset.test_y.astype(np.int64)


def biases_at_a_hundredth(tensors: tuple[Tensor, ...], seed: int) -> dict[str, Array]:
    state = RIGHT["drawn"](tensors, seed)
    return {name: value + np.float32(0.01) * (name == "b1") for name, value in state.items()}


def uniform_from_zero(tensors: tuple[Tensor, ...], seed: int) -> dict[str, Array]:
    return {
        t.name: value + np.float32(t.scale) * (t.init == "uniform")
        for t, value in zip(tensors, RIGHT["drawn"](tensors, seed).values(), strict=True)
    }


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
    "biases do not start at 0": ("drawn", biases_at_a_hundredth, "biases start at 0"),
    "uniform from 0 instead of around it": ("drawn", uniform_from_zero, "K1, seed 0"),
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


def test_pixels_over_256_are_a_mismatch_also_in_the_evaluation_set_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluated = "evaluation is on the test set's images"
    with monkeypatch.context() as patch:
        patch.setattr(data, "prepared", pixels_over_256)
        assert mismatches() == {"pixels are v / 255 in float32", evaluated}

    right = data.evaluation_set

    def evaluation_set(dataset: Dataset, workload: Workload) -> tuple[Array, Array]:
        return pixels_over_256(dataset.test_x, workload.x, None), right(dataset, workload)[1]

    monkeypatch.setattr(data, "evaluation_set", evaluation_set)
    assert mismatches() == {evaluated}


def test_a_digest_depends_on_bytes_and_not_on_layout_or_byte_order() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert canonical.digest(array) == canonical.digest(array.astype(">i4"))
    assert canonical.digest(array) == canonical.digest(np.asfortranarray(array))
    assert canonical.digest(array) != canonical.digest(array.T)
    assert canonical.digest(array) != canonical.digest(array.astype(np.int64))


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_a_state_starts_in_float32_in_the_workloads_shapes_by_each_tensors_law(
    workload: Workload,
) -> None:
    state = canonical.initial_state(workload, 3)
    assert list(state) == [t.name for t in workload.tensors]
    for tensor in workload.tensors:
        value = state[tensor.name]
        assert (value.dtype, value.shape) == (np.dtype(np.float32), tensor.shape)
        if tensor.init in ("zeros", "ones"):
            assert np.all(value == (tensor.init == "ones"))
        # The deviation: of a uniform law half its width over sqrt(3); both centred.
        sigma = tensor.scale / (math.sqrt(3) if tensor.init == "uniform" else 1)
        if value.size >= 1000 and sigma:
            assert abs(float(value.std()) / sigma - 1) < 4 / math.sqrt(value.size)
            assert abs(float(value.mean())) < 4 * sigma / math.sqrt(value.size)
        if tensor.init == "uniform":
            assert np.abs(value).max() <= np.float32(tensor.scale)


def test_another_seed_gives_other_weights_and_another_order() -> None:
    one, two = (canonical.initial_state(WORKLOAD, seed) for seed in (0, 1))
    assert np.count_nonzero(one["W1"] == two["W1"]) < 10
    assert (
        np.count_nonzero(canonical.epoch_order(0, 0, 1000) == canonical.epoch_order(1, 0, 1000))
        < 20
    )


def test_one_batch_of_all_rows_is_in_file_order() -> None:
    for size in (9, 10, 11):
        in_order = canonical.epoch_order(0, 1, 10, size).tolist() == list(range(10))
        assert in_order == (size >= 10)


def test_a_batchs_noise_is_uniform_and_its_own_at_each_seed_and_step() -> None:
    workload = msgspec.structs.replace(WORKLOAD, noise=(Tensor("m", (40,)), Tensor("n", (2, 3))))
    drawn = {at: canonical.noise(workload, *at, 500) for at in ((0, 0), (0, 1), (1, 0))}
    assert [v.shape for v in drawn[0, 0].values()] == [(500, 40), (500, 2, 3)]
    for noise in drawn.values():
        assert {v.dtype for v in noise.values()} == {np.dtype(np.float32)}
        assert stats.kstest(noise["m"].ravel(), "uniform").pvalue > 1e-4
    m, n = drawn[0, 0]["m"].ravel(), drawn[0, 0]["n"].ravel()
    for other in (drawn[0, 1]["m"].ravel(), drawn[1, 0]["m"].ravel()):
        assert np.count_nonzero(m == other) < 20
    assert np.count_nonzero(m[: n.size] == n) < 20
    again = canonical.noise(workload, 0, 0, 500)
    assert all(np.array_equal(again[name], value) for name, value in drawn[0, 0].items())
    assert canonical.noise(WORKLOAD, 0, 0, 5) == {}


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
@example(n=300, batch=300, steps=7)
def test_a_short_schedule_is_the_first_full_batches_and_then_the_short_one(
    n: int, batch: int, steps: int
) -> None:
    slots = canonical.schedule(n, batch, 10, steps)
    whole = canonical.schedule(n, batch, 10)
    # Epoch 0 alone, unless a batch is all rows.
    full = [s for s in whole if s.stop - s.start == batch and (s.epoch == 0 or batch == n)]
    short = [s for s in whole if s.stop - s.start < batch and s.epoch == 0]
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
    def accuracy(outputs: Array, labels: Array) -> float:
        return canonical.accuracy(outcome.largest(outputs), labels)

    labels = np.array([0, 1, 2])
    logits = np.eye(3)
    assert accuracy(logits, labels) == 1.0
    logits[2, 0] = np.nan
    assert accuracy(logits, labels) == pytest.approx(2 / 3)
    assert accuracy(np.full((3, 3), np.nan), np.zeros(3, int)) == 0.0
    binary = next(w for w in WORKLOADS.values() if outcome.accuracy_metric(w) == "binary accuracy")
    predicted = outcome.predictions(binary, np.array([[np.nan], [0.51], [0.5], [0.0]]))
    assert predicted is not None
    assert predicted.tolist() == [-1, 1, 0, 0]


def made_set(train: list[int], test: list[int], sha256: str = "") -> Dataset:
    """Images of these labels: training ones of 51, test ones of 255."""
    images = (np.full((len(ys), 28, 28), v, np.uint8) for ys, v in ((train, 51), (test, 255)))
    labels = (np.array(ys, np.uint8) for ys in (train, test))
    (x, test_x), (y, test_y) = images, labels
    return Dataset("made", True, sha256, "", x, y, test_x, test_y, ())


def test_the_training_set_and_the_evaluation_set_are_what_they_are_called() -> None:
    made = made_set([1, 2, 3], [4, 5])
    x, y = data.training_set(made, WORKLOAD)
    assert x.shape == (3, 784)
    assert x.dtype == np.float32
    assert np.all(x == np.float32(51) / np.float32(255))
    assert y.tolist() == [1, 2, 3]
    x, y = data.evaluation_set(made, WORKLOAD)
    assert x.shape == (2, 784)
    assert np.all(x == 1)
    assert y.tolist() == [4, 5]


def test_the_official_pixels_are_pinned_and_no_other_data_is() -> None:
    zeros = (np.zeros((1, 784), np.float32),) * 2
    for source in data.SOURCES.values():
        for identity, normalise in source.pinned:
            made = made_set([0], [0], identity)
            wrong = known_answers.check_data(made, normalise, *zeros)
            assert [a.got != a.want for a in wrong] == [True, True]
            assert known_answers.check_data(made, (0.25, 0.5), *zeros) == []
    assert {i for i, _ in fashion_mnist.SOURCE.pinned} == {fashion_mnist.REAL_SHA256}
    assert known_answers.check_data(made_set([0], [0], "other"), None, *zeros) == []
