"""Backends that do not copy exactly, or share memory with their caller."""

from __future__ import annotations

import numpy as np
from shared import Trainer, broken


@broken("dtype-kept")
class OutputsInFloat64(Trainer):
    """Outputs come back in float64, whatever was asked for."""

    def outputs(self, batch, *, training):
        return super().outputs(batch, training=training).astype(np.float64)


@broken("dtype-kept")
class LossAsAnArray(Trainer):
    """The loss is an array without dimensions, no number."""

    def wait(self, loss):
        return np.array(loss)


@broken("dtype-kept")
class ShortLabels(Trainer):
    """Labels come back as they are stored: int32."""

    def fetch(self, batch):
        held = super().fetch(batch)
        return held | {"y": held["y"].astype(np.int32)}


@broken("state-round-trip")
class FlushesSubnormals(Trainer):
    """Subnormal numbers become 0, as in a process that flushes them."""

    def get_state(self):
        return {
            n: np.where(np.abs(v) < np.finfo(v.dtype).tiny, np.copysign(v.dtype.type(0), v), v)
            for n, v in super().get_state().items()
        }


@broken("state-round-trip")
class LosesTheSignOfZero(Trainer):
    """-0.0 becomes 0.0."""

    def set_state(self, state):
        super().set_state({n: v + v.dtype.type(0) for n, v in state.items()})


@broken("batch-round-trip")
class RoundedPixels(Trainer):
    """Pixels are stored with 16 bits less."""

    def put(self, batch):
        made = super().put(batch)
        kind = {"float32": np.float16, "float64": np.float32}[self.dtype]
        with np.errstate(over="ignore"):
            return made | {"x": made["x"].astype(kind).astype(self.dtype)}


@broken("batch-round-trip")
class ShiftedLabels(Trainer):
    """The labels of a batch of 96 belong to the rows before."""

    def put(self, batch):
        made = super().put(batch)
        return made | {"y": np.roll(made["y"], len(made["y"]) == 96)}


@broken("batch-round-trip")
class IgnoresStrides(Trainer):
    """Memory is read one place after the other, whatever the array says."""

    def put(self, batch):
        made, x = super().put(batch), batch["x"]
        if x.flags.f_contiguous and not x.flags.c_contiguous:
            return made | {"x": x.T.reshape(x.shape).copy()}
        return made


@broken("inputs-unchanged")
class ScalesInPlace(Trainer):
    """Pixels are clipped in the caller's own memory, after they were copied."""

    def put(self, batch):
        made, x = super().put(batch), batch["x"]
        if x.flags.writeable:
            np.minimum(x, 0.5, out=x)
        return made


@broken("inputs-unchanged")
class WantsToWrite(Trainer):
    """Memory that is read only is not taken, though nothing is written."""

    def put(self, batch):
        made = super().put(batch)
        if not batch["x"].flags.writeable:
            raise TypeError("x is read only")
        return made


@broken("callers-memory-copied")
class KeepsTheCallersBatch(Trainer):
    """Put keeps the caller's arrays where they are of the right dtype."""

    def put(self, batch):
        super().put(batch)
        return {"x": np.asarray(batch["x"], self.dtype), "y": np.asarray(batch["y"], np.int64)}


@broken("callers-memory-copied")
class ComputesWithTheCallersBatch(Trainer):
    """Fetch tells of a copy; what is computed with is the caller's own memory."""

    def put(self, batch):
        return super().put(batch) | {"own": np.asarray(batch["x"], self.dtype)}

    def fetch(self, batch):
        return super().fetch({"x": batch["x"], "y": batch["y"]})

    def loss_and_grads(self, batch):
        return super().loss_and_grads(batch | {"x": batch["own"]})


@broken("callers-memory-copied")
class KeepsTheCallersState(Trainer):
    """The state is the caller's own arrays until the first step."""

    def set_state(self, state):
        super().set_state(state)
        self.state = {name: np.asarray(value, self.dtype) for name, value in state.items()}

    def step(self, batch):
        self.state = self.get_state()
        return super().step(batch)


@broken("returned-arrays-fresh")
class HandsOutItsState(Trainer):
    """get_state gives the tensors themselves, which steps change in place."""

    def get_state(self):
        return dict(self.state)


@broken("returned-arrays-fresh")
class HandsOutItsBuffer(Trainer):
    """Outputs are the buffer that the next call writes into."""

    def outputs(self, batch, *, training):
        return self.forward(batch["x"])[-1]


@broken("returned-arrays-fresh")
class FetchesTheBatchItself(Trainer):
    """Fetch gives the stored pixels themselves: who writes into them changes the batch."""

    def fetch(self, batch):
        return {"x": batch["x"], "y": batch["y"].copy()}
