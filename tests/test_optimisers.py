"""Each rule of the judge is right: worked by hand, and against torch's and optax's own."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.interface import Optimiser, State, Tensor
from harness.workloads.reference import optimisers
from harness.workloads.reference.optimisers import (
    adagrad,
    adam,
    adamw,
    decay,
    momentum,
    nesterov,
    problem,
    rmsprop,
    sgd,
    slots_of,
    stepped,
)

# The rule, p, the gradients of two steps, p after each, the slots after both. By hand, in numbers
# that come out even; eps 0 where it would not.
BY_HAND: dict[str, tuple[Optimiser, float, list[float], list[float], dict[str, float]]] = {
    "sgd": (sgd(0.1), 1.0, [10.0, -5.0], [0.0, 0.5], {}),
    # v = 4, then 4 / 2 + 6 = 8.
    "momentum": (momentum(0.5, 0.5), 1.0, [4.0, 6.0], [-1.0, -5.0], {"velocity": 8.0}),
    # v = 4: g + v / 2 = 6; v = 8: 6 + 4 = 10.
    "nesterov": (nesterov(0.5, 0.5), 1.0, [4.0, 6.0], [-2.0, -7.0], {"velocity": 8.0}),
    # v = .25 * 16 = 4: 4 / (2 + 2) = 1; v = .75 * 4 + .25 * 4 = 4: -2 / (2 + 2).
    "rmsprop": (rmsprop(1.0, 0.75, 2.0), 1.0, [4.0, -2.0], [0.0, 0.5], {"v": 4.0}),
    # v = 9: 3 / (3 + 1) = .75; v = 9 + 16 = 25: 4 / (5 + 1).
    "adagrad": (adagrad(4.0, 1.0), 1.0, [3.0, 4.0], [-2.0, -2.0 - 8 / 3], {"v": 25.0}),
    # m = 1, v = 1: (1 / .5) / (sqrt(1 / .25) + 0) = 1. m = .5 + 3 = 3.5, v = .75 + 9 = 9.75:
    # (3.5 / .75) / sqrt(9.75 / .4375).
    "adam": (
        adam(0.5, 0.5, 0.75, 0.0),
        1.0,
        [2.0, 6.0],
        [0.5, 0.5 - 0.5 * (14 / 3) / (9.75 / 0.4375) ** 0.5],
        {"m": 3.5, "v": 9.75},
    ),
    # The first step as adam's with eps 2: 2 / (2 + 2) = .5, and .25 of p beside it, of the p
    # before the step: 4 - .5 * .5 - .5 * .25 * 4 = 3.25.
    "adamw": (
        adamw(0.5, 0.5, 0.75, 2.0, 0.25),
        4.0,
        [2.0, 6.0],
        [3.25, 3.25 - 0.5 * (14 / 3) / ((9.75 / 0.4375) ** 0.5 + 2) - 0.125 * 3.25],
        {"m": 3.5, "v": 9.75},
    ),
    # 8 (1 - .5 * .25) - .5 * 2 = 6; 6 * .875 + .5.
    "decay": (decay(0.5, 0.25), 8.0, [2.0, -1.0], [6.0, 5.75], {}),
}


def test_every_rule_has_a_case_worked_by_hand() -> None:
    assert {*BY_HAND} == {*optimisers.RULES}
    assert all(problem(case[0]) is None for case in BY_HAND.values())


def start(optimiser: Optimiser, state: State) -> State:
    trained = tuple(Tensor(name, value.shape) for name, value in state.items())
    return state | {t.name: np.zeros(t.shape) for t in slots_of(optimiser, trained)}


@pytest.mark.parametrize("rule", BY_HAND)
def test_two_steps_are_those_worked_by_hand(rule: str) -> None:
    optimiser, p, grads, wanted, slots = BY_HAND[rule]
    state = start(optimiser, {"W": np.array([[p]])})
    for step, (grad, want) in enumerate(zip(grads, wanted, strict=True)):
        before = {name: value.copy() for name, value in state.items()}
        after = stepped(optimiser, state, {"W": np.array([[grad]])})
        assert all(np.array_equal(state[name], before[name]) for name in before)
        state = after
        assert float(state["W"][0, 0]) == pytest.approx(want, rel=1e-14)
        assert float(state.get("step", step + 1)) == step + 1
    own = {f"W/{name}" for name in slots} | ({"step"} if optimiser.rule[:4] == "adam" else set())
    assert {*state} == {"W"} | own
    for name, value in slots.items():
        assert float(state[f"W/{name}"][0, 0]) == pytest.approx(value, rel=1e-14)


def test_decay_leaves_biases_out() -> None:
    state = {"W": np.full((2, 2), 8.0), "b": np.full(2, 8.0)}
    after = stepped(decay(0.5, 0.25), state, {k: np.zeros_like(v) for k, v in state.items()})
    assert np.array_equal(after["W"], np.full((2, 2), 7.0))
    assert np.array_equal(after["b"], state["b"])


def test_what_has_no_gradient_is_as_it_was() -> None:
    state = {"w": np.array([1.0, 2.0]), "mean": np.array([3.0])}
    after = stepped(sgd(0.1), state, {"w": np.array([10.0, -10.0])})
    assert np.array_equal(after["w"], [0.0, 3.0])
    assert np.array_equal(after["mean"], [3.0])


@pytest.mark.parametrize("rule", BY_HAND)
def test_a_rule_that_is_called_linear_is(rule: str) -> None:
    optimiser = BY_HAND[rule][0]
    rng = np.random.default_rng(2)
    state = start(optimiser, {"W": rng.standard_normal((3, 2))})
    g, h = rng.standard_normal((2, 3, 2))
    for name in state:
        state[name] = state[name] + rng.random(state[name].shape)

    def taken(grad: object) -> object:
        return state["W"] - stepped(optimiser, state, {"W": np.asarray(grad)})["W"]

    # Linear up to what it takes with no gradient at all.
    both = taken(g + h) - taken(g) - taken(h) + taken(0 * g)  # type: ignore[operator]
    assert (np.abs(both).max() < 1e-13) == optimisers.RULES[rule].linear


@pytest.mark.parametrize(
    ("optimiser", "wanted"),
    [
        (Optimiser("adamax", 0.1), "adamax"),
        (Optimiser("sgd", 0.1, {"momentum": 0.9}), "momentum"),
        (Optimiser("momentum", 0.1), "momentum"),
        (Optimiser("sgd", float("nan")), "finite"),
        (Optimiser("momentum", 0.1, {"momentum": float("inf")}), "finite"),
    ],
)
def test_what_is_no_optimiser_is_told_in_one_line(optimiser: Optimiser, wanted: str) -> None:
    reason = problem(optimiser)
    assert reason is not None
    assert wanted in reason
    assert "\n" not in reason


# Rules that a framework has by the same formula, and what it calls them.
PROGRAM = {
    "torch": """
import torch
def after(rule, lr, n, state, grads):
    p = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in state.items()}
    every = list(p.values())
    o = torch.optim
    make = {
        "sgd": lambda: o.SGD(every, lr),
        "momentum": lambda: o.SGD(every, lr, momentum=n["momentum"]),
        "nesterov": lambda: o.SGD(every, lr, momentum=n["momentum"], nesterov=True),
        "rmsprop": lambda: o.RMSprop(every, lr, alpha=n["rho"], eps=n["eps"]),
        "adagrad": lambda: o.Adagrad(every, lr, eps=n["eps"]),
        "adam": lambda: o.Adam(every, lr, (n["beta1"], n["beta2"]), n["eps"]),
        "adamw": lambda: o.AdamW(every, lr, (n["beta1"], n["beta2"]), n["eps"], n["decay"]),
        "decay": lambda: o.SGD([
            {"params": [v for v in every if v.ndim > 1], "weight_decay": n["decay"]},
            {"params": [v for v in every if v.ndim < 2]},
        ], lr),
    }
    optimiser = make[rule]()
    for grad in grads:
        for k, v in p.items():
            v.grad = torch.tensor(grad[k])
        optimiser.step()
    return {k: v.detach().numpy() for k, v in p.items()}
""",
    "optax": """
import jax, optax
jax.config.update("jax_enable_x64", True)
def after(rule, lr, n, state, grads):
    make = {
        "sgd": lambda: optax.sgd(lr),
        "momentum": lambda: optax.sgd(lr, n["momentum"]),
        "nesterov": lambda: optax.sgd(lr, n["momentum"], nesterov=True),
        "rmsprop": lambda: optax.rmsprop(lr, n["rho"], n["eps"], eps_in_sqrt=False),
        "adam": lambda: optax.adam(lr, n["beta1"], n["beta2"], n["eps"]),
        "adamw": lambda: optax.adamw(
            lr, n["beta1"], n["beta2"], n["eps"], weight_decay=n["decay"]),
        "decay": lambda: optax.chain(
            optax.add_decayed_weights(
                n["decay"], mask=lambda p: jax.tree.map(lambda v: v.ndim > 1, p)),
            optax.sgd(lr)),
    }
    if rule not in make:  # its adagrad has eps inside the root
        return None
    optimiser = make[rule]()
    p = jax.tree.map(jax.numpy.asarray, state)
    slots = optimiser.init(p)
    for grad in grads:
        change, slots = optimiser.update(grad, slots, p)
        p = optax.apply_updates(p, change)
    return {k: np.asarray(v) for k, v in p.items()}
""",
}
MAIN = """
import pickle, sys
cases = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps({rule: after(rule, *case) for rule, case in cases.items()}))
"""
FIVE_STEPS: dict[str, Optimiser] = {
    "sgd": sgd(0.1),
    "momentum": momentum(0.1),
    "nesterov": nesterov(0.1),
    "rmsprop": rmsprop(0.01),
    "adagrad": adagrad(0.1),
    "adam": adam(0.01),
    "adamw": adamw(0.01),
    "decay": decay(0.1, 0.05),
}


@pytest.mark.parametrize("framework", PROGRAM)
def test_five_steps_are_those_of_a_frameworks_own_optimiser(framework: str) -> None:
    if not importlib.util.find_spec(framework):
        pytest.skip(f"{framework} is not installed")
    rng = np.random.default_rng(9)
    shapes = {"W": (4, 3), "b": (3,)}
    state = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    grads = [{name: rng.standard_normal(s) for name, s in shapes.items()} for _ in range(5)]
    cases = {rule: (o.lr, o.numbers, state, grads) for rule, o in FIVE_STEPS.items()}
    done = subprocess.run(
        [sys.executable, "-c", "import numpy as np\n" + PROGRAM[framework] + MAIN],
        input=pickle.dumps(cases),
        capture_output=True,
        cwd=Path(__file__).parent.parent,
        timeout=300,
        check=True,
    )
    found = pickle.loads(done.stdout)
    assert {rule for rule, want in found.items() if want is None} <= {"adagrad"}
    for rule, want in found.items():
        ours = start(FIVE_STEPS[rule], state)
        for grad in grads:
            ours = stepped(FIVE_STEPS[rule], ours, grad)
        for name, value in (want or {}).items():
            assert np.abs(ours[name] - value).max() <= 1e-13, (rule, name)
