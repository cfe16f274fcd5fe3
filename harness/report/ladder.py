"""The ladder: a cell for each label and rung, and the evidence that it opens on a page.

Takes a stored record and its verdict; the words and figures are those of the other reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from harness.plan.model import process_precision
from harness.record.schema import Number, Record
from harness.report import run_tables, words
from harness.report.run_tables import Run
from harness.report.sections import Cell, Section, Value
from harness.text import exact, short
from harness.verdict.finding import Evidence, Finding, void_part
from harness.verdict.numbers import envelope_limit
from harness.verdict.outcome import unit_of
from harness.verdict.verdict import LabelVerdict
from harness.workloads.reference.limits import RUNGS, limit_for

# A value further below its limit than so many times is as good as any.
MOST_HEADROOM = 99


@dataclass(frozen=True)
class Judged(Cell):
    """One rung of one label. `tone`: its verdict; `link`: the id of its evidence.

    `filled`: how much of the cell's bar is full, in per cent; None without one. `shown`: what a
    page shows beside the mark while the cell is closed.
    """

    mark: str = ""
    value: str = ""
    limit: str = ""
    sign: str = ""
    margin: str = ""
    filled: int | None = None
    shown: str = ""
    evidence: Section = field(default_factory=Section)


def ladder(run: Run) -> Section:
    """A row a label, a cell a rung."""
    rows = [
        [name, _status(label), *(_cell(run, place, name, rung) for rung in RUNGS)]
        for place, (name, label) in enumerate(run.verdict.labels.items())
    ]
    title = "The ladder: the value nearest its limit"
    return Section(title, ("label", "status", *RUNGS), rows, across=True, look="matrix")


def _status(label: LabelVerdict) -> Cell:
    return Cell(label.status, label.status, spoken=label.reason or "")


def address(place: int, rung: str) -> str:
    """The id of the evidence of a rung, of the label in this place."""
    return f"evidence-{place}-{rung}"


def _cell(run: Run, place: int, name: str, rung: str) -> Value:
    finding = run.verdict.labels[name].findings.get(rung)
    if finding is None:
        return None
    follows = rung in words.following(run.verdict.labels[name])
    tone: str = "expected" if finding.expected is not None else finding.verdict
    tone = "follows" if follows else tone
    judged = Judged(
        text=words.cell(finding, follows=follows),
        tone=tone,
        link=address(place, rung),
        spoken=f"{name}, {finding.rung}: {tone}",
        mark=words.MARKS[finding.verdict],
        shown=tone,
        evidence=_evidence(finding, name, run),
    )
    return judged if follows else _with_figures(judged, finding, run.record)


def _with_figures(judged: Judged, finding: Finding, record: Record) -> Judged:
    """A cell with value, limit and how far apart they are."""
    write = _writer(finding, record)
    share = share_of(finding.value, finding.limit)
    value = "" if finding.value is None else write(finding.value)
    far = finding.rung != "timing"  # a band, and the fastest is as far inside as can be
    margin = _margin(share, finding) if far else ""
    apart = filter(None, (margin, words.beyond(finding)))
    void = void_part(finding.parts) is not None
    value = "void" if void else value
    shown = _headroom(share, margin) if far and not void else value
    return replace(
        judged,
        value=value,
        shown=judged.tone if finding.expected is not None else shown or judged.shown,
        limit="" if finding.value is None or finding.limit is None else write(finding.limit),
        sign=">" if share is not None and share > 1 else "≤",
        margin="as declared" if finding.expected is not None else ", ".join(apart),
        filled=_filled(share) if far else None,
    )


def _evidence(finding: Finding, name: str, run: Run) -> Section:
    """What a cell opens: the sentence, where and how far, and the tests or parts behind it."""
    what = {"accuracy": "trainings", "timing": "timed steps"}.get(finding.rung, "tensors")
    facts = [
        ("value", _beside_limit(finding, run.record)),
        ("measured", f"{finding.measured} {what}"),
        ("explanation", finding.explained),
        ("hint", finding.hint),
        ("declared beforehand", finding.expected),
    ]
    inside = [Section(rows=_known(facts), look="facts")]
    if finding.evidence is not None:
        title = "First over its limit" if finding.first else "Nearest its limit"
        inside.append(evidence_facts(finding, finding.evidence, name, run.record, title))
    inside += [run_tables.parts(run, name)] if finding.parts else []
    inside += [run_tables.equivalence(run, name)] if finding.rung == "accuracy" else []
    return Section(f"{name} · {finding.rung}", note=finding.sentence, inside=inside)


def _beside_limit(finding: Finding, record: Record) -> str | None:
    """Value and limit in the words of every other report; None where there is no value."""
    if finding.value is None:
        return None
    write, value = _writer(finding, record), finding.value
    if finding.limit is None:
        return write(value)
    sign = "≤" if isinstance(value, float) and value <= finding.limit else ">"
    return f"{write(value)} {sign} {write(finding.limit)}"


def _known(facts: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    return [(term, text) for term, text in facts if text is not None]


def _writer(finding: Finding, record: Record) -> Callable[[Number], str]:
    """How a rung's value and limit are written, with their unit where they have one."""
    if finding.rung == "timing":
        return lambda value: f"{short(value, 3)}×" if isinstance(value, float) else value
    if finding.rung == "accuracy" and finding.evidence is not None:
        size, unit = unit_of(finding.evidence.tensor, record.plan.workload)
        return lambda value: (
            f"{short(value * size)} {unit}".strip() if isinstance(value, float) else str(value)
        )
    return short


def share_of(value: Number | None, limit: float | None) -> float | None:
    """A value in units of its limit; None where there is no such figure."""
    if not isinstance(value, float | int) or not limit or not value >= 0:
        return None
    return value / limit


def _margin(share: float | None, finding: Finding) -> str:
    """How far from its limit a value lies: limit / value."""
    if share == 0 or (share is None and finding.value == finding.limit == 0):
        return "exact"
    if share is None:
        return ""
    return f"{short(1 / share)}× below" if share <= 1 else f"{short(share)}× over"


def _headroom(share: float | None, margin: str) -> str:
    """The same in a cell: whatever is far below its limit is alike."""
    far = share is not None and 0 < share < 1 / MOST_HEADROOM
    return f">{MOST_HEADROOM}×" if far else margin.removesuffix(" below")


def _filled(share: float | None) -> int | None:
    """A bar that is full at the limit and empty at a thousandth of it, on a log scale."""
    if share is None:
        return None
    if share <= 0 or not math.isfinite(share):
        return 0 if share <= 0 else 100
    return round(100 * min(1.0, max(0.0, 1 + math.log10(share) / 3)))


def evidence_facts(
    finding: Finding,
    at: Evidence,
    name: str,
    record: Record,
    title: str = "",
) -> Section:
    """A finding's measurement as names and values, for its label `name`."""
    facts = [
        ("batch", at.where),
        ("step", None if at.step is None else str(at.step)),
        ("dtype", at.dtype or None),
        ("tensor", at.tensor),
        ("worst element", None if at.index is None else str(at.index)),
        ("got", _whole(at.got)),
        ("expected", _whole(at.expected)),
        ("distance", _whole(at.distance)),
        ("problem", at.problem),
        ("limit", _whole(at.limit)),
        ("margin", _margin(share_of(at.distance, at.limit), finding) or None),
        ("limit because", at.why),
        ("seen in correct code", _seen(finding.rung, at, name, record)),
    ]
    return Section(title, rows=_known(facts), look="facts")


def _whole(value: Number | None) -> str | None:
    return None if value is None else exact(value)


def _seen(rung: str, at: Evidence, name: str, record: Record) -> str | None:
    """What correct code was seen to reach, of the row that the limit comes from."""
    precision = process_precision(record.plan.labels[name], at.dtype)
    case = at.tensor if rung == "accuracy" else at.where
    row = limit_for(rung, at.dtype, case, precision)
    if row is None and rung == "trajectory" and record.plan.trajectory is not None:
        replicas = [r for r in record.envelope if f"{r.regime}, after {r.after} steps" == at.where]
        row = envelope_limit(replicas, record.plan.trajectory) if replicas else None
    return row.seen if row is not None and row.value == at.limit else None
