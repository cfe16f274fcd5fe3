"""mlp-concise: 784-256-10 from each framework's own layers (Dive into Deep Learning 5.2)."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import Declared, Start, declare, fan_in_uniform
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu, Slot


def init(slot: Slot) -> Start:
    """The book sets the weights only: the biases keep the law of PyTorch's layers."""
    return ("normal", 0.01) if slot.kind == "weight" else fan_in_uniform(slot)


def sized(num_hiddens: int = 256, batch_size: int = 256) -> Declared:
    """The workload with so many hidden units and samples a batch."""
    return declare(
        "mlp-concise",
        Dense("W1", "b1", 784, num_hiddens),
        Relu(),
        Dense("W2", "b2", num_hiddens, 10),
        loss=SoftmaxCrossEntropy(),
        optimiser=sgd(lr=0.1),
        init=init,
        x=(784,),
        data="fashion-mnist",
        batch_size=batch_size,
        epochs=10,
        sizes={"num_hiddens": num_hiddens},
        outcome=(
            Outcome("test accuracy", margin=0.003),
            Outcome("training loss", margin=0.001),
            Outcome("training accuracy", margin=0.003),
        ),
    )


MLP_CONCISE = sized()
