"""What everything is judged against, in float64: the harness's own reference, or a label.

`HarnessJudge` is plain NumPy (`harness/workloads/reference/pieces.py`); `LabelJudge` asks a float64
worker, for a porter who names the original. Both train along a schedule and leave the same files as
a worker: `params-<step>`, `logits-<step>` (both after that step) and `series` in a folder. What is
screened is decided by the harness's reference in either case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import HarnessError
from harness.interface import Array, Params
from harness.run.inputs import Inputs
from harness.tensors import UNUSABLE, save_tensors
from harness.workers.launch import WorkerFailed
from harness.workers.pool import Key, Pool
from harness.workloads.reference.pieces import Reference, sgd

# The judge looks at test images in pieces of this many: its float64 copy stays small.
EVALUATION_ROWS = 2000


class Judge(Protocol):
    """Trains in float64, and says what correct values are at given parameters."""

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train through a schedule of the run; see the module for the files left in `out`."""

    def values(self, params: Params, x: Array, y: Array) -> tuple[Array, float, Params]:
        """Logits (n, outputs), mean loss in nats, gradients; params and x float64, y int64 (n,)."""


class HarnessJudge:
    """`harness/float64`. `each(step)` is called before every step of a training."""

    def __init__(self, reference: Reference, inputs: Inputs, each: Callable[[int], None]) -> None:
        self._reference = reference
        self._inputs = inputs
        self._each = each

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train through a schedule of the inputs."""
        inputs = self._inputs
        out.mkdir(parents=True)
        params = {n: v.astype(np.float64) for n, v in inputs.initial(seed).items()}
        losses = []
        for step, rows in enumerate(inputs.schedule(kind, seed)):
            self._each(step)
            x = inputs.x[rows].astype(np.float64)
            loss, grads = self._reference.loss_and_grads(params, x, inputs.y[rows])
            sgd(params, grads, inputs.plan.workload.lr)
            losses.append(loss)
            if step in snapshots:
                save_tensors(f"{out}/params-{step}", params)
            if step in evaluations:
                save_tensors(f"{out}/logits-{step}", {"logits": self._evaluate(params)})
        final = {f"final.{name}": value for name, value in params.items()}
        untimed = dict.fromkeys(("step_ns", "epoch_ns", "eval_ns"), np.zeros(0, dtype=np.int64))
        save_tensors(f"{out}/series", {"losses": np.array(losses)} | untimed | final)

    def _evaluate(self, params: Params) -> Array:
        test = self._inputs.test_x
        pieces = [test[at : at + EVALUATION_ROWS] for at in range(0, len(test), EVALUATION_ROWS)]
        return np.concatenate(
            [self._reference.logits(params, piece.astype(np.float64)) for piece in pieces]
        )

    def values(self, params: Params, x: Array, y: Array) -> tuple[Array, float, Params]:
        """The reference's word."""
        loss, grads = self._reference.loss_and_grads(params, x, y)
        return self._reference.logits(params, x), loss, grads


class LabelJudge:
    """A float64 worker of the plan, named as the reference; HarnessError where it fails."""

    def __init__(self, pool: Pool, key: Key, inputs: Inputs) -> None:
        self._pool = pool
        self._key = key
        self._inputs = inputs

    def train(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int], out: Path
    ) -> None:
        """Train the worker through a schedule of the inputs."""
        with self._needed():
            self._pool.train(
                self._key,
                self._inputs.file(f"initial-{seed}"),
                self._inputs.file(f"{kind}-{seed}"),
                steps=len(self._inputs.schedule(kind, seed)),
                snapshots=sorted(snapshots),
                evaluations=evaluations,
                out=out,
            )

    def values(self, params: Params, x: Array, y: Array) -> tuple[Array, float, Params]:
        """The worker's word."""
        given, batch = self._inputs.file("judge-params"), self._inputs.file("judge-batch")
        save_tensors(given, params)
        save_tensors(batch, {"x": x, "y": y})
        with self._needed():
            said = self._pool.answer(self._key, "case", params=given, batch=batch)
            grads = {name: said[f"grad.{name}"] for name in params}
            return said["logits"], float(said["loss"]), grads

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
