"""nielsen-neuron: one sigmoid learns to answer 1 with 0, quadratic loss (Nielsen, chapter 3)."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import Declared, declare
from harness.workloads.reference.losses import Quadratic
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Sigmoid


def started(w: float, b: float) -> Declared:
    """The neuron with this weight and this bias at the start."""
    return declare(
        "nielsen-neuron",
        Dense("w", "b", 1, 1),
        Sigmoid(),
        loss=Quadratic(),
        optimiser=sgd(lr=0.15),
        init=lambda slot: ("values", (w if slot.kind == "weight" else b,)),
        x=(1,),
        data="one-to-zero",
        batch_size=1,
        epochs=1,
        outcome=(Outcome("training loss", margin=0.001),),
    )


NIELSEN_NEURON = started(2.0, 2.0)
NEARER = started(0.6, 0.9)
