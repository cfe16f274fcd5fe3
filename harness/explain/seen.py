"""What a process gave of one teacher-forced batch, and how far it is from what else it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.explain.hypothesis import Limited
from harness.interface import Array, State
from harness.measure.distance import Formula, compare, norm, plain
from harness.measure.ladder import Asked, Wanted, asked, own_formula, update_formula
from harness.record.schema import OWN, TRAINING, Measurement
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.limits import RUNGS

# Inputs are copied; where they are made by another formula, of float32, last places may differ.
PLACES = 4
# Floating-point operations of a step from which on nothing is tried that takes many of them.
HEAVY = 1e9


@dataclass(frozen=True, eq=False)
class Seen:
    """One batch: the judge, its word, what a worker wrote, and what of it is over its limit.

    `off`: of the first rung that fails, by the key that a worker writes it under. Of the loss the
    gradients too: they are its own. Where values on the way are off, outputs follow from them.
    `kept`: what of the same rungs lies within.
    """

    judge: Composed
    wanted: Wanted
    tensors: State
    off: dict[str, Limited]
    kept: dict[str, Limited]

    @classmethod
    def of(
        cls,
        judge: Composed,
        wanted: Wanted,
        tensors: State,
        limited: Iterable[tuple[Measurement, float, bool]],
    ) -> Seen:
        """limited: measurements with their limits, and whether they lie within."""
        every = [one for one in limited if key_of(one[0], wanted) in tensors]
        first = min((m.rung for m, _, within in every if not within), key=RUNGS.index, default="")
        rungs = {"loss": ("loss", "gradients")}.get(first, (first,))
        own = [(key_of(m, wanted), Limited(m, limit), within) for m, limit, within in every
               if m.rung in rungs]  # fmt: skip
        off = {key: one for key, one, within in own if not within}
        if any(key.startswith("trace.") for key in off):
            off = {key: one for key, one in off.items() if key.startswith("trace.")}
        return cls(judge, wanted, tensors, off, {key: one for key, one, within in own if within})

    @cached_property
    def state(self) -> State:
        """What the judge was given, float64."""
        return cast(self.wanted.state)

    @cached_property
    def batch(self) -> State:
        return cast(self.wanted.batch)

    @cached_property
    def samples(self) -> int:
        return len(self.wanted.batch["x"])

    @property
    def heavy(self) -> bool:
        return self.wanted.workload.work >= HEAVY

    @cached_property
    def asked(self) -> dict[str, Asked]:
        """What was asked for from forward to update, by key."""
        return {one.key: one for one in asked(self.wanted)}

    @cached_property
    def rung(self) -> str:
        """The first that fails."""
        return min((one.measurement.rung for one in self.off.values()), key=RUNGS.index)

    def want(self, key: str) -> Array:
        """The judge's own, as a prediction is; nothing of values on the way."""
        if (name := self._trained(key)) is not None:
            return self.wanted.changes[name]
        if key in self.asked:
            return np.asarray(self.asked[key].want)
        if key.startswith("held."):
            return self.wanted.state[key.removeprefix("held.")]
        return self.wanted.batch[key]

    def gap(self, key: str, value: Array) -> Array:
        """See `Looked`. Of one shape."""
        error = self._formula(key, value)(self.tensors[key], self._whole(key, value))
        off = error.judged if error.plain is None else error.plain
        unit = (self._norms.get(key) or norm(value) or 1.0) * (self.limit(key) or 1.0)
        # What storing a weight costs says nothing of a number: its slots may say more.
        stored = 0.0 if self._trained(key) is None else np.spacing(np.abs(self.tensors[key]))
        return np.asarray(off / (unit + stored)).ravel()

    def left(self, key: str, value: Array) -> float:
        got = self.tensors[key]
        if got.shape != value.shape:
            return math.inf
        with np.errstate(all="ignore"):
            whole, formula = self._whole(key, value), self._formula(key, value)
            difference = compare(got, whole, str(got.dtype), formula)
        distance = difference.distance
        if distance is None or math.isnan(distance):
            return math.inf
        if self._trained(key) is None or difference.error is None:
            return distance
        # What is taken away may be a small difference of what is wanted to be.
        return (
            norm(difference.error.judged) / max(norm(value), self._norms[key]) if distance else 0.0
        )

    def limit(self, key: str) -> float:
        """What correct code may be off by."""
        one = (self.off | self.kept)[key]
        if one.measurement.rung != "inputs":
            return one.limit
        return PLACES * 2.0**-23 if self.tensors[key].dtype.kind == "f" else 0.0

    def size(self, keys: Sequence[str]) -> int:
        return sum(self.tensors[key].size for key in keys if key != "step loss" or len(keys) == 1)

    @cached_property
    def _norms(self) -> dict[str, float]:
        return {key: norm(self.want(key)) for key in self.asked}

    def _trained(self, key: str) -> str | None:
        """The tensor whose update stands under a key, if it is a trained one's."""
        name = key.removeprefix("new.")
        return name if name != key and name in self.wanted.changes else None

    def _whole(self, key: str, value: Array) -> Array:
        """What would be held, of a prediction."""
        name = self._trained(key)
        return value if name is None else self.state[name] - value

    def _formula(self, key: str, value: Array) -> Formula:
        if (name := self._trained(key)) is not None:
            return update_formula(self.wanted, name, value)
        if key.startswith("trace."):
            return own_formula(self.wanted.workload)
        return self.asked[key].formula if key in self.asked else plain


def key_of(m: Measurement, wanted: Wanted) -> str:
    """The key that a worker writes a measured tensor under."""
    if m.rung == "inputs":
        return f"held.{m.tensor}" if m.tensor in wanted.state else m.tensor
    if m.rung == "forward":
        if m.tensor.endswith(OWN):
            return f"trace.{m.tensor.removesuffix(OWN)}"
        return f"outputs{TRAINING}" if m.tensor.endswith(TRAINING) else "outputs"
    return {"gradients": "grad.", "update": "new."}.get(m.rung, "") + m.tensor
