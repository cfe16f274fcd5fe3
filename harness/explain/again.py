"""What a run kept of a divergence, explained again: as when it measured, from the same numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.data import prepared
from harness.explain.hypothesis import Looked
from harness.explain.lockstep import Trained
from harness.explain.search import find, told
from harness.explain.seen import Seen
from harness.interface import Array, State, Workload
from harness.measure.ladder import Wanted
from harness.record.schema import Explanation, Measurement
from harness.workloads.reference.composed import Composed, cast


def of_batch(
    judge: Composed,
    workload: Workload,
    dtype: str,
    given: tuple[State, State],
    got: State,
    limited: Iterable[tuple[Measurement, float, bool]],
    centred: bool = False,
) -> list[Explanation]:
    """What explains a teacher-forced batch. given: the state and the batch, as `Wanted` has them.

    got: what a worker wrote, by key; limited: see `Seen.of`.
    """
    wanted = Wanted.of(judge, workload, *given, dtype, centred)
    return _found(Seen.of(judge, wanted, got, limited))


def of_steps(
    judge: Composed,
    workload: Workload,
    given: State,
    losses: tuple[Array, Array],
    held: State,
    limited: Iterable[tuple[Measurement, float, bool]],
) -> list[Explanation]:
    """What explains a training that goes astray. given: the initial state.*, then the samples.

    These are x or images, and y, of all steps; `sizes` (steps,) of each. losses, held, limited: see
    `Trained.of`.
    """
    rows = {name: v for name, v in given.items() if name in ("x", "y")}
    if "images" in given:
        rows["x"] = prepared(given["images"], workload.x, workload.normalise)
    ends = np.cumsum(given["sizes"])

    def batch(step: int) -> State:
        first = ends[step] - given["sizes"][step]
        return cast({name: v[first : ends[step]] for name, v in rows.items()})

    initial = {t.name: given[f"state.{t.name}"] for t in workload.tensors}
    return _found(Trained.of(judge, workload, initial, batch, losses, held, limited))


def _found(looked: Looked) -> list[Explanation]:
    with np.errstate(all="ignore"):
        return [*map(told, find(looked))]
