"""nielsen-network: 784-30-10, sigmoids and the quadratic loss (Nielsen, chapter 1)."""

from __future__ import annotations

from harness.workloads.declare import Declared, declare
from harness.workloads.reference.losses import Quadratic
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Sigmoid


def sized(num_hiddens: int = 30, batch_size: int = 10) -> Declared:
    """The workload with so many hidden units and samples a batch."""
    return declare(
        "nielsen-network",
        Dense("W1", "b1", 784, num_hiddens),
        Sigmoid(),
        Dense("W2", "b2", num_hiddens, 10),
        Sigmoid(),
        loss=Quadratic("class"),
        optimiser=sgd(lr=3.0),
        init=lambda _: ("normal", 1.0),
        x=(784,),
        data="mnist",
        validation=10_000,
        batch_size=batch_size,
        epochs=30,
        sizes={"num_hiddens": num_hiddens},
    )


NIELSEN_NETWORK = sized()
