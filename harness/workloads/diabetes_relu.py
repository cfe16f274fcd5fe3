"""diabetes-relu: 8-6-4-1, ReLU everywhere, the outputs too: a training that fails."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import BinaryCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu

DIABETES_RELU = declare(
    "diabetes-relu",
    Dense("W1", "b1", 8, 6),
    Relu(),
    Dense("W2", "b2", 6, 4),
    Relu(),
    Dense("W3", "b3", 4, 1),
    Relu(),
    loss=BinaryCrossEntropy(),
    optimiser=sgd(lr=0.01),
    init=fan_in_uniform,
    x=(8,),
    data="diabetes",
    batch_size=None,
    epochs=1000,
    outcome=(Outcome("training loss", margin=0.001),),
)
