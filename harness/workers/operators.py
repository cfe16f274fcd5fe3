"""Somebody else's single operator as the harness sees it: asked through a process of its own.

`harness/workers/desks/operator.py` is the other end. Nothing of a plug-in is imported here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.errors import HarnessError
from harness.interface import Array
from harness.plan.model import Timeouts
from harness.tensors import UNUSABLE
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable, environment

DESK = "harness.workers.desks.operator:OperatorDesk"
# What its log files are named after.
NAME = "operator"


class Described(msgspec.Struct):
    """What the process says of it."""

    points: list[str]
    functions: dict[str, str]


class ProvidedOperator:
    """An operator that a package brings; every method raises HarnessError where it fails.

    `ordinary`, `special`: its arguments, see `interface.SingleOperator`; `functions`: by framework.
    """

    def __init__(self, source: str, run: str, logs: Path, scratch: Path) -> None:
        self._source = source
        env = environment(1, {}, "strict", "", scratch)
        self._worker = Worker(NAME, run, sys.executable, env, 1, logs, scratch, DESK)
        try:
            answer, found = self._ask("start", source=source)
            said = msgspec.convert(answer, Described)
        except msgspec.ValidationError as error:
            self.end()
            raise HarnessError(f"the operator {source} failed: {error}") from None
        except BaseException:
            self.end()
            raise
        self.functions = said.functions
        places = [
            tuple(found[key] for key in sorted(found, key=_number) if key.startswith(f"{place}."))
            for place in range(1 + len(said.points))
        ]
        self.ordinary, self.special = places[0], dict(zip(said.points, places[1:], strict=True))

    def _ask(
        self, do: str, given: Mapping[str, Array] | None = None, **words: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        try:
            return self._worker.exchange(do, Timeouts().command_s, given, **words)
        except (WorkerFailed, WorkerUnavailable, *UNUSABLE) as error:
            raise HarnessError(f"the operator {self._source} failed: {error}") from None

    def truth(self, arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
        """Value and derivatives in float64; weights: None for ones, whatever the value's shape."""
        given = {str(place): array for place, array in enumerate(arrays)}
        given["weights"] = np.ones(()) if weights is None else weights
        _, found = self._ask("truth", given)
        return tuple(found[str(place)].astype(np.float64) for place in range(len(found)))

    def end(self) -> None:
        """End the process."""
        self._worker.end(grace_s=0)


def _number(key: str) -> int:
    return int(key.partition(".")[2])
