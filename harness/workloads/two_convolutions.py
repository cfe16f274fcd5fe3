"""two-convolutions: two convolutions as wide as asked for, on CIFAR-10's images made as small."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import Declared, declare, fan_in_uniform
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import AveragePool, Conv, Dense, Flatten, Relu


def sized(channels: int = 16, batch_size: int = 16, side: int = 16) -> Declared:
    """The workload with so many channels, samples a batch, and pixels on a side.

    `harness scale` varies all three. ValueError for a side that 32 is no multiple of.
    """
    if 32 % side:
        raise ValueError(f"a side of {side}: CIFAR-10's 32 is no multiple of it")
    return declare(
        "two-convolutions",
        AveragePool(32 // side),
        Conv("K1", "c1", 3, channels, 3, pad=1),
        Relu(),
        Conv("K2", "c2", channels, channels, 3, pad=1),
        Relu(),
        AveragePool(side),
        Flatten(),
        Dense("W", "b", channels, 10),
        loss=SoftmaxCrossEntropy(),
        optimiser=sgd(lr=0.1),
        init=fan_in_uniform,
        x=(32, 32, 3),
        data="cifar-10",
        normalise=(0.5, 0.5),
        batch_size=batch_size,
        epochs=2,
        sizes={"channels": channels, "side": side},
        outcome=(Outcome("test accuracy", margin=0.01), Outcome("training loss", margin=0.01)),
    )


TWO_CONVOLUTIONS = sized()
