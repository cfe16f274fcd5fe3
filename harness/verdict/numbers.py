"""The rungs inputs, forward, loss, gradients, update and lockstep: distances against limits."""

from __future__ import annotations

import math

from harness.plan.model import Plan, process_precision
from harness.record.schema import Measurement, Record, Results
from harness.verdict.finding import Evidence, Finding
from harness.workloads.reference.limits import DECIDING, Limit, limit_for

# The made case that proves the precision, with its two products (see `measure`).
PRECISION = ("precision", ("product, left operand", "product, right operand"))


def check_numbers(label: str, record: Record, limits: tuple[Limit, ...]) -> list[Finding]:
    """One finding per deciding rung for one label."""
    return [_check_rung(rung, label, record, limits) for rung in DECIDING]


def _check_rung(rung: str, label: str, record: Record, limits: tuple[Limit, ...]) -> Finding:
    results = record.results.get(label, Results())
    dtypes = dtypes_in_play(label, record.plan, results)
    if rung == "lockstep" and "float64" not in dtypes:
        told = next((p.reason for p in results.processes if p.dtype == "float64"), None)
        sentence = f"judged by the other rungs: {told or 'no float64 process was planned'}"
        return Finding(rung=rung, verdict="not-possible", sentence=sentence)
    limited = with_limits(rung, label, record, limits)
    found = [m for m, _ in limited]
    judged = [(m, limit) for m, limit in limited if limit is not None]
    over = [(m, limit) for m, limit in judged if not within(m, limit)]
    missing = _missing(rung, record, found, dtypes)
    if missing is None and len(judged) < len(found):
        bare = next(m for m, limit in limited if limit is None)
        missing = f"no limit is fixed for {bare.case} in {bare.dtype}"
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


def with_limits(
    rung: str, label: str, record: Record, limits: tuple[Limit, ...]
) -> list[tuple[Measurement, Limit | None]]:
    """Every measurement of one label's rung, with the limit it is held to where one is fixed."""
    configured = record.plan.labels[label]
    return [
        (m, limit_for(rung, m.dtype, m.case, process_precision(configured, m.dtype), limits))
        for m in record.results.get(label, Results()).measurements
        if m.rung == rung
    ]


def dtypes_in_play(label: str, plan: Plan, results: Results) -> list[str]:
    """The dtypes a label was to be measured in; one its device does not have is none of them."""
    configured = plan.labels[label]
    skipped = {process.dtype for process in results.processes if process.status == "skipped"}
    twin = ["float64"] if configured.twin and "float64" not in skipped else []
    return [configured.dtype, *twin]


def _missing(rung: str, record: Record, found: list[Measurement], dtypes: list[str]) -> str | None:
    """The first measurement that the record owes and does not hold, in a few words."""
    parameters = [parameter.name for parameter in record.plan.workload.parameters]
    tensors = {
        "inputs": ["x", "y", *parameters],
        "forward": ["logits"],
        "loss": ["loss", "step loss"],
        "gradients": parameters,
        "update": parameters,
    }
    if rung == "lockstep":
        have = {(m.step, m.tensor) for m in found}
        for step in record.lockstep_steps:
            for tensor in (*parameters, "losses"):
                if (step, tensor) not in have:
                    return f"{tensor} after step {step} in float64"
        return None if record.lockstep_steps else "any step"
    owed = [(case.case, tensor) for case in record.cases for tensor in tensors[rung]]
    if rung == "forward":
        owed += [(PRECISION[0], product) for product in PRECISION[1]]
    given = {(m.dtype, m.case, m.tensor) for m in found}
    for dtype in dtypes:
        for case, tensor in owed:
            if (dtype, case, tensor) not in given:
                return f"{tensor} of {case} in {dtype}"
    return None if record.cases else "any batch"


def share(measurement: Measurement, limit: Limit) -> float:
    """The value as a share of its limit: above 1 disagrees, infinite without a distance."""
    if measurement.problem is not None or not isinstance(measurement.distance, (int, float)):
        return math.inf
    if not measurement.distance >= 0:
        return math.inf  # no distance is negative: the record was tampered with
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
    unit = " elements" if rung == "inputs" or at.where == "precision" else ""
    return f"{place} is off by {amount}{unit}, limit {at.limit:g}{element}"
