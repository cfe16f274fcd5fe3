"""Batches free of kinks: samples whose pre-activations lie within rounding of zero are replaced.

Such a pre-activation may fall on either side in correct code, and one flip moves a gradient by
6e-3. The judge finds them; no backend's output is looked at. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.interface import Array, State
from harness.workloads.reference.composed import Reference, cast

# Unit roundoff of float32: screening is for float32, and float64 uses the same batches.
UNIT_ROUNDOFF = 2.0**-24


def screen(
    order: Array, start: int, stop: int, clear: Callable[[Array], Array]
) -> tuple[Array, int]:
    """Rows of the batch order[start:stop] with every sample that is not clear replaced.

    order: int64 (n,), one epoch's order; clear(rows) -> bool (len(rows),). A sample is replaced,
    at its place, by the next sample after the batch (from the order's start after its end) that is
    clear and not in use. Returns int64 (stop - start,) and the number replaced. Raises ValueError
    where the epoch has not enough clear samples.
    """
    rows = np.array(order[start:stop])
    bad = np.flatnonzero(~clear(rows))
    if len(bad) == 0:
        return rows, 0
    others = np.concatenate([order[stop:], order[:start]])
    place = 0
    # Candidates are looked at in pieces: a few suffice almost always.
    for begin in range(0, len(others), 64):
        piece = others[begin : begin + 64]
        for candidate in piece[clear(piece)]:
            rows[bad[place]] = candidate
            place += 1
            if place == len(bad):
                return rows, len(bad)
    raise ValueError(f"only {place} of {len(bad)} samples could be replaced")


# `Plan.screen_margin` by precision. strict: four times the largest rounding error seen in four
# frameworks (15). Rounded operands move a pre-activation by some u_r * ||x * w||2; 64 * u_r * S
# would replace every sample. Simulated on the real data: tf32 then flips in 2 of 302 batches (40
# of 256 samples replaced on average, 85 at most), bfloat16 in 17 (124, 198); 12000 would leave 1,
# and replace 159 (227). The limits of the reduced gradients include what is left.
SCREEN_MARGINS = {"strict": 64.0, "tf32": 2000.0, "bfloat16": 8000.0}
# A confident sample's p - 1 cancels: at batch 1 the loss of correct code differs by up to 5e-3.
SMALL_LEAST_LOSS = 1.0


# Rows that are looked at together: a convolution's windows of them take some 100 MB.
PIECE = 256


def clear(
    reference: Reference, state: State, batch: State, margin: float = SCREEN_MARGINS["strict"]
) -> Array:
    """Which rows of a batch have nothing before a kink within rounding of it: bool (n,).

    state, batch: by name, of any floating dtype; margin: a row of SCREEN_MARGINS.
    """
    wide, n = cast(state), len(batch["x"])
    margins = [
        reference.kink_margin(wide, cast({k: v[at : at + PIECE] for k, v in batch.items()}))
        for at in range(0, n, PIECE)
    ]
    return np.asarray(np.concatenate(margins) >= margin * UNIT_ROUNDOFF)
