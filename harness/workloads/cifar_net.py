"""cifar-net: two convolutions and three dense layers, momentum."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import momentum
from harness.workloads.reference.pieces import Conv, Dense, Flatten, MaxPool, Relu

CIFAR_NET = declare(
    "cifar-net",
    Conv("K1", "c1", 3, 6, 5),
    Relu(),
    MaxPool(2),
    Conv("K2", "c2", 6, 16, 5),
    Relu(),
    MaxPool(2),
    Flatten(),
    Dense("W1", "b1", 400, 120),
    Relu(),
    Dense("W2", "b2", 120, 84),
    Relu(),
    Dense("W3", "b3", 84, 10),
    loss=SoftmaxCrossEntropy(),
    optimiser=momentum(lr=0.001, momentum=0.9),
    init=fan_in_uniform,
    x=(32, 32, 3),
    data="cifar-10",
    normalise=(0.5, 0.5),
    batch_size=4,
    epochs=2,
    outcome=(Outcome("test accuracy", margin=0.01), Outcome("training loss", margin=0.01)),
)
