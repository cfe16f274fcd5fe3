"""nielsen-conv-6: two wide dense layers, dropout (Nielsen, chapter 6)."""

from __future__ import annotations

from harness.workloads.nielsen_ladder import convolution, rung
from harness.workloads.reference.pieces import Dense, Dropout, Flatten, Relu

NIELSEN_CONV_6 = rung(
    "nielsen-conv-6",
    *convolution(1, 1, 20, Relu()),
    *convolution(2, 20, 40, Relu()),
    Flatten(),
    Dropout("drop1", 0.5),
    Dense("W1", "b1", 640, 1000),
    Relu(),
    Dropout("drop2", 0.5),
    Dense("W2", "b2", 1000, 1000),
    Relu(),
    Dropout("drop3", 0.5),
    Dense("W3", "b3", 1000, 10),
    lr=0.03,
    epochs=40,
    data="mnist-shifted",
)
