"""Single operators, beside the ladder: measured in every float32 process, never judged."""

from __future__ import annotations

from functools import partial

import msgspec

from harness.interface import Array
from harness.measure import operators
from harness.run.state import State
from harness.tensors import load_tensors, save_tensors
from harness.text import plain
from harness.workers.pool import Key

# Why a framework lacks an operator, in a cell of a table.
LONGEST_ABSENT = 500


def single_operators(state: State) -> None:
    """Values and derivatives of single operators, in every float32 process."""
    keys = state.pool.live("float32") if state.plan.operators else []
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
    arguments, out = state.inputs.file("arguments"), state.scratch / "operator"
    save_tensors(arguments, tensors)
    out.unlink(missing_ok=True)
    answer = state.pool.call(key, "op", name=name, arguments=arguments, out=str(out))
    absent = msgspec.convert(answer["absent"], str | None)
    return plain(absent, LONGEST_ABSENT) if absent else load_tensors(str(out))
