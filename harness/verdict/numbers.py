"""The rungs inputs to trajectory: distances against limits.

Up to lockstep the limits are a table; the trajectory's, of free-running float32, is set by the
envelope of replicas stored beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.plan.model import (
    Plan,
    Trajectory,
    judged_by_label,
    judged_tensors,
    process_precision,
)
from harness.record.schema import EVALUATION, Measurement, Record, Replica, Results, evaluation_case
from harness.text import exact, short
from harness.verdict.finding import Evidence, Finding, multiple
from harness.workloads.reference.limits import DECIDING, LIMITS, Limit, limit_for, with_jump

# A tiny model's numbers are rounded once a step, and its replicas have no other order: four units
# of float32's roundoff are correct code's.
LEAST_ENVELOPE = 4 * 2.0**-24
# The made case that proves the precision, with its two products (see `measure`).
PRECISION = ("precision", ("product, left operand", "product, right operand"))
# What is measured under a name of several.
PLURAL = ("all parameters", "losses", "outputs", "outputs, training")


def check_rung(rung: str, label: str, record: Record, limits: tuple[Limit, ...]) -> Finding:
    """One of the deciding rungs of one label."""
    results = record.results.get(label, Results())
    dtypes = dtypes_in_play(label, record.plan, results)
    if rung == "lockstep" and "float64" not in dtypes:
        reason = next((p.reason for p in results.processes if p.dtype == "float64"), None)
        sentence = f"judged by the other rungs: {reason or 'no float64 process was planned'}"
        return Finding(rung=rung, verdict="not-possible", sentence=sentence)
    limited = with_limits(rung, label, record, limits)
    missing = _missing(rung, record, results, dtypes)
    bare = next((m for m, limit in limited if limit is None), None)
    if missing is None and bare is not None:
        missing = f"no limit is fixed for {bare.case} in {bare.dtype}"
    judged = [(m, limit) for m, limit in limited if limit is not None]
    finding = _conclude(rung, label, judged, f"all {len(judged)} measurements within their limits")
    if finding.verdict == "agree" and (missing or not judged):
        finding.verdict = "inconclusive"
        finding.sentence = f"not measured: {missing}" if missing else "nothing was measured"
    return finding


def _conclude(
    rung: str, label: str, judged: list[tuple[Measurement, Limit]], sentence: str
) -> Finding:
    """A rung by one measurement: the first beyond its limit, else the one nearest its limit.

    sentence: what holds where none is beyond.
    """
    finding = Finding(rung=rung, verdict="agree", sentence=sentence, measured=len(judged))
    if over := [pair for pair in judged if not within(*pair)]:
        for pair in sorted(over, key=lambda pair: when(pair[0])):
            finding.off.setdefault(pair[0].tensor, evidence(*pair))
        at = next(iter(finding.off.values()))
        finding.verdict, finding.first = "disagree", at
        finding.sentence = f"{label}, {sentence_for(rung, at)}"
    elif judged:
        at = evidence(*max(judged, key=lambda pair: share(*pair)))
    else:
        return finding
    finding.evidence, finding.value, finding.limit = at, at.distance, at.limit
    return finding


def check_trajectory(
    label: str, record: Record, results: Results, limits: tuple[Limit, ...]
) -> Finding:
    """Every regime that was run: each distance within a factor of the furthest replica."""
    sentence, judged = _in_envelope(label, record, results, limits)
    if not judged:
        return Finding(rung="trajectory", sentence=sentence)
    return _conclude("trajectory", label, judged, sentence)


def _in_envelope(
    label: str, record: Record, results: Results, limits: tuple[Limit, ...]
) -> tuple[str, list[tuple[Measurement, Limit]]]:
    """Free-running float32 with the limits that the replicas set, and what holds if all are kept.

    Without any: why the rung is not judged.
    """
    configured, chosen = record.plan.labels[label], record.plan.trajectory
    if configured.dtype != "float32":
        return f"the envelope is float32's; {configured.dtype} is judged by lockstep", []
    if configured.precision != "strict":
        return f"the envelope is strict float32's, not {configured.precision}'s", []
    if chosen is None or not record.envelope:
        return "not judged: no envelope of replicas was measured", []
    late = chosen.late_from is not None and record.plan.steps is None
    if late and not any(replica.regime == "late" for replica in record.envelope):
        return "not measured: late", []
    measured = {m.case: m for m in results.measurements if m.rung == "trajectory"}
    judged = []
    places = sorted({(replica.after, replica.regime) for replica in record.envelope})
    for after, regime in places:
        case = f"{regime}, after {after} steps"
        replicas = [r for r in record.envelope if (r.regime, r.after) == (regime, after)]
        if case not in measured:
            return f"not measured: {case}", []
        if len(replicas) < chosen.replicas:
            return f"{len(replicas)} of {chosen.replicas} replicas of {case}", []
        of = measured[case].tensor
        limit = limit_for("trajectory", "float32", case, table=limits, label=label, tensor=of)
        least = LEAST_ENVELOPE if record.plan.workload.limits == "measured" else 0.0
        limit = limit or envelope_limit(replicas, chosen, least)
        if limit is None:
            return f"a replica of the reference itself is not finite: {case}", []
        judged.append((measured[case], limit))
    regimes = " and ".join(dict.fromkeys(regime for _, regime in places))
    return f"{regimes}: all {len(judged)} inside the envelope of {chosen.replicas}", judged


def envelope_limit(replicas: list[Replica], chosen: Trajectory, least: float = 0.0) -> Limit | None:
    """The limit that replicas of one regime and step set; None where one of them is not finite.

    least: no limit lies below it.
    """
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
        max(least, factor * largest),
        f"{factor:g} times the furthest of {len(distances)} replicas of the float32 reference",
        f"{short(min(float(d) for d in distances))} to {short(largest)} in the replicas",
    )


def with_limits(
    rung: str, label: str, record: Record, limits: tuple[Limit, ...]
) -> list[tuple[Measurement, Limit | None]]:
    """Every measurement of one label's rung, with the limit it is held to where one is fixed."""
    configured = record.plan.labels[label]
    return [
        (m, limit_of(m, process_precision(configured, m.dtype), limits, label))
        for m in record.results.get(label, Results()).measurements
        if m.rung == rung
    ]


def limit_of(
    m: Measurement, precision: str, limits: tuple[Limit, ...] = LIMITS, label: str = ""
) -> Limit | None:
    """The limit of one measurement: the table's, or what its own batch's noise makes of it.

    label: whose it is; rows of the user's may be for some.
    """
    place = m.rung, m.dtype, m.case, precision, limits, m.noise, m.measured
    limit = limit_for(*place, label=label, tensor=m.tensor)
    return limit if limit is None or m.jump is None else with_jump(limit, m.jump)


def unused(records: Sequence[Record], limits: Sequence[Limit]) -> list[Limit]:
    """Rows of the user's that are the limit of nothing that these runs measured."""
    table, used = tuple(limits), set[Limit | None]()
    for record in records:
        for label, configured in record.plan.labels.items():
            for m in record.results.get(label, Results()).measurements:
                precision = process_precision(configured, m.dtype)
                used.add(limit_of(m, precision, table, label))
            for outcome in record.plan.workload.outcome:
                used.add(accuracy_limit(label, configured.dtype, outcome.metric, table))
    return [row for row in table if row not in LIMITS and row not in used]


def accuracy_limit(label: str, dtype: str, metric: str, limits: tuple[Limit, ...]) -> Limit | None:
    """The user's own margin of what a training comes to; None where they have none."""
    return limit_for("accuracy", dtype, metric, table=limits, label=label, tensor=metric)


def against_itself(record: Record, limits: tuple[Limit, ...]) -> str | None:
    """Where the label that is the reference is off from its own word; None where it is not.

    Data and the exact products are not its word.
    """
    label, _, dtype = record.plan.reference.rpartition(":")
    for rung in DECIDING if judged_by_label(record.plan) else ():
        for m, limit in with_limits(rung, label, record, limits):
            own = m.dtype == dtype and rung != "inputs" and m.case != PRECISION[0]
            if own and limit is not None and not within(m, limit):
                return sentence_for(rung, evidence(m, limit))
    return None


def dtypes_in_play(label: str, plan: Plan, results: Results) -> list[str]:
    """The dtypes a label was to be measured in; one its device does not have is none of them."""
    configured = plan.labels[label]
    skipped = {process.dtype for process in results.processes if process.status == "skipped"}
    twin = ["float64"] if configured.twin and "float64" not in skipped else []
    return [configured.dtype, *twin]


def _missing(rung: str, record: Record, results: Results, dtypes: list[str]) -> str | None:
    """The first measurement that the record owes and does not hold, in a few words."""
    measurements = [m for m in results.measurements if m.rung == rung]
    workload = record.plan.workload
    outputs = workload.trace[-1]
    tensors = judged_tensors(workload)
    tensors["forward"] = [outputs, *([f"{outputs}, training"] if workload.two_modes else [])]
    if rung == "lockstep":
        have = {(m.step, m.tensor) for m in measurements}
        for step in record.lockstep_steps:
            for tensor in tensors[rung]:
                if (step, tensor) not in have:
                    return f"{tensor} after step {step} in float64"
        return None if record.lockstep_steps else "any step"
    owed = [(case.case, tensor) for case in record.cases for tensor in tensors[rung]]
    if rung == "forward":
        owed += [(PRECISION[0], product) for product in PRECISION[1]]
    every = [(dtype, *one) for dtype in dtypes for one in owed]
    if rung == "forward":  # each accuracy that was counted, of outputs that are judged
        every += [
            (training.dtype, evaluation_case(training.seed, epoch), outputs)
            for training in results.training
            for epoch in range(len(training.test_accuracy))
        ]
    held = {(m.dtype, m.case, m.tensor) for m in measurements}
    for dtype, case, tensor in every:
        if (dtype, case, tensor) not in held:
            return f"{tensor} of {case} in {dtype}"
    return None if record.cases else "any batch"


def share(measurement: Measurement, limit: Limit) -> float:
    """The value as a multiple of its limit: above 1 disagrees, infinite without a distance."""
    distance = measurement.distance
    if measurement.problem is not None or not isinstance(distance, (int, float)):
        return math.inf
    # No distance is negative: the record was tampered with.
    return multiple(distance, limit.value) if distance >= 0 else math.inf


def within(measurement: Measurement, limit: Limit) -> bool:
    """Whether a measurement keeps its limit; one that could not be taken does not."""
    return share(measurement, limit) <= 1


def when(measurement: Measurement) -> tuple[bool, int, bool, str]:
    """Order of appearance: checkpoints by step, evaluations after theirs, then made batches."""
    evaluated = measurement.case.startswith(EVALUATION)
    return measurement.step is None, measurement.step or 0, evaluated, measurement.case


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
        element = f"; worst at {at.index}: got {exact(at.got)}, expected {exact(at.expected)}"
    unit = " elements" if rung == "inputs" or at.where == "precision" else ""
    verb = "are" if at.tensor in PLURAL else "is"
    return f"{place} {verb} off by {short(at.distance)}{unit}, limit {short(at.limit)}{element}"
