"""What deliberately broken backends are made of: the NumPy backend, with one defect each.

`fails` names the check of the conformance kit that must be the first to fail.
"""

from __future__ import annotations

from typing import ClassVar

from backends.numpy import Backend
from backends.numpy.buffered import BufferedTrainer as Trainer


class Broken(Backend):
    """The NumPy backend, unless a subclass says otherwise; its trainers are of `kind`."""

    fails: ClassVar[str]
    kind: ClassVar[type] = Trainer

    def __init__(self, device, dtype, threads, variant, precision="strict"):
        super().__init__(device, dtype, threads, "buffered", precision)

    def trainer(self, workload):
        super().trainer(workload)  # refuses what it does not know
        return self.kind(self, workload)


def broken(fails: str):
    """Make a Broken backend of a trainer class: the same name and docstring, and the check."""

    def make(kind: type) -> type:
        body = {
            "fails": fails,
            "kind": kind,
            "__doc__": kind.__doc__,
            "__module__": kind.__module__,
        }
        return type(kind.__name__, (Broken,), body)

    return make
