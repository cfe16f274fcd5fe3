"""Systems trained by loops written by hand, in a process beside the harness's trainer.

`numpy.py`, `torch.py`, `jax.py` and `tensorflow.py` have the loops: same names, same order, and
nothing of the harness or its backends in them; `keras.py` has `fit`. `loop(system, variant, start,
x, y)` takes initial parameters by name, x (steps, n, ...) and y, the same or None; it gives
`train`, which makes the first so many of these steps and returns what each took (nanoseconds; of
steps made as one call, a step's share), and `parameters`, which gives copies by name. This file is
the desk that a worker opens: a trainer and loops take turns. Imports the harness.
"""

from __future__ import annotations

import gc
import math
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
        self,
        state: str,
        batches: str,
        loops: dict[str, tuple[str, str]],
        rounds: int,
        budget_s: float,
        at_once: int,
        step: str,
    ) -> dict[str, Any]:
        """Rounds of the same steps by the trainer and by hand, in turn; the step of each.

        loops: by name the module here that has it, and its variant. at_once: steps of a call, where
        the trainer makes many as one. step: "median" or "fmean", of a round's steps. `harness_ns`:
        as a run times it; `loops_ns`: by name. A round has all batches, or as many as make all
        rounds last `budget_s` seconds. `distances`: how far a loop's parameters are from the
        trainer's after all steps (relative, all as one vector).
        """
        trainer, start, given = self._trainer, load_tensors(state), load_tensors(batches)
        x, y = given["x"], given.get("y")
        self._x = x[0]  # its length is the size of a batch, where the workload says none
        targets = [{}] * len(x) if y is None else [{"y": each} for each in y]
        trainer.set_state(start)
        put = [trainer.put({"x": each, **of}) for each, of in zip(x, targets, strict=True)]
        at_once = at_once if isinstance(trainer, RunsMany) else 1
        runs: dict[str, Any] = {"": lambda steps: self._timed(put[:steps], at_once)}
        parameters = {}
        for name, (module, variant) in loops.items():
            room = import_module(f"by_hand.{module}")
            made = room.loop(self._workload.name, variant, start, x, y)
            runs[name], parameters[name] = made
        names, of_round, steps = [*runs], getattr(statistics, step), len(put)
        found: dict[str, list[int]] = {name: [] for name in names}
        gc.collect()
        gc.disable()
        for number in range(WARMUP_ROUNDS + rounds):
            first = number % len(names)  # each goes first in turn
            for name in names[first:] + names[:first]:
                found[name].append(round(of_round(runs[name](steps))))
            if number + 1 == WARMUP_ROUNDS and at_once == 1:
                all_ns = sum(ns[-1] for ns in found.values())
                steps = max(1, min(steps, int(budget_s * 1e9 / rounds / all_ns)))
        gc.enable()
        steady = {name: ns[WARMUP_ROUNDS:] for name, ns in found.items()}
        want = trainer.get_state()
        return {
            "harness_ns": steady.pop(""),
            "loops_ns": steady,
            "distances": {name: _distance(get(), want) for name, get in parameters.items()},
        }


def _distance(found: State, want: State) -> float | None:
    """Of all parameters found, as one vector in float64, over the norm of those wanted."""
    mine, theirs = (
        np.concatenate([state[name].ravel() for name in sorted(found)]).astype(np.float64)
        for state in (found, want)
    )
    distance = float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))
    return distance if math.isfinite(distance) else None
