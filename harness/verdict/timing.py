"""The rung timing: six parts, each with three possible answers.

*itself*: sessions of fresh processes repeat one another, the control arm equals itself, and what
was timed is what was checked. *clocks*: several clocks on the same work tell the same. *physics*:
no step is faster than its own matrix products. *across*: the ratio to the fastest lies in the
declared band, of labels that execute as their backend does by default. *beside*: no process that a
worker left behind computed meanwhile; told only where one did. *baseline*: no slower than what was
stored, where a baseline is given. A rung disagrees if a part does, and is inconclusive if a part
is: one session says little.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from harness.record.schema import Record, Round, number
from harness.text import many
from harness.verdict.finding import Finding, Part, RungVerdict, multiple, void_part
from harness.verdict.timing_stats import MIN_SESSIONS, claim, ratio, within
from harness.verdict.timings import (
    StepTime,
    against_itself,
    cores_used,
    floor_logs,
    loop_overheads,
    median_interval,
    session_medians,
    share_of_physics,
    steady,
    too_short,
    versus,
)

# A step faster than this share of the fastest products seen is not possible, only not waited for.
PHYSICAL_SHARE = 0.95
# Two clocks on the same work: up to the first they agree, beyond the second something is wrong that
# noise does not explain, in between nobody knows.
CLOCKS_AGREE = 1.10
CLOCKS_DISAGREE = 2.0
# Work that is still queued after the wait, in steps. Copying fresh parameters takes up to .2 of a
# step longer than copying them again (JAX); a single step that was not waited for takes one.
DRAIN_AGREES = 0.5
DRAIN_DISAGREES = 1.0
# Copying parameters for the first time may take so much longer, however short a step is: 0.1 to
# 0.25 ms in TensorFlow, where two numbers are copied and all work is done.
LEAST_DRAIN_NS = 500_000
# Fewer bursts than this and one interruption decides.
LEAST_BURSTS = 5
# From so many values on the interval of their median is narrower than their range.
LEAST_RANGE = 6
# Of the threads asked for, the share that must be seen at work during the steps. One interruption
# lowers it as an idle thread does, so it only opens a question.
LEAST_CORES = 0.6
# A process that was left behind and used no more than this only started and waited (Python and
# NumPy take 0.2 s to import).
IDLE_NS = 500_000_000


def own_parts(label: str, record: Record) -> list[Part]:
    """What a label's own times say of themselves; empty where nothing was timed."""
    if not steady(record, record.results[label]):
        return []
    return [itself(label, record), clocks(label, record), physics(label, record)]


def check_timing(
    label: str,
    record: Record,
    own: list[Part],
    ranked: dict[str, StepTime],
    baseline: Part | None = None,
) -> Finding:
    """The parts for one label.

    own: see `own_parts`; ranked: times of the labels that are compared with one another; baseline:
    what it says of this label.
    """
    finding = Finding(rung="timing", sentence="nothing was timed")
    if not own:
        return finding
    fastest = across(label, record, ranked) if label in ranked else None
    finding.parts = [part for part in (*own, fastest, beside(record), baseline) if part is not None]
    finding.measured = sum(len(r.step_ns) for r in steady(record, record.results[label]))
    finding.verdict = _worst(finding.parts)
    # A disagreement is named with its label, as those of the other rungs are.
    who = f"{label}, timing: " if finding.verdict == "disagree" else ""
    deciding = [part.sentence for part in finding.parts if part.verdict == finding.verdict]
    finding.sentence = who + "; ".join(dict.fromkeys(deciding))
    if finding.verdict == "agree":
        finding.sentence = fastest.sentence if fastest is not None else "agrees in every part"
    if (shown := void_part(finding.parts) or fastest) is not None:
        finding.value, finding.limit = shown.value, shown.limit
    return finding


def beside(record: Record) -> Part | None:
    """What computed beside every label of the run, as far as it outlived its worker; else None."""
    busy = [
        (left.cpu_ns, f"{left.command} ({left.cpu_ns / 1e9:.1f} s), left behind by {process.label}")
        for results in (*record.results.values(), *record.again.values())
        for process in results.processes
        for left in process.left_behind
        if left.cpu_ns > IDLE_NS
    ]
    if not busy:
        return None
    return Part(
        name="beside",
        verdict="inconclusive",
        value=number(sum(ns for ns, _ in busy) / 1e9),
        limit=IDLE_NS / 1e9,
        sentence="computed beside what was timed: " + "; ".join(command for _, command in busy),
    )


def _worst(parts: list[Part]) -> RungVerdict:
    verdicts = [part.verdict for part in parts]
    return next((v for v in ("disagree", "inconclusive") if v in verdicts), "agree")


def itself(label: str, record: Record) -> Part:
    """Sessions repeat one another, A equals A, and a replay ends at the same parameters."""
    timing = record.plan.timing
    part = Part(name="itself", verdict="inconclusive", limit=timing.spread, sentence="")
    if (other := _unlike_its_replay(label, record)) is not None:
        part.verdict, part.limit = "disagree", None
        part.sentence = (
            f"session {other.session}, round {other.round}: the timed steps end at other "
            "parameters than the same steps without a clock: what was timed is not what was checked"
        )
        return part
    medians = session_medians(record, record.results[label])
    if len(medians) < MIN_SESSIONS:
        sessions = many(len(medians), "session")
        part.sentence = f"indicative: {sessions}, and a claim needs {MIN_SESSIONS}"
        return part
    logs, of = floor_logs(record, label), "multiples of the floor"
    if logs is not None and len(logs) == len(medians):
        spread = math.exp(max(logs) - min(logs))
    else:
        spread = max(medians) / min(medians) if min(medians) > 0 else math.inf
        of = "steps"
    part.value = number(spread)
    far = f"the sessions' {of} lie {spread:.3g}-fold apart (limit {timing.spread:g})"
    doubts = [far] if spread > timing.spread else []
    doubts += _unequal_twins(record)
    if starved := starved_of_threads(label, record):
        doubts.append(starved)
    part.verdict = "inconclusive" if doubts else "agree"
    part.sentence = "; ".join(
        doubts or [f"{len(medians)} sessions within {spread:.3f} of one another"]
    )
    return part


def _unequal_twins(record: Record) -> list[str]:
    """A against A: why the two processes of a label cannot be said to take the same time."""
    timing, pairs = record.plan.timing, against_itself(record)
    doubts = []
    if timing.again is not None and timing.again not in pairs:
        short = too_short(record, timing.again) if timing.again in record.again else None
        doubts.append(short or f"a second process of {timing.again} was not timed")
    for name, of in pairs.items():
        if not of.claimable:
            doubts.append(f"two processes of {name} were compared in {of.n} sessions only")
        elif claim(of, timing.least):
            doubts.append(
                f"two processes of {name} differ: {of.value:.3f} [{of.low:.3f}, {of.high:.3f}]"
            )
    return doubts


def starved_of_threads(label: str, record: Record) -> str | None:
    """That fewer threads were at work than were asked for; None where enough were."""
    on_cpu = record.plan.labels[label].device == "cpu"  # beside a GPU the processor only waits
    cores = cores_used(steady(record, record.results[label])) if on_cpu else None
    if cores is None or cores >= LEAST_CORES * record.plan.threads:
        return None
    return f"{cores:.2f} of {record.plan.threads} threads were at work"


def _unlike_its_replay(label: str, record: Record) -> Round | None:
    """The first round whose steps end elsewhere than without a clock, or than in session 0.

    Not asked of a backend that does not repeat itself bit for bit anyway.
    """
    results = record.results[label]
    if not all(repeat.identical for repeat in results.repeats):
        return None
    # On a GPU each process may choose kernels of its own: only its own replay binds it.
    on_cpu = record.plan.labels[label].device == "cpu"
    first: dict[int, str] = {}
    again = record.again[label].rounds if label in record.again else []
    for r in [*results.rounds, *again]:
        if r.digest != r.replayed:
            return r
        if on_cpu and r.digest is not None and first.setdefault(r.round, r.digest) != r.digest:
            return r
    return None


def clocks(label: str, record: Record) -> Part:
    """Latency, throughput, the epoch's wall time and the drain tell the same of the same work.

    Of a step that is too short only the drain is asked: work that is left is no matter of a clock.
    """
    rounds = steady(record, record.results[label])
    short = too_short(record, label)
    parts = [] if short else _same_clocks(label, record, rounds)
    if not parts:
        sentence = short or "too few rounds for the clocks to be compared"
        parts.append(
            Part(name="clocks", verdict="inconclusive", limit=CLOCKS_AGREE, sentence=sentence)
        )
    step = statistics.median([ns for r in rounds for ns in r.step_ns] or [0])
    drains = [r.drain_ns[0] - r.drain_ns[1] for r in rounds if len(r.drain_ns) == 2]
    # From a GPU, copying the parameters once takes as long as a step; so it does with a small batch
    # in a wide network, where a plan asks for no bursts (`harness scale`).
    copied = record.plan.labels[label].device == "cpu" and record.plan.timing.burst_steps > 0
    if drains and step > 0 and copied and statistics.median(drains) > LEAST_DRAIN_NS:
        left = statistics.median(drains) / step
        verdict = _between(left, DRAIN_AGREES, DRAIN_DISAGREES)
        of = f"{left:.2f} steps of work were left after the last wait: somebody is not waiting"
        parts.append(_clocks(verdict, left, DRAIN_AGREES, of))
    worst = [part for part in parts if part.verdict == _worst(parts)]
    return max(worst, key=lambda part: multiple(float(part.value or 0), part.limit or 1))


def _same_clocks(label: str, record: Record, rounds: Sequence[Round]) -> list[Part]:
    """The epoch against its parts, throughput against latency, 2K steps against K; if measured."""
    parts = []
    if overheads := [max(ratio, 1e-9) for ratio in loop_overheads(record, label)]:
        # A loop does a little beside its parts; that an epoch is shorter than them cannot be.
        parts.append(_clock("epoch / (gathers + puts + steps)", overheads, both=True))
    bursts = [
        r
        for r in rounds
        if len(r.burst_ns) == 2 and min(*r.burst_ns, r.burst_steps, sum(r.step_ns)) > 0
    ]
    if len(bursts) >= LEAST_BURSTS:
        # Means of one round on both sides: on a busy machine a mean holds its interruptions, as a
        # burst does, and a median does not.
        each = [r.burst_ns[1] / (2 * r.burst_steps) / statistics.fmean(r.step_ns) for r in bursts]
        parts.append(_clock("throughput / latency", each))
        double = [r.burst_ns[1] / (2 * r.burst_ns[0]) for r in bursts]
        parts.append(_clock("2K steps / twice K steps", double, both=True))
    return parts


def _clocks(verdict: RungVerdict, value: float, limit: float, sentence: str) -> Part:
    return Part(name="clocks", verdict=verdict, value=number(value), limit=limit, sentence=sentence)


def _clock(what: str, ratios: Sequence[float], *, both: bool = False) -> Part:
    """One clock over another, a ratio a round; `both`: being too small is as wrong.

    It disagrees where the median does and its interval also lies beyond what agrees: of five bursts
    on a machine that is busy with other things, three may take twice as long, but hardly all. Of
    fewer than six that interval is the whole range, which noise may leave to one side: then
    Student's interval of the logarithms lies there too. Of fewer than five one interruption
    decides, which makes a time longer, and never shorter.
    """
    factor = statistics.median(ratios)
    low, high = median_interval(ratios)
    if len(ratios) < LEAST_RANGE:
        start, stop = ratio([math.log(each) for each in ratios]).interval or (low, high)
        low, high = min(low, start), max(high, stop)
    few = len(ratios) < LEAST_BURSTS and factor >= 1
    if both and factor < 1:
        factor, low = 1 / factor, 1 / high
    verdict = _between(factor, CLOCKS_AGREE, CLOCKS_DISAGREE)
    if verdict == "disagree" and (few or low <= CLOCKS_AGREE):
        verdict = "inconclusive"
    sentence = f"{what} is off by {factor:.3f} (agree below {CLOCKS_AGREE:g})"
    return _clocks(verdict, factor, CLOCKS_AGREE, sentence)


def _between(value: float, agrees: float, disagrees: float) -> RungVerdict:
    if value <= agrees:
        return "agree"
    return "disagree" if value >= disagrees else "inconclusive"


def physics(label: str, record: Record) -> Part:
    """A step takes at least as long as its matrix products on the fastest framework there."""
    share = share_of_physics(label, record)
    part = Part(
        name="physics", verdict="inconclusive", limit=1.0, sentence="no products were timed"
    )
    if share is None:
        return part
    part.value = number(PHYSICAL_SHARE / max(share, 1e-9))
    part.verdict = "agree" if share >= PHYSICAL_SHARE else "disagree"
    part.sentence = f"a step takes {share:.3g} times its matrix products on this device"
    if part.verdict == "disagree":
        part.sentence = (
            f"a step takes {share:.3g} of the time that its matrix products alone take on this "
            "device: somebody is not waiting"
        )
    elif short := too_short(record, label):
        part.value, part.sentence = None, f"no faster than its matrix products; {short}"
    return part


def across(label: str, record: Record, ranked: dict[str, StepTime]) -> Part:
    """The ratio to the fastest of the ranked labels, against the band of the plan.

    Only default variants decide: the fastest of them is what all are compared with, and another
    variant that lies outside is told so and held to nothing.
    """
    band, labels = record.plan.timing.band, record.plan.labels
    defaults = [name for name in ranked if labels[name].default]
    fastest = min(defaults or ranked, key=lambda name: ranked[name].median_ns)
    short = too_short(record, fastest) or too_short(record, label) or "shares no round"
    part = Part(name="across", verdict="inconclusive", limit=band, sentence=short)
    if (ratio := versus(record, label, fastest)) is None:
        return part
    part.value = number(ratio.value)
    part.verdict = "agree" if label == fastest else within(ratio, band)
    interval, of = "", ""
    if ratio.interval is not None:
        interval = "[{:.2f}, {:.2f}] ".format(*ratio.interval)
        of = f", band {band:g}"
    if part.verdict == "disagree" and not labels[label].default:
        part.verdict, of = "not-possible", ": not its backend's default, so it is held to no band"
    part.sentence = f"{ratio.value:.2f} {interval}times the fastest here ({fastest}){of}"
    return part
