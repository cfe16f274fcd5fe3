"""Steps of one label in two runs, compared as `harness/baseline.py` does. Pure."""

from __future__ import annotations

import math

from harness import baseline as baselines
from harness.diff.sides import Of, other_machine
from harness.diff.told import SpeedDiff
from harness.timing_stats import MIN_SESSIONS, change


def speed_of(then: Of, now: Of) -> SpeedDiff:
    """A label's steps now over then, where they may be compared at all."""
    if reason := other_machine(then.record, now.record):
        return SpeedDiff(outcome="not comparable", reason=reason)
    for when, of in (("then", then), ("now", now)):
        if reason := baselines.why_unranked(of.label, of.record, of.verdict):
            return SpeedDiff(outcome="not comparable", reason=f"{when}: {reason}")
    before, after = (baselines.times(of.label, of.record, of.verdict) for of in (then, now))
    if reason := baselines.why_unlike(before, after):
        return SpeedDiff(outcome="not comparable", reason=reason)
    # The larger of two plans' factors, so that the answer is the same from either side.
    factor = max(of.record.plan.timing.factor for of in (then, now))
    if not 1 < factor < math.inf:
        reason = f"the plan's factor {factor:g} is none: more than 1, and finite"
        return SpeedDiff(outcome="not comparable", reason=reason)
    found = change(before.logs, after.logs, factor)
    claim = min(found.n_before, found.n_after) >= MIN_SESSIONS
    sessions = f"{found.n_before} and {found.n_after} sessions"
    if not claim:
        reason = f"indicative, no claim: {sessions}, and a claim needs {MIN_SESSIONS} in each run"
    elif found.verdict == "inconclusive":
        reason = f"{sessions}: neither surely within {factor:g} times, nor beyond it"
    else:
        reason = f"{sessions}, factor {factor:g}"
    return SpeedDiff(
        outcome=found.verdict,
        reason=reason,
        claim=claim,
        change=found,
        unit=before.unit,
        steps_ns=[baselines.geometric_mean(side.step_ns) for side in (before, after)],
    )
