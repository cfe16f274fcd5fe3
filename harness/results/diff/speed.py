"""Steps of two labels, now over then. Pure.

Of two runs they are compared as `harness/results/baseline.py` does. Of one run as its report does:
by ratios formed within a round, where both were measured seconds apart.
"""

from __future__ import annotations

import math
from statistics import geometric_mean
from typing import Literal

from harness.results import baseline
from harness.results.diff.document import SpeedDiff
from harness.results.diff.sides import Of, other_machine
from harness.text import many
from harness.verdict.timing import starved_of_threads
from harness.verdict.timing_stats import MIN_SESSIONS, Change, change, claim
from harness.verdict.timings import against_itself, session_medians, versus


def speed_of(then: Of, now: Of, *, one_run: bool) -> SpeedDiff:
    """A label's steps now over then, where they may be compared at all."""
    if reason := other_machine(then.record, now.record):
        return SpeedDiff(outcome="not comparable", reason=reason)
    for when, of in (("then", then), ("now", now)):
        if reason := baseline.why_unranked(of.label, of.record, of.verdict):
            return SpeedDiff(outcome="not comparable", reason=f"{when}: {reason}")
    return _within_a_run(then, now) if one_run else _of_two_runs(then, now)


def _within_a_run(then: Of, now: Of) -> SpeedDiff:
    """Of two labels timed in turns: what the machine did meanwhile is in both, and cancels.

    So what counts is `timing.least`, as between the labels of any run, not the factor by which a
    machine itself changes from day to day.
    """
    record = now.record
    ratio = versus(record, now.label, then.label)
    if ratio is None:
        return SpeedDiff(outcome="not comparable", reason="the two labels share no round")
    least = record.plan.timing.least
    if not 0 <= least < math.inf:
        reason = f"the plan's least difference {least:g} is none: not negative, and finite"
        return SpeedDiff(outcome="not comparable", reason=reason)
    outcome: Literal["slower", "faster", "same", "inconclusive"] = "inconclusive"
    reason = f"{many(ratio.n, 'session')}, both timed in the same rounds of one run"
    doubts = [
        f"{of.label}: {starved}"
        for of in (then, now)
        if (starved := starved_of_threads(of.label, record))
    ]
    doubts += [
        f"two processes of {name} differ"
        for name, itself in against_itself(record).items()
        if claim(itself, least)
    ]
    if not ratio.claimable or ratio.low is None or ratio.high is None:
        reason = f"indicative, no claim: {reason}, and a claim needs {MIN_SESSIONS}"
    elif doubts:
        reason += f"; nothing is claimed: {'; '.join(doubts)}"
    elif claim(ratio, least):
        outcome = "slower" if ratio.value > 1 else "faster"
    elif 1 / (1 + least) <= ratio.low and ratio.high <= 1 + least:
        outcome = "same"
        reason += f", surely within {least:.0%}"
    else:
        reason += f": neither surely within {least:.0%}, nor surely beyond it"
    n, interval = ratio.n, {"low": ratio.low, "high": ratio.high}
    return SpeedDiff(
        outcome=outcome,
        reason=reason,
        claim=ratio.claimable and not doubts,
        change=Change(n_before=n, n_after=n, value=ratio.value, verdict=outcome, **interval),
        unit="ns",
        steps_ns=[
            geometric_mean(session_medians(record, record.results[of.label])) for of in (then, now)
        ],
        paired=True,
        factor=1 + least,
    )


def _of_two_runs(then: Of, now: Of) -> SpeedDiff:
    """Of two runs: multiples of the GEMM floor on a CPU, and the sessions of each are its own."""
    before, after = (baseline.times(of.label, of.record, of.verdict) for of in (then, now))
    if reason := baseline.why_unlike(before, after):
        return SpeedDiff(outcome="not comparable", reason=reason)
    # The larger of two plans' factors, so that the answer is the same from either side.
    factor = max(of.record.plan.timing.factor for of in (then, now))
    if not 1 < factor < math.inf:
        reason = f"the plan's factor {factor:g} is none: more than 1, and finite"
        return SpeedDiff(outcome="not comparable", reason=reason)
    measured = change(before.logs, after.logs, factor)
    enough = min(measured.n_before, measured.n_after) >= MIN_SESSIONS
    reason = f"{measured.n_before} and {measured.n_after} sessions"
    if not enough:
        reason = f"indicative, no claim: {reason}, and a claim needs {MIN_SESSIONS} in each run"
    elif measured.verdict == "inconclusive":
        reason += f": neither surely within {factor:g} times, nor beyond it"
    else:
        reason += f", factor {factor:g}"
    return SpeedDiff(
        outcome=measured.verdict,
        reason=reason,
        claim=enough,
        change=measured,
        unit=before.unit,
        steps_ns=[geometric_mean(side.step_ns) for side in (before, after)],
        factor=factor,
    )
