"""softmax-regression: one dense layer (Dive into Deep Learning 4.4)."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, normal
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense

SOFTMAX_REGRESSION = declare(
    "softmax-regression",
    Dense("W", "b", 784, 10),
    loss=SoftmaxCrossEntropy(),
    optimiser=sgd(lr=0.1),
    init=normal(0.01),
    x=(784,),
    data="fashion-mnist",
    batch_size=256,
    epochs=10,
    outcome=(
        Outcome("test accuracy", margin=0.003),
        Outcome("training loss", margin=0.001),
        Outcome("training accuracy", margin=0.003),
    ),
)
