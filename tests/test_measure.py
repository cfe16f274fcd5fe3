"""Distances are what they are called, and whatever cannot be compared is a problem, never a 0."""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_fields
from threadpoolctl import threadpool_limits

from harness.interface import Array, State
from harness.measure import distance, ladder, outcome
from harness.measure.distance import excess_update, relative
from harness.measure.measurement import identical, measure
from harness.record.schema import Measurement
from harness.workloads.declare import declare, normal
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.limits import limit_for
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu

WHERE: dict[str, Any] = {"process": "float32", "case": "step 0", "step": 0}


def taken(got: Array, want: Array, **changes: Any) -> Measurement:
    return measure("forward", "logits", got, want, **(WHERE | changes))


# -- distance and what prevents it -----------------------------------------------------------


def test_the_distance_is_the_norm_of_the_error_over_the_norm_of_what_is_wanted() -> None:
    assert relative(np.array([3.0, 4.0]), np.array([0.0, 50.0])) == 0.1
    assert relative(np.zeros(2), np.zeros(2)) == 0.0
    assert relative(np.array([1e-100]), np.zeros(1)) == math.inf


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (np.zeros((2, 3), np.float32), "shape (2, 3) where (3, 2) is wanted"),
        (np.zeros(6, np.float32), "shape (6,)"),
        (np.zeros((3, 2), np.float64), "dtype float64 where float32 is wanted"),
        (np.zeros((3, 2), np.int32), "dtype int32"),
        (np.zeros((0,), np.float32), "shape (0,)"),
    ],
)
def test_another_shape_or_dtype_is_a_problem_and_has_no_distance(got: Array, says: str) -> None:
    found = taken(got, np.zeros((3, 2)))
    assert found.problem is not None
    assert says in found.problem
    assert found.distance is None


@pytest.mark.parametrize(
    ("here", "there", "says"),
    [
        (np.nan, 1.0, "NaN only in what was got"),
        (1.0, np.nan, "NaN only in what was wanted"),
        (np.inf, 1.0, "+inf only in what was got"),
        (-np.inf, 1.0, "-inf only in what was got"),
        (1.0, -np.inf, "-inf only in what was wanted"),
        (np.inf, -np.inf, "+inf only in what was got"),
        (np.nan, np.inf, "NaN only in what was got"),
    ],
)
def test_a_value_that_is_not_finite_on_one_side_is_a_problem_that_names_the_element(
    here: float, there: float, says: str
) -> None:
    got, want = np.ones((3, 2), np.float32), np.ones((3, 2))
    got[1, 1], want[1, 1] = here, there
    found = taken(got, want)
    assert found.problem is not None
    assert says in found.problem
    assert "[1, 1] (1 elements differ)" in found.problem
    assert found.distance is None
    assert found.worst is not None
    assert found.worst.index == [1, 1]


def test_values_that_are_not_finite_on_both_sides_count_as_equal() -> None:
    got = np.array([np.nan, np.inf, -np.inf, 2.0], np.float32)
    found = taken(got, np.array([np.nan, np.inf, -np.inf, 1.0]))
    assert found.problem is None
    assert found.distance == 1.0
    assert found.worst is not None
    assert found.worst.index == [3]
    assert taken(got, got.astype(np.float64)).distance == 0.0


@given(st.integers(0, 3), st.integers(0, 4), st.sampled_from([1.0, -1.0]))
def test_the_worst_element_is_found_with_both_values_and_its_size(
    row: int, column: int, sign: float
) -> None:
    want = np.full((4, 5), 2.0)
    got = want.astype(np.float32)
    got[0, 0] += 0.25
    got[row, column] += np.float32(sign)
    worst = taken(got, want).worst
    assert worst is not None
    assert worst.index == [row, column]
    assert worst.got == float(got[row, column])
    assert worst.want == 2.0
    assert worst.in_rms == abs(float(got[row, column]) - 2.0) / 2.0


def test_a_norm_is_the_same_in_any_number_of_threads_and_is_right() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        array = rng.standard_normal((3, 200_003))
        found = []
        for threads in (1, 2):
            with threadpool_limits(threads):
                found.append(distance.norm(array))
        assert found[0] == found[1]
    exact = math.sqrt(math.fsum(value * value for value in array.ravel().tolist()))
    assert found[0] == pytest.approx(exact, rel=1e-15)


def test_a_measurement_carries_norms_shape_and_a_digest_of_the_bytes() -> None:
    got = np.array([3.0, 4.0], np.float32)
    found = taken(got, np.array([6.0, 8.0]))
    assert (found.got_norm, found.want_norm, found.shape) == (5.0, 10.0, [2])
    assert found.distance == 0.5
    assert found.digest != taken(-got, np.array([6.0, 8.0])).digest


@pytest.mark.parametrize("huge", [1e154, 1e200, 1e300])
def test_a_diverged_float64_value_is_far_off_and_raises_no_warning(huge: float) -> None:
    found = taken(np.array([huge, 1.0]), np.array([1.0, 1.0]), process="float64")
    assert found.problem is None
    assert found.distance == "inf" or float(found.distance or 0) > 1e100


# -- bit for bit -----------------------------------------------------------------------------


def same(got: Array, want: Array) -> Measurement:
    return identical("x", got, want, **WHERE)


NAN, OTHER_NAN = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001))
SQUARE = np.arange(16, dtype=np.float32).reshape(4, 4)


@pytest.mark.parametrize(
    ("got", "want", "differ", "first"),
    [
        (np.float32([1.0, -0.0]), np.float32([1.0, 0.0]), 1.0, [1]),
        (np.float32(-0.0), np.float32(0.0), 1.0, []),
        (NAN.copy(), NAN, 0.0, None),
        (OTHER_NAN, NAN, 1.0, [0]),
        (np.float32([1.0, np.nan]), np.float32([1.0, 0.0]), 1.0, [1]),
        (np.asfortranarray(SQUARE), SQUARE, 0.0, None),
        (SQUARE[::-1], SQUARE, 16.0, [0, 0]),
    ],
)
def test_what_is_the_same_is_so_bit_for_bit(
    got: Array, want: Array, differ: float, first: list[int] | None
) -> None:
    found = same(got, np.asarray(want))
    assert (found.problem, found.distance) == (None, differ)
    assert (found.worst and found.worst.index) == first


@given(
    st.sampled_from(["float32", "float64", "int64", "int32", "uint8"]),
    st.integers(0, 10**6),
    st.integers(0, 12),
)
def test_the_number_of_elements_whose_bits_differ_is_counted(
    dtype: str, seed: int, changed: int
) -> None:
    rng = np.random.default_rng(seed)
    want = np.abs(rng.standard_normal((3, 4)) * 80).astype(dtype)
    got = want.copy()
    places = rng.choice(12, changed, replace=False)
    bits = got.reshape(-1).view(f"u{got.dtype.itemsize}")
    bits[places] ^= np.array(1, bits.dtype)
    found = identical("x", got, want, **WHERE)
    assert found.distance == float(changed)
    if changed:
        assert found.worst is not None
        assert found.worst.index == list(np.unravel_index(min(places), (3, 4)))


@pytest.mark.parametrize(
    "got", [np.zeros((2, 2), np.float32), np.zeros(4), np.zeros(4, np.int32), np.zeros(0)]
)
def test_another_shape_or_dtype_is_never_identical(got: Array) -> None:
    found = same(got, np.zeros(4, np.float32))
    assert found.distance is None
    assert found.problem is not None


# -- the excess update error -----------------------------------------------------------------


def excess_of(given_: Array, got: Array, change: Array) -> tuple[Array, dict[str, float]]:
    error = excess_update(given_, change)(got, given_ - change)
    assert error.base is change
    return error.judged, error.beside


def exact_excess(given_: Array, got: Array, change: Array) -> list[Fraction]:
    excess = []
    for before, after, moved in zip(given_, got, change, strict=True):
        error = abs(Fraction(float(after)) - Fraction(float(before)) + Fraction(float(moved)))
        spacing = Fraction(float(np.spacing(max(abs(before), abs(after)))))
        excess.append(max(Fraction(0), error - spacing / 2))
    return excess


@st.composite
def updates(draw: st.DrawFn) -> tuple[str, Array, Array]:
    """A dtype, weights in it, and changes from far below to far above the weights' spacing."""
    dtype = draw(st.sampled_from(["float32", "float64"]))
    rng = np.random.default_rng(draw(st.integers(0, 10**9)))
    weights = (rng.standard_normal(6) * 10.0 ** rng.uniform(-6, 3, 6)).astype(dtype)
    weights[draw(st.integers(0, 5))] = draw(st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5]))
    change = rng.standard_normal(6) * 10.0 ** rng.uniform(-12, 2, 6)
    return dtype, weights, change


@given(updates(), st.integers(0, 10**6))
@settings(max_examples=150)
def test_the_excess_equals_exact_arithmetic(update: tuple[str, Array, Array], seed: int) -> None:
    dtype, given_, change = update
    wrong = 1 + 1e-3 * np.random.default_rng(seed).standard_normal(6)
    got = (given_.astype(np.float64) - change * wrong).astype(dtype)
    excess, _ = excess_of(given_, got, change)
    for i, want in enumerate(exact_excess(given_, got, change)):
        # In float64 got - given is exact unless the change is as large as the weight: then it
        # rounds by 2**-53 of the change.
        size = abs(float(change[i]))
        if dtype == "float32":
            size += abs(float(given_[i])) + abs(float(got[i]))
        slack = 4 * 2.0**-53 * size + 2.0**-51 * abs(float(want))
        assert abs(Fraction(float(excess[i])) - want) <= Fraction(slack), (i, excess[i], want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_learning_rate_off_by_a_ten_thousandth_exceeds_the_limit_three_times(dtype: str) -> None:
    rng = np.random.default_rng(0)
    given_ = (rng.standard_normal((50, 20)) * 0.01).astype(dtype)
    change = 0.1 * rng.standard_normal((50, 20)) * 0.05
    limit = limit_for("update", dtype, "step 0")
    assert limit is not None
    right = (given_ - change).astype(dtype)
    wrong = (given_ - change * (1 + 1e-4)).astype(dtype)
    for got, over in ((right, False), (wrong, True)):
        excess, _ = excess_of(given_, got, change)
        distance = relative(excess, change)
        assert (distance > 3 * limit.value) is over
        assert over or distance < limit.value / 3


def test_an_update_that_never_happened_is_off_by_its_whole_size() -> None:
    given_ = np.ones(4, np.float32)
    excess, beside = excess_of(given_, given_.copy(), np.full(4, 0.5))
    assert relative(excess, np.full(4, 0.5)) == pytest.approx(1.0, abs=1e-6)
    assert beside["plain"] == 1.0
    assert beside["floor"] == 0.0


# -- one teacher-forced batch ----------------------------------------------------------------


SMALL = declare(
    "small",
    Dense("W1", "b1", 20, 8),
    Relu(),
    Dense("W2", "b2", 8, 5),
    loss=SoftmaxCrossEntropy(),
    optimiser=sgd(lr=0.1),
    init=normal(0.3),
    x=(20,),
    data="none",
    batch_size=16,
    epochs=1,
)


def batch(dtype: str = "float32") -> tuple[dict[str, Array], dict[str, Any]]:
    """What a perfect worker writes, and the arguments that judge it."""
    rng = np.random.default_rng(1)
    state: State = {
        t.name: (rng.standard_normal(t.shape) * 0.3).astype(dtype) for t in SMALL.workload.tensors
    }
    given_ = {"x": rng.random((16, 20)).astype(dtype), "y": rng.integers(0, 5, 16)}
    wide, judge = cast(state), Composed(SMALL.net)
    look = judge.look(wide, cast(given_))
    tensors = {name: value.copy() for name, value in given_.items()}
    tensors |= {"outputs": look.outputs.astype(dtype)}
    tensors |= {f"held.{k}": v.copy() for k, v in state.items()}
    tensors |= {f"grad.{k}": v.astype(dtype) for k, v in look.grads.items()}
    tensors |= {f"new.{k}": (wide[k] - 0.1 * look.grads[k]).astype(dtype) for k in state}
    tensors |= {"loss": np.array(look.loss), "step loss": np.array(look.loss)}
    wanted = ladder.Wanted.of(judge, SMALL.workload, state, given_, dtype)
    return tensors, {"wanted": wanted, "process": dtype, "case": "step 0", "step": 0}


NAMES = sorted(batch()[0])
RUNG = {"x": "inputs", "y": "inputs", "held": "inputs", "outputs": "forward", "loss": "loss"}
RUNG |= {"step loss": "loss", "grad": "gradients", "new": "update"}


def place_of(name: str) -> tuple[str, str]:
    """Rung and tensor of what a worker writes under a name."""
    prefix, _, rest = name.partition(".")
    return RUNG[prefix], rest or name.replace("outputs", "logits")


def over(found: list[Measurement], share: float = 1.0) -> list[tuple[str, str]]:
    """Rung and tensor of whatever is a problem or above a share of its limit."""
    bad = []
    for m in found:
        limit = limit_for(m.rung, m.dtype, m.case)
        assert limit is not None
        if m.problem or not isinstance(m.distance, float) or m.distance > share * limit.value:
            bad.append((m.rung, m.tensor))
    return bad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("centred", [False, True])
def test_the_judges_own_values_in_the_workers_dtype_stay_below_a_tenth_of_every_limit(
    dtype: str, centred: bool
) -> None:
    tensors, given_ = batch(dtype)
    given_["wanted"] = replace(given_["wanted"], centred=centred)
    found = ladder.teacher_forced(tensors, **given_)
    assert len(found) == 6 + 1 + 2 + 4 + 4
    assert over(found, 0.1) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["missing", "wrong shape", "wrong dtype", "nan", "inf"])
def test_a_tampered_tensor_fails_at_its_rung_and_nowhere_else(name: str, how: str) -> None:
    tensors, given_ = batch()
    tensor = tensors[name]
    if how in ("nan", "inf") and tensor.dtype.kind != "f":
        tensors[name] = tensor + 1  # integers have no NaN: other labels
    elif how == "missing":
        del tensors[name]
    elif how == "wrong shape":
        tensors[name] = tensor[None] if tensor.ndim == 0 else tensor[:-1]
    elif how == "wrong dtype":
        tensors[name] = tensor.astype(np.float16)
    else:
        tensors[name] = tensor.copy()
        tensors[name][(0,) * tensor.ndim] = float(how)
    assert over(ladder.teacher_forced(tensors, **given_)) == [place_of(name)]


@given(st.sampled_from(NAMES), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_one_element_off_by_a_percent_of_the_tensor_is_over_its_limit(name: str, seed: int) -> None:
    tensors, given_ = batch()
    tensor = tensors[name].copy()
    place = tuple(np.random.default_rng(seed).integers(0, tensor.shape)) if tensor.ndim else ()
    tensor[place] += 1 if tensor.dtype.kind == "i" else 0.01 * float(np.linalg.norm(tensor))
    tensors[name] = tensor
    found = ladder.teacher_forced(tensors, **given_)
    assert over(found) == [place_of(name)]
    worst = next(m.worst for m in found if (m.rung, m.tensor) == place_of(name))
    assert worst is not None
    assert worst.index == list(place)


def test_a_shift_common_to_all_classes_counts_only_where_logits_are_not_centred() -> None:
    tensors, given_ = batch("float64")
    tensors["outputs"] = tensors["outputs"] + 0.125
    assert over(ladder.teacher_forced(tensors, **given_)) == [("forward", "logits")]
    given_["wanted"] = replace(given_["wanted"], centred=True)
    found = ladder.teacher_forced(tensors, **given_)
    assert over(found) == []


def test_lockstep_names_parameter_and_step_of_what_is_off() -> None:
    want = {"W1": np.ones((2, 2)), "b1": np.ones(2)}
    losses = np.array([2.0, 1.5, 1.0])
    clean = ladder.lockstep({k: v.copy() for k, v in want.items()}, want, losses, losses, 10)
    assert over(clean) == []
    assert [m.tensor for m in clean] == ["W1", "b1", "losses"]
    assert {m.step for m in clean} == {12}
    off = losses.copy()
    off[1] *= 1 + 1e-9
    found = ladder.lockstep({"W1": want["W1"] * (1 + 1e-11)}, want, off, losses, 10)
    assert over(found) == [("lockstep", "W1"), ("lockstep", "b1"), ("lockstep", "losses")]
    assert found[2].worst is not None
    assert found[2].worst.index == [11]


def test_a_training_is_summed_up_by_samples_and_by_epoch() -> None:
    series = {
        "losses": np.array([2.0, 1.0, np.nan, 1.0]),
        "step_ns": np.array([5, 6, 7, 8]),
        "epoch_ns": np.array([20, 21]),
        "eval_ns": np.array([3, 4]),
        "final.W1": np.array([3.0, 4.0]),
    }
    two = replace_fields(SMALL.workload, outputs=(2,))
    outputs = [np.array([[1.0, 0.0], [1.0, 0.0]]), np.zeros((1, 2))]
    rows = np.array([3, 1, 3, 1])
    found = outcome.training(two, series, outputs, np.array([0, 1]), rows, [1, 3])
    assert found.epoch_losses == [1.75, "nan"]
    cut = outcome.training(two, series, [], np.array([0, 1]), rows, [])
    assert cut.epoch_losses == []  # no epoch ended
    assert found.losses == [2.0, 1.0, "nan", 1.0]
    assert found.test_accuracy == [0.5, "nan"]  # the second has too few rows
    assert found.final_norms == {"W1": 5.0}
    assert (found.rows, found.step_ns) == ([3, 1, 3, 1], [5, 6, 7, 8])


def test_what_is_found_once_is_of_an_array_that_nobody_can_write_to_while_it_lives():
    asked: list[float] = []

    def total(array: np.ndarray) -> float:
        asked.append(float(array.sum()))
        return asked[-1]

    once = distance.once(total)
    free, fixed = np.ones(3), np.ones(4)
    fixed.flags.writeable = False
    assert [once(free), once(fixed), once(fixed)] == [3.0, 4.0, 4.0]
    free[0] = 5.0  # may have changed: it is asked anew
    assert once(free) == 7.0
    assert asked == [3.0, 4.0, 7.0]
    del fixed
    gc.collect()
    # Another array in the same place in memory is another one.
    for value in range(50):
        other = np.full(4, float(value))
        other.flags.writeable = False
        assert once(other) == 4 * value
        del other
    assert once(np.float64(2.0)) == 2.0
