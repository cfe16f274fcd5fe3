"""Single operators, beside the ladder: asked of every process, measured against their truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import msgspec

from harness.interface import Array
from harness.measure import operators
from harness.measure.catalogue import CATALOGUE, Declared, by_arrays
from harness.run.state import State
from harness.text import plain
from harness.workers.operators import ProvidedOperator
from harness.workers.pool import Key

# Why a framework lacks an operator, in a cell of a table.
LONGEST_ABSENT = 500


class Chosen(NamedTuple):
    """An operator to ask for; of one that a package brings, its function by framework."""

    declared: Declared
    functions: dict[str, str] | None = None


def single_operators(state: State) -> None:
    """Values and derivatives of single operators, in every process."""
    if not state.plan.operators:
        return
    keys = state.pool.live()
    state.progress.phase("single operators", len(keys))
    with _chosen(state) as chosen:
        asked = {
            dtype: {name: operators.asked(each.declared, dtype) for name, each in chosen.items()}
            for dtype in sorted({key.dtype for key in keys})
        }
    state.record.truths = [
        operators.truth_of(name, chosen[name].declared, dtype, calls)
        for dtype, of in asked.items()
        for name, calls in of.items()
    ]
    for done, key in enumerate(keys, 1):
        with state.pool.containing(key):
            for name, calls in asked[key.dtype].items():
                declared, functions = chosen[name]
                ask = partial(ask_or_why, state, key, functions=functions)
                for form in declared.forms:
                    drawn = declared.drawn and not form and key.dtype == "float32"
                    found = operators.measured(name + form, key.dtype, calls, ask, drawn=drawn)
                    state.results(key).operators.append(found)
        state.progress.advance(done)


@contextmanager
def _chosen(state: State) -> Iterator[dict[str, Chosen]]:
    """The catalogue, and what packages bring, whose processes live as long."""
    chosen = {name: Chosen(declared) for name, declared in CATALOGUE.items()}
    processes = []
    try:
        for name, source in state.plan.brought.items():
            logs = state.folder / "logs" / f"operator-{name}"
            logs.mkdir(parents=True, exist_ok=True)
            own = ProvidedOperator(source, state.record.run, logs, state.scratch)
            processes.append(own)
            declared = by_arrays(own.truth, own.ordinary, own.special)
            chosen[name] = Chosen(declared, own.functions)
        yield chosen
    finally:
        for own in processes:
            own.end()


def ask_operator(state: State, key: Key, name: str, tensors: dict[str, Array]) -> dict[str, Array]:
    """One operator's value and derivatives; ValueError where this backend has none."""
    answer = ask_or_why(state, key, name, tensors)
    if isinstance(answer, str):
        raise ValueError(answer)  # noqa: TRY004 - an unusable answer of the worker
    return answer


def ask_or_why(
    state: State,
    key: Key,
    name: str,
    tensors: dict[str, Array],
    functions: dict[str, str] | None = None,
) -> dict[str, Array] | str:
    """An operator's answer, or why this backend has none of that name."""
    words = {}
    if functions is not None:
        own = functions.get(state.plan.labels[key.label].backend, "")
        words = {"function": own, "known": False}
    answer, found = state.pool.exchange(key, "op", tensors, name=name, **words)
    absent = msgspec.convert(answer["absent"], str | None)
    return plain(absent, LONGEST_ABSENT) if absent else found
