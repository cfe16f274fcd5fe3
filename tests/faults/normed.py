"""A small net with batch norm and dropout, for the faults of both; its rooms are in tests/rooms."""

from __future__ import annotations

from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import momentum
from harness.workloads.reference.pieces import BatchNorm, Dense, Dropout, Sigmoid

NORMED = declare(
    "normed",
    Dense("W1", "b1", 5, 6),
    BatchNorm("gamma", "beta", "mean", "var", 6),
    Sigmoid(),
    Dropout("U", 0.25),
    Dense("W2", "b2", 6, 3),
    loss=SoftmaxCrossEntropy(),
    optimiser=momentum(lr=0.1, momentum=0.9),
    init=fan_in_uniform,
    x=(5,),
    data="normed.npz",
    batch_size=16,
    epochs=1,
)
