"""nielsen-cross-entropy: 784-30-10, cross-entropy and weight decay (Nielsen, chapter 3)."""

from __future__ import annotations

from harness.workloads.declare import Declared, declare, fan_in_normal
from harness.workloads.reference.losses import SigmoidCrossEntropy
from harness.workloads.reference.optimisers import decay
from harness.workloads.reference.pieces import Dense, Sigmoid


def sized(num_hiddens: int = 30, batch_size: int = 10) -> Declared:
    """The workload with so many hidden units and samples a batch."""
    return declare(
        "nielsen-cross-entropy",
        Dense("W1", "b1", 784, num_hiddens),
        Sigmoid(),
        Dense("W2", "b2", num_hiddens, 10),
        loss=SigmoidCrossEntropy("class"),
        optimiser=decay(lr=0.5, decay=5.0 / 50_000),
        init=fan_in_normal,
        x=(784,),
        data="mnist",
        validation=10_000,
        batch_size=batch_size,
        epochs=30,
        sizes={"num_hiddens": num_hiddens},
    )


NIELSEN_CROSS_ENTROPY = sized()
