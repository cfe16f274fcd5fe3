"""The rungs inputs, forward, loss, gradients, update and lockstep: distances against limits."""

from __future__ import annotations

import math

from harness.checks.finding import Evidence, Finding
from harness.limits import Limit, limit_for
from harness.plan import Plan
from harness.record import Measurement, Results

TEACHER_FORCED = ("inputs", "forward", "loss", "gradients", "update")
RUNGS = (*TEACHER_FORCED, "lockstep")


def check_numbers(
    label: str, plan: Plan, results: Results, cases: list[str], limits: tuple[Limit, ...]
) -> list[Finding]:
    """One finding per rung for one label. `cases`: the teacher-forced batches asked for."""
    return [_check_rung(rung, label, plan, results, cases, limits) for rung in RUNGS]


def _check_rung(
    rung: str,
    label: str,
    plan: Plan,
    results: Results,
    cases: list[str],
    limits: tuple[Limit, ...],
) -> Finding:
    found = [m for m in results.measurements if m.rung == rung]
    if rung == "lockstep" and not _has_float64(label, plan):
        sentence = "this device has no float64: judged by the other rungs"
        return Finding(rung=rung, verdict="not-possible", sentence=sentence)
    judged = [(m, limit) for m in found if (limit := limit_for(rung, m.dtype, m.case, limits))]
    over = [(m, limit) for m, limit in judged if not within(m, limit)]
    missing = _missing(rung, label, plan, found, cases)
    nearest = max(judged, key=lambda pair: share(*pair), default=None)
    finding = Finding(rung=rung, verdict="agree", sentence="", measured=len(judged))
    if nearest is not None:
        finding.value, finding.limit = nearest[0].distance, nearest[1].value
        finding.evidence = evidence(*nearest)
    if over:
        earliest = min(over, key=lambda pair: _when(pair[0]))
        finding.verdict, finding.first = "disagree", evidence(*earliest)
        finding.sentence = f"{label}, {sentence_for(rung, finding.first)}"
    elif missing:
        finding.verdict, finding.sentence = "inconclusive", f"not measured: {missing}"
    elif nearest is None:
        finding.verdict, finding.sentence = "inconclusive", "nothing was measured"
    else:
        finding.sentence = f"all {len(judged)} measurements within their limits"
    return finding


def _has_float64(label: str, plan: Plan) -> bool:
    configured = plan.labels[label]
    return configured.twin or configured.dtype == "float64"


def _missing(
    rung: str, label: str, plan: Plan, found: list[Measurement], cases: list[str]
) -> str | None:
    """Which process or batch of those in the plan has no measurement, in a few words."""
    configured = plan.labels[label]
    wanted = {configured.dtype} | ({"float64"} if configured.twin else set())
    if rung == "lockstep":
        return None if found else "the float64 run"
    have = {(m.dtype, m.case) for m in found}
    for dtype in sorted(wanted):
        for case in cases:
            if (dtype, case) not in have:
                return f"{case} in {dtype}"
    return None if cases else "any batch"


def share(measurement: Measurement, limit: Limit) -> float:
    """The value as a share of its limit: above 1 disagrees, infinite without a distance."""
    if measurement.problem is not None or not isinstance(measurement.distance, (int, float)):
        return math.inf
    if limit.value == 0:
        return 0.0 if measurement.distance == 0 else math.inf
    return measurement.distance / limit.value


def within(measurement: Measurement, limit: Limit) -> bool:
    """Whether a measurement keeps its limit; one that could not be taken does not."""
    return share(measurement, limit) <= 1


def _when(measurement: Measurement) -> tuple[bool, int, str]:
    """Order of appearance: checkpoints by step, then made batches."""
    return measurement.step is None, measurement.step or 0, measurement.case


def evidence(measurement: Measurement, limit: Limit) -> Evidence:
    """What a reader needs to look the measurement up."""
    worst = measurement.worst
    return Evidence(
        dtype=measurement.dtype,
        where=measurement.case,
        step=measurement.step,
        tensor=measurement.tensor,
        index=worst.index if worst else None,
        expected=worst.want if worst else None,
        got=worst.got if worst else None,
        distance=measurement.distance,
        limit=limit.value,
        why=limit.reason,
        problem=measurement.problem,
    )


def sentence_for(rung: str, at: Evidence) -> str:
    """The divergence in one plain sentence."""
    place = f"{rung}, {at.where}, {at.dtype}: {at.tensor}"
    if at.problem:
        return f"{place} cannot be compared: {at.problem}"
    element = ""
    if at.index is not None:
        element = f"; worst at {at.index}: got {at.got}, expected {at.expected}"
    amount = f"{at.distance:.3g}" if isinstance(at.distance, (int, float)) else str(at.distance)
    unit = " elements differ" if rung == "inputs" or at.where == "precision" else ""
    return f"{place} is off by {amount}{unit}, limit {at.limit:g}{element}"
