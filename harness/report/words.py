"""How figures are written in every report: the same words on a terminal and in Markdown."""

from __future__ import annotations

from harness.data import MADE, title
from harness.interface import Workload
from harness.record.schema import FINISHED, Record
from harness.text import counted, short
from harness.verdict.finding import Finding, void_part
from harness.verdict.outcome import unit_of
from harness.verdict.verdict import LabelVerdict, Verdict, left_behind
from harness.workloads.reference.limits import DECIDING, RUNGS

# Beside a time that lies below its own floor.
BELOW = ", floor not steady"
# A mark beside the word: readable without colour.
MARKS = {"agree": "✓", "disagree": "✗", "inconclusive": "?", "not-possible": "–", "failed": "✗"}
# Of each rung two letters, over a column of marks.
SHORT = dict(zip(RUNGS, ("in", "fw", "lo", "gr", "up", "ls", "tr", "ac", "ti"), strict=True))
COLOURS = {"agree": "green", "disagree": "red", "inconclusive": "yellow", "failed": "red",
           "follows": "bright_black"}  # fmt: skip


def duration(ns: float | None) -> str:
    """Nanoseconds in the unit that reads best."""
    if ns is None:
        return "–"
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= 0.9995 * size:  # what would be rounded to 1000 of the smaller unit
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def span(low_ns: float, high_ns: float) -> str:
    """Two durations in the unit of the larger one."""
    high, _, unit = duration(high_ns).partition(" ")
    size = high_ns / float(high) if float(high) else 1.0
    return f"{low_ns / size:.3g}–{high} {unit}"


def following(label: LabelVerdict) -> list[str]:
    """The rungs of a label that are off because one before them is."""
    off = [rung for rung, of in label.findings.items() if of.counts and rung != "timing"]
    return off[1:]


def beyond(finding: Finding) -> str:
    """In which dtype a rung is first beyond its limit; "" where it keeps it."""
    return finding.first.dtype if finding.counts and finding.first is not None else ""


def cell(finding: Finding | None, *, follows: bool = False) -> str:
    """One rung of one label: the mark, the value nearest its limit, and that limit.

    Of a rung that is off the first value beyond it, with its dtype. `follows`: see `following`.
    """
    if finding is None:
        return "–"
    mark = MARKS[finding.verdict]
    if follows:
        return f"{mark} follows"
    if void_part(finding.parts) is not None:
        return f"{mark} void"
    if finding.rung == "timing":
        return f"{mark} {finding.value:.2f}×" if isinstance(finding.value, float) else mark
    if finding.expected is not None:
        return f"{mark} as declared"
    dtype = f" {beyond(finding)}".rstrip()
    if finding.value is None:
        return f"{mark}{dtype}"
    if not finding.limit:
        return f"{mark} {short(finding.value)}{dtype}"
    sign = "≤" if isinstance(finding.value, float) and finding.value <= finding.limit else ">"
    return f"{mark} {short(finding.value)}{sign}{short(finding.limit)}{dtype}"


def decimals(value: float | None, places: int = 2) -> str:
    """A ratio with so many decimals."""
    return "–" if value is None else f"{value:.{places}f}"


def times_floor(value: float | None, sign: str = "") -> str:
    """A step as a multiple of its floor; no step can be below it: there the floor was off."""
    return "–" if value is None else f"{value:.2f}{sign}{BELOW * (value < 1)}"


def megabytes(size: int | None) -> str:
    """Bytes in MB (10^6)."""
    return "–" if size is None else f"{size / 1e6:.0f} MB"


def in_nats(workload: Workload) -> str:
    """The unit of its loss behind a comma; "" where it has none."""
    unit = unit_of("training loss", workload)[1]
    return f", {unit}" if unit else ""


def images(record: Record) -> str:
    """The data that were used."""
    data = record.dataset
    if data is None:
        return "no data set"
    if record.plan.workload.data in MADE:
        return f"{title(record.plan.workload.data)}, made here"
    # Rows of numbers have no classes' names, nor have a user's own.
    return f"{data.name}, {data.train} + {data.test} samples"


def headline(record: Record) -> str:
    """What was run, in a line."""
    plan = record.plan
    return f"{plan.workload.name} · profile {plan.profile} · {images(record)} · run {record.run}"


def warnings(record: Record) -> list[str]:
    """What must be said loudly above everything else."""
    synthetic = record.dataset is not None and record.dataset.synthetic
    of = title(record.plan.workload.data)
    said = f"SYNTHETIC DATA: this run did not use {of}; accuracies mean little."
    lines = [said] if synthetic else []
    planted = [f"{name}: {of.plant}" for name, of in record.plan.labels.items() if of.plant]
    if planted:
        lines.append(f"FAULT PLANTED on purpose: {', '.join(planted)}.")
    lines += [
        f"LEFT BEHIND by {name}, ended by the harness: {', '.join(commands)}."
        for name in record.plan.labels
        if (commands := counted([each.command for _, each in left_behind(record, name)]))
    ]
    if record.ended != FINISHED:
        lines.append(f"NOT FINISHED: {record.ended}.")
    return lines


def screening(record: Record) -> str:
    """How many samples screening replaced."""
    forced = [case for case in record.cases if case.step is not None]
    samples, replaced = sum(c.rows for c in forced), sum(c.replaced for c in forced)
    made, most = len(record.cases) - len(forced), max((c.replaced for c in forced), default=0)
    return (
        f"{len(forced)} teacher-forced batches: {replaced} of {samples} samples replaced by "
        f"screening (at most {most} in one); {made} made batches"
    )


def explanations(verdict: Verdict) -> list[str]:
    """A sentence for every rung that disagrees, and every label that failed or is skipped."""
    lines = []
    for name, label in verdict.labels.items():
        if label.reason:
            lines.append(f"{name} {label.status}: {label.reason}")
        follow = following(label)
        for of in label.findings.values():
            if of.rung in follow:
                continue
            if of.rung in DECIDING and of.verdict == "not-possible":
                lines.append(f"{MARKS[of.verdict]} {name}, {of.rung}: {of.sentence}.")
            if of.verdict == "disagree":
                why = of.first.why if of.first else None
                more = (
                    *(("Limit because", why), ("Explanation", of.explained)),
                    *(("Hint", of.hint), ("As declared", of.expected)),
                )
                reasons = "".join(f" {what}: {text}." for what, text in more if text)
                lines.append(f"{MARKS['disagree']} {of.sentence}.{reasons}")
        if follow:
            verb = "follows" if len(follow) == 1 else "follow"
            lines.append(f"{MARKS['disagree']} {name}: {', '.join(follow)} {verb} from it.")
    return lines
