"""linear-regression: a line through points that are made anew for every step."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare
from harness.workloads.reference.losses import HalfSquaredSum
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense

LINEAR_REGRESSION = declare(
    "linear-regression",
    Dense("w", "b", 1, 1, row=True),
    loss=HalfSquaredSum(),
    optimiser=sgd(lr=0.02),
    init=lambda slot: ("unit", 1.0) if slot.kind == "weight" else ("zeros", 0.0),
    x=(1,),
    data="line",
    batch_size=4,
    epochs=1,
    outcome=(Outcome("training loss", margin=0.001),),
)
