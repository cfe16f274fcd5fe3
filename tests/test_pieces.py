"""Each piece of the judge is right: central differences, loops, the frameworks' autodiff."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.interface import Array, State
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Enlarge,
    Flatten,
    Layer,
    MaxPool,
    Polynomial,
    Relu,
    Residual,
    Sigmoid,
    Softmax,
    Tanh,
    Variable,
)
from tests.layers import LAYERS, Alone, alone, kinds

# Central differences of a function of order 1: the truncation error is about h² / 6 times the third
# derivative, rounding about u / h. At h = 1e-5 these are 2e-11 and 1e-11; 1e-8 leaves room for the
# sums of a few dozen terms, and any wrong term shows as 1e-2 or more.
STEP = 1e-5
DIFFERENCE_LIMIT = 1e-8
# Of the same formula in other operations, relative to the largest element: a few dozen roundings.
AUTODIFF_LIMIT = 1e-13


def test_every_kind_of_layer_stands_in_the_table() -> None:
    assert {type(layer) for layer, _ in LAYERS.values()} == kinds()


def away_from_kinks(one: Alone) -> Alone:
    """No value within reach of a difference's step, and none like another."""
    rng = np.random.default_rng(7)
    places = rng.permutation(one.x.size).reshape(one.x.shape)
    return one._replace(x=(places - one.x.size / 2 + 0.25) * (4 / one.x.size))


def check_differences(one: Alone, training: bool) -> None:
    weights = np.random.default_rng(1).standard_normal(one.run(training).shape)
    grads = one.gradients(weights, training)
    wanted = {s.tensor.name for s in one.layer.slots("", "") if s.tensor.role == "trained"}
    assert {*grads} == wanted | {"x"}
    for name, grad in grads.items():
        value = one.x if name == "x" else one.state[name]
        slope = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = value.copy()
                moved[index] += step
                ends.append(np.sum(weights * one.run(training, **{name: moved})))
            slope[index] = (ends[0] - ends[1]) / (2 * STEP)
        assert grad.shape == value.shape, name
        assert np.abs(grad - slope).max() <= DIFFERENCE_LIMIT * max(1, np.abs(slope).max()), name


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_equal_central_differences(name: str, training: bool) -> None:
    layer, shape = LAYERS[name]
    one = away_from_kinks(alone(layer, shape))
    assert one.run(training).shape[1:] == layer.shape(shape)
    check_differences(one, training)


images = st.fixed_dictionaries(
    {
        "rows": st.integers(3, 6),
        "columns": st.integers(3, 6),
        "channels": st.integers(1, 2),
        "size": st.integers(1, 3),
        "stride": st.integers(1, 3),
        "pad": st.integers(0, 1),
        "n": st.integers(1, 2),
        "seed": st.integers(0, 10**6),
    }
)


@given(of=images)
@settings(max_examples=20, deadline=None)
def test_gradients_of_images_equal_central_differences_in_any_shape(of: dict[str, int]) -> None:
    size, stride, pad = of["size"], of["stride"], min(of["pad"], of["size"] // 2)
    layers: list[Layer] = [
        Conv("K", "c", of["channels"], 2, size, stride, of["pad"]),
        MaxPool(size, stride, pad),
        AveragePool(size, stride, pad, counted=False),
    ]
    for layer in layers:
        shape = (of["rows"], of["columns"], of["channels"])
        check_differences(away_from_kinks(alone(layer, shape, of["n"], of["seed"])), True)


def seen(x: Array, i: int, j: int, size: int, stride: int, pad: int) -> list[tuple[int, int]]:
    """Rows and columns of the image that a window at i, j lies on, in row order."""
    rows = [i * stride + a - pad for a in range(size)]
    columns = [j * stride + b - pad for b in range(size)]
    return [(r, c) for r in rows for c in columns if 0 <= r < x.shape[0] and 0 <= c < x.shape[1]]


@given(of=images)
def test_a_convolution_equals_loops(of: dict[str, int]) -> None:
    size, stride, pad = of["size"], of["stride"], of["pad"]
    layer = Conv("K", "c", of["channels"], 2, size, stride, pad)
    one = alone(layer, (of["rows"], of["columns"], of["channels"]), of["n"], of["seed"])
    value = one.run()
    for s, i, j, k in np.ndindex(value.shape):
        z = one.state["c"][k]
        for r, c in seen(one.x[s], i, j, size, stride, pad):
            a, b = r - i * stride + pad, c - j * stride + pad
            z += sum(one.x[s, r, c, m] * one.state["K"][a, b, m, k] for m in range(of["channels"]))
        assert value[s, i, j, k] == pytest.approx(z, rel=1e-13, abs=1e-13)


@given(of=images)
def test_a_max_pool_equals_loops_and_of_ties_the_first_in_row_order_wins(
    of: dict[str, int],
) -> None:
    size, stride, pad = of["size"], of["stride"], min(of["pad"], of["size"] // 2)
    one = alone(MaxPool(size, stride, pad), (of["rows"], of["columns"], of["channels"]), of["n"])
    # Few different values, all negative: windows are full of ties, and padding would win as 0.
    rng = np.random.default_rng(of["seed"])
    one = one._replace(x=rng.integers(-3, 0, one.x.shape).astype(float))
    value = one.run()
    weights = rng.standard_normal(value.shape)
    back = np.zeros_like(one.x)
    for s, i, j, k in np.ndindex(value.shape):
        places = seen(one.x[s], i, j, size, stride, pad)
        best = max(places, key=lambda place: one.x[s, *place, k])  # the first of equal ones
        assert value[s, i, j, k] == one.x[s, *best, k]
        back[s, *best, k] += weights[s, i, j, k]
    assert np.allclose(one.gradients(weights)["x"], back, rtol=1e-14, atol=1e-14)


@given(of=images, counted=st.booleans())
def test_an_average_pool_equals_loops(of: dict[str, int], counted: bool) -> None:
    size, stride, pad = of["size"], of["stride"], min(of["pad"], of["size"] // 2)
    layer = AveragePool(size, stride, pad, counted)
    one = alone(layer, (of["rows"], of["columns"], of["channels"]), of["n"], of["seed"])
    value = one.run()
    for s, i, j, k in np.ndindex(value.shape):
        places = seen(one.x[s], i, j, size, stride, pad)
        mean = sum(one.x[s, r, c, k] for r, c in places) / (size**2 if counted else len(places))
        assert value[s, i, j, k] == pytest.approx(mean, rel=1e-13, abs=1e-14)


def test_the_derivative_of_relu_at_0_is_0_and_nan_passes() -> None:
    one = Alone(Relu(), {}, {}, np.array([[0.0, 1e-300, -1e-300, np.nan]]))
    assert np.array_equal(one.run(), [[0.0, 1e-300, 0.0, np.nan]], equal_nan=True)
    assert np.array_equal(one.gradients(np.ones((1, 4)))["x"], [[0, 1, 0, 1]])


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh(), Softmax()])
def test_nothing_overflows_or_cancels_far_out(layer: Layer) -> None:
    one = Alone(layer, {}, {}, np.array([[800.0, -800.0, 40.0, -40.0]]))
    value, slope = one.run(), one.gradients(np.array([[0.0, 1.0, 1.0, 1.0]]))["x"]
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all()
    small = float(np.exp(-40.0))
    if isinstance(layer, Sigmoid):
        assert slope[0, 2:] == pytest.approx([small, small], rel=1e-13)
        assert value[0, 3] == pytest.approx(small, rel=1e-13)
    if isinstance(layer, Tanh):
        assert slope[0, 2:] == pytest.approx([4 * small**2, 4 * small**2], rel=1e-13)


def test_batch_norm_by_hand() -> None:
    # x = 1, 3, 8: mean 4, variance (9 + 1 + 16) / 3 = 26 / 3, of n - 1: 13. momentum .75, eps 1/3:
    # the root of 26 / 3 + 1 / 3 is 3.
    layer = BatchNorm("g", "b", "m", "v", 1, eps=1 / 3, momentum=0.75)
    state = {"g": np.array([6.0]), "b": np.array([1.0]), "m": np.array([8.0]), "v": np.array([4.0])}
    one = Alone(layer, state, {}, np.array([[1.0], [3.0], [8.0]]))
    assert one.run()[:, 0] == pytest.approx([-5.0, -1.0, 9.0], rel=1e-14)
    after = one.running()
    assert after["m"] == pytest.approx([0.75 * 8 + 0.25 * 4], rel=1e-14)
    assert after["v"] == pytest.approx([0.75 * 4 + 0.25 * 13], rel=1e-14)
    evaluated = (one.x - 8) / np.sqrt(4 + 1 / 3) * 6 + 1
    assert one.run(training=False) == pytest.approx(evaluated, rel=1e-14)


def test_dropout_keeps_what_is_at_least_p_and_scales_it() -> None:
    noise = {"drop": np.array([[0.0, 0.2499, 0.25, 0.9]])}
    one = Alone(Dropout("drop", 0.25), {}, noise, np.array([[3.0, 3.0, 3.0, -6.0]]))
    assert np.array_equal(one.run(), [[0.0, 0.0, 4.0, -8.0]])
    assert np.array_equal(one.run(training=False), one.x)


def test_a_residual_names_what_is_inside_once() -> None:
    layer, shape = LAYERS["residual, shortcut"]
    named = {slot.tensor.name: slot.tensor for slot in layer.slots("units1", "units2")}
    assert named["K1"].axes == ("", "", "units1", "units2.branch0")
    assert named["g1"].axes == ("units2.branch0",)
    assert named["K2"].axes == ("", "", "units2.branch0", "units2")
    assert named["Ks"].axes == ("", "", "units1", "units2")
    assert [(n.name, n.shape, n.axes[-1]) for n in layer.noise("units1", "units2", shape)] == [
        ("drop", (3, 3, 4), "units2.branch0")
    ]
    parts = list(layer.products(2, shape))
    assert parts[:3] == ["branch0.forward", "branch4.forward", "shortcut0.forward"]
    assert {*parts[3:]} == {
        f"{at}.{part}"
        for at in ("branch0", "branch4", "shortcut0")
        for part in ("weights", "inputs")
    }
    # What is added to the input itself counts the input's units.
    plain = LAYERS["residual"][0]
    named = {slot.tensor.name: slot.tensor for slot in plain.slots("units1", "units2")}
    assert named["W1"].axes == ("units1", "units2.branch0")
    assert named["W2"].axes == ("units2.branch0", "units1")
    assert plain.axis("units1", "units2", shape) == "units1"


@pytest.mark.parametrize(
    ("layer", "given_"),
    [
        (Dense("W", "b", 4, 2), (5,)),
        (Conv("K", "", 3, 2, 5), (4, 8, 3)),
        (Conv("K", "", 3, 2, 5), (8, 8, 2)),
        (Conv("K", "", 2, 3, 3, pad=-1), (8, 8, 2)),
        (Conv("K", "", 2, 3, 3, stride=0), (8, 8, 2)),
        (Conv("K", "", 2, 3, 0), (8, 8, 2)),
        (Conv("K", "", 2, 0, 3), (8, 8, 2)),
        (Dense("W", "b", 4, 0), (4,)),
        (Variable("v", 0), (2,)),
        (Polynomial((((1.0, (1,)),), ())), (1,)),
        (Enlarge(0), (2, 2, 1)),
        (MaxPool(0), (8, 8, 1)),
        (MaxPool(2, stride=-1), (8, 8, 1)),
        (AveragePool(0), (8, 8, 1)),
        (AveragePool(2, stride=-1), (8, 8, 1)),
        (AveragePool(2, pad=-1), (8, 8, 1)),
        (BatchNorm("g", "b", "m", "v", 3, eps=0.0), (3,)),
        (BatchNorm("g", "b", "m", "v", 3, eps=float("nan")), (3,)),
        (BatchNorm("g", "b", "m", "v", 3, momentum=1.5), (3,)),
        (Dropout("d", -0.1), (3,)),
        (Residual((Conv("K", "", 2, 2, 3, pad=1, stride=0),)), (8, 8, 2)),
        (MaxPool(3), (2, 5, 1)),
        (MaxPool(2), (8,)),
        (MaxPool(2, pad=2), (8, 8, 1)),
        (AveragePool(3), (5, 2, 1)),
        (BatchNorm("g", "b", "m", "v", 4), (3,)),
        (Dropout("d", 1.0), (3,)),
        (Residual((Dense("W", "b", 4, 2),)), (4,)),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(layer: Layer, given_: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        layer.shape(given_)
    assert "\n" not in str(error.value)


def test_flatten_reads_rows_columns_channels() -> None:
    one = alone(Flatten(), (2, 3, 2))
    assert one.run()[0, (1 * 3 + 2) * 2 + 1] == one.x[0, 1, 2, 1]
    assert Flatten().axis("units1", "", (2, 3, 2)) == "6*units1"


@pytest.fixture(scope="module")
def by_autodiff(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, State]]:
    """Value, gradients and running tensors of every case by every framework that is there.

    In a process of its own each: they share no memory with what is tested.
    """
    folder = tmp_path_factory.mktemp("autodiff")
    cases = {f"{name}/{mode}": (case(name), mode) for name in LAYERS for mode in (True, False)}
    (folder / "cases").write_bytes(pickle.dumps(cases))
    found = {}
    for framework in ("torch", "jax", "tensorflow"):
        if importlib.util.find_spec(framework):
            command = [sys.executable, "-m", "tests.autodiff", framework, str(folder)]
            subprocess.run(command, check=True, cwd=Path(__file__).parent.parent, timeout=300)
            found[framework] = pickle.loads((folder / framework).read_bytes())
    return found


def case(name: str) -> tuple[Alone, Array]:
    layer, shape = LAYERS[name]
    one = alone(layer, shape, seed=3)
    return one, np.random.default_rng(4).standard_normal(one.run().shape)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow"])
def test_value_and_gradients_equal_a_frameworks_autodiff(
    by_autodiff: dict[str, dict[str, State]], framework: str, name: str, training: bool
) -> None:
    if framework not in by_autodiff:
        pytest.skip(f"{framework} is not installed")
    one, weights = case(name)
    got = one.gradients(weights, training) | {"value": one.run(training)}
    if training:
        got |= one.running()
    want = by_autodiff[framework][f"{name}/{training}"]
    assert {*want} == {*got}
    for key, value in got.items():
        error = np.abs(value - want[key]).max() / max(1.0, np.abs(value).max())
        assert error <= AUTODIFF_LIMIT, key
