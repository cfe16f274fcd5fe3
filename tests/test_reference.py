"""The judge is right: against central differences, high precision, brute force, and the facts.

The facts are from an independent float64 program on the real data; they need FASHION_MNIST_DIR.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.interface import Array, Params
from harness.workloads.mlp_scratch import MLPScratchReference
from harness.workloads.reference.pieces import sgd, softmax_cross_entropy

JUDGE = MLPScratchReference()


# Central differences of a function of order 1: the truncation error is about h^2 / 6 times the
# third derivative, rounding about u / h. At h = 1e-5 these are 2e-11 and 1e-11 for derivatives
# of order 1 (a net of a few units): 1e-8 of the gradient's norm leaves room, and any wrong term
# shows as 1e-2 or more.
STEP = 1e-5
DIFFERENCE_LIMIT = 1e-8


def net(rng: np.random.Generator, inputs: int, hidden: int, outputs: int) -> Params:
    return {
        "W1": rng.standard_normal((inputs, hidden)),
        "b1": rng.standard_normal(hidden),
        "W2": rng.standard_normal((hidden, outputs)),
        "b2": rng.standard_normal(outputs),
    }


def differences(params: Params, name: str, x: Array, y: Array) -> Array:
    """Central differences of the loss in every element of one parameter."""
    slope = np.zeros_like(params[name])
    for index in np.ndindex(slope.shape):
        moved = []
        for sign in (1, -1):
            value = params[name].copy()
            value[index] += sign * STEP
            moved.append(JUDGE.loss_and_grads(params | {name: value}, x, y)[0])
        slope[index] = (moved[0] - moved[1]) / (2 * STEP)
    return slope


@given(
    inputs=st.integers(1, 5),
    hidden=st.integers(1, 5),
    outputs=st.integers(2, 5),
    rows=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=25, deadline=None)
def test_gradients_equal_central_differences(
    inputs: int, hidden: int, outputs: int, rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    params = net(rng, inputs, hidden, outputs)
    x, y = rng.standard_normal((rows, inputs)), rng.integers(0, outputs, rows)
    # A unit within reach of its kink has no derivative to compare with: move it away.
    for _ in range(100):
        if np.abs(x @ params["W1"] + params["b1"]).min() > 1e-3:
            break
        params["b1"] = params["b1"] + 2e-3
    grads = JUDGE.loss_and_grads(params, x, y)[1]
    assert set(grads) == set(params)
    whole = math.sqrt(sum(float(np.sum(g**2)) for g in grads.values()))
    for name, grad in grads.items():
        assert grad.shape == params[name].shape
        error = float(np.linalg.norm(grad - differences(params, name, x, y)))
        assert error <= DIFFERENCE_LIMIT * max(whole, 1.0), name


def test_the_derivative_of_relu_at_0_is_0() -> None:
    rng = np.random.default_rng(0)
    params = net(rng, 3, 4, 3) | {"b1": np.zeros(4)}
    x, y = np.zeros((2, 3)), np.array([0, 1])
    grads = JUDGE.loss_and_grads(params, x, y)[1]
    assert np.array_equal(grads["b1"], np.zeros(4))
    assert np.linalg.norm(grads["b2"]) > 0.1
    nudged = JUDGE.loss_and_grads(params | {"b1": np.full(4, 1e-9)}, x, y)[1]
    assert np.linalg.norm(nudged["b1"]) > 0.01


def exact_loss_and_grad(logits: list[list[float]], y: list[int]) -> tuple[float, list[list[float]]]:
    """Softmax cross-entropy as it is written, in 1000 digits (p - 1 may cancel 700)."""
    with mpmath.workdps(1000):
        losses, grads = [], []
        for row, label in zip(logits, y, strict=True):
            powers = [mpmath.exp(mpmath.mpf(v)) for v in row]
            total = mpmath.fsum(powers)
            losses.append(mpmath.log(total) - mpmath.mpf(row[label]))
            grads.append(
                [
                    float((power / total - (1 if i == label else 0)) / len(y))
                    for i, power in enumerate(powers)
                ]
            )
        return float(mpmath.fsum(losses) / len(y)), grads


# exp amplifies the rounding of its argument, at most 1600 * 2^-53 = 2e-13 here; each small loss
# and each p - 1 must be as exact, or the judge is not fit to judge a confident sample.
LOSS_LIMIT = 1e-12

EXTREME = {
    "ordinary": ([[0.1, -0.3, 0.2], [1.0, 2.0, 3.0]], [0, 2]),
    "ties": ([[1.0, 1.0, 1.0]], [1]),
    "nearly certain and right": ([[27.7, 0.0, -3.0]], [0]),
    "nearly certain and wrong": ([[69.1, 0.0, 41.4]], [1]),
    "shifted up": ([[1001.0, 998.5, 1000.25]], [2]),
    "shifted down": ([[-1001.0, -998.5, -1000.25]], [0]),
    "beyond the range of exp": ([[750.0, 0.0, -750.0]], [2]),
}


@pytest.mark.parametrize("case", EXTREME)
def test_the_loss_and_its_gradient_equal_a_thousand_digit_computation(case: str) -> None:
    logits, y = EXTREME[case]
    want, want_grad = exact_loss_and_grad(logits, y)
    loss, grad = softmax_cross_entropy(np.array(logits), np.array(y))
    assert loss == pytest.approx(want, rel=LOSS_LIMIT, abs=1e-300)
    assert np.allclose(grad, want_grad, rtol=LOSS_LIMIT, atol=1e-300)


@given(
    logits=st.lists(st.lists(st.floats(-800, 800), min_size=3, max_size=3), min_size=1, max_size=4),
    data_=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_the_loss_equals_high_precision_for_any_logits(
    logits: list[list[float]], data_: st.DataObject
) -> None:
    y = data_.draw(st.lists(st.integers(0, 2), min_size=len(logits), max_size=len(logits)))
    want, want_grad = exact_loss_and_grad(logits, y)
    loss, grad = softmax_cross_entropy(np.array(logits), np.array(y))
    assert loss == pytest.approx(want, rel=LOSS_LIMIT, abs=1e-300)
    assert np.allclose(grad, want_grad, rtol=LOSS_LIMIT, atol=1e-300)


@given(
    inputs=st.integers(1, 4),
    hidden=st.integers(1, 4),
    rows=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    blank=st.booleans(),
)
def test_the_kink_margin_equals_loops_over_every_unit(
    inputs: int, hidden: int, rows: int, seed: int, blank: bool
) -> None:
    rng = np.random.default_rng(seed)
    params = net(rng, inputs, hidden, 2)
    x = rng.standard_normal((rows, inputs))
    if blank:
        params["b1"] = np.zeros(hidden)
        x[0] = 0.0
    want = []
    for row in x:
        least = math.inf
        for unit in range(hidden):
            column = params["W1"][:, unit]
            z = math.fsum([*(row * column), params["b1"][unit]])
            scale = math.fsum([*(abs(row * column)), abs(params["b1"][unit])])
            least = min(least, abs(z) / scale if scale > 0 else math.inf)
        want.append(least)
    got = JUDGE.kink_margin(params, x)
    assert got.shape == (rows,)
    # |z| / S: rounding of z is a few 2^-53 of S.
    assert np.allclose(got, want, rtol=1e-12, atol=1e-14)
    if blank:
        assert got[0] == math.inf


def test_one_step_moves_every_parameter_against_its_gradient() -> None:
    params = {"w": np.array([1.0, 2.0]), "b": np.array([0.0])}
    grads = {"w": np.array([10.0, -10.0]), "b": np.array([0.5])}
    sgd(params, grads, 0.1)
    assert np.array_equal(params["w"], [0.0, 3.0])
    assert np.array_equal(params["b"], [-0.05])
    assert np.array_equal(grads["w"], [10.0, -10.0])
