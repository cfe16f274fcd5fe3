"""Where a divergence shows and where not: one plain clause, from stored measurements only.

Why it is there is no matter of its size: see `harness/explain/`. The verdict rests on neither.
"""

from __future__ import annotations

import math

from harness.record.schema import Measurement, Record
from harness.verdict.finding import Finding
from harness.verdict.numbers import with_limits, within
from harness.workloads.reference.limits import DECIDING, Limit

# An error is "a constant factor" if less than this share of it is left under the best factor.
FACTOR_LEFT = 0.05
# What the made batches are there for.
PROBED = {
    "corner": "the derivative at a pre-activation of exactly 0",
    "confident": "a probability near 0 or 1 in the loss",
    "shifted-up": "a softmax that does not subtract the maximum",
    "shifted-down": "a softmax that does not subtract the maximum",
}

# More tensors than these that agree beside the one that does not are counted only.
MOST_NAMED = 8


def find_hint(
    finding: Finding, label: str, record: Record, limits: tuple[Limit, ...]
) -> str | None:
    """The clauses that fit a disagreement of one label's rung, joined; None where none does."""
    if finding.first is None:
        return None
    limited = with_limits(finding.rung, label, record, limits)
    over = [m for m, limit in limited if limit is not None and not within(m, limit)]
    kept = [m for m, limit in limited if limit is not None and within(m, limit)]
    place = finding.first.where, finding.first.tensor, finding.first.dtype
    first = next((m for m in over if (m.case, m.tensor, m.dtype) == place), None)
    if first is None:
        return None
    clauses = (
        _where_it_shows(first, over, kept, record),
        _which_tensors(first, over, kept),
        _part_of_it(first),
        _which_dtype(over, kept),
    )
    return "; ".join(clause for clause in clauses if clause) or None


def _where_it_shows(
    first: Measurement, over: list[Measurement], kept: list[Measurement], record: Record
) -> str | None:
    """Only one kind of batch, or only from a step on."""
    cases = {m.case for m in over}
    clean = {m.case for m in kept} - cases
    if cases <= set(PROBED) and clean:
        # An update alone that is off is no matter of what was computed before it.
        look = "" if first.rung == "update" else f": look at {PROBED[first.case]}"
        return f"only the made batch {first.case}{look}"
    if all(case.startswith("evaluation") for case in cases) and clean:
        return "only evaluations: look at the test images, and at the parameters that they meet"
    # A made batch is of its own size.
    rows = {case.case: case.rows for case in record.cases if case.step is not None}
    full = record.plan.workload.batch_size
    sizes = {rows.get(case, full) for case in cases}
    if full not in sizes and any(rows.get(case) == full for case in clean):
        return f"only batches of other sizes than {full}: look at what is divided by the batch size"
    off = {m.step for m in over if m.step is not None}
    clean_steps = {m.step for m in kept if m.step is not None} - off
    # All of it clean up to a step, none of it after.
    if off and clean_steps and max(clean_steps) < min(off):
        return f"not before step {min(off)}: look at state that is carried from step to step"
    return None


def _which_tensors(
    first: Measurement, over: list[Measurement], kept: list[Measurement]
) -> str | None:
    """One tensor of several."""
    place = first.case, first.dtype
    wrong = {m.tensor for m in over if (m.case, m.dtype) == place}
    others = {m.tensor for m in kept if (m.case, m.dtype) == place} - wrong
    if len(wrong) == 1 and others:
        few = len(others) <= MOST_NAMED
        named = ", ".join(sorted(others)) if few else f"{len(others)} others"
        return f"only {first.tensor}; {named} agree"
    return None


def shape_of_the_error(first: Measurement) -> str | None:
    """What tensors that come without a model look like: a factor of another, or a part of it."""
    pattern = first.pattern
    if pattern is None or first.got_norm == 0:
        return _part_of_it(first)
    if isinstance(pattern.factor, float) and isinstance(pattern.residual, float):
        update = first.rung == "update"
        if update and abs(pattern.factor) < 1e-9 and pattern.residual <= FACTOR_LEFT:
            return "nothing of the change was made"
        most = min(abs(pattern.factor - 1), abs(pattern.factor))
        # Any number is a factor of a single other one.
        several = math.prod(first.shape) > 1
        if several and pattern.residual <= FACTOR_LEFT * most and first.rung in DECIDING[1:5]:
            what = "the change expected" if update else "what is expected"
            return f"a constant factor: {pattern.factor:.10g} times {what}"
    return _part_of_it(first)


def _part_of_it(first: Measurement) -> str | None:
    """Zeros, or the part of the elements that is off."""
    pattern = first.pattern
    if pattern is None or not isinstance(first.distance, float) or first.rung == "inputs":
        return None
    if first.got_norm == 0:
        return "it is all zeros"
    if pattern.columns < 0.5 and pattern.columns <= pattern.rows:
        return f"in {pattern.columns:.0%} of the columns"
    if pattern.rows < 0.5:
        return f"in {pattern.rows:.0%} of the rows"
    return None


def _which_dtype(over: list[Measurement], kept: list[Measurement]) -> str | None:
    """Only float64."""
    if {m.dtype for m in over} == {"float64"} and any(m.dtype == "float32" for m in kept):
        return "in float64 only"
    return None
