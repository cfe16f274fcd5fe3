"""The optimisers in PyTorch: torch.optim's, with the options that make a rule's formula hold.

May import torch and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, optim

from harness.interface import Optimiser


class Rule(NamedTuple):
    """A rule in torch.optim: how it is made, and its slots: ours -> torch's.

    options: of `make`, from the rule's numbers. capturable: whether it must be told that a CUDA
    graph records it. "step" is one number here, and one a parameter in torch.
    """

    make: Callable[..., optim.Optimizer]
    options: Callable[[dict[str, float]], dict[str, Any]]
    slots: dict[str, str]
    capturable: bool = False


def _momentum(numbers: dict[str, float]) -> dict[str, Any]:
    if numbers["momentum"] == 0:
        raise ValueError("torch: an optimiser with momentum 0 has no velocity in torch; use sgd")
    return numbers


def _rmsprop(numbers: dict[str, float]) -> dict[str, Any]:
    return {"alpha": numbers["rho"], "eps": numbers["eps"]}


def _adam(numbers: dict[str, float]) -> dict[str, Any]:
    return {"betas": (numbers["beta1"], numbers["beta2"]), "eps": numbers["eps"]}


def _decay(numbers: dict[str, float]) -> dict[str, Any]:
    return {"weight_decay": numbers["decay"]}


def _adamw(numbers: dict[str, float]) -> dict[str, Any]:
    return {**_adam(numbers), **_decay(numbers)}


_MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq", "step": "step"}

RULES: dict[str, Rule] = {
    "sgd": Rule(optim.SGD, dict, {}),
    "momentum": Rule(optim.SGD, _momentum, {"velocity": "momentum_buffer"}),
    "nesterov": Rule(partial(optim.SGD, nesterov=True), _momentum, {"velocity": "momentum_buffer"}),
    "rmsprop": Rule(optim.RMSprop, _rmsprop, {"v": "square_avg"}, capturable=True),
    "adagrad": Rule(optim.Adagrad, dict, {"v": "sum"}),
    "adam": Rule(optim.Adam, _adam, _MOMENTS, capturable=True),
    "decay": Rule(optim.SGD, _decay, {}),
    "adamw": Rule(optim.AdamW, _adamw, _MOMENTS, capturable=True),
}


def make(optimiser: Optimiser, parameters: list[Tensor], capturable: bool) -> optim.Optimizer:
    """PyTorch's optimiser with every slot there, at 0; ValueError for numbers that torch refuses.

    capturable: a CUDA graph records its step.
    """
    rule = RULES[optimiser.rule]
    options = rule.options(optimiser.numbers)
    capturable = rule.capturable and capturable
    if capturable:
        options = {**options, "capturable": True}
    groups: Any = parameters
    if optimiser.rule == "decay":  # of weights and kernels, not of what is a row
        decay = options.pop("weight_decay")
        groups = [{"params": [p], "weight_decay": decay if p.ndim > 1 else 0} for p in parameters]
    made = rule.make(groups, lr=optimiser.lr, **options)
    for p in parameters if rule.slots else ():
        # torch makes them at its first step; all but SGD count steps there, some to no effect.
        step = torch.zeros((), dtype=p.dtype, device=p.device if capturable else "cpu")
        made.state[p] = {theirs: torch.zeros_like(p) for theirs in rule.slots.values()}
        if not isinstance(made, optim.SGD):
            made.state[p]["step"] = step
    return made


def slots(
    optimiser: Optimiser, made: optim.Optimizer, parameters: dict[str, Tensor]
) -> dict[str, list[Tensor]]:
    """The tensors of its state by our names; parameters: by our names.

    "step" is every parameter's.
    """
    found: dict[str, list[Tensor]] = {}
    for name, p in parameters.items():
        for slot, theirs in RULES[optimiser.rule].slots.items():
            ours = slot if slot == "step" else f"{name}/{slot}"
            found.setdefault(ours, []).append(made.state[p][theirs])
    return found
