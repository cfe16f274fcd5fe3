"""nielsen-conv-3: two convolutions, ReLU, weight decay in the loss (Nielsen, chapter 6)."""

from __future__ import annotations

from harness.workloads.nielsen_ladder import BATCHES, convolution, rung
from harness.workloads.reference.pieces import Dense, Flatten, Relu

NIELSEN_CONV_3 = rung(
    "nielsen-conv-3",
    *convolution(1, 1, 20, Relu()),
    *convolution(2, 20, 40, Relu()),
    Flatten(),
    Dense("W1", "b1", 640, 100),
    Relu(),
    Dense("W2", "b2", 100, 10),
    lr=0.03,
    l2=0.1 / BATCHES,
)
