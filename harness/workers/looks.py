"""What a workload wants to see of its training beside losses; worker and judge look alike.

Imports NumPy and the interface; no framework.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.interface import Array, State, Workload

# A way through a training is drawn from so many states at most, the first and the last among them.
MOST_STATES = 200


class Looks:
    """What is seen of one training; `series` tells it.

    rows: int (steps,), samples of each. `every_step`: right answers are counted in each batch
    before its update. `last_ns`: what the last look at outputs took, for who keeps the time.
    """

    def __init__(self, workload: Workload, rows: Array) -> None:
        self._workload = workload
        self.every_step = workload.counts_training
        self.last_ns = 0
        stride = -(-len(rows) // MOST_STATES)
        self._after = {*range(0, len(rows), stride), len(rows)} if workload.tiny else set()
        self._right: list[int] = []
        self._norms: dict[str, list[float]] = {tensor.name: [] for tensor in workload.trained}
        self._states: dict[int, Array] = {}

    def go_on(self, series: State) -> None:
        """Have seen what `series` told of the same training, cut off after some epoch."""
        self._right = series.get("right", np.zeros(0, np.int64)).tolist()
        self._norms = {n: series.get(f"gradients.{n}", np.zeros(0)).tolist() for n in self._norms}
        steps = series.get("path.steps", np.zeros(0, np.int64)).tolist()
        self._states = dict(zip(steps, series.get("path", ()), strict=True))

    def at_outputs(self, outputs: Array, y: Array) -> None:
        """Outputs (n, classes) of a batch before its update; y: its classes (n,)."""
        right = (outputs.argmax(axis=1) == y) & ~np.isnan(outputs).any(axis=1)
        self._right.append(int(np.count_nonzero(right)))

    def at_gradients(self, gradients: Callable[[], State]) -> None:
        """The gradients of the first rows, where any are wanted."""
        if self._workload.gradients_of:
            for name, grad in gradients().items():
                self._norms[name].append(float(np.linalg.norm(grad.astype(np.float64))))

    def at_state(self, done: int, state: Callable[[], State]) -> None:
        """The state after so many steps, where it is one of those that are kept."""
        if done in self._after:
            held = state()
            parts = [held[t.name].astype(np.float64).ravel() for t in self._workload.learnt]
            self._states[done] = np.concatenate(parts)

    def series(self) -> State:
        """`right`: int64 (steps,); `gradients.NAME`: float64, before and after every epoch.

        `path`: float64 (states, numbers learnt), after `path.steps`. Only what was wanted.
        """
        found: State = {}
        if self._right:
            found["right"] = np.array(self._right, np.int64)
        if self._workload.gradients_of:
            found |= {f"gradients.{n}": np.array(v, np.float64) for n, v in self._norms.items()}
        if self._states:
            found["path.steps"] = np.array([*self._states], np.int64)
            found["path"] = np.stack([*self._states.values()])
        return found
