"""The optimisers in Optax, with the options that make a rule's formula hold.

May import jax, optax and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from harness.interface import Optimiser

Arrays = dict[str, jax.Array]


class Rule(NamedTuple):
    """A rule in Optax: how it is made, and its slots: ours -> the field of Optax's state.

    options: our numbers -> the arguments of `make`. "step" is Optax's own count, an int32.
    """

    make: Callable[..., optax.GradientTransformation]
    options: dict[str, str]
    slots: dict[str, str]


def _adagrad(lr: float, eps: float) -> optax.GradientTransformation:
    """optax.adagrad has eps inside the root, and starts from there: its state, our formula."""

    def scaled(grads: Any, state: Any, params: Any = None) -> Any:  # noqa: ARG001
        total = jax.tree.map(lambda v, g: v + g**2, state.sum_of_squares, grads)
        scaled = jax.tree.map(lambda g, v: g / (jnp.sqrt(v) + eps), grads, total)
        return scaled, optax.ScaleByRssState(total)

    start = optax.scale_by_rss(initial_accumulator_value=0.0).init
    return optax.chain(
        optax.GradientTransformation(start, scaled), optax.scale_by_learning_rate(lr)
    )


def _decay(lr: float, weight_decay: float) -> optax.GradientTransformation:
    """Of weights and kernels, not of what is a row."""

    def mask(params: Any) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask), optax.scale_by_learning_rate(lr)
    )


_ADAM = {"beta1": "b1", "beta2": "b2", "eps": "eps"}
_MOMENTS = {"m": "mu", "v": "nu", "step": "count"}

RULES: dict[str, Rule] = {
    "sgd": Rule(optax.sgd, {}, {}),
    "momentum": Rule(optax.sgd, {"momentum": "momentum"}, {"velocity": "trace"}),
    "nesterov": Rule(
        partial(optax.sgd, nesterov=True), {"momentum": "momentum"}, {"velocity": "trace"}
    ),
    "rmsprop": Rule(
        partial(optax.rmsprop, eps_in_sqrt=False), {"rho": "decay", "eps": "eps"}, {"v": "nu"}
    ),
    "adagrad": Rule(_adagrad, {"eps": "eps"}, {"v": "sum_of_squares"}),
    "adam": Rule(optax.adam, _ADAM, _MOMENTS),
    "decay": Rule(_decay, {"decay": "weight_decay"}, {}),
    "adamw": Rule(optax.adamw, {**_ADAM, "decay": "weight_decay"}, _MOMENTS),
}


def make(optimiser: Optimiser) -> optax.GradientTransformation:
    """Optax's transformation."""
    rule = RULES[optimiser.rule]
    options = {rule.options[name]: value for name, value in optimiser.numbers.items()}
    return rule.make(optimiser.lr, **options)


def update(
    optimiser: Optimiser, made: optax.GradientTransformation, state: Arrays, grads: Arrays
) -> Arrays:
    """What a step makes of what is trained and of every slot.

    state: by our names, grads by those of what is trained. Optax's own state is built from the
    slots and taken apart again, so that a forced slot is what the step starts from.
    """
    slots = RULES[optimiser.rule].slots
    params = {name: state[name] for name in grads}
    fields: dict[str, Any] = {
        field: {name: state[f"{name}/{slot}"] for name in grads}
        for slot, field in slots.items()
        if slot != "step"
    }
    if "step" in slots:
        fields["count"] = state["step"].astype(jnp.int32)
    held = tuple(
        part._replace(**{field: fields[field] for field in part._fields if field in fields})
        for part in made.init(params)
    )
    updates, held = made.update(grads, held, params)
    new = dict(optax.apply_updates(params, updates))
    for slot, field in slots.items():
        value = next(getattr(part, field) for part in held if field in part._fields)
        if slot == "step":
            new["step"] = value.astype(state["step"].dtype)
        else:
            new |= {f"{name}/{slot}": value[name] for name in grads}
    return new
