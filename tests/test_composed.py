"""The judge of a whole net: the facts, central differences, kinks, declared workloads."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.interface import Array, Optimiser, State
from harness.workloads.declare import declare, fan_in_uniform, normal
from harness.workloads.reference.composed import Composed, Net, cast
from harness.workloads.reference.losses import (
    BinaryCrossEntropy,
    HalfSquaredSum,
    Loss,
    Quadratic,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from harness.workloads.reference.optimisers import momentum, sgd
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Bias,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Relu,
    Residual,
    Sigmoid,
    Tanh,
)
from tests import facts

STEP = 1e-5
# See tests/test_pieces.py; a whole net has a few hundred terms.
DIFFERENCE_LIMIT = 1e-7
FACTS_LIMIT = 1e-12

IMAGE_NET: tuple[Layer, ...] = (
    Conv("K1", "c1", 2, 3, 3, pad=1),
    Relu(),
    MaxPool(2),
    Conv("K2", "", 3, 4, 2),
    BatchNorm("g", "n", "m", "v", 4),
    Tanh(),
    Residual((Conv("K3", "c3", 4, 4, 3, pad=1), Relu(), Dropout("drop", 0.25))),
    AveragePool(2, 1),
    Flatten(),
    Dense("W", "b", 4, 3),
)
# The layers, one sample's shape, the loss, its weight of squares.
SMALL: dict[str, tuple[tuple[Layer, ...], tuple[int, ...], Loss, float]] = {
    "one hidden layer": (
        (Dense("W1", "b1", 4, 5), Relu(), Dense("W2", "b2", 5, 3)),
        (4,),
        SoftmaxCrossEntropy(),
        0.0,
    ),
    "three sigmoids": (
        (Dense("W1", "b1", 4, 3), Sigmoid(), Dense("W2", "b2", 3, 1), Sigmoid()),
        (4,),
        BinaryCrossEntropy(),
        0.0,
    ),
    "images": (IMAGE_NET, (6, 6, 2), SoftmaxCrossEntropy(), 0.25),
    "classes as numbers": (
        (Dense("W1", "b1", 4, 3), Tanh(), Dense("W2", "", 3, 3)),
        (4,),
        Quadratic("class"),
        0.5,
    ),
    "logits of sigmoids": ((Dense("W", "b", 4, 3),), (4,), SigmoidCrossEntropy(), 0.0),
    "a norm first": (
        (BatchNorm("g", "n", "m", "v", 4), Dense("W", "b", 4, 3)),
        (4,),
        SoftmaxCrossEntropy(),
        0.0,
    ),
    "a norm of images first": (
        (AveragePool(2), BatchNorm("g", "n", "m", "v", 2), Conv("K", "c", 2, 3, 3), Flatten()),
        (6, 6, 2),
        SoftmaxCrossEntropy(),
        0.0,
    ),
    "a bias first": (
        (Flatten(), Bias("s", 4), Dense("W1", "", 4, 3), Tanh(), Dense("W2", "b", 3, 3)),
        (2, 1, 2),
        SoftmaxCrossEntropy(),
        0.0,
    ),
    "a block first": (
        (Residual((Dense("W1", "", 4, 3), Tanh(), Dense("W2", "", 3, 4))), Dense("W", "b", 4, 3)),
        (4,),
        SoftmaxCrossEntropy(),
        0.0,
    ),
    "a block with a shortcut first": (
        (
            Residual(
                (Tanh(), Dense("W1", "", 4, 3), Dense("W2", "", 3, 3)), (Dense("W3", "", 4, 3),)
            ),
            Dense("W", "b", 3, 3),
        ),
        (4,),
        SoftmaxCrossEntropy(),
        0.0,
    ),
    "a sum": ((Dense("W", "b", 4, 1),), (4,), HalfSquaredSum(), 0.0),
}


def drawn(net: Net, n: int, seed: int = 0) -> tuple[State, State]:
    """A state and a batch of n samples, standard normal; a variance is positive."""
    rng = np.random.default_rng(seed)
    state, shape = {}, net.x
    noise: dict[str, tuple[int, ...]] = {}
    for layer, given_, made in net.shapes():
        for slot in layer.slots("", ""):
            value = rng.standard_normal(slot.tensor.shape)
            state[slot.tensor.name] = np.exp(value) if slot.tensor.name == "v" else value
        noise |= {one.name: one.shape for one in layer.noise("", "", given_)}
        shape = made
    y: Array = rng.integers(0, shape[-1], n)
    if net.loss.targets == "number":
        y = rng.integers(0, 2, (n, *shape)).astype(float)
    batch = {"x": rng.standard_normal((n, *net.x)), "y": y}
    return state, batch | {name: rng.random((n, *s)) for name, s in noise.items()}


def small(name: str, n: int = 4, seed: int = 0) -> tuple[Composed, State, State]:
    layers, x, loss, l2 = SMALL[name]
    net = Net(x, layers, loss, l2)
    return Composed(net), *drawn(net, n, seed)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_equal_central_differences(name: str) -> None:
    judge, state, batch = small(name)
    assert judge.kink_distance(state, batch).min() > 10 * STEP
    look = judge.look(state, batch)
    assert {*look.grads} | {*look.running} == {*state}
    for tensor, grad in look.grads.items():
        slope = np.zeros_like(grad)
        for index in np.ndindex(grad.shape):
            ends = []
            for step in (STEP, -STEP):
                moved = state[tensor].copy()
                moved[index] += step
                ends.append(judge.look(state | {tensor: moved}, batch).loss)
            slope[index] = (ends[0] - ends[1]) / (2 * STEP)
        assert np.abs(grad - slope).max() <= DIFFERENCE_LIMIT * max(1, np.abs(slope).max()), tensor


def test_an_l2_term_is_of_weights_and_kernels_alone() -> None:
    judge, state, batch = small("images")
    plain = Composed(msgspec.structs.replace(judge.net, l2=0.0)).look(state, batch)
    look = judge.look(state, batch)
    weights = ("K1", "K2", "K3", "W")
    squares = sum(np.sum(state[name] ** 2) for name in weights)
    assert look.loss - plain.loss == pytest.approx(0.25 / 2 * squares, rel=1e-13)
    for name, grad in look.grads.items():
        wanted = plain.grads[name] + (0.25 * state[name] if name in weights else 0.0)
        assert np.allclose(grad, wanted, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_a_net_survives_being_stored(name: str) -> None:
    net = small(name)[0].net
    assert msgspec.json.decode(msgspec.json.encode(net), type=Net) == net


@pytest.mark.parametrize("name", SMALL)
def test_every_product_can_be_rounded_and_is_told_in_the_order_of_a_step(name: str) -> None:
    judge, state, batch = small(name)
    whole, asked = judge.look(state, batch), []
    products = judge.net.products(len(batch["x"]))
    for number, product in enumerate(products.values()):
        seen: list[tuple[int, ...]] = []

        def operand(value: Array, seen: list[tuple[int, ...]] = seen) -> Array:
            seen.append(value.shape)
            return value * (1 + 1e-3)

        look = judge.rounded(number, operand).look(state, batch)
        a, b = product.a, product.b
        turned = [
            a[::-1] if product.transposed == "a" else a,
            b[::-1] if product.transposed == "b" else b,
        ]
        assert seen == turned
        asked.append(look.loss != whole.loss)
        assert any(not np.array_equal(look.grads[k], whole.grads[k]) for k in whole.grads)
    # Those of the way forward come first: they change the loss.
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("name", SMALL)
def test_units_may_be_permuted_along_every_symmetry(name: str) -> None:
    layers, x, loss, l2 = SMALL[name]
    made = declare(
        "small", *layers, loss=loss, optimiser=sgd(0.1), init=normal(1.0), x=x, data="",
        batch_size=4, epochs=1, l2=l2,
    )  # fmt: skip
    judge, state, batch = small(name)
    rng = np.random.default_rng(3)
    orders: dict[str, Array] = {}

    def turned(value: Array, axes: tuple[str, ...], lead: int = 0) -> Array:
        for place, axis in enumerate(axes):
            blocks, _, units = axis.rpartition("*")
            if units not in made.workload.symmetries:
                continue
            size = value.shape[place + lead] // int(blocks or 1)
            order = orders.setdefault(units, rng.permutation(size))
            whole = (np.arange(int(blocks or 1))[:, None] * size + order).ravel()
            value = value.take(whole, axis=place + lead)
        return value

    tensors = [t for t in made.workload.tensors if t.role != "optimiser"]
    moved = {t.name: turned(state[t.name], t.axes) for t in tensors}
    other = batch | {t.name: turned(batch[t.name], t.axes, 1) for t in made.workload.noise}
    other["x"] = turned(batch["x"], (*[""] * (len(x) - 1), "inputs"), 1)
    assert {*orders} == {*made.workload.symmetries}
    before, after = judge.look(state, batch), judge.look(moved, other)
    assert after.loss == pytest.approx(before.loss, rel=1e-13)
    for t in tensors:
        got, want = after.grads | after.running, before.grads | before.running
        assert np.allclose(got[t.name], turned(want[t.name], t.axes), rtol=1e-11, atol=1e-13)


@given(
    inputs=st.integers(1, 4),
    hidden=st.integers(1, 4),
    rows=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    blank=st.booleans(),
)
@settings(deadline=None)
def test_the_kink_margin_equals_loops_over_every_unit(
    inputs: int, hidden: int, rows: int, seed: int, blank: bool
) -> None:
    layers = (Dense("W1", "b1", inputs, hidden), Relu(), Dense("W2", "b2", hidden, 2))
    net = Net((inputs,), layers, SoftmaxCrossEntropy())
    state, batch = drawn(net, rows, seed)
    if blank:
        state["b1"] = np.zeros(hidden)
        batch["x"][0] = 0.0
    want = []
    for row in batch["x"]:
        least = math.inf
        for unit in range(hidden):
            column = state["W1"][:, unit]
            z = math.fsum([*(row * column), state["b1"][unit]])
            scale = math.fsum([*(abs(row * column)), abs(state["b1"][unit])])
            least = min(least, abs(z) / scale if scale > 0 else math.inf)
        want.append(least)
    got = Composed(net).kink_margin(state, batch)
    assert got.shape == (rows,)
    # |z| / S: rounding of z is a few 2^-53 of S.
    assert np.allclose(got, want, rtol=1e-12, atol=1e-14)
    if blank:
        assert got[0] == math.inf


def pooled(x: Array) -> tuple[Composed, State, State]:
    """One kernel of 1 x 1 with weight 1 before a pool: windows are what x says."""
    layers = (Conv("K", "", 1, 1, 1), MaxPool(2), Flatten(), Dense("W", "b", 1, 2))
    judge = Composed(Net((2, 2, 1), layers, SoftmaxCrossEntropy()))
    state, batch = drawn(judge.net, 1)
    return judge, state | {"K": np.ones((1, 1, 1, 1))}, batch | {"x": x.reshape(1, 2, 2, 1)}


def test_equal_windows_are_no_kink_and_the_next_one_behind_them_is() -> None:
    for window in ([3.0, 3.0, 3.0, 3.0], [-2.0, -2.0, -2.0, -2.0], [0.0, 0.0, 0.0, 0.0]):
        assert pooled(np.array(window))[0].kink_margin(*pooled(np.array(window))[1:])[0] == np.inf
    judge, state, batch = pooled(np.array([3.0, 1.0, 3.0, 2.5]))
    assert judge.kink_distance(state, batch)[0] == 0.5


def test_a_pool_before_a_relu_and_behind_it_have_the_same_kinks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        conv, dense = Conv("K", "c", 2, 3, 3), Dense("W", "b", 12, 2)
        behind = Net((6, 6, 2), (conv, Relu(), MaxPool(2), Flatten(), dense), SoftmaxCrossEntropy())
        before = Net((6, 6, 2), (conv, MaxPool(2), Relu(), Flatten(), dense), SoftmaxCrossEntropy())
        state, batch = drawn(behind, 3, int(rng.integers(10**6)))
        margins = [Composed(net).kink_margin(state, batch) for net in (behind, before)]
        assert np.array_equal(*margins)
        looks = [Composed(net).look(state, batch) for net in (behind, before)]
        assert all(np.array_equal(looks[0].grads[k], looks[1].grads[k]) for k in looks[0].grads)


def test_a_bias_before_the_pool_and_behind_it_have_the_same_kinks() -> None:
    dense = Dense("W", "b", 12, 2)
    within = Net(
        (6, 6, 2),
        (Conv("K", "c", 2, 3, 3), MaxPool(2), Relu(), Flatten(), dense),
        SoftmaxCrossEntropy(),
    )
    bare = (Conv("K", "", 2, 3, 3), MaxPool(2), Bias("c", 3), Relu(), Flatten(), dense)
    for seed in range(20):
        state, batch = drawn(within, 3, seed)
        judges = Composed(within), Composed(Net((6, 6, 2), bare, SoftmaxCrossEntropy()))
        distances = [judge.kink_distance(state, batch) for judge in judges]
        assert np.allclose(*distances, rtol=1e-12, atol=1e-14)
        looks = [judge.look(state, batch).grads for judge in judges]
        assert all(np.allclose(looks[0][k], looks[1][k], rtol=1e-12, atol=1e-14) for k in state)


def test_a_block_shows_the_values_inside_it_and_each_is_made_of_those_before() -> None:
    branch = (Conv("K2", "", 3, 3, 3, pad=1), BatchNorm("g", "n", "m", "v", 3), Relu())
    shortcut = (Conv("Ks", "", 3, 3, 1), Bias("s", 3))
    layers = (
        Conv("K1", "", 2, 3, 1), Residual(branch, shortcut, "block"), Relu(), Flatten(),
        Dense("W", "b", 48, 3),
    )  # fmt: skip
    judge = Composed(Net((4, 4, 2), layers, SoftmaxCrossEntropy()))
    state, batch = drawn(judge.net, 3)
    inside = ("block.z1", "block.n1", "block.h1", "block.zs", "block.ss")
    assert judge.net.trace() == ("z1", *inside, "r2", "h2", "logits")
    trace = judge.trace(state, batch)
    assert tuple(trace) == judge.net.trace()
    assert np.array_equal(trace["r2"], trace["block.h1"] + trace["block.ss"])
    assert np.array_equal(trace["block.zs"] + state["s"], trace["block.ss"])
    # Of what a framework shows the next layers are made, inside and behind.
    shown = {"block.zs": trace["block.zs"] + 1, "block.h1": trace["block.h1"] * 2}
    own = judge.own(state, batch, shown)
    assert np.array_equal(own["block.zs"], trace["block.zs"])
    assert np.array_equal(own["block.ss"], shown["block.zs"] + state["s"])
    assert np.array_equal(own["r2"], shown["block.h1"] + own["block.ss"])
    assert np.array_equal(own["h2"], np.maximum(own["r2"], 0))
    # What is known of a trace is taken from it: all up to the first value that is shown.
    for first in trace:
        for shown in ({first: trace[first] + 1}, {n: trace[n] + 1 for n in [*trace][::-1]}):
            made = judge.own(state, batch, shown)
            again = judge.own(state, batch, shown, trace)
            assert [*again] == [*made] == [*trace]
            assert all(np.array_equal(again[name], made[name]) for name in made)
    known = trace | {"z1": trace["z1"] + 1}
    assert judge.own(state, batch, {"z1": trace["z1"]}, known)["z1"] is known["z1"]
    assert judge.own(state, batch, {"block.z1": trace["block.z1"]}, known)["z1"] is not known["z1"]
    unnamed = msgspec.structs.replace(layers[1], name="")
    assert Net((4, 4, 2), (layers[0], unnamed, *layers[2:]), SoftmaxCrossEntropy()).trace() == (
        "z1", "r2", "h2", "logits",
    )  # fmt: skip


# A unit this far from its kink: crossing it moves everything else by no more.
NEAR = 1e-12


def crossed(name: str, layers: tuple[Layer, ...], x: tuple[int, ...], bias: str) -> None:
    """Moves one unit of sample 1 across 0 by its bias: the jump told is the jump seen."""
    judge = Composed(Net(x, layers, SoftmaxCrossEntropy()))
    state, batch = drawn(judge.net, 3, seed=2)
    rows = {key: value[1:2] for key, value in batch.items()}
    couples = any(layer.couples for layer in layers)

    # By bisection: where the distance to a kink of sample 1 is 0.
    def value(shift: float) -> float:
        moved = state | {bias: state[bias] + shift * (np.arange(len(state[bias])) == 0)}
        z = judge.trace(moved, batch if couples else rows)[name]
        return float((z[1] if couples else z[0])[..., 0].max())

    low, high = -50.0, 50.0
    assert value(low) < 0 < value(high)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) < 0 else (low, middle)
    on = np.arange(len(state[bias])) == 0
    sides = [state | {bias: state[bias] + (low + sign * NEAR) * on} for sign in (-1, 1)]
    looks = [judge.look(side, batch) for side in sides]
    for side, look in zip(sides, looks, strict=True):
        jumps = judge.jumps(side, batch, 1e-10)
        for tensor, grad in look.grads.items():
            seen = np.linalg.norm(looks[1].grads[tensor] - looks[0].grads[tensor])
            seen /= np.linalg.norm(grad)
            assert jumps[tensor][1] == pytest.approx(seen, abs=1e-10), tensor
            assert jumps[tensor][0] == jumps[tensor][2] == 0.0
        assert max(jump[1] for jump in jumps.values()) > 1e-3


def test_a_jump_is_that_of_a_crossed_kink_of_a_dense_layer() -> None:
    layers = (
        Dense("W1", "b1", 4, 5), Relu(), Dense("W2", "b2", 5, 4), Relu(), Dense("W3", "b3", 4, 3),
    )  # fmt: skip
    crossed("z1", layers, (4,), "b1")
    crossed("z2", layers, (4,), "b2")


def test_a_jump_is_that_of_a_crossed_kink_of_a_convolution_before_a_pool() -> None:
    layers = (Conv("K", "c", 2, 3, 3), Relu(), MaxPool(2), Flatten(), Dense("W", "b", 12, 3))
    judge = Composed(Net((6, 6, 2), layers, SoftmaxCrossEntropy()))
    assert judge.net.names()[0] == "z1"
    crossed("p1", (layers[0], MaxPool(2), Relu(), *layers[3:]), (6, 6, 2), "c")


def test_a_jump_is_that_of_a_crossed_kink_where_a_norm_couples_samples() -> None:
    norm = BatchNorm("g", "n", "m", "v", 5)
    layers = (Dense("W1", "", 4, 5), norm, Relu(), Dense("W2", "b2", 5, 3))
    crossed("n1", layers, (4,), "n")


def test_a_jump_is_that_of_a_crossed_kink_inside_a_residual() -> None:
    inside = (Relu(), Dense("W2", "b2", 5, 5))
    layers = (Dense("W1", "b1", 4, 5), Residual(inside), Dense("W3", "b3", 5, 3))
    crossed("z1", layers, (4,), "b1")


def test_a_jump_is_that_of_a_window_whose_second_becomes_the_first() -> None:
    layers = (Conv("K", "", 2, 1, 1), MaxPool(2), Flatten(), Dense("W", "b", 1, 2))
    judge = Composed(Net((2, 2, 2), layers, SoftmaxCrossEntropy()))
    state, batch = drawn(judge.net, 1)
    state["K"] = np.ones((1, 1, 2, 1))
    # Both channels add up to 2 at two places, of other inputs: the kernel's gradient tells.
    x = np.array([[0.5, 0.5], [2.0, 0.0], [0.25, 1.75], [-1.0, 0.0]]).reshape(1, 2, 2, 2)
    looks, jumps = [], []
    for sign in (1, -1):
        at = batch | {"x": x + sign * 1e-11 * (x == 2.0)}
        looks.append(judge.look(state, at))
        jumps.append(judge.jumps(state, at, 1e-9))
    for look, jump in zip(looks, jumps, strict=True):
        seen = np.linalg.norm(looks[0].grads["K"] - looks[1].grads["K"])
        seen /= np.linalg.norm(look.grads["K"])
        assert seen > 0.5
        assert jump["K"][0] == pytest.approx(seen, abs=1e-10)
    far = batch | {"x": x + 3.0 * (x == 2.0)}
    assert judge.jumps(state, far, 1e-9)["K"][0] == 0.0


def declared(*layers: Layer, **given_: Any) -> Any:
    common: dict[str, Any] = {
        "loss": SoftmaxCrossEntropy(), "optimiser": momentum(0.1), "init": fan_in_uniform,
        "x": (4,), "data": "mnist", "batch_size": 2, "epochs": 1,
    }  # fmt: skip
    return declare(given_.pop("name", "small-net"), *layers, **(common | given_))


TWO = (Dense("W1", "b1", 4, 3), Relu(), Dense("W2", "b2", 3, 2))


@pytest.mark.parametrize(
    ("layers", "given_", "wanted"),
    [
        ((TWO[0], Dense("W2", "b2", 4, 2)), {}, "W2 takes"),
        (TWO, {"x": (5,)}, "W1 takes"),
        (TWO, {"optimiser": Optimiser("adamax", 0.1)}, "adamax"),
        (TWO, {"optimiser": Optimiser("sgd", 0.1, {"momentum": 0.9})}, "momentum"),
        ((TWO[0], Relu(), Dense("W1", "b2", 3, 2)), {}, "'W1'"),
        ((Dense("x", "b1", 4, 3),), {}, "'x'"),
        ((Dense("W1/velocity", "b1", 4, 3),), {}, "'W1/velocity'"),
        ((Dense("", "b1", 4, 3),), {}, "''"),
        ((TWO[0], Dropout("b1", 0.5)), {}, "'b1'"),
        ((), {}, "train"),
        ((Relu(),), {}, "train"),
        ((Conv("K", "c", 2, 3, 3),), {"x": (4, 4, 2)}, "a row of numbers for each sample"),
        (TWO, {"loss": BinaryCrossEntropy()}, "one number for each sample"),
        (TWO, {"batch_size": 0}, "batch_size"),
        (TWO, {"epochs": 0}, "epochs"),
        (TWO, {"steps": 0}, "steps"),
        (TWO, {"tests": -1}, "tests"),
        (TWO, {"validation": -1}, "validation"),
        (TWO, {"normalise": (0.5, 0.0)}, "a deviation above 0"),
        ((Dense("W1", "b1", 0, 3),), {"x": (0,), "init": normal(1.0)}, "no length"),
        (TWO, {"name": "2-layers"}, "2-layers"),
        (TWO, {"name": "two layers"}, "two layers"),
    ],
)
def test_a_mistake_in_a_declaration_is_told_in_one_line(
    layers: tuple[Layer, ...], given_: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        declared(*layers, **given_)
    assert wanted in str(error.value)


def test_a_declaration_gives_everything_a_backend_must_know() -> None:
    made = declared(*IMAGE_NET, x=(6, 6, 2), l2=0.25).workload
    assert made.loss == "softmax-cross-entropy+l2"
    assert made.trace == ("z1", "h1", "p1", "z2", "n2", "h2", "r3", "p3", "logits")
    assert [(t.name, t.role, t.init) for t in made.tensors[3:7]] == [
        ("g", "trained", "ones"),
        ("n", "trained", "zeros"),
        ("m", "running", "zeros"),
        ("v", "running", "ones"),
    ]
    assert [t.name for t in made.tensors if t.role == "optimiser"] == [
        f"{name}/velocity" for name in ("K1", "c1", "K2", "g", "n", "K3", "c3", "W", "b")
    ]
    assert [(t.name, t.shape, t.axes) for t in made.noise] == [
        ("drop", (2, 2, 4), ("", "", "units2"))
    ]
    assert made.symmetries == ("inputs", "units1", "units2")
    assert made.two_modes
    assert made.outputs == (3,)


@pytest.mark.skipif(facts.folder() is None, reason="HARNESS_DATA_DIR is not set: no facts")
@pytest.mark.parametrize("name", facts.NETS)
def test_the_judge_meets_the_facts_of_an_independent_program(name: str) -> None:
    found = facts.folder()
    if found is None or not (found / f"{name.partition('/')[0]}.json").exists():
        pytest.skip(f"no facts of {name} beside the data")
    off = facts.worst(name, facts.NETS[name][1])
    assert {"losses", "gradient norms", "gradients"} <= {*off}
    # Of a net in which rounding grows, what is made of the last gradient has as few digits as it.
    grown = (facts.read(name).get("growth") or {}).get("gradients", [0.0])[-1]
    limits = dict.fromkeys(("slots", "norms"), max(FACTS_LIMIT, grown))
    assert not {n: of for n, of in off.items() if of > limits.get(n, FACTS_LIMIT)}, off


def permuted_float32(judge: Composed, state: State, batch: State, seed: int) -> Any:
    """A float32 replica: every product's sum is taken in another order."""
    rng = np.random.default_rng(seed)
    replica = Composed(judge.net)
    at = replica._pass

    def times(part: str, a: Array, b: Array) -> Array:
        order = rng.permutation(a.shape[1])
        return np.add.accumulate(a[:, order, None] * b[order][None], axis=1)[:, -1]

    def passed(place: int, *args: Any, **named: Any) -> Any:
        whole = at(place, *args, **named)
        return type(whole)(whole.state, whole.noise, whole.training, times)

    replica._pass = passed  # type: ignore[method-assign]
    return replica._walk(cast(state, "float32"), cast(batch, "float32"))


# How many times the predicted scale an error may be at most: a quarter of the margin by which
# samples are screened. On the workloads' own data 22 was seen with BLAS's sums, 30 with sums of
# one term after another (784 of them).
WITHIN = 16


@pytest.mark.parametrize("name", ["one hidden layer", "images", "deep"])
def test_the_error_before_a_kink_stays_within_what_is_predicted(name: str) -> None:
    if name == "deep":
        layers = [one for i in range(8) for one in (Dense(f"W{i}", f"b{i}", 8, 8), Relu())]
        judge = Composed(Net((8,), tuple(layers), SoftmaxCrossEntropy()))
        state, batch = drawn(judge.net, 32)
    else:
        judge, state, batch = small(name, n=32)
    state, batch = cast(cast(state, "float32")), cast(cast(batch, "float32"))
    exact = judge._walk(state, batch).kinks
    assert exact
    for seed in range(5):
        got = permuted_float32(judge, state, batch, seed).kinks
        for one, other in zip(exact, got, strict=True):
            finite = np.isfinite(one.distance) & np.isfinite(other.distance) & (one.scale > 0)
            error = np.abs(one.distance[finite] - other.distance[finite])
            scale = np.broadcast_to(one.scale, one.distance.shape)[finite] * 2.0**-24
            assert (error / scale).max() < WITHIN
            assert (error / scale).max() > 0.1  # what is predicted is no mere bound
