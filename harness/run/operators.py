"""Single operators, beside the ladder: asked of every process, measured against their truth."""

from __future__ import annotations

from functools import partial

import msgspec

from harness.interface import Array
from harness.measure import operators
from harness.measure.catalogue import CATALOGUE
from harness.run.state import State
from harness.text import plain
from harness.workers.pool import Key

# Why a framework lacks an operator, in a cell of a table.
LONGEST_ABSENT = 500


def single_operators(state: State) -> None:
    """Values and derivatives of single operators, in every process."""
    if not state.plan.operators:
        return
    keys = state.pool.live()
    state.progress.phase("single operators", len(keys))
    asked = {
        dtype: {name: operators.asked(declared, dtype) for name, declared in CATALOGUE.items()}
        for dtype in sorted({key.dtype for key in keys})
    }
    state.record.truths = [
        operators.truth_of(name, CATALOGUE[name], dtype, calls)
        for dtype, of in asked.items()
        for name, calls in of.items()
    ]
    for done, key in enumerate(keys, 1):
        with state.pool.containing(key):
            for name, calls in asked[key.dtype].items():
                declared, ask = CATALOGUE[name], partial(ask_or_why, state, key)
                for form in declared.forms:
                    drawn = declared.drawn and not form and key.dtype == "float32"
                    found = operators.measured(name + form, key.dtype, calls, ask, drawn=drawn)
                    state.results(key).operators.append(found)
        state.progress.advance(done)


def ask_operator(state: State, key: Key, name: str, tensors: dict[str, Array]) -> dict[str, Array]:
    """One operator's value and derivatives; ValueError where this backend has none."""
    answer = ask_or_why(state, key, name, tensors)
    if isinstance(answer, str):
        raise ValueError(answer)  # noqa: TRY004 - an unusable answer of the worker
    return answer


def ask_or_why(
    state: State, key: Key, name: str, tensors: dict[str, Array]
) -> dict[str, Array] | str:
    """An operator's answer, or why this backend has none of that name."""
    answer, found = state.pool.exchange(key, "op", tensors, name=name)
    absent = msgspec.convert(answer["absent"], str | None)
    return plain(absent, LONGEST_ABSENT) if absent else found
