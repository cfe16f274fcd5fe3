"""Backends that do not copy exactly, or share memory with their caller."""

from __future__ import annotations

import numpy as np
from shared import Trainer, broken


@broken("dtype-kept")
class LogitsInFloat64(Trainer):
    """Logits come back in float64, whatever was asked for."""

    def logits(self, batch):
        return super().logits(batch).astype(np.float64)


@broken("dtype-kept")
class LossAsAnArray(Trainer):
    """The loss is an array without dimensions, no number."""

    def wait(self, loss):
        return np.array(loss)


@broken("dtype-kept")
class ShortLabels(Trainer):
    """Labels come back as they are stored: int32."""

    def fetch(self, batch):
        x, y = super().fetch(batch)
        return x, y.astype(np.int32)


@broken("parameters-round-trip")
class FlushesSubnormals(Trainer):
    """Subnormal numbers become 0, as in a process that flushes them."""

    def get_params(self):
        return {
            n: np.where(np.abs(v) < np.finfo(v.dtype).tiny, np.copysign(v.dtype.type(0), v), v)
            for n, v in super().get_params().items()
        }


@broken("parameters-round-trip")
class LosesTheSignOfZero(Trainer):
    """-0.0 becomes 0.0."""

    def set_params(self, params):
        super().set_params({n: v + v.dtype.type(0) for n, v in params.items()})


@broken("batch-round-trip")
class RoundedPixels(Trainer):
    """Pixels are stored with 16 bits less."""

    def put(self, x, y):
        kind = {"float32": np.float16, "float64": np.float32}[self.dtype]
        with np.errstate(over="ignore"):
            return super().put(x.astype(kind), y)


@broken("batch-round-trip")
class ShiftedLabels(Trainer):
    """The labels of a batch of 96 belong to the rows before."""

    def put(self, x, y):
        return super().put(x, np.roll(y, len(y) == 96))


@broken("batch-round-trip")
class IgnoresStrides(Trainer):
    """Memory is read one place after the other, whatever the array says."""

    def put(self, x, y):
        made = super().put(x, y)
        if x.flags.f_contiguous and not x.flags.c_contiguous:
            return x.T.reshape(x.shape).copy(), made[1]
        return made


@broken("inputs-unchanged")
class ScalesInPlace(Trainer):
    """Pixels are clipped in the caller's own memory, after they were copied."""

    def put(self, x, y):
        made = super().put(x, y)
        if x.flags.writeable:
            np.minimum(x, 0.5, out=x)
        return made


@broken("inputs-unchanged")
class WantsToWrite(Trainer):
    """Memory that is read only is not taken, though nothing is written."""

    def put(self, x, y):
        if not x.flags.writeable:
            raise TypeError("x is read only")
        return super().put(x, y)


@broken("callers-memory-copied")
class KeepsTheCallersBatch(Trainer):
    """Put keeps the caller's arrays where they are of the right dtype."""

    def put(self, x, y):
        super().put(x, y)
        return np.asarray(x, self.dtype), np.asarray(y, np.intp)


@broken("callers-memory-copied")
class ComputesWithTheCallersBatch(Trainer):
    """Fetch tells of a copy; what is computed with is the caller's own memory."""

    def put(self, x, y):
        return (*super().put(x, y), np.asarray(x, self.dtype))

    def fetch(self, batch):
        return super().fetch(batch[:2])

    def logits(self, batch):
        return super().logits((batch[2], batch[1]))

    def loss_and_grads(self, batch):
        return super().loss_and_grads((batch[2], batch[1]))

    def step(self, batch):
        return super().step((batch[2], batch[1]))


@broken("callers-memory-copied")
class KeepsTheCallersParameters(Trainer):
    """Parameters are the caller's own arrays until the first step."""

    def set_params(self, params):
        super().set_params(params)
        for name, value in params.items():
            setattr(self.model, name, np.asarray(value, self.dtype))

    def step(self, batch):
        for name, value in self.get_params().items():
            setattr(self.model, name, value)
        return super().step(batch)


@broken("returned-arrays-fresh")
class HandsOutItsParameters(Trainer):
    """get_params gives the parameters themselves, which steps change in place."""

    def get_params(self):
        return {p.name: getattr(self.model, p.name) for p in self.workload.parameters}


@broken("returned-arrays-fresh")
class HandsOutItsBuffer(Trainer):
    """Logits are the buffer that the next call writes into."""

    def logits(self, batch):
        return self.model.forward(batch[0])


@broken("returned-arrays-fresh")
class FetchesTheBatchItself(Trainer):
    """Fetch gives the stored pixels themselves: who writes into them changes the batch."""

    def fetch(self, batch):
        return batch[0], batch[1].astype(np.int64)
