"""nielsen-deep: three hidden layers of sigmoids, vanishing gradients (Nielsen, chapter 5)."""

from __future__ import annotations

from harness.workloads.declare import declare, fan_in_normal
from harness.workloads.reference.losses import Quadratic
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Sigmoid

NIELSEN_DEEP = declare(
    "nielsen-deep",
    Dense("W1", "b1", 784, 30),
    Sigmoid(),
    Dense("W2", "b2", 30, 30),
    Sigmoid(),
    Dense("W3", "b3", 30, 30),
    Sigmoid(),
    Dense("W4", "b4", 30, 10),
    Sigmoid(),
    loss=Quadratic("class"),
    optimiser=sgd(lr=0.1),
    init=fan_in_normal,
    x=(784,),
    data="mnist",
    validation=10_000,
    gradients_of=1000,
    batch_size=10,
    epochs=30,
)
