"""Baselines: what steps took on a machine once, and whether they are slower today.

Compared are multiples of the GEMM floor (a step over NumPy's matrix products of the same round), so
that a machine that is slower as a whole today accuses nobody; on a GPU, and without the control
arm, the steps themselves. A regression needs three keys: the interval excludes 1, the effect
exceeds the plan's factor, and a second measurement confirms both. Starts no worker.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from statistics import geometric_mean
from typing import Literal

import msgspec

from harness import files
from harness.errors import InputError
from harness.plan.model import CONFIGURATION, Plan
from harness.record.facts import (
    describe_machine,
    differing,
    host_key,
    machine_key,
    machine_name,
)
from harness.record.schema import FINISHED, Record
from harness.text import many
from harness.verdict.finding import Part, RungVerdict
from harness.verdict.timing_stats import MIN_SESSIONS, Change, change
from harness.verdict.timings import floor_logs, session_medians, too_short
from harness.verdict.verdict import Verdict, judge

SCHEMA = 1

Unit = Literal["floor", "ns"]
Outcome = Literal["regression", "slower", "faster", "same", "inconclusive", "not compared"]


class Stored(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One label of a baseline. `logs`: one natural logarithm a session, of `unit`.

    Unit "floor": step over GEMM floor; "ns": the step itself. `step_ns`: the sessions' medians.
    """

    backend: str
    variant: str
    device: str
    dtype: str
    precision: str
    unit: Unit
    logs: list[float]
    step_ns: list[float]
    environment: dict[str, str]


class Baseline(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What was measured on a machine once. `machine`: the stable facts that make its key."""

    schema: int = SCHEMA
    machine: dict[str, str]
    environment: dict[str, str]
    run: str
    started: str
    labels: dict[str, Stored]


class Comparison(msgspec.Struct, kw_only=True):
    """One label today against the baseline.

    `changes`: of each measurement, in their order; `steps_ns`: the geometric means of the sessions'
    median step, then and today, which is what the clock said, machine and all.
    """

    outcome: Outcome
    reason: str
    changes: list[Change] = []
    unit: Unit | None = None
    steps_ns: list[float] = []
    environment: dict[str, list[str | None]] = {}


def default_path(record: Record, results_dir: Path) -> Path:
    """results_dir/baselines/<machine>.json."""
    return results_dir / "baselines" / f"{machine_name(machine_key(record))}.json"


def expected(plan: Plan, results_dir: Path) -> Path:
    """Where the baseline for what a plan will measure is; InputError where there is none.

    The name of a GPU is known only once it was used: of this host with one, any baseline will do.
    """
    folder = results_dir / "baselines"
    path = folder / f"{machine_name(host_key(describe_machine()))}.json"
    if any(label.device != "cpu" for label in plan.labels.values()):
        path = next(iter(sorted(folder.glob("[!.]*.json"))), path)
    read(path)
    return path


def check_plan(plan: Plan, baseline: Baseline | None = None) -> None:
    """InputError, before minutes of measuring, where they could make or meet no baseline."""
    _check_sessions(plan)
    here = host_key(describe_machine())
    there = {n: fact for n, fact in baseline.machine.items() if n in here} if baseline else here
    if here != there:
        raise InputError(f"the baseline is of another machine: {differences(there, here)}")


def make(record: Record, verdict: Verdict) -> Baseline:
    """The baseline that a record gives: labels whose numbers agree and whose times can be compared.

    Raises InputError for a record that is not finished, has fewer than MIN_SESSIONS sessions, or no
    such label.
    """
    _refuse_weak(record)
    labels = {
        name: stored for name in record.plan.labels if (stored := _stored(name, record, verdict))
    }
    if not labels:
        raise InputError(f"run {record.run}: no label has times that can be compared")
    return Baseline(
        machine=machine_key(record),
        environment=_environment(record),
        run=record.run,
        started=record.started,
        labels=labels,
    )


def _refuse_weak(record: Record) -> None:
    if record.ended != FINISHED:
        raise InputError(f"run {record.run}: not finished ({record.ended})")
    _check_sessions(record.plan, f"run {record.run}: ")


def _check_sessions(plan: Plan, whose: str = "") -> None:
    if (sessions := plan.timing.sessions) < MIN_SESSIONS:
        raise InputError(
            f"{whose}{many(sessions, 'timing session')}, and a baseline needs {MIN_SESSIONS}: "
            f"measure with --sessions {MIN_SESSIONS}"
        )


def _stored(label: str, record: Record, verdict: Verdict) -> Stored | None:
    """What a baseline keeps of a label; None for one that cannot be ranked, or was timed little."""
    if why_unranked(label, record, verdict) is not None:
        return None
    stored = times(label, record, verdict)
    return stored if len(stored.logs) >= MIN_SESSIONS else None


def why_unranked(label: str, record: Record, verdict: Verdict) -> str | None:
    """Why nothing is compared with a label's times; None where `times` gives them."""
    judged = verdict.labels[label]
    timing = judged.findings.get("timing")
    if judged.status != "ok":
        return judged.status
    if judged.step_time is None or timing is None:
        return "not timed"
    if not judged.agrees:
        return "its numbers do not agree"
    if not any(part.name == "across" for part in timing.parts):
        return "its times are void"
    if min(session_medians(record, record.results[label])) <= 0:
        return "a session's median step is no time"
    return too_short(record, label)


def times(label: str, record: Record, verdict: Verdict) -> Stored:
    """A label's times, one log a session; only where `why_unranked` gives None."""
    configured, process = record.plan.labels[label], verdict.labels[label].process
    medians = session_medians(record, record.results[label])
    logs = floor_logs(record, label) or []
    by_floor = len(logs) == len(medians)
    return Stored(
        unit="floor" if by_floor else "ns",
        logs=logs if by_floor else [math.log(ns) for ns in medians],
        step_ns=medians,
        environment=process.facts if process else {},
        **{field: getattr(configured, field) for field in CONFIGURATION},
    )


def _environment(record: Record) -> dict[str, str]:
    """What may change on one machine and move its times."""
    return {
        "kernel": record.machine.get("system", ""),
        "python": record.machine.get("python", ""),
        "harness": record.harness_version,
        "threads": str(record.plan.threads),
    }


def compare(baseline: Baseline, records: list[Record]) -> dict[str, Comparison]:
    """Every label of today's measurements against a baseline.

    `records`: one measurement, or two of the same plan, of which the second confirms or refutes
    what the first suspects. Raises InputError for records of another machine, or weak ones.
    """
    for record in records:
        _refuse_weak(record)
        if machine_key(record) != baseline.machine:
            raise InputError(
                f"run {record.run} is of another machine than the baseline (run {baseline.run}): "
                f"{differences(baseline.machine, machine_key(record))}"
            )
    verdicts = [judge(record) for record in records]
    comparisons = {}
    for label in records[0].plan.labels:
        before = baseline.labels.get(label)
        after = [_stored(label, r, v) for r, v in zip(records, verdicts, strict=True)]
        comparisons[label] = _compare_label(baseline, records[0], before, after)
    return comparisons


def _compare_label(
    baseline: Baseline, record: Record, before: Stored | None, after: list[Stored | None]
) -> Comparison:
    if before is None:
        return Comparison(outcome="not compared", reason="the baseline does not have it")
    today = [stored for stored in after if stored is not None]
    if len(today) < len(after):
        return Comparison(outcome="not compared", reason="its numbers or times do not hold today")
    if reason := next(filter(None, (why_unlike(before, stored) for stored in today)), None):
        return Comparison(outcome="not compared", reason=reason)
    changes = [change(before.logs, t.logs, record.plan.timing.factor) for t in today]
    outcome, reason = _decide(changes)
    then = baseline.environment | before.environment
    return Comparison(
        outcome=outcome,
        reason=reason,
        changes=changes,
        unit=before.unit,
        steps_ns=[geometric_mean(before.step_ns), geometric_mean(today[0].step_ns)],
        environment=differing(then, _environment(record) | today[0].environment),
    )


def _decide(changes: list[Change]) -> tuple[Outcome, str]:
    """The outcome of one measurement, or of two."""
    first = changes[0]
    if first.verdict != "slower":
        return first.verdict, "one measurement"
    if len(changes) == 1:
        return "slower", "suspected: a second measurement must confirm it"
    if changes[1].verdict == "slower":
        return "regression", "a second measurement confirms it"
    return "inconclusive", f"the second measurement says {changes[1].verdict}"


def why_unlike(before: Stored, after: Stored) -> str | None:
    """What makes two labels' times incomparable, in a few words; None where nothing does."""
    for field in (*CONFIGURATION, "unit"):
        then, now = getattr(before, field), getattr(after, field)
        if then != now:
            return f"{field} was {then}, is {now}"
    return None


def differences(then: dict[str, str], now: dict[str, str]) -> str:
    """The facts that differ, each with both values; "" where none does."""
    changed = sorted(differing(then, now).items())
    return "; ".join(f"{name} was {before!r}, is {after!r}" for name, (before, after) in changed)


def as_part(comparison: Comparison) -> Part | None:
    """A comparison as the fifth part of the rung timing; None where there was none."""
    if comparison.outcome == "not compared":
        return None
    last, outcome = comparison.changes[-1], comparison.outcome
    words: dict[str, RungVerdict] = {
        "same": "agree",
        "faster": "agree",
        "regression": "disagree",
    }
    return Part(
        name="baseline",
        verdict=words.get(outcome, "inconclusive"),
        value=last.value,
        sentence=f"{outcome} against the baseline, {interval(last)}: {comparison.reason}",
    )


def interval(change: Change) -> str:
    """A ratio of times, with its interval where it has one."""
    ends = "" if change.low is None else f" [{change.low:.3f}, {change.high:.3f}]"
    return f"{change.value:.3f}{ends}"


def read(path: Path) -> Baseline:
    """A stored baseline; InputError unless it is a whole one that this harness reads."""
    if not os.path.lexists(path):
        raise InputError(f"there is no baseline {path}; make one with: harness baseline save")
    baseline = files.read(path, "baseline", Baseline, SCHEMA)
    for name, label in baseline.labels.items():
        if len(label.logs) < MIN_SESSIONS or len(label.step_ns) != len(label.logs):
            raise InputError(f"baseline {path}: {name} has {len(label.logs)} sessions")
        if min(label.step_ns) <= 0 or max(map(abs, label.logs)) > 100:
            raise InputError(f"baseline {path}: {name} has times that cannot be")
    return baseline


def as_text(comparisons: dict[str, Comparison], baseline: Baseline, path: Path) -> str:
    """Comparisons for people: a line a label, then what changed around it."""
    lines = [f"against {path} (run {baseline.run}, {baseline.started})"]
    width = max(map(len, comparisons), default=0)
    changed = set()
    for label, c in comparisons.items():
        outcome = c.outcome.upper() if c.outcome == "regression" else c.outcome
        line = f"  {label:<{width}}  {outcome}: "
        if c.changes:
            then, now = (ns / 1e6 for ns in c.steps_ns)
            of = "multiple of the floor" if c.unit == "floor" else "step"
            line += f"{of} × {', '.join(map(interval, c.changes))}; "
            line += f"step {then:.3f} ms then, {now:.3f} ms today; "
        lines.append(line + c.reason)
        changed |= {f"  changed: {n}: {then} → {now}" for n, (then, now) in c.environment.items()}
    return "\n".join([*lines, *(sorted(changed) or ["  environment unchanged"])])
