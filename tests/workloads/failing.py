"""Models on the diabetes data that nothing holds between 0 and 1: they fail soon, or at once."""

from __future__ import annotations

from harness.workloads.declare import Declared, Start, declare, fan_in_uniform
from harness.workloads.reference.losses import BinaryCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu, Slot


def _net(name: str, epochs: int, lr: float, start: float = 0.0) -> Declared:
    def init(slot: Slot) -> Start:
        if slot.tensor.name == "b3" and start:
            return "values", (start,)
        return fan_in_uniform(slot)

    return declare(
        name,
        *(Dense("W1", "b1", 8, 6), Relu(), Dense("W2", "b2", 6, 4), Relu()),
        *(Dense("W3", "b3", 4, 1), Relu()),
        loss=BinaryCrossEntropy(),
        optimiser=sgd(lr),
        init=init,
        x=(8,),
        data="diabetes",
        batch_size=None,
        epochs=epochs,
        model="diabetes-relu",
    )


FAST = _net("fast", 120, 0.1)
SHORT = _net("short", 20, 0.01)
BEYOND = _net("beyond", 20, 0.01, start=1.5)
