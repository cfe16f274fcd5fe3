"""Checks of what a backend says of itself and of what it refuses. Imports NumPy; no framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.subject import Subject, copied, same_bits
from harness.interface import State

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
    optimiser = msgspec.structs.replace(subject.workload.optimiser, rule=UNKNOWN)
    strange = {"model": UNKNOWN, "loss": UNKNOWN, "optimiser": optimiser}
    for field, value in strange.items():
        other = msgspec.structs.replace(subject.workload, **{field: value})
        _refused(f"trainer for {field} {UNKNOWN!r}", UNKNOWN, subject.backend.trainer, other)
    return Evidence(message=f"{len(strange)} of {len(strange)} refused")


def bad_states_refused(subject: Subject) -> Evidence:
    """A state of other names or shapes is a ValueError in one line, and changes nothing."""
    trainer, good = subject.trainer, subject.initial
    trainer.set_state(copied(good))
    held = {name: np.array(value) for name, value in trainer.get_state().items()}
    first, last = next(iter(good)), next(reversed(good))
    longer = np.zeros((good[last].size + 1,), subject.dtype)
    bad = {
        f"{last} missing": (last, {n: v for n, v in good.items() if n != last}),
        "one too many": (UNKNOWN, good | {UNKNOWN: np.zeros_like(good[last])}),
        f"{last} of another length": (last, good | {last: longer}),
    }
    if good[first].shape != good[first].T.shape:
        bad[f"{first} transposed"] = (first, good | {first: good[first].T})
    if good[last].ndim:
        bad[f"{last} as a single number"] = (last, good | {last: np.zeros((), subject.dtype)})
    # Other values than those that are held: one that was taken in part would show.
    for what, (name, state) in bad.items():
        others = {n: v + 1 for n, v in state.items()}
        _refused(f"set_state with {what}", name, trainer.set_state, others)
        same_bits("{} after a refused set_state", trainer.get_state(), held)
    return Evidence(message=f"{len(bad)} of {len(bad)} refused")


def bad_batches_refused(subject: Subject) -> Evidence:
    """A batch of other names, shapes or kinds is a ValueError in one line."""
    bad = _bad_batches(subject, subject.few(7))
    for what, batch in bad.items():
        _refused(f"put with {what}", "", subject.trainer.put, batch)
    return Evidence(message=f"{len(bad)} of {len(bad)} refused")


def _bad_batches(subject: Subject, good: State) -> dict[str, State]:
    """What is wrong with each of them, and the batch."""
    x = good["x"]
    bad = {
        "x of one axis more": good | {"x": x[None]},
        "x of a single sample": good | {"x": x[0]},
        "one too many": good | {UNKNOWN: x},
        "x missing": {name: value for name, value in good.items() if name != "x"},
        "x that is integers": good | {"x": x.astype(np.int64)},
    }
    if subject.workload.x:
        bad["x of another width"] = good | {"x": x[..., :-1]}
    for name, value in good.items():
        if name != "x":
            bad[f"{name} missing"] = {other: v for other, v in good.items() if other != name}
            bad[f"a sample too few in {name}"] = good | {name: value[:-1]}
            bad[f"{name} of one axis more"] = good | {name: value[:, None]}
    if subject.workload.y == "class":
        bad["classes that are floats"] = good | {"y": good["y"].astype(subject.dtype)}
    if subject.workload.y == "number":
        bad["targets that are integers"] = good | {"y": good["y"].astype(np.int64)}
    return bad


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
