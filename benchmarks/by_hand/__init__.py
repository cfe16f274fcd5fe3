"""Small systems trained by loops written by hand, in a process beside the harness's trainer.

`numpy.py`, `torch.py`, `jax.py` and `tensorflow.py` have the loops: same names, same order, and
nothing of the harness or its backends in them. `loop(system, variant, start, x, y)` takes initial
parameters by name, x (steps, n, ...) and y, the same or None; it gives `train`, which makes the
first so many of these steps and returns what each took (nanoseconds; `scan` makes all as one call,
and returns a step's share), and `parameters`, which gives copies by name. This file is the desk
that a worker opens: a trainer and a loop take turns. Imports the harness.
"""

from __future__ import annotations

import gc
import statistics
from importlib import import_module
from typing import Any

import numpy as np

from harness.interface import RunsMany, State
from harness.tensors import load_tensors
from harness.workers.desks.timing import TimingDesk

# The first round compiles; the second tells how long a step takes.
WARMUP_ROUNDS = 2


class Desk(TimingDesk):
    """What a run opens, and one command more."""

    def turns(
        self, state: str, batches: str, variant: str, rounds: int, budget_s: float
    ) -> dict[str, Any]:
        """Rounds of the same steps by the trainer and by hand, in turn; the median step of each.

        `harness_ns`: as a run times and tells it; `by_hand_ns`: of the loop by hand. A round has
        all batches, or as many as make all rounds last `budget_s` seconds. `distance`: how far the
        loop's parameters are from the trainer's after all steps (relative, all as one vector).
        """
        trainer, start, given = self._trainer, load_tensors(state), load_tensors(batches)
        x, y = given["x"], given.get("y")
        self._x = x[0]  # its length is the size of a batch, where the workload says none
        targets = [{}] * len(x) if y is None else [{"y": each} for each in y]
        trainer.set_state(start)
        put = [trainer.put({"x": each, **of}) for each, of in zip(x, targets, strict=True)]
        at_once = len(put) if isinstance(trainer, RunsMany) else 1
        room = import_module(f"by_hand.{self._built.name}")
        train, parameters = room.loop(self._workload.name, variant, start, x, y)
        loops = {
            "harness_ns": lambda steps: self._timed(put[:steps], at_once),
            "by_hand_ns": train,
        }
        found: dict[str, list[int]] = {name: [] for name in loops}
        steps = len(put)
        gc.collect()
        gc.disable()
        for number in range(WARMUP_ROUNDS + rounds):
            for name in sorted(loops, reverse=number % 2 == 0):  # each goes first in turn
                found[name].append(round(statistics.median(loops[name](steps))))
            if number + 1 == WARMUP_ROUNDS and at_once == 1:
                both_ns = sum(ns[-1] for ns in found.values())
                steps = max(1, min(steps, int(budget_s * 1e9 / rounds / both_ns)))
        gc.enable()
        steady = {name: ns[WARMUP_ROUNDS:] for name, ns in found.items()}
        return steady | {"distance": _distance(parameters(), trainer.get_state())}


def _distance(found: State, want: State) -> float:
    """Of all parameters found, as one vector in float64, over the norm of those wanted."""
    mine, theirs = (
        np.concatenate([state[name].ravel() for name in sorted(found)]).astype(np.float64)
        for state in (found, want)
    )
    return float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))
