"""The one table of limits: rung x dtype x case, each with its reason and what was seen.

A clean backend stays below a third of every limit; a planted fault lies at three times or more.
The first row that fits is the limit. Imports nothing but the standard library and msgspec.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

RUNGS = (
    "inputs",
    "forward",
    "loss",
    "gradients",
    "update",
    "lockstep",
    "trajectory",
    "accuracy",
    "timing",
)
# The rungs that decide the verdict; the others may stay inconclusive.
DECIDING = RUNGS[: RUNGS.index("trajectory")]


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`case` is a pattern for the batch's name ("step 760", "shifted*", "*")."""

    rung: str
    dtype: str
    case: str
    value: float
    reason: str
    seen: str


_EXACT = "data, parameters and batches are copied, not computed: bit for bit"
_TEACHER = "between rounding in correct code and the smallest rounding fault (TF32: 1e-4)"
# Equivalence over seeds; test accuracy as a share of the samples, loss in nats.
_MARGIN = "a difference this small changes no decision; a third of it is left to chance"

LIMITS: tuple[Limit, ...] = (
    Limit("inputs", "*", "*", 0.0, _EXACT, "0"),
    Limit(
        "forward",
        "*",
        "precision",
        0.0,
        "every product and sum of this probe is exact in the dtype: any rounding is a reduced mode",
        "0",
    ),
    Limit(
        "forward",
        "float32",
        "shifted*",
        5e-5,
        "a logit near 1e3 is stored to 3e-5; its row has a spread of about 3",
        "<= 5.7e-6",
    ),
    Limit("forward", "float32", "*", 5e-6, _TEACHER, "<= 3e-7"),
    Limit(
        "loss",
        "float32",
        "shifted*",
        5e-5,
        "as forward: the shift costs its own rounding",
        "<= 8.4e-6",
    ),
    Limit("loss", "float32", "*", 5e-6, _TEACHER, "<= 3e-7"),
    Limit("gradients", "float32", "shifted*", 1e-4, "as forward, through softmax", "<= 7e-7"),
    Limit("gradients", "float32", "*", 1e-5, _TEACHER, "<= 2e-6"),
    Limit("update", "float32", "shifted*", 1e-4, "as the gradients of the same batch", "<= 7e-7"),
    Limit(
        "update",
        "float32",
        "*",
        1e-5,
        "excess over storing the weight; lr off by 1e-4: 7e-5",
        "<= 7e-7",
    ),
    Limit(
        "forward",
        "float64",
        "shifted*",
        1e-12,
        "float32's limit times 2**-29, with room",
        "<= 7.2e-15",
    ),
    Limit("loss", "float64", "shifted*", 1e-12, "as forward", "<= 7.2e-15"),
    Limit("gradients", "float64", "shifted*", 1e-12, "as forward", "<= 7e-16"),
    Limit("update", "float64", "shifted*", 1e-12, "as forward", "<= 7e-16"),
    Limit(
        "forward", "float64", "*", 1e-13, "float32 computed in silence shows as 1e-7", "<= 1e-14"
    ),
    Limit("loss", "float64", "*", 1e-13, "as forward", "<= 1e-14"),
    Limit("gradients", "float64", "*", 1e-13, "as forward", "<= 1e-14"),
    Limit("update", "float64", "*", 1e-13, "as forward, in excess", "<= 1e-14"),
    Limit(
        "lockstep",
        "float64",
        "*",
        1e-12,
        "correct code drifts 2e-15 in 2 350 steps; lr wrong by 1e-9 shows as 1e-9",
        "1.8e-15",
    ),
    Limit("accuracy", "*", "test accuracy", 0.003, _MARGIN, "paired sd 5e-4 to 1e-3"),
    Limit("accuracy", "*", "training loss", 0.001, _MARGIN, "paired sd 1e-4"),
)

# Sanity band on the real data after ten epochs (20 clean seeds: loss .3803-.3850, accuracy
# .8222-.8490): last-epoch mean loss in nats, mean accuracy of the last three epochs.
LOSS_BAND = (0.375, 0.390)
ACCURACY_BAND = (0.81, 0.86)


def limit_for(rung: str, dtype: str, case: str, table: tuple[Limit, ...] = LIMITS) -> Limit | None:
    """The first row that fits, or None where nothing is fixed."""
    for limit in table:
        if limit.rung == rung and fnmatchcase(dtype, limit.dtype) and fnmatchcase(case, limit.case):
            return limit
    return None
