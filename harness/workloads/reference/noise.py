"""What correct code makes of one batch: replicas of the reference, and coarser arithmetic.

How far rounding takes correct code depends on the batch: where a model is sure, the loss and p - 1
cancel. So the reference itself is computed in the process's dtype, its sums in other orders and
its loss by the formulas that frameworks use; and in float64 with the operands of one product
rounded, which is what TF32 and bfloat16 do. Uses no backend. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.interface import Array, State, Workload
from harness.workloads.reference.composed import Opened, Reference
from harness.workloads.reference.envelope import Replica
from harness.workloads.reference.optimisers import stepped

# Modes that round the operands of a product: bits of significand that are kept, the leading one
# included, and whether the others are rounded to nearest or cut.
ROUNDINGS = {
    "TF32": (11, True),
    "TF32, cut": (11, False),
    "bfloat16": (8, True),
    "bfloat16, cut": (8, False),
}


def replica_answers(
    reference: Reference, workload: Workload, state: State, batch: State
) -> Iterator[dict[str, Array]]:
    """What each replica makes of a batch, under the names that a worker writes.

    state, batch: of one dtype, which they compute in.
    """
    others = [reference, reference]
    if isinstance(reference, Opened):
        others = [reference.textbook(up) for up in (True, False)]
    for number, form in enumerate([reference, *others]):
        replica = Replica(workload, 0, number)
        samples, held = replica.samples(len(batch["x"])), replica.permuted(state)
        given = replica.batch(batch, samples)
        look = form.look(held, given)
        grads, running = replica.restored(look.grads), replica.restored(look.running)
        first = replica.decayed_first
        new = stepped(workload.optimiser, state | running, grads, decayed_first=first)
        restored = {
            "outputs": form.outputs(held, given) if workload.two_modes else look.outputs,
            "outputs, training": look.outputs,
        }
        for name, permuted in restored.items():
            restored[name] = np.empty_like(permuted)
            restored[name][samples] = permuted
        yield {
            **restored,
            "loss": np.array(look.loss),
            "step loss": np.array(look.loss),
            **{f"grad.{name}": grad for name, grad in grads.items()},
            **{f"new.{name}": value for name, value in new.items()},
        }


def with_fewer_bits(a: Array, bits: int, nearest: bool) -> Array:
    """Float64 values with so many bits of significand, the leading one included."""
    mantissa, exponent = np.frexp(a)
    scaled = np.ldexp(mantissa, bits)
    return np.asarray(np.ldexp(np.rint(scaled) if nearest else np.trunc(scaled), exponent - bits))
