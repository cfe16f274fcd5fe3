"""Replicas, start batches and the judge: against brute force, on small made problems."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.interface import Array, State
from harness.measure import ladder, outcome
from harness.measure.measurement import measure
from harness.workloads.declare import declare, normal
from harness.workloads.reference.canonical import initial_state, schedule
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.envelope import Replica, clear_batches, train_replica
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu

LR = 0.1
DECLARED = declare(
    "small",
    Dense("W1", "b1", 6, 5),
    Relu(),
    Dense("W2", "b2", 5, 3),
    loss=SoftmaxCrossEntropy(),
    optimiser=sgd(LR),
    init=normal(0.5),
    x=(6,),
    data="none",
    batch_size=8,
    epochs=1,
)
SMALL, REFERENCE = DECLARED.workload, Composed(DECLARED.net)


def data(n: int = 64, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.random((n, 6)).astype(np.float32), rng.integers(0, 3, n)


def taken(x: Array, y: Array, dtype: str = "float32") -> Callable[[Array, int], State]:
    return lambda rows, step: {"x": x[rows].astype(dtype), "y": y[rows]}


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_replica_restores_what_it_permuted(number: int) -> None:
    state = initial_state(SMALL, 3)
    replica = Replica(SMALL, 3, number)
    restored = replica.restored(replica.permuted(state))
    assert all(np.array_equal(restored[name], state[name]) for name in state)
    same = all(
        np.array_equal(a, b)
        for a, b in zip(replica.permuted(state).values(), state.values(), strict=True)
    )
    assert same == (number == 0)


def brute_force_training(
    initial: dict, x: np.ndarray, y: np.ndarray, steps: int, seed: int, number: int
) -> dict:
    """The documented drawing and plain float32 formulas, sharing no line with the envelope."""
    rng = np.random.default_rng([seed, 2, number])
    q, h = rng.permutation(6), rng.permutation(5)
    w1, b1 = initial["W1"][q][:, h], initial["b1"][h]
    w2, b2 = initial["W2"][h], initial["b2"]
    one = np.float32(1)
    for step in range(steps):
        order = rng.permutation(8)
        xs = x[step * 8 : step * 8 + 8][order][:, q]
        ys = y[step * 8 : step * 8 + 8][order]
        z = xs @ w1 + b1
        hidden = np.where(z > 0, z, np.float32(0))
        o = hidden @ w2 + b2
        e = np.exp(o - o.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        p[np.arange(8), ys] -= one
        p /= np.float32(8)
        dz = np.where(z > 0, p @ w2.T, np.float32(0))
        lr = np.float32(0.1)
        w1, b1 = w1 - lr * (xs.T @ dz), b1 - lr * dz.sum(axis=0)
        w2, b2 = w2 - lr * (hidden.T @ p), b2 - lr * p.sum(axis=0)
    back_q, back_h = np.argsort(q), np.argsort(h)
    return {"W1": w1[back_q][:, back_h], "b1": b1[back_h], "W2": w2[back_h], "b2": b2}


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_a_replica_is_what_brute_force_finds(number: int) -> None:
    x, y = data()
    initial = initial_state(SMALL, 0)
    found = train_replica(
        REFERENCE,
        SMALL,
        initial,
        lambda s: taken(x, y)(np.arange(s * 8, s * 8 + 8), s),
        [8],
        Replica(SMALL, 0, number),
    )[8]
    brute = brute_force_training(initial, x, y, 8, 0, number)
    assert all(value.dtype == np.float32 for value in found.values())
    # Two float32 programs of the same permutations: no further apart than their last bits.
    assert ladder.together(found, {n: v.astype(np.float64) for n, v in brute.items()})[0] < 5e-7


def exact_distance(got: dict, want: dict) -> float:
    """||got - want|| / ||want|| over all elements, squares summed as fractions."""
    top = bottom = Fraction(0)
    for name, value in want.items():
        for a, b in zip(got[name].ravel(), value.ravel(), strict=True):
            top += (Fraction(float(a)) - Fraction(float(b))) ** 2
            bottom += Fraction(float(b)) ** 2
    return float(top / bottom) ** 0.5


@given(st.integers(0, 2**32 - 1))
def test_the_distance_of_all_parameters_together_is_that_of_exact_arithmetic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    want = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal(4) * 1e-3}
    got = {
        n: (v * (1 + 1e-6 * rng.standard_normal(v.shape))).astype(np.float32)
        for n, v in want.items()
    }
    assert ladder.together(got, want)[0] == pytest.approx(exact_distance(got, want), rel=1e-9)


def test_start_batches_are_what_a_brute_force_search_finds() -> None:
    x, y = data(96, seed=3)
    initial = initial_state(SMALL, 1)
    order = np.random.default_rng(2).permutation(96)
    clearance = 0.05  # wide, so that many samples are replaced
    slots = schedule(96, 8, 1, 4)
    batches, replaced = clear_batches(
        REFERENCE, SMALL, initial, taken(x, y), order[None], slots, clearance
    )
    params = {n: v.astype(np.float64) for n, v in initial.items()}
    for step, rows in enumerate(batches):

        def near(row: int, params: dict = params) -> bool:
            z = [
                sum(float(x[row, i]) * params["W1"][i, j] for i in range(6)) + params["b1"][j]
                for j in range(5)
            ]
            return min(abs(v) for v in z) < clearance

        own = list(order[step * 8 : step * 8 + 8])
        spare = [r for r in [*order[step * 8 + 8 :], *order[: step * 8]] if not near(r)]
        wanted = [spare.pop(0) if near(r) else r for r in own]
        assert list(rows) == wanted
        assert replaced[step] == sum(near(r) for r in own)
        grads = REFERENCE.look(params, taken(x, y, "float64")(rows, step)).grads
        params = {name: value - LR * grads[name] for name, value in params.items()}
    assert sum(replaced) > 3


def test_too_few_clear_samples_are_an_error() -> None:
    x, y = data(16)
    order, slots = np.arange(16)[None], schedule(16, 8, 1)
    with pytest.raises(ValueError, match="could be replaced"):
        clear_batches(REFERENCE, SMALL, initial_state(SMALL, 0), taken(x, y), order, slots, 10.0)


def test_a_repeat_tells_the_first_step_and_the_distance_of_each_tensor() -> None:
    losses, params = np.array([3.0, 2.0, 1.0]), {"W": np.ones(4, np.float32)}
    same = ladder.repeat(losses, params, losses.copy(), {"W": params["W"].copy()}, "float32")
    assert same.identical
    other = {"W": np.full(4, 1.5, np.float32)}
    found = ladder.repeat(losses, params, losses + np.array([0, 0, 1e-15]), other, "float32")
    assert not found.identical
    assert found.first_step == 2
    assert found.distances == {"W": 0.5}
    # Parameters alone: another last update leaves every loss as it was.
    found = ladder.repeat(losses, params, losses, other, "float32")
    assert not found.identical
    assert found.first_step is None


def test_nan_is_told_in_a_repeat() -> None:
    nan, zeros = np.array([np.nan]), {"W": np.zeros(2)}
    assert ladder.repeat(nan, zeros, nan, zeros, "float64").identical
    assert ladder.repeat(nan, zeros, np.array([1.0]), zeros, "float64").first_step == 0
    found = ladder.repeat(nan, zeros, nan, {"W": np.array([0.0, np.nan])}, "float64")
    assert found.distances == {"W": "nan"}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_churn_counts_what_a_loop_counts(rows) -> None:
    here, there, labels = (np.array([row[side] for row in rows]) for side in (0, 1, 2))
    found = outcome.churn(here, there, labels, 7)
    assert found.differ == sum(a != b for a, b, _ in rows)
    assert found.only_here == sum(a == y != b for a, b, y in rows)
    assert found.only_reference == sum(b == y != a for a, b, y in rows)
    assert (found.samples, found.seed) == (len(rows), 7)


def test_a_row_of_nan_predicts_nothing() -> None:
    own = outcome.predictions(SMALL, np.array([[np.nan, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert own.tolist() == [-1, 1]
    found = outcome.churn(own, own, np.array([0, 1]), 0)
    assert (found.differ, found.only_here, found.only_reference) == (1, 0, 0)


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 2))))
def test_a_confusion_matrix_counts_what_a_loop_counts(pairs) -> None:
    predicted, labels = (np.array([pair[i] for pair in pairs], dtype=np.int64) for i in (0, 1))
    found = outcome.confusion(predicted, labels, 3)
    for true in range(3):
        for seen in range(3):
            assert found[true][seen] == sum(pair == (seen, true) for pair in pairs)


def test_a_training_has_the_confusion_matrix_of_its_last_evaluation() -> None:
    first, last = np.eye(3)[[0, 0, 0, 0]], np.eye(3)[[0, 1, 2, 1]]
    last[2, 0] = np.nan  # predicts nothing
    series = {name: np.zeros(2, dtype=np.int64) for name in ("step_ns", "epoch_ns", "eval_ns")}
    series |= {"losses": np.zeros(2)}
    labels = np.array([0, 0, 1, 1])

    def trained(logits):
        return outcome.training(SMALL, series, logits, labels, np.array([4, 4]), [0, 1])

    assert trained([first, last]).confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert trained([first]).confusion == [[2, 0, 0], [2, 0, 0], [0, 0, 0]]
    assert trained([]).confusion == []
    assert trained([last[:3]]).confusion == []  # of another number of images
    assert trained([last[:, :1]]).confusion == []  # of too few classes
    many = msgspec.structs.replace(SMALL, outputs=(outcome.MOST_CLASSES + 1,))
    assert outcome.training(many, series, [last], labels, np.array([4, 4]), [0, 1]).confusion == []


def test_images_that_most_labels_differ_on_come_first() -> None:
    reference = np.array([0, 1, 2, 0, 1])
    predicted = {
        "a": np.array([0, 2, 2, 1, 1]),
        "b": np.array([0, 1, 2, 1, -1]),
        "c": np.array([0, 1, 2, 2, 0]),
    }
    assert outcome.differing(predicted, reference, reference, 9) == [3, 4, 1]
    assert outcome.differing(predicted, reference, reference, 2) == [3, 4]
    assert outcome.differing({"a": reference}, reference, reference, 9) == []
    assert outcome.differing({}, reference, reference, 9) == []
    nowhere = np.full(5, -1)  # NaN on both sides is no agreement
    assert outcome.differing({"a": nowhere}, nowhere, reference, 9) == [0, 1, 2, 3, 4]


def test_the_trajectory_measures_all_parameters_together_and_names_the_furthest_tensor() -> None:
    want = {"W": np.ones((2, 2)), "b": np.ones(1)}
    got = {"W": np.ones((2, 2), np.float32), "b": np.full(1, 1.5, np.float32)}
    found = ladder.trajectory("start", got, want, process="float32", after=20)
    assert found.case == "start, after 20 steps"
    assert found.step == 19
    assert found.distance == pytest.approx(0.5 / 5**0.5)
    assert found.beside == {"W": 0.0, "b": 0.5}
    assert found.worst.got == 1.5
    got["W"][0, 1] = np.nan
    found = ladder.trajectory("start", got, want, process="float32", after=20)
    assert found.tensor == "W"
    assert "NaN" in found.problem
    assert ladder.trajectory("late", {}, want, process="float32", after=1).problem


def test_the_pattern_of_an_error_is_a_factor_and_where_it_lies() -> None:
    rng = np.random.default_rng(0)
    want = rng.standard_normal((4, 5))
    found = measure("gradients", "W", want * 1.001, want, process="float64", case="c", step=0)
    assert found.pattern.factor == pytest.approx(1.001)
    assert found.pattern.residual < 1e-12
    got = want.copy()
    got[:, 2] += 1.0
    found = measure("gradients", "W", got, want, process="float64", case="c", step=0)
    assert (found.pattern.columns, found.pattern.rows) == (0.2, 1.0)
    assert found.pattern.elements == pytest.approx(0.2)
    clean = measure("gradients", "W", want, want, process="float64", case="c", step=0)
    assert clean.pattern is None
