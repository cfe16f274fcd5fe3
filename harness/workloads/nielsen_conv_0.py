"""nielsen-conv-0: 784-100-10, sigmoid: where the ladder starts (Nielsen, chapter 6)."""

from __future__ import annotations

from harness.workloads.nielsen_ladder import rung
from harness.workloads.reference.pieces import Dense, Sigmoid

NIELSEN_CONV_0 = rung(
    "nielsen-conv-0",
    Dense("W1", "b1", 784, 100),
    Sigmoid(),
    Dense("W2", "b2", 100, 10),
    lr=0.1,
)
