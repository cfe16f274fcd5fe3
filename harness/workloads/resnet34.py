"""resnet34: 34 layers, residual blocks, batch norm, momentum; three steps of it."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import momentum
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Enlarge,
    Flatten,
    Layer,
    MaxPool,
    Relu,
    Residual,
)

# Of each of the four layers: blocks, and channels.
LAYERS = ((3, 64), (4, 128), (6, 256), (3, 512))


def _norm(block: str, number: str, channels: int) -> BatchNorm:
    g, b, mean, var = (f"{block}.{part}{number}" for part in ("g", "b", "mean", "var"))
    return BatchNorm(g, b, mean, var, channels)


def _block(name: str, inputs: int, outputs: int, stride: int, *, first: bool) -> tuple[Layer, ...]:
    branch = (
        Conv(f"{name}.K1", "", inputs, outputs, 3, stride, pad=1),
        _norm(name, "1", outputs),
        Relu(),
        Conv(f"{name}.K2", "", outputs, outputs, 3, pad=1),
        _norm(name, "2", outputs),
    )
    shortcut = Conv(f"{name}.Ks", "", inputs, outputs, 1, stride), _norm(name, "s", outputs)
    return Residual(branch, shortcut if first else (), name), Relu()


def _layers() -> tuple[Layer, ...]:
    layers: list[Layer] = [
        Enlarge(7),
        Conv("pre.K", "", 3, 64, 7, stride=2, pad=3),
        BatchNorm("pre.gamma", "pre.beta", "pre.mean", "pre.var", 64),
        Relu(),
        MaxPool(3, stride=2, pad=1),
    ]
    inputs = 64
    for number, (blocks, outputs) in enumerate(LAYERS, 1):
        for k in range(blocks):
            stride = 2 if k == 0 and number > 1 else 1
            layers += _block(f"l{number}b{k}", inputs, outputs, stride, first=k == 0)
            inputs = outputs
    return (*layers, AveragePool(7), Flatten(), Dense("W", "b", 512, 1000))


RESNET34 = declare(
    "resnet34",
    *_layers(),
    loss=SoftmaxCrossEntropy(),
    optimiser=momentum(lr=0.01, momentum=0.9),
    init=fan_in_uniform,
    x=(32, 32, 3),
    data="cifar-10",
    normalise=(0.5, 0.5),
    batch_size=2,
    epochs=1,
    steps=3,
    tests=2,
    outcome=(Outcome("test accuracy", margin=0.5), Outcome("training loss", margin=0.01)),
)
