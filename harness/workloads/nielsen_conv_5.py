"""nielsen-conv-5: as the step before, one more dense layer (Nielsen, chapter 6)."""

from __future__ import annotations

from harness.workloads.nielsen_ladder import BATCHES_SHIFTED, convolution, rung
from harness.workloads.reference.pieces import Dense, Flatten, Relu

NIELSEN_CONV_5 = rung(
    "nielsen-conv-5",
    *convolution(1, 1, 20, Relu()),
    *convolution(2, 20, 40, Relu()),
    Flatten(),
    Dense("W1", "b1", 640, 100),
    Relu(),
    Dense("W2", "b2", 100, 100),
    Relu(),
    Dense("W3", "b3", 100, 10),
    lr=0.03,
    l2=0.1 / BATCHES_SHIFTED,
    data="mnist-shifted",
)
