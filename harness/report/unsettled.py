"""Why a rung is not decided, and the command that settles it.

Takes a stored record and its verdict only.
"""

from __future__ import annotations

import shlex

from harness.record.schema import FINISHED, Record
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.report.words import MARKS
from harness.text import clean, many
from harness.verdict.finding import Finding
from harness.verdict.stats import MIN_SEEDS
from harness.verdict.timing_stats import MIN_SESSIONS

# What a user may still find out of a machine that disturbs a measurement.
QUIET = "harness doctor"


def section(run: Run) -> Section:
    """A line a command: what it settles, why that is open, and of whom where not of all."""
    mark = MARKS["inconclusive"]
    return Section(
        lines=[
            f"{mark} {' · '.join(told)}{command and f' → {command}'}"
            for command, told in open_matters(run).items()
        ]
    )


def open_matters(run: Run) -> dict[str, list[str]]:
    """By command, "" where there is none: what is not decided, why, and of whom."""
    asked = [name for name, label in run.verdict.labels.items() if label.findings]
    whose: dict[tuple[str, str, str], list[str]] = {}
    for name in asked:
        for finding in run.verdict.labels[name].findings.values():
            if finding.verdict == "inconclusive":
                command, why = _settles(finding, run.record)
                if finding.rung == "timing" and not run.verdict.labels[name].agrees:
                    command, why = "", finding.sentence  # its numbers come first
                whose.setdefault((command, finding.rung, why), []).append(name)
    lines: dict[str, list[str]] = {}
    for (command, rung, why), names in whose.items():
        of = "" if len(names) == len(asked) else f" ({', '.join(names)})"
        lines.setdefault(command, []).append(f"{rung}: {why}{of}")
    return lines


def compare(record: Record, profile: str) -> str:
    """The command that measures the same workload under a profile, safe to be pasted."""
    name = shlex.quote(clean(record.plan.workload.name))
    return f"harness compare --workload {name} --profile {shlex.quote(clean(profile))}"


def _settles(finding: Finding, record: Record) -> tuple[str, str]:
    """The command after which a rung is decided, "" where there is none; and why it is open."""
    plan = record.plan
    again, full = compare(record, plan.profile), compare(record, "full")
    if record.ended != FINISHED:
        return again, finding.sentence
    if finding.rung == "accuracy":
        if plan.steps is None and len(plan.seeds) < MIN_SEEDS:
            return full, f"{many(len(plan.seeds), 'seed')} of {MIN_SEEDS}"
        return (full if plan.steps is not None else ""), finding.sentence
    if finding.rung != "timing":
        return "", finding.sentence
    if any(part.name == "itself" for part in finding.parts):
        if plan.timing.sessions < MIN_SESSIONS:
            return full, f"{many(plan.timing.sessions, 'session')} of {MIN_SESSIONS}"
        return QUIET, finding.sentence
    return "", finding.sentence
