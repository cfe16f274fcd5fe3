"""logistic-regression: one dense layer and a sigmoid, all rows as one batch."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import BinaryCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Sigmoid

LOGISTIC_REGRESSION = declare(
    "logistic-regression",
    Dense("W", "b", 8, 1),
    Sigmoid(),
    loss=BinaryCrossEntropy(),
    optimiser=sgd(lr=0.1),
    init=fan_in_uniform,
    x=(8,),
    data="diabetes",
    batch_size=None,
    epochs=100,
    outcome=(Outcome("binary accuracy", margin=0.01), Outcome("training loss", margin=0.001)),
)
