"""Figures of time from a record: what every label took, by session; no judgement.

Ratios are formed within a round, where both were measured seconds apart; a session gives their
median, and an interval is Student's t over sessions, which are fresh processes each. Pure: takes a
stored record, reads no clock.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated, TypeVar

import msgspec

from harness.plan.model import CONTROL
from harness.record.schema import Process, Record, Results, Roof, Round
from harness.verdict.finding import Whole
from harness.verdict.timing_stats import MIN_ROUNDS, Ratio, ratio, steadiness

T = TypeVar("T")
Place = tuple[int, int]  # session, round
# Of steps shorter than this the clock, the loop and the call are a part that no ratio tells apart:
# their times are told, and no multiples of them.
LEAST_COMPARED_NS = 20_000
PAIR = msgspec.Meta(min_length=2, max_length=2)  # the two ends of an interval


class StepTime(msgspec.Struct, kw_only=True, gc=False):
    """Step time of one label, nanoseconds unless said.

    `median_ns`: the geometric mean of the sessions' medians; `ci95_ns`: Student's t over the logs
    of those, or, of fewer than MIN_SESSIONS sessions, of the median over their rounds; then the
    figure is `indicative` and no claim rests on it. `spread_ns`: the rounds' smallest and largest
    median. `throughput_ns`: one of many steps with a single wait. `first_steps_ns`: by batch size;
    `compile_ns`: the first full step less a steady one. `epoch_ns`, `eval_ns`: medians over free
    trainings; `loop_overhead`: epoch over the sum of its gathers, puts and steps (a ratio).
    `gemm_floor_ns`: NumPy's matrix products in the same rounds, `own_floor_ns`: the label's own;
    `floor_ratio` and its interval: multiples of the former. `cores`: processor time over wall time
    of the steps. `steadiness`: a label a session. `at_once`: steps that one call makes.
    """

    median_ns: Whole
    ci95_ns: Annotated[list[Whole], PAIR]
    spread_ns: Annotated[list[Whole], PAIR]
    throughput_ns: Whole | None
    first_step_ns: Whole | None
    first_steps_ns: dict[str, Whole]
    compile_ns: Whole | None
    put_median_ns: Whole
    gather_median_ns: Whole
    epoch_ns: Whole | None
    eval_ns: Whole | None
    loop_overhead: float | None
    gemm_floor_ns: Whole | None
    own_floor_ns: Whole
    floor_ratio: float | None
    floor_ci95: Annotated[list[float], PAIR] | None
    cores: float | None
    import_ns: Whole | None
    build_ns: Whole | None
    steadiness: list[str]
    at_once: Whole
    steps: Whole
    sessions: Whole
    indicative: bool


def steady(record: Record, results: Results) -> list[Round]:
    """The rounds after warm-up of every session."""
    return [r for r in results.rounds if r.round >= record.plan.timing.warmup_rounds]


def step_medians(record: Record, results: Results) -> dict[Place, float]:
    """The median step of each round."""
    return _medians((r, r.step_ns) for r in steady(record, results))


def product_medians(record: Record, results: Results) -> dict[Place, float]:
    """The median set of matrix products of each round."""
    return _medians((r, r.products_ns) for r in steady(record, results))


def _medians(series: Iterable[tuple[Round, list[int]]]) -> dict[Place, float]:
    return {(r.session, r.round): statistics.median(ns) for r, ns in series if ns}


def busy_load(record: Record, results: Results) -> float | None:
    """The load under which a label's steps were timed, where others computed too; else None.

    More tasks than there are processors, those of the label itself left out.
    """
    loads = [r.load for r in steady(record, results) if r.load is not None]
    processors = record.machine.get("processors", "")
    if not loads or not processors.isdecimal():
        return None
    load = statistics.median(loads)
    return load if load > int(processors) + record.plan.threads else None


def control(record: Record) -> str | None:
    """The label of the control arm that was timed: NumPy on the CPU; None without one.

    Of several NumPys the one of that very name: it is the same in other runs.
    """
    labels = [
        label
        for label, results in record.results.items()
        if record.plan.labels[label].backend == CONTROL and product_medians(record, results)
    ]
    return CONTROL if CONTROL in labels else next(iter(labels), None)


def _by_session(values: Iterable[tuple[int, T]]) -> list[list[T]]:
    """The values of each session that has any, in the order of sessions."""
    found: dict[int, list[T]] = defaultdict(list)
    for session, value in values:
        found[session].append(value)
    return [found[session] for session in sorted(found)]


def session_logs(above: dict[Place, float], below: dict[Place, float]) -> list[float]:
    """Of each session that has both, the median over its rounds of log(above / below)."""
    logs = (
        (place[0], math.log(value / below[place]))
        for place, value in above.items()
        if value > 0 and below.get(place, 0) > 0
    )
    return [statistics.median(session) for session in _by_session(logs)]


def _over(record: Record, above: Results, below: Results) -> Ratio | None:
    logs = session_logs(step_medians(record, above), step_medians(record, below))
    return ratio(logs) if logs else None


def versus(record: Record, label: str, other: str) -> Ratio | None:
    """Step of a label over that of another; None where they share no round, or one is too short."""
    if too_short(record, label) or too_short(record, other):
        return None
    return _over(record, record.results[label], record.results[other])


def large_product(record: Record) -> Roof | None:
    """What NumPy, the control arm, reaches in a large product and in a copy; None: not measured."""
    return next((r for r in record.roofs if r.copy_bytes_per_s and r.flop_per_s > 0), None)


def of_large_product(record: Record, step_ns: int) -> float | None:
    """The rate of a step's products over that of NumPy's large one; None: not measured."""
    large = large_product(record)
    work = record.plan.workload.work
    return work / max(step_ns, 1) * 1e9 / large.flop_per_s if large is not None else None


def too_short(record: Record, label: str) -> str | None:
    """Why no multiple of a label's step is told; None where it takes long enough."""
    medians = session_medians(record, record.results[label])
    if not medians or statistics.median(medians) >= LEAST_COMPARED_NS:
        return None
    least = LEAST_COMPARED_NS // 1000
    return f"a step of {label} takes less than {least} µs: its time is told, no multiple of it"


def against_itself(record: Record) -> dict[str, Ratio]:
    """A against A: of each label that entered twice, its first process over its second.

    None of a label whose step is too short: it, too, has no multiples.
    """
    pairs = {
        name: _over(record, record.results[name], again)
        for name, again in record.again.items()
        if not too_short(record, name)
    }
    return {name: pair for name, pair in pairs.items() if pair is not None}


def floor_logs(record: Record, label: str) -> list[float] | None:
    """A session's log of step over GEMM floor; None off the CPU or without a control numpy."""
    numpy = control(record)
    on_cpu = record.plan.labels[label].device == "cpu"
    if numpy is None or not on_cpu or too_short(record, label):
        return None
    return session_logs(
        step_medians(record, record.results[label]), product_medians(record, record.results[numpy])
    )


def session_medians(record: Record, results: Results) -> list[float]:
    """The median step of each session, nanoseconds."""
    steps = ((r.session, ns) for r in steady(record, results) for ns in r.step_ns)
    return [statistics.median(session) for session in _by_session(steps)]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the median from order statistics, whatever the distribution.

    Source: the binomial argument (Conover, Practical Nonparametric Statistics, 3.2); with fewer
    than six values it is the whole range, which covers less than 95 %.
    """
    ordered = sorted(values)
    n = len(ordered)
    below = 0  # largest k with P(Binomial(n, 1/2) <= k - 1) <= 2.5 %
    ways = tail = 1  # of n tosses with k heads, and with k or fewer: whole numbers, so exact
    while below < n // 2 and 40 * tail <= 2**n:
        below += 1
        ways = ways * (n - below + 1) // below
        tail += ways
    low = max(below - 1, 0)
    return ordered[low], ordered[n - 1 - low]


def step_time(label: str, record: Record, process: Process, results: Results) -> StepTime | None:
    """The step time of a label, or None where it was not timed."""
    rounds = steady(record, results)
    whole = all(r.step_ns and r.gather_ns and r.put_ns and r.products_ns for r in rounds)
    if not rounds or not whole:
        return None
    medians = step_medians(record, results).values()
    by_session = session_medians(record, results)
    steps = ratio([math.log(value) for value in by_session if value > 0] or [0.0])
    low, high = steps.interval or median_interval([*medians])
    first = process.first_step_ns.get(str(record.plan.workload.batch_size))
    numpy = control(record)
    floors = floor_logs(record, label)
    multiple = ratio(floors) if floors else None
    # Of a run in parts some epochs are yesterday's.
    trained = [] if record.went_on else [t for t in results.training if t.dtype == process.dtype]
    bursts = [r for r in rounds if len(r.burst_ns) == 2 and r.burst_steps > 0]
    floor_ns = None
    if numpy is not None and floors is not None:
        floor_ns = _median(product_medians(record, record.results[numpy]).values())
    return StepTime(
        median_ns=round(steps.value),
        ci95_ns=[round(low), round(high)],
        spread_ns=[round(min(medians)), round(max(medians))],
        throughput_ns=_median(r.burst_ns[1] / (2 * r.burst_steps) for r in bursts),
        first_step_ns=first,
        first_steps_ns=process.first_step_ns,
        compile_ns=max(0, first - round(steps.value)) if first is not None else None,
        put_median_ns=round(statistics.median([ns for r in rounds for ns in r.put_ns])),
        gather_median_ns=round(statistics.median([ns for r in rounds for ns in r.gather_ns])),
        epoch_ns=_median(ns for t in trained if t.whole for ns in t.epoch_ns),
        eval_ns=_median(ns for t in trained if t.whole for ns in t.eval_ns),
        loop_overhead=loop_overhead(record, label),
        gemm_floor_ns=floor_ns,
        own_floor_ns=round(statistics.median([ns for r in rounds for ns in r.products_ns])),
        floor_ratio=multiple.value if multiple else None,
        floor_ci95=[*multiple.interval] if multiple and multiple.interval else None,
        cores=cores_used(rounds),
        import_ns=process.import_ns,
        build_ns=process.build_ns,
        steadiness=_steadiness(rounds),
        at_once=rounds[0].at_once,
        steps=sum(len(r.step_ns) * r.at_once for r in rounds),
        sessions=steps.n,
        indicative=steps.interval is None,
    )


def _median(values: Iterable[float]) -> int | None:
    numbers = [*values]
    return round(statistics.median(numbers)) if numbers else None


def cores_used(rounds: list[Round]) -> float | None:
    """Processor time over wall time of the timed steps; None where it was not taken."""
    spans = [(r.cpu_ns, sum(r.step_ns) * r.at_once) for r in rounds if r.cpu_ns is not None]
    shares = [cpu / wall for cpu, wall in spans if wall > 0]
    return statistics.median(shares) if shares else None


def _steadiness(rounds: list[Round]) -> list[str]:
    medians = ((r.session, max(1, round(statistics.median(r.step_ns)))) for r in rounds)
    return [
        steadiness(session) if len(session) >= MIN_ROUNDS else "too short"
        for session in _by_session(medians)
    ]


def loop_overhead(record: Record, label: str) -> float | None:
    """The median of `loop_overheads`; None where there are none."""
    ratios = loop_overheads(record, label)
    return statistics.median(ratios) if ratios else None


def loop_overheads(record: Record, label: str) -> list[float]:
    """Each epoch's wall time over the sum of its gathers, puts and steps.

    Of the label's own dtype, all seeds; none where a training did not time them, or the run was
    cut off meanwhile.
    """
    dtype = record.plan.labels[label].dtype
    ratios = []
    for t in () if record.went_on else record.results[label].training:
        parts = t.step_ns, t.gather_ns, t.put_ns
        if t.dtype != dtype or not t.epoch_ns or len({*map(len, parts)}) > 1:
            continue
        steps = len(t.step_ns) // len(t.epoch_ns)
        for epoch, wall in enumerate(t.epoch_ns):
            total = sum(sum(part[epoch * steps : (epoch + 1) * steps]) for part in parts)
            if total > 0:
                ratios.append(wall / total)
    return ratios


def share_of_physics(label: str, record: Record) -> float | None:
    """Step over the fastest set of its matrix products on that device: the median over rounds.

    Both of one round, so that a machine that slows down does so for both; None where no round has
    both.
    """
    device = record.plan.labels[label].device
    products: dict[Place, int] = {}
    for name, results in record.results.items():
        if record.plan.labels[name].device == device:
            for r in steady(record, results):
                for ns in r.products_ns:
                    place = r.session, r.round
                    products[place] = min(ns, products.get(place, ns))
    steps = step_medians(record, record.results[label])
    shares = [ns / products[place] for place, ns in steps.items() if products.get(place)]
    return statistics.median(shares) if shares else None
