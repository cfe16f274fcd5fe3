"""mnist-mlp-concise: 784-200-200-10 from each framework's own layers, started as torch's are."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu

MNIST_MLP_CONCISE = declare(
    "mnist-mlp-concise",
    Dense("W1", "b1", 784, 200),
    Relu(),
    Dense("W2", "b2", 200, 200),
    Relu(),
    Dense("W3", "b3", 200, 10),
    Relu(),
    loss=SoftmaxCrossEntropy(),
    optimiser=sgd(lr=0.01),
    init=fan_in_uniform,
    x=(784,),
    data="mnist",
    normalise=(0.1307, 0.3081),
    batch_size=200,
    epochs=10,
    outcome=(Outcome("test accuracy", margin=0.003), Outcome("training loss", margin=0.001)),
)
