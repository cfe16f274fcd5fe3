"""diabetes-relu-sigmoid: 8-6-4-1, ReLU, and a sigmoid at the end, all rows as one batch."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import BinaryCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu, Sigmoid

DIABETES_RELU_SIGMOID = declare(
    "diabetes-relu-sigmoid",
    Dense("W1", "b1", 8, 6),
    Relu(),
    Dense("W2", "b2", 6, 4),
    Relu(),
    Dense("W3", "b3", 4, 1),
    Sigmoid(),
    loss=BinaryCrossEntropy(),
    optimiser=sgd(lr=0.01),
    init=fan_in_uniform,
    x=(8,),
    data="diabetes",
    batch_size=None,
    epochs=100,
    outcome=(Outcome("binary accuracy", margin=0.01), Outcome("training loss", margin=0.001)),
)
