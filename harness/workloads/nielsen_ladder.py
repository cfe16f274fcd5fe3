"""What the steps of Nielsen's convolutional ladder share (chapter 6; code/network3.py)."""

from __future__ import annotations

import math

from harness.workloads.declare import Declared, Start, declare
from harness.workloads.reference.base import Slot
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Bias, Conv, Dense, Layer, MaxPool

# Full batches of an epoch: what an L2 term is divided by.
BATCHES, BATCHES_SHIFTED = 5_000, 25_000


def convolution(number: int, inputs: int, outputs: int, activation: Layer) -> tuple[Layer, ...]:
    """5 x 5, pooled by 2, then the bias and the activation."""
    return (
        Conv(f"K{number}", "", inputs, outputs, 5),
        MaxPool(2),
        Bias(f"c{number}", outputs),
        activation,
    )


def rung(
    name: str,
    *layers: Layer,
    lr: float,
    l2: float = 0.0,
    epochs: int = 60,
    data: str = "mnist",
) -> Declared:
    """A step of the ladder; the last of its layers is the softmax layer, which starts at 0."""
    last = layers[-1]
    assert isinstance(last, Dense)

    def init(slot: Slot) -> Start:
        if slot.tensor.name in (last.weight, last.bias):
            return "zeros", 0.0
        if slot.kind == "bias":
            return "normal", 1.0
        outputs = slot.tensor.shape[-1]
        is_kernel = len(slot.tensor.shape) == 4
        return "normal", math.sqrt(4 / (25 * outputs) if is_kernel else 1 / outputs)

    return declare(
        name,
        *layers,
        loss=SoftmaxCrossEntropy(),
        optimiser=sgd(lr),
        init=init,
        x=(784,) if isinstance(layers[0], Dense) else (28, 28, 1),
        data=data,
        validation=10_000,
        batch_size=10,
        epochs=epochs,
        l2=l2,
    )
