"""The table of limits is frozen: whoever moves one does so in a commit of its own, and says why.

Faults are planted against limits that were fixed before; a limit that is tuned to its faults proves
nothing. The digest is that of every row's rung, dtype, case, precision and value.
"""

from __future__ import annotations

import hashlib
import json

import pytest

from harness.interface import Outcome
from harness.workloads import DEFAULT, WORKLOADS
from harness.workloads.reference.limits import DECIDING, LIMITS, NOISE, ROOM, RUNGS, limit_for

FROZEN = "2fbc28d82c4f4ec282f93f79fc6688f2a9e991f9c2418670e25df0b7a2da7c74"


def digest() -> str:
    rows = [[r.rung, r.dtype, r.case, r.precision, r.value] for r in LIMITS]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_the_limits_are_the_frozen_ones() -> None:
    assert digest() == FROZEN, "a limit was moved: freeze the table in a commit of its own"


def test_what_the_default_workload_may_come_to_is_frozen_too() -> None:
    assert WORKLOADS[DEFAULT].outcome == (
        Outcome("test accuracy", 0.003, (0.81, 0.86)),
        Outcome("training loss", 0.001, (0.375, 0.390)),
    )


def test_every_row_says_why_and_what_was_seen() -> None:
    for row in LIMITS:
        assert row.rung in RUNGS
        assert row.reason
        assert row.seen


@pytest.mark.parametrize("rung", DECIDING)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_deciding_rung_has_a_limit_for_every_batch(rung: str, dtype: str) -> None:
    if (rung, dtype) == ("lockstep", "float32"):
        assert limit_for(rung, dtype, "after step 9") is None
        return
    for case in ("step 0", "step 0, batch of 1", "corner", "confident", "shifted-up"):
        assert limit_for(rung, dtype, case) is not None


def test_no_row_is_hidden_by_one_before_it() -> None:
    """The first row that fits counts, so a wide one must not stand before a narrow one."""
    for place, row in enumerate(LIMITS):
        pattern = row.case.replace("*", "x").replace("?", "1")
        dtype = row.dtype.replace("*", "float32")
        precision = row.precision.replace("*", "strict")
        found = limit_for(row.rung, dtype, pattern, precision)
        assert found is row or LIMITS.index(found) == place


def test_where_rounding_has_grown_lockstep_is_held_to_ten_times_what_replicas_stray() -> None:
    """Correct code strayed up to 7.5 times as far as one replica, 760 steps from the start."""
    row = limit_for("lockstep", "float64", "after step 759")
    assert row is not None
    for noise, value in ((row.value / 11, row.value), (row.value, NOISE * row.value)):
        limit = limit_for("lockstep", "float64", "after step 759", noise=noise)
        assert limit is not None
        assert limit.value == value
    forward = limit_for("forward", "float64", "step 0", noise=1e-12)
    assert forward is not None
    assert forward.value == ROOM * 1e-12
    of_measured = limit_for("forward", "float64", "step 0", noise=1e-12, measured=True)
    assert of_measured.value == NOISE * 1e-12
