"""The rung timing, in its first form: medians with their spread, and no claim.

One session of interleaved rounds cannot tell a difference between frameworks from one between
processes (two processes of the same backend differ by 2 %), so the verdict is inconclusive.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec

from harness.checks.finding import Finding
from harness.record import Process, Record, Results, Round, number

CONTROL = "numpy"
# A step faster than this share of the fastest products seen is not possible, only not waited for.
PHYSICAL_SHARE = 0.95


class StepTime(msgspec.Struct, kw_only=True):
    """Step time of one label, nanoseconds. `ci95_ns`: of the median, over this session's rounds.

    `spread_ns`: the rounds' smallest and largest median. `compile_ns`: the first step less a
    steady one. `gemm_floor_ns`: NumPy's matrix products in the same rounds.
    """

    median_ns: int
    ci95_ns: list[int]
    spread_ns: list[int]
    first_step_ns: int | None
    compile_ns: int | None
    put_median_ns: int
    gather_median_ns: int
    gemm_floor_ns: int | None
    own_floor_ns: int
    floor_ratio: float | None
    steps: int
    sessions: int
    indicative: bool = True


def steady(record: Record, results: Results) -> list[Round]:
    """The rounds after warm-up."""
    return [r for r in results.rounds if r.round >= record.plan.timing.warmup_rounds]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the median from order statistics, whatever the distribution.

    Source: the binomial argument (Conover, Practical Nonparametric Statistics, 3.2); with fewer
    than six values it is the whole range, which covers less than 95 %.
    """
    ordered = sorted(values)
    n = len(ordered)
    below = 0  # largest k with P(Binomial(n, 1/2) <= k - 1) <= 2.5 %
    tail = 0.0
    for k in range(n // 2):
        tail += math.comb(n, k) / 2**n
        if tail > 0.025:
            break
        below = k + 1
    low = max(below - 1, 0)
    return ordered[low], ordered[n - 1 - low]


def gemm_floor(record: Record) -> int | None:
    """Median time of one step's matrix products in NumPy on the CPU, in this session."""
    for label, results in record.results.items():
        if record.plan.labels[label].backend == CONTROL:
            products = [ns for r in steady(record, results) for ns in r.products_ns]
            if products:
                return round(statistics.median(products))
    return None


def step_time(label: str, record: Record, process: Process, results: Results) -> StepTime | None:
    """The step time of a label, or None where it was not timed."""
    rounds = steady(record, results)
    if (
        not all(r.step_ns and r.gather_ns and r.put_ns and r.products_ns for r in rounds)
        or not rounds
    ):
        return None
    steps = [ns for r in rounds for ns in r.step_ns]
    medians = [statistics.median(r.step_ns) for r in rounds]
    low, high = median_interval(medians)
    median = round(statistics.median(steps))
    first = process.first_step_ns.get(str(record.plan.workload.batch_size))
    on_cpu = record.plan.labels[label].device == "cpu"
    floor = gemm_floor(record) if on_cpu else None
    return StepTime(
        median_ns=median,
        ci95_ns=[round(low), round(high)],
        spread_ns=[round(min(medians)), round(max(medians))],
        first_step_ns=first,
        compile_ns=max(0, first - median) if first is not None else None,
        put_median_ns=round(statistics.median([ns for r in rounds for ns in r.put_ns])),
        gather_median_ns=round(statistics.median([ns for r in rounds for ns in r.gather_ns])),
        gemm_floor_ns=floor,
        own_floor_ns=round(statistics.median([ns for r in rounds for ns in r.products_ns])),
        floor_ratio=median / floor if floor else None,
        steps=len(steps),
        sessions=record.plan.timing.sessions,
    )


def share_of_physics(label: str, record: Record) -> float | None:
    """Step over the fastest set of its matrix products on that device: the median over rounds.

    Both of one round, so that a machine that slows down does so for both; None where no round has
    both.
    """
    device = record.plan.labels[label].device
    products: dict[int, int] = {}
    for name, results in record.results.items():
        if record.plan.labels[name].device == device:
            for r in steady(record, results):
                for ns in r.products_ns:
                    products[r.round] = min(ns, products.get(r.round, ns))
    shares = [
        statistics.median(r.step_ns) / products[r.round]
        for r in steady(record, record.results[label])
        if r.step_ns and products.get(r.round)
    ]
    return statistics.median(shares) if shares else None


def impossible(label: str, record: Record) -> Finding | None:
    """What cannot be true of a label's step times, as a disagreement; None where they may be.

    A step is impossible below PHYSICAL_SHARE of its matrix products on that device, and its figures
    are void where a replay without a clock ends at other parameters.
    """
    results = record.results[label]
    other = next((r for r in results.rounds if r.digest != r.replayed), None)
    if other is not None and all(repeat.identical for repeat in results.repeats):
        sentence = (
            f"{label}, timing, round {other.round}: the timed steps end at other parameters than "
            "the same steps without a clock: what was timed is not what was checked"
        )
        return Finding(rung="timing", verdict="disagree", sentence=sentence, measured=1)
    physics = share_of_physics(label, record)
    if physics is None or physics >= PHYSICAL_SHARE:
        return None
    sentence = (
        f"{label}, timing: a step takes {physics:.3g} of the time that its matrix products "
        "alone take on this device: somebody is not waiting"
    )
    return Finding(
        rung="timing",
        verdict="disagree",
        sentence=sentence,
        value=number(PHYSICAL_SHARE / max(physics, 1e-9)),
        limit=1.0,
        measured=sum(len(r.step_ns) for r in steady(record, results)),
    )


def check_timing(label: str, record: Record, times: dict[str, StepTime]) -> Finding:
    """What cannot be true of a step's time; else the ratio to the fastest, indicative, no claim.

    times: those of the labels that are ranked.
    """
    if record.results[label].rounds and (void := impossible(label, record)) is not None:
        return void
    finding = Finding(rung="timing", verdict="inconclusive", sentence="nothing was timed")
    if label not in times:
        return finding
    fastest = min(time.median_ns for time in times.values())
    finding.value = times[label].median_ns / max(fastest, 1)
    finding.limit = record.plan.timing.band
    finding.measured = times[label].steps
    finding.sentence = (
        f"indicative: {record.plan.timing.sessions} session, and a claim needs 5; "
        f"{finding.value:.2f} times the fastest here"
    )
    return finding
