"""What deliberately broken backends are made of: the NumPy backend, with one defect each.

`fails` names the check of the conformance kit that must be the first to fail.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from backends.numpy import Backend
from backends.numpy.buffered import BufferedTrainer as Trainer


class Broken(Backend):
    """The NumPy backend, unless a subclass says otherwise; its trainers are of `kind`."""

    fails: ClassVar[str]
    kind: ClassVar[type] = Trainer

    def __init__(self, device, dtype, threads, variant, precision="strict"):
        self.begin(dtype)
        super().__init__(device, dtype, threads, "buffered", precision)

    def begin(self, dtype):
        """What happens before anything else."""

    def trainer(self, workload):
        super().trainer(workload)  # refuses what it does not know
        return self.kind(self, workload)


class OtherUpdate(Trainer):
    """A trainer whose steps leave something else: `updated` of a parameter before and after."""

    def updated(self, name, before, after):
        return after

    def step(self, batch):
        before = self.get_params()
        loss = super().step(batch)
        for name, value in before.items():
            parameter = getattr(self.model, name)
            np.copyto(parameter, self.updated(name, value, parameter))
        return loss


def broken(fails: str):
    """Say which check fails; of a trainer class a Broken backend is made, with its docstring."""

    def make(kind: type) -> type:
        if issubclass(kind, Broken):
            kind.fails = fails
            return kind
        body = {"fails": fails, "kind": kind}
        body |= {name: getattr(kind, name) for name in ("__doc__", "__module__")}
        return type(kind.__name__, (Broken,), body)

    return make
