"""Checks of what a backend says of itself and of what it refuses. Imports NumPy; no framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.subject import Subject, copied, same_bits

UNKNOWN = "no-such-thing"
# A message is for a person: longer than this it is a stack of them.
MOST_LETTERS = 500


def facts(subject: Subject) -> Evidence:
    """Facts are texts by name; they tell a version, the device and the number of threads."""
    entries = subject.backend.facts()
    for name, value in entries.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise Failed(f"facts: {name!r} is {value!r}, {type(value).__name__}; texts are wanted")
        if not value.strip():
            raise Failed(f"facts: {name!r} is empty")
    lacking = [name for name in ("device", "threads") if name not in entries]
    if not any(name.startswith("version:") for name in entries):
        lacking.append("version:<package>")
    if lacking:
        raise Failed(f"facts: there is no {', no '.join(lacking)}")
    return Evidence(message=f"{len(entries)} facts")


def unknown_workload_refused(subject: Subject) -> Evidence:
    """A model, loss or optimiser that the backend does not know is a ValueError in one line."""
    for field in ("model", "loss", "optimiser"):
        strange = msgspec.structs.replace(subject.workload, **{field: UNKNOWN})
        _refused(f"trainer for {field} {UNKNOWN!r}", UNKNOWN, subject.backend.trainer, strange)
    return Evidence(message="3 of 3 refused")


def bad_parameters_refused(subject: Subject) -> Evidence:
    """Parameters of other names or shapes are a ValueError in one line, and change nothing."""
    trainer, good = subject.trainer, subject.initial
    trainer.set_params(copied(good))
    held = {name: np.array(value) for name, value in trainer.get_params().items()}
    first, last = next(iter(good)), next(reversed(good))
    bad = {
        f"{last} missing": (last, {n: v for n, v in good.items() if n != last}),
        "one too many": (UNKNOWN, good | {UNKNOWN: np.zeros_like(good[last])}),
        f"{first} transposed": (first, good | {first: good[first].T}),
        f"{last} one too long": (last, good | {last: np.zeros(len(good[last]) + 1, subject.dtype)}),
        f"{last} as a single number": (last, good | {last: np.zeros((), subject.dtype)}),
    }
    # Other values than those that are held: one that was taken in part would show.
    for what, (name, params) in bad.items():
        others = {n: v + 1 for n, v in params.items()}
        _refused(f"set_params with {what}", name, trainer.set_params, others)
        same_bits("{} after a refused set_params", trainer.get_params(), held)
    return Evidence(message=f"{len(bad)} of {len(bad)} refused")


def bad_batches_refused(subject: Subject) -> Evidence:
    """A batch that is not x (n, inputs) and integers y (n,) is a ValueError in one line."""
    x, y = subject.few(7)
    bad = {
        "x of another width": (x[:, :-1], y),
        "x one-dimensional": (x[0], y[:1]),
        "x three-dimensional": (x[None], y),
        "a label too few": (x, y[:-1]),
        "y two-dimensional": (x, y[:, None]),
        "labels that are floats": (x, y.astype(subject.dtype)),
    }
    for what, batch in bad.items():
        _refused(f"put with {what}", "", subject.trainer.put, *batch)
    return Evidence(message=f"{len(bad)} of {len(bad)} refused")


def _refused(what: str, named: str, call: Callable[..., Any], *arguments: Any) -> None:
    """Failed unless the call raises ValueError in one clear line that has `named` in it."""
    try:
        made = call(*arguments)
    except ValueError as error:
        text = str(error).strip()
        if not text or len(text.splitlines()) > 1 or len(text) > MOST_LETTERS:
            raise Failed(f"{what}: the message is not one line: {text[:MOST_LETTERS]!r}") from None
        if named not in text:
            raise Failed(f"{what}: the message does not name {named!r}: {text!r}") from None
    except Exception as error:
        text = f"{type(error).__name__} where ValueError is wanted: {' '.join(str(error).split())}"
        raise Failed(f"{what}: raised {text[:MOST_LETTERS]}") from None
    else:
        if hasattr(made, "close"):
            made.close()
        raise Failed(f"{what}: was taken; ValueError is wanted")
