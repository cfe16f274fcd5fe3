"""nielsen-neuron-cross-entropy: the same neuron by cross-entropy (Nielsen, chapter 3)."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import Declared, declare
from harness.workloads.reference.losses import SigmoidCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense


def started(w: float, b: float) -> Declared:
    """The neuron with this weight and this bias at the start."""
    return declare(
        "nielsen-neuron-cross-entropy",
        Dense("w", "b", 1, 1),
        loss=SigmoidCrossEntropy(),
        optimiser=sgd(lr=0.15),
        init=lambda slot: ("values", (w if slot.kind == "weight" else b,)),
        x=(1,),
        data="one-to-zero",
        batch_size=1,
        epochs=1,
        outcome=(Outcome("training loss", margin=0.001),),
    )


NIELSEN_NEURON_CROSS_ENTROPY = started(2.0, 2.0)
NEARER = started(0.6, 0.9)
