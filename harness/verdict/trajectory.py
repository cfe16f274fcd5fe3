"""The rung trajectory: free-running float32 against the envelope of replicas stored beside it."""

from __future__ import annotations

from harness.plan.model import Trajectory
from harness.record.schema import Record, Replica, Results
from harness.verdict.finding import Finding
from harness.verdict.numbers import evidence, sentence_for, share
from harness.workloads.reference.limits import Limit, limit_for


def check_trajectory(
    label: str, record: Record, results: Results, limits: tuple[Limit, ...]
) -> Finding:
    """Every regime that was run: each distance within a factor of the furthest replica."""
    configured, chosen = record.plan.labels[label], record.plan.trajectory
    if configured.dtype != "float32":
        return _open(f"the envelope is float32's; {configured.dtype} is judged by lockstep")
    if configured.precision != "strict":
        return _open(f"the envelope is strict float32's, not {configured.precision}'s")
    if chosen is None or not record.envelope:
        return _open("not judged: no envelope of replicas was measured")
    late = chosen.late_from is not None and record.plan.steps is None
    if late and not any(replica.regime == "late" for replica in record.envelope):
        return _open("not measured: late")
    places = sorted({(replica.after, replica.regime) for replica in record.envelope})
    found = {m.case: m for m in results.measurements if m.rung == "trajectory"}
    judged = []
    for after, regime in places:
        case = f"{regime}, after {after} steps"
        replicas = [r for r in record.envelope if (r.regime, r.after) == (regime, after)]
        if case not in found:
            return _open(f"not measured: {case}")
        if len(replicas) < chosen.replicas:
            return _open(f"{len(replicas)} of {chosen.replicas} replicas of {case}")
        limit = limit_for("trajectory", "float32", case, table=limits)
        limit = limit or envelope_limit(replicas, chosen)
        if limit is None:
            return _open(f"a replica of the reference itself is not finite: {case}")
        judged.append((found[case], limit))
    nearest = max(judged, key=lambda pair: share(*pair))
    over = [pair for pair in judged if share(*pair) > 1]
    finding = Finding(rung="trajectory", verdict="agree", sentence="", measured=len(judged))
    finding.value, finding.limit = nearest[0].distance, nearest[1].value
    finding.evidence = evidence(*nearest)
    regimes = " and ".join(dict.fromkeys(regime for _, regime in places))
    finding.sentence = f"{regimes}: all {len(judged)} inside the envelope of {chosen.replicas}"
    if over:
        earliest = min(over, key=lambda pair: pair[0].step or 0)
        finding.verdict, finding.first = "disagree", evidence(*earliest)
        finding.sentence = f"{label}, {sentence_for('trajectory', finding.first)}"
    return finding


def envelope_limit(replicas: list[Replica], chosen: Trajectory) -> Limit | None:
    """The limit that replicas of one regime and step set; None where one of them is not finite."""
    distances = [replica.distance for replica in replicas]
    if any(not isinstance(distance, float) for distance in distances):
        return None
    regime, after = replicas[0].regime, replicas[0].after
    factor = chosen.start_factor if regime == "start" else chosen.late_factor
    largest = max(float(distance) for distance in distances)
    return Limit(
        "trajectory",
        "float32",
        f"{regime}, after {after} steps",
        factor * largest,
        f"{factor:g} times the furthest of {len(distances)} replicas of the float32 reference",
        f"{min(float(d) for d in distances):.3g} to {largest:.3g} in the replicas",
    )


def _open(sentence: str) -> Finding:
    return Finding(rung="trajectory", verdict="inconclusive", sentence=sentence)
