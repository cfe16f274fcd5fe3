"""What everything is judged against, in float64: a reference in NumPy, a label, or a golden file.

A judge is a `Reference` (outputs, loss and gradients, kinks at a given state) that also trains
along a schedule. All leave the same files as a worker: `state-<step>`, `outputs-<step>` (both after
that step) and `series` in a folder. What is screened is decided by the workload's reference, where
it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import HarnessError
from harness.interface import Array, State
from harness.run.golden_file import Golden
from harness.run.inputs import Inputs
from harness.tensors import UNUSABLE, save_tensors
from harness.workers.launch import WorkerFailed
from harness.workers.looks import Looks
from harness.workers.pool import Key, Pool
from harness.workloads.reference import canonical
from harness.workloads.reference.composed import Look, Reference, cast
from harness.workloads.reference.optimisers import stepped

# The judge looks at test images in pieces of this many: its float64 copy stays small.
EVALUATION_ROWS = 2000


class Judge(Reference, Protocol):
    """Says what is right at a given state, and trains. state, batch: float64."""

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train through a schedule of the run; see the module for the files left in `out`."""


def evaluate(judge: Reference, state: State, x: Array) -> Array:
    """Outputs of a whole test set. state: float64; x (n, ...) of any floating dtype."""
    rows = EVALUATION_ROWS if x.ndim == 2 else EVALUATION_ROWS // 10
    pieces = [x[at : at + rows] for at in range(0, len(x), rows)]
    return np.concatenate(
        [judge.outputs(state, {"x": piece.astype(np.float64)}) for piece in pieces]
    )


class ReferenceJudge:
    """The harness's own reference, or a plug-in's. `each(step)` is called before every step."""

    def __init__(self, reference: Reference, inputs: Inputs, each: Callable[[int], None]) -> None:
        self.outputs, self.look = reference.outputs, reference.look
        self.kink_margin, self.kink_distance = reference.kink_margin, reference.kink_distance
        self._inputs = inputs
        self._each = each

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train through a schedule of the inputs."""
        inputs = self._inputs
        out.mkdir(parents=True)
        workload, schedule = inputs.plan.workload, inputs.schedule(kind, seed)
        samples = np.array([len(rows) for rows in schedule])
        looks = Looks(workload, samples)
        state = cast(inputs.initial(seed))
        first = cast(inputs.batch(slice(0, workload.gradients_of), seed, 0))
        losses = []
        looks.at_gradients(partial(self._gradients, state, first))
        looks.at_state(0, partial(dict, state))
        for step, rows in enumerate(schedule):
            self._each(step)
            batch = cast(inputs.batch(rows, seed, step))
            look = self.look(state, batch)
            if looks.every_step:
                looks.at_outputs(look.outputs, batch["y"])
            state = stepped(workload.optimiser, state | look.running, look.grads)
            losses.append(look.loss)
            looks.at_state(step + 1, partial(dict, state))
            if step in snapshots:
                save_tensors(f"{out}/state-{step}", state)
            if step in evaluations:
                outputs = evaluate(self, state, inputs.test_x)
                save_tensors(f"{out}/outputs-{step}", {"outputs": outputs})
                looks.at_gradients(partial(self._gradients, state, first))
        final = {f"final.{name}": value for name, value in state.items()}
        untimed = dict.fromkeys(("step_ns", "epoch_ns", "eval_ns"), np.zeros(0, dtype=np.int64))
        told = np.array(losses) / samples if workload.summed else np.array(losses)
        seen = {"losses": told} | looks.series()
        save_tensors(f"{out}/series", seen | untimed | final)

    def _gradients(self, state: State, batch: State) -> State:
        return self.look(state, batch).grads


class FileJudge(ReferenceJudge):
    """A golden file: its training is what lockstep is held to; it is silent on all other rungs.

    Those are the reference's, whose training the teacher-forced batches are taken from.
    """

    def __init__(
        self, golden: Golden, reference: Reference, inputs: Inputs, each: Callable[[int], None]
    ) -> None:
        super().__init__(reference, inputs, each)
        self._golden = golden

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Lay out what the file holds as "lockstep"; else train as the reference does."""
        if kind != "lockstep":
            super().train(kind, seed, snapshots, evaluations, out)
            return
        out.mkdir(parents=True)
        for done, state in self._golden.states.items():
            save_tensors(f"{out}/state-{done - 1}", state)
        save_tensors(f"{out}/series", {"losses": self._golden.losses})


class LabelJudge:
    """A float64 worker of the plan, named as the reference; HarnessError where it fails.

    Nothing is known of its kinks: no sample is near one.
    """

    def __init__(self, pool: Pool, key: Key, inputs: Inputs) -> None:
        self._pool = pool
        self._key = key
        self._inputs = inputs

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train the worker through a schedule of the inputs."""
        with self._needed():
            training = self._inputs.training(kind, seed)
            self._pool.train(
                self._key, *training, snapshots=snapshots, evaluations=evaluations, out=out
            )

    def outputs(self, state: State, batch: State) -> Array:
        with self._needed():
            n, workload = len(batch["x"]), self._inputs.plan.workload
            y = np.zeros(n, np.int64) if workload.y == "class" else np.zeros((n, *workload.outputs))
            needed = canonical.noise(workload, 0, 0, n) | ({} if workload.y == "none" else {"y": y})
            return self._ask(state, needed | batch)["outputs"]

    def look(self, state: State, batch: State) -> Look:
        tensors = self._ask(state, batch)
        with self._needed():
            names = [t.name for t in self._inputs.plan.workload.tensors if t.role == "running"]
            return Look(
                tensors.get("outputs, training", tensors["outputs"]),
                float(tensors["loss"]),
                {t.name: tensors[f"grad.{t.name}"] for t in self._inputs.plan.workload.trained},
                {name: tensors[f"new.{name}"] for name in names},
            )

    def kink_margin(self, state: State, batch: State) -> Array:  # noqa: ARG002
        return np.full(len(batch["x"]), np.inf)

    kink_distance = kink_margin

    def _ask(self, state: State, batch: State) -> dict[str, Array]:
        at, given = self._inputs.file("judge-state"), self._inputs.file("judge-batch")
        save_tensors(at, state)
        save_tensors(given, batch)
        with self._needed():
            return self._pool.exchange(self._key, "case", state=at, batch=given)[1]

    @contextmanager
    def _needed(self) -> Iterator[None]:
        """Nothing can be judged without the reference: what it does wrong ends the run."""
        label = f"{self._key.label}:{self._key.dtype}"
        if self._key not in self._pool.workers:
            reason = self._pool.processes[self._key].reason
            raise HarnessError(f"the reference {label} failed: {reason}")
        try:
            yield
        except (WorkerFailed, *UNUSABLE) as error:
            self._pool.fail(self._key, f"as the reference: {error}")
            raise HarnessError(f"the reference {label} failed: {error}") from None
