"""nielsen-conv-1: one convolution, one dense layer, sigmoid (Nielsen, chapter 6)."""

from __future__ import annotations

from harness.workloads.nielsen_ladder import convolution, rung
from harness.workloads.reference.pieces import Dense, Flatten, Sigmoid

NIELSEN_CONV_1 = rung(
    "nielsen-conv-1",
    *convolution(1, 1, 20, Sigmoid()),
    Flatten(),
    Dense("W1", "b1", 2880, 100),
    Sigmoid(),
    Dense("W2", "b2", 100, 10),
    lr=0.1,
)
