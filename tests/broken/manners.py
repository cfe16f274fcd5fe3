"""Backends that tell wrong things of themselves, or take what they should refuse."""

from __future__ import annotations

import numpy as np
from shared import Broken, Trainer, broken


@broken("facts")
class FactsThatAreNumbers(Broken):
    """The number of threads is a number, not a text."""

    def facts(self):
        return super().facts() | {"threads": 1}


@broken("facts")
class NoVersion(Broken):
    """No version of anything is told."""

    def facts(self):
        return {n: v for n, v in super().facts().items() if not n.startswith("version:")}


@broken("unknown-workload-refused")
class AnyLoss(Broken):
    """A loss that it does not know is trained with cross-entropy, without a word."""

    def trainer(self, workload):
        return Trainer(self, workload)


@broken("unknown-workload-refused")
class RefusesLoudly(Broken):
    """Refuses what it does not know with a message of many lines."""

    def trainer(self, workload):
        try:
            return super().trainer(workload)
        except ValueError as error:
            raise ValueError(f"something is wrong:\n{error}\nsee above") from None


@broken("bad-states-refused")
class TakesTheTransposed(Trainer):
    """Tensors of another shape are made to fit."""

    def set_state(self, state):
        right = {tensor.name: tensor.shape for tensor in self.workload.tensors}
        super().set_state(
            {
                n: v.reshape(right[n]) if n in right and v.size == np.prod(right[n]) else v
                for n, v in state.items()
            }
        )


@broken("bad-states-refused")
class TakesThemInPart(Trainer):
    """What is right of a bad state is taken before the rest is refused."""

    def set_state(self, state):
        for name, held in self.state.items():
            if name in state and state[name].shape == held.shape:
                np.copyto(held, state[name])
        super().set_state(state)


@broken("bad-states-refused")
class RaisesKeyError(Trainer):
    """A missing tensor is a KeyError from somewhere inside."""

    def set_state(self, state):
        super().set_state({t.name: state[t.name] for t in self.workload.tensors} | state)


@broken("bad-batches-refused")
class TakesFloatLabels(Trainer):
    """Labels that are floats are cut to integers."""

    def put(self, batch):
        return super().put(batch | {n: v.astype(np.int64) for n, v in batch.items() if n == "y"})


@broken("bad-batches-refused")
class TakesTooFewLabels(Trainer):
    """Labels that are missing are made up."""

    def put(self, batch):
        x, y = batch.get("x"), batch.get("y")
        if x is not None and y is not None and x.ndim == 2 and y.ndim == 1:
            batch = batch | {"y": np.resize(y, len(x))}
        return super().put(batch)


@broken("bad-batches-refused")
class TakesWhatItDoesNotKnow(Trainer):
    """What else stands in a batch is passed over in silence."""

    def put(self, batch):
        return super().put({name: batch[name] for name in ("x", "y") if name in batch})
