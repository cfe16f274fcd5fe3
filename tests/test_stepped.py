"""A step of the reference, as `assert_agrees` holds a backend to it: every rule, at any rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import InputError
from harness.interface import Optimiser
from harness.testing.assertion import assert_agrees
from harness.testing.handles import Bench, Oracle, RemoteBackend
from harness.workloads.declare import Declared, declare, fan_in_uniform
from harness.workloads.reference import optimisers
from harness.workloads.reference.composed import cast
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Relu, Sigmoid

ROOMS = Path(__file__).parent / "rooms"
RATES = (1e-5, 1e-3, 1e-1)
STEPS = 3


def rule_of(name: str, lr: float) -> Optimiser:
    return getattr(optimisers, name)(lr, *((0.01,) if name == "decay" else ()))


def declared(optimiser: Optimiser, wide: int = 50, data: str = "made.npz") -> Declared:
    hidden, kind = (4, Sigmoid()) if wide == 5 else (40, Relu())  # of 5: the rooms' own
    return declare(
        *("stepped", Dense("W1", "b1", wide, hidden), kind, Dense("W2", "b2", hidden, 3)),
        loss=SoftmaxCrossEntropy(),
        optimiser=optimiser,
        init=fan_in_uniform,
        x=(wide,),
        data=data,
        batch_size=32,
        epochs=1,
        model="tiny",
    )


def gradients(state: dict, batch: dict) -> dict:
    """Every number in the dtype of the state, and not by the judge's code."""
    x = batch["x"].astype(state["W1"].dtype)
    h = x @ state["W1"] + state["b1"]
    a = np.maximum(h, 0)
    z = np.exp(a @ state["W2"] + state["b2"])
    p = z / z.sum(axis=1, keepdims=True)
    p[np.arange(32), batch["y"]] -= 1
    p /= p.dtype.type(32)
    back = (p @ state["W2"].T) * (h > 0)
    return {"W1": x.T @ back, "b1": back.sum(0), "W2": a.T @ p, "b2": p.sum(0)}


def made(random: np.random.Generator, wide: int) -> dict:
    return {"x": random.random((32, wide), np.float32), "y": random.integers(0, 3, 32)}


def differ(
    declared_: Declared,
    dtype: str,
    other: Optimiser,
    *,
    decayed_first: bool = False,
    as_given: Callable[[dict], dict] = lambda want: want,
) -> list[str]:
    """What is said of each step in a dtype, by another optimiser's numbers; "" where it agrees."""
    oracle, random = Oracle(declared_.workload, declared_.net), np.random.default_rng(0)
    state, told = cast(oracle.initial(), dtype), []
    for _ in range(STEPS):
        batch = made(random, 50)
        grads = gradients(state, batch)
        new = cast(optimisers.stepped(other, state, grads, decayed_first=decayed_first), dtype)
        want = as_given(oracle.step(state, batch))
        try:
            assert_agrees(new, want, rung="update", before=state, dtype=dtype)
            told.append("")
        except AssertionError as error:
            told.append(str(error))
        state = cast(optimisers.stepped(declared_.workload.optimiser, state, grads), dtype)
    return told


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize("rule", optimisers.RULES)
def test_a_right_step_agrees_whatever_its_rule_and_rate(rule, lr, dtype):
    optimiser = rule_of(rule, lr)
    for first in (False, True) if optimisers.RULES[rule].decays else (False,):
        assert differ(declared(optimiser), dtype, optimiser, decayed_first=first) == [""] * STEPS


@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize("rule", ["sgd", "decay"])
def test_of_a_plain_dict_a_float64_step_has_room_for_what_storing_both_costs(rule, lr):
    optimiser = rule_of(rule, lr)
    assert differ(declared(optimiser), "float64", optimiser, as_given=dict) == [""] * STEPS


WRONG = [
    (rule, number, dtype)
    for rule, of in optimisers.RULES.items()
    for number in ("lr", *of.numbers)
    for dtype in ("float32", "float64")
    # In float32 these lie below what it stores: 3e-8 of a weight, 1e-10 beside a gradient.
    if (rule, number, dtype) not in (("adamw", "decay", "float32"), ("adagrad", "eps", "float32"))
]


@pytest.mark.parametrize(("rule", "number", "dtype"), WRONG)
def test_a_wrong_number_of_a_rule_is_found(rule, number, dtype):
    right = rule_of(rule, 1e-3)
    numbers = {"lr": right.lr, **right.numbers}
    # Twice an eps reaches what has next to no gradient; the others by three thousandths.
    numbers[number] *= 2 if number == "eps" else 0.997
    wrong = Optimiser(rule, numbers.pop("lr"), numbers)
    assert any(differ(declared(right), dtype, wrong))


def test_what_a_test_changes_of_the_wanted_state_is_what_is_wanted():
    oracle = Oracle(*_parts(declared(optimisers.sgd(0.1))))
    state, batch = oracle.initial(), made(np.random.default_rng(0), 50)
    want = oracle.step(state, batch)
    right = {name: value.astype(np.float32) for name, value in want.items()}
    assert_agrees(right, want, rung="update", before=state)
    want["W1"][2, 1] += 0.01
    with pytest.raises(AssertionError, match=r"W1 is off by .*worst at \[2, 1\]"):
        assert_agrees(right, want, rung="update", before=state)


def test_an_oracle_of_a_float64_state_judges_a_float32_backend():
    optimiser = optimisers.adamw(1e-5)
    oracle = Oracle(*_parts(declared(optimiser)))
    state, batch = oracle.initial(), made(np.random.default_rng(0), 50)
    grads = gradients(state, batch)
    new = cast(optimisers.stepped(optimiser, state, grads, decayed_first=True), "float32")
    assert_agrees(new, oracle.step(cast(state), batch), rung="update", before=state)


def _parts(one: Declared):
    return one.workload, one.net


def test_a_suite_tests_a_model_of_its_own_rooms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from tests.test_stepped import declared\n"
        "from harness.workloads.reference.optimisers import adam\n"
        "NET = declared(adam(1e-3), wide=5, data='made.npz')\n"
    )
    random = np.random.default_rng(0)
    parts = {"train": made(random, 5), "test": made(random, 5)}
    arrays = {f"{p}_{name}": v for p, one in parts.items() for name, v in one.items()}
    np.savez(tmp_path / "made.npz", **arrays)
    for rooms in (str(ROOMS), ROOMS.name):  # a folder of pytest's root is found from anywhere
        bench = Bench(
            backends=("numpy",), workload=f"{tmp_path}/net.py:NET", rooms=rooms, root=ROOMS.parent
        )
        try:
            oracle, trainer = bench.oracle(), RemoteBackend(bench, "numpy", Path).trainer()
            state, batch = oracle.initial(), oracle.batch(32)
            trainer.set_state(state)
            trainer.wait(trainer.step(trainer.put(batch)))
            want = oracle.step(state, batch)
            assert_agrees(trainer.get_state(), want, rung="update", before=state)
        finally:
            bench.close()
    with pytest.raises(InputError, match="--backend-rooms nowhere: there is no such folder"):
        Bench(backends=("numpy",), rooms="nowhere", root=tmp_path)
