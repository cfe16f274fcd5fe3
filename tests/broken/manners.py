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


@broken("bad-parameters-refused")
class TakesTheTransposed(Trainer):
    """Parameters of another shape are made to fit."""

    def set_params(self, params):
        right = {p.name: p.shape for p in self.workload.parameters}
        super().set_params(
            {
                n: v.reshape(right[n]) if n in right and v.size == np.prod(right[n]) else v
                for n, v in params.items()
            }
        )


@broken("bad-parameters-refused")
class TakesThemInPart(Trainer):
    """What is right of bad parameters is taken before the rest is refused."""

    def set_params(self, params):
        for p in self.workload.parameters:
            if p.name in params and params[p.name].shape == p.shape:
                np.copyto(getattr(self.model, p.name), params[p.name])
        super().set_params(params)


@broken("bad-parameters-refused")
class RaisesKeyError(Trainer):
    """A missing parameter is a KeyError from somewhere inside."""

    def set_params(self, params):
        super().set_params({p.name: params[p.name] for p in self.workload.parameters} | params)


@broken("bad-batches-refused")
class TakesFloatLabels(Trainer):
    """Labels that are floats are cut to integers."""

    def put(self, x, y):
        return super().put(x, y.astype(np.int64))


@broken("bad-batches-refused")
class TakesTooFewLabels(Trainer):
    """Labels that are missing are made up."""

    def put(self, x, y):
        return super().put(x, np.resize(y, len(x)) if x.ndim == 2 and y.ndim == 1 else y)
