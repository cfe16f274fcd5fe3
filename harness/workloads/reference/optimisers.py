"""How a step changes a state: every rule once, by the formulas of ../docs/workload.md.

A state has the rule's own numbers beside what is trained ("W1/velocity", "step"). Imports NumPy
and the interface only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from harness.interface import Array, Optimiser, State, Tensor


class Rule(NamedTuple):
    """A rule: its numbers, the slots beside each trained tensor, whether it counts steps.

    change(slots, p, g, t, optimiser): what is taken from p, and the new slots, t from 1.
    linear: the change is linear in g, so an error of g is one of the change, no larger.
    decays: p itself is made smaller, by 1 - lr decay, and moved by this rule: where a framework
    does so one after the other, the factor and the smaller p are rounded too.
    """

    numbers: tuple[str, ...]
    slots: tuple[str, ...]
    counts: bool
    linear: bool
    change: Callable[[State, Array, Array, float, Optimiser], tuple[Array, State]]
    decays: str = ""


def sgd(lr: float) -> Optimiser:
    """P -= lr g."""
    return Optimiser("sgd", lr)


def momentum(lr: float, momentum: float = 0.9) -> Optimiser:
    """V = m v + g; p -= lr v."""
    return Optimiser("momentum", lr, {"momentum": momentum})


def nesterov(lr: float, momentum: float = 0.9) -> Optimiser:
    """V = m v + g; p -= lr (g + m v)."""
    return Optimiser("nesterov", lr, {"momentum": momentum})


def rmsprop(lr: float, rho: float = 0.9, eps: float = 1e-8) -> Optimiser:
    """V = rho v + (1 - rho) g²; p -= lr g / (sqrt(v) + eps)."""
    return Optimiser("rmsprop", lr, {"rho": rho, "eps": eps})


def adagrad(lr: float, eps: float = 1e-10) -> Optimiser:
    """V += g²; p -= lr g / (sqrt(v) + eps)."""
    return Optimiser("adagrad", lr, {"eps": eps})


def adam(lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Optimiser:
    """M = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; p as follows, t from 1.

    p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    """
    return Optimiser("adam", lr, {"beta1": beta1, "beta2": beta2, "eps": eps})


def adamw(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, decay: float = 0.01
) -> Optimiser:
    """As adam, and p -= lr decay p, of the p before the step."""
    numbers = {"beta1": beta1, "beta2": beta2, "eps": eps, "decay": decay}
    return Optimiser("adamw", lr, numbers)


def decay(lr: float, decay: float) -> Optimiser:
    """P -= lr (g + decay p) for weights and kernels, lr g for what has fewer than two axes."""
    return Optimiser("decay", lr, {"decay": decay})


Changed = tuple[Array, State]


def _sgd(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    return o.lr * g, {}


def _momentum(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    v = o.numbers["momentum"] * slots["velocity"] + g
    return o.lr * v, {"velocity": v}


def _nesterov(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    v = o.numbers["momentum"] * slots["velocity"] + g
    return o.lr * (g + o.numbers["momentum"] * v), {"velocity": v}


def _rmsprop(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    v = o.numbers["rho"] * slots["v"] + (1 - o.numbers["rho"]) * g**2
    return o.lr * g / (np.sqrt(v) + o.numbers["eps"]), {"v": v}


def _adagrad(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    v = slots["v"] + g**2
    return o.lr * g / (np.sqrt(v) + o.numbers["eps"]), {"v": v}


def _adam(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    b1, b2 = o.numbers["beta1"], o.numbers["beta2"]
    m = b1 * slots["m"] + (1 - b1) * g
    v = b2 * slots["v"] + (1 - b2) * g**2
    change = o.lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + o.numbers["eps"])
    return change, {"m": m, "v": v}


def _adamw(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:
    change, new = _adam(slots, p, g, t, o)
    return change + o.lr * o.numbers["decay"] * p, new


def _decay(slots: State, p: Array, g: Array, t: float, o: Optimiser) -> Changed:  # noqa: ARG001
    # A bias or a norm's tensor is a row.
    return o.lr * (g + o.numbers["decay"] * p if p.ndim > 1 else g), {}


RULES: dict[str, Rule] = {
    "sgd": Rule((), (), False, True, _sgd),
    "momentum": Rule(("momentum",), ("velocity",), False, True, _momentum),
    "nesterov": Rule(("momentum",), ("velocity",), False, True, _nesterov),
    "rmsprop": Rule(("rho", "eps"), ("v",), False, False, _rmsprop),
    "adagrad": Rule(("eps",), ("v",), False, False, _adagrad),
    "adam": Rule(("beta1", "beta2", "eps"), ("m", "v"), True, False, _adam),
    "decay": Rule(("decay",), (), False, True, _decay),
    "adamw": Rule(("beta1", "beta2", "eps", "decay"), ("m", "v"), True, False, _adamw, "adam"),
}
# How many steps were taken, where a rule counts them.
STEP = "step"


def problem(optimiser: Optimiser) -> str | None:
    """Why an optimiser means nothing; None where it does."""
    rule = RULES.get(optimiser.rule)
    if rule is None:
        return f"its optimiser {optimiser.rule!r} is none; known: {', '.join(RULES)}"
    if {*optimiser.numbers} != {*rule.numbers}:
        wanted = ", ".join(rule.numbers) or "no numbers"
        return f"its optimiser {optimiser.rule} has {wanted}, not {', '.join(optimiser.numbers)}"
    if not all(map(np.isfinite, (optimiser.lr, *optimiser.numbers.values()))):
        return "lr and the optimiser's numbers are finite"
    return None


def slots_of(optimiser: Optimiser, trained: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The optimiser's own tensors beside those that are trained, all starting at 0."""
    rule = RULES[optimiser.rule]
    slots = tuple(
        Tensor(f"{tensor.name}/{slot}", tensor.shape, "optimiser", axes=tensor.axes)
        for tensor in trained
        for slot in rule.slots
    )
    return (*slots, Tensor(STEP, (), "optimiser")) if rule.counts else slots


def moved(optimiser: Optimiser, state: State, grads: State) -> tuple[State, State]:
    """What a step with these gradients takes from each tensor, and the optimiser's new slots."""
    rule, changes = RULES[optimiser.rule], State()
    slots = {STEP: np.asarray(state[STEP] + 1)} if rule.counts else State()
    # Of the state's dtype: in float32 1 - 0.999^t cancels, as it does in optax.
    t: Any = slots[STEP][()] if rule.counts else 0.0
    for name, grad in grads.items():
        own = {slot: state[f"{name}/{slot}"] for slot in rule.slots}
        changes[name], new = rule.change(own, state[name], grad, t, optimiser)
        slots |= {f"{name}/{slot}": value for slot, value in new.items()}
    return changes, slots


def stepped(
    optimiser: Optimiser, state: State, grads: State, *, decayed_first: bool = False
) -> State:
    """The state after a step with these gradients; what they do not touch is as it was.

    decayed_first: what a rule makes smaller, it makes smaller before it moves it; the same but for
    rounding.
    """
    rule = RULES[optimiser.rule]
    if decayed_first and rule.decays:
        factor = 1 - optimiser.lr * optimiser.numbers["decay"]
        state = state | {name: state[name] * factor for name in grads}
        numbers = {name: optimiser.numbers[name] for name in RULES[rule.decays].numbers}
        optimiser = Optimiser(rule.decays, optimiser.lr, numbers)
    changes, slots = moved(optimiser, state, grads)
    return state | slots | {name: state[name] - change for name, change in changes.items()}
