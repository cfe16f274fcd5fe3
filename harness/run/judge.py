"""What everything is judged against, in float64: a reference in NumPy, a label, or a golden file.

A judge is a `Reference` (logits, loss and gradients, kinks at given parameters) that also trains
along a schedule. All leave the same files as a worker: `params-<step>`, `logits-<step>` (both after
that step) and `series` in a folder. What is screened is decided by the workload's reference, where
it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import HarnessError
from harness.interface import Array, Params
from harness.run.golden_file import Golden
from harness.run.inputs import Inputs
from harness.tensors import UNUSABLE, save_tensors
from harness.workers.launch import WorkerFailed
from harness.workers.pool import Key, Pool
from harness.workloads.reference.pieces import Reference, cast, sgd

# The judge looks at test images in pieces of this many: its float64 copy stays small.
EVALUATION_ROWS = 2000


class Judge(Reference, Protocol):
    """Says what is right at given parameters, and trains. params, x: float64; y: int64 (n,)."""

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train through a schedule of the run; see the module for the files left in `out`."""


def evaluate(judge: Reference, params: Params, x: Array) -> Array:
    """Logits of a whole test set. params: float64; x (n, inputs) of any floating dtype."""
    pieces = [x[at : at + EVALUATION_ROWS] for at in range(0, len(x), EVALUATION_ROWS)]
    return np.concatenate([judge.logits(params, piece.astype(np.float64)) for piece in pieces])


class ReferenceJudge:
    """The harness's own reference, or a plug-in's. `each(step)` is called before every step."""

    def __init__(self, reference: Reference, inputs: Inputs, each: Callable[[int], None]) -> None:
        self.logits, self.loss_and_grads = reference.logits, reference.loss_and_grads
        self.kink_margin, self.kink_distance = reference.kink_margin, reference.kink_distance
        self._inputs = inputs
        self._each = each

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train through a schedule of the inputs."""
        inputs = self._inputs
        out.mkdir(parents=True)
        params = cast(inputs.initial(seed))
        losses = []
        for step, rows in enumerate(inputs.schedule(kind, seed)):
            self._each(step)
            x = inputs.x[rows].astype(np.float64)
            loss, grads = self.loss_and_grads(params, x, inputs.y[rows])
            sgd(params, grads, inputs.plan.workload.lr)
            losses.append(loss)
            if step in snapshots:
                save_tensors(f"{out}/params-{step}", params)
            if step in evaluations:
                save_tensors(
                    f"{out}/logits-{step}", {"logits": evaluate(self, params, inputs.test_x)}
                )
        final = {f"final.{name}": value for name, value in params.items()}
        untimed = dict.fromkeys(("step_ns", "epoch_ns", "eval_ns"), np.zeros(0, dtype=np.int64))
        save_tensors(f"{out}/series", {"losses": np.array(losses)} | untimed | final)


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
        for done, params in self._golden.params.items():
            save_tensors(f"{out}/params-{done - 1}", params)
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

    def logits(self, params: Params, x: Array) -> Array:
        with self._needed():
            return self._ask(params, x, np.zeros(len(x), dtype=np.int64))["logits"]

    def loss_and_grads(self, params: Params, x: Array, y: Array) -> tuple[float, Params]:
        tensors = self._ask(params, x, y)
        with self._needed():
            return float(tensors["loss"]), {name: tensors[f"grad.{name}"] for name in params}

    def kink_margin(self, params: Params, x: Array) -> Array:  # noqa: ARG002
        return np.full(len(x), np.inf)

    kink_distance = kink_margin

    def _ask(self, params: Params, x: Array, y: Array) -> dict[str, Array]:
        at, batch = self._inputs.file("judge-params"), self._inputs.file("judge-batch")
        save_tensors(at, params)
        save_tensors(batch, {"x": x, "y": y})
        with self._needed():
            return self._pool.exchange(self._key, "case", params=at, batch=batch)[1]

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
