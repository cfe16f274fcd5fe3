"""mnist-mlp: 784-200-200-10, ReLU after every layer, the last one's too."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, he_normal
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu

MNIST_MLP = declare(
    "mnist-mlp",
    Dense("W1", "b1", 784, 200),
    Relu(),
    Dense("W2", "b2", 200, 200),
    Relu(),
    Dense("W3", "b3", 200, 10),
    Relu(),
    loss=SoftmaxCrossEntropy(),
    optimiser=sgd(lr=0.01),
    init=he_normal,
    x=(784,),
    data="mnist",
    normalise=(0.1307, 0.3081),
    batch_size=200,
    epochs=10,
    outcome=(Outcome("test accuracy", margin=0.003), Outcome("training loss", margin=0.001)),
)
