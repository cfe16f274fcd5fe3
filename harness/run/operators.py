"""Single operators, beside the ladder: measured in every float32 process, never judged."""

from __future__ import annotations

from functools import partial

import msgspec

from harness.interface import Array
from harness.measure import operators
from harness.run.state import State
from harness.text import plain
from harness.workers.pool import Key

# Why a framework lacks an operator, in a cell of a table.
LONGEST_ABSENT = 500


def single_operators(state: State) -> None:
    """Values and derivatives of single operators, in every float32 process."""
    if not state.plan.operators:
        return
    keys = state.pool.live("float32")
    state.progress.phase("single operators", len(keys))
    for done, key in enumerate(keys, 1):
        with state.pool.containing(key):
            for measured in operators.measured(key.dtype, partial(ask_or_why, state, key)):
                state.results(key).operators.append(measured)
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
