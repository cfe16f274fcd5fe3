"""himmelblau: (u² + v - 11)² + (u + v² - 7)², which has four minima, by Adam."""

from __future__ import annotations

from harness.interface import Outcome
from harness.workloads.declare import Declared, declare
from harness.workloads.reference.losses import Output
from harness.workloads.reference.optimisers import adam
from harness.workloads.reference.pieces import Polynomial, Variable

# u² + v - 11 and u + v² - 7, then the sum of their squares.
RESIDUALS = (
    ((1.0, (2, 0)), (1.0, (0, 1)), (-11.0, (0, 0))),
    ((1.0, (1, 0)), (1.0, (0, 2)), (-7.0, (0, 0))),
)
SQUARES = (((1.0, (2, 0)), (1.0, (0, 2))),)


def started(u: float, v: float) -> Declared:
    """The search from this point."""
    return declare(
        "himmelblau",
        Variable("x", 2),
        Polynomial(RESIDUALS),
        Polynomial(SQUARES),
        loss=Output(),
        optimiser=adam(lr=0.001),
        init=lambda _: ("values", (u, v)),
        x=(),
        data="none",
        batch_size=1,
        epochs=10,
        outcome=(Outcome("training loss", margin=1e-6),),
    )


HIMMELBLAU = started(0.0, 0.0)
# The first reaches the same minimum; each of the others one of its own.
FROM_RIGHT = started(1.0, 0.0)
FROM_FAR_LEFT = started(-4.0, 0.0)
FROM_FAR_RIGHT = started(4.0, 0.0)
