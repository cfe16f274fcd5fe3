"""The ladder as a page shows it: a cell for each label and rung, and the evidence that it opens.

Takes a stored record and its verdict; the words and figures are those of the other reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.plan.model import process_precision
from harness.record.schema import Number, Record, number
from harness.report import words
from harness.report.page import Table
from harness.verdict.finding import Evidence, Finding
from harness.verdict.outcome import UNITS
from harness.verdict.timing import void_part
from harness.verdict.trajectory import envelope_limit
from harness.verdict.verdict import LabelVerdict, Verdict
from harness.workloads.reference.limits import RUNGS, Limit, limit_for


@dataclass(frozen=True)
class Cell:
    """One rung of one label: what the matrix shows of it, and the evidence that it opens.

    `filled`: how much of the cell's bar is full, in per cent; None without one. `facts`: names and
    values; `measured`: the same of a measurement, under what it is.
    """

    id: str
    label: str
    rung: str
    verdict: str
    mark: str
    value: str
    limit: str
    sign: str
    margin: str
    filled: int | None
    sentence: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    measured: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One label of the matrix."""

    label: str
    status: str
    cells: list[Cell | None]


def ladder(record: Record, verdict: Verdict, limits: tuple[Limit, ...]) -> list[Row]:
    """A row a label, a cell a rung; `limits`: the table that the verdict was made under."""
    found = []
    for place, (name, label) in enumerate(verdict.labels.items()):
        cells = []
        for rung in RUNGS:
            finding = label.findings.get(rung)
            cells.append(
                None
                if finding is None
                else _cell(f"evidence-{place}-{rung}", name, finding, label, record, limits)
            )
        found.append(Row(name, label.status, cells))
    return found


def _cell(
    id_: str,
    name: str,
    finding: Finding,
    label: LabelVerdict,
    record: Record,
    limits: tuple[Limit, ...],
) -> Cell:
    unit = _unit(finding)
    share = _share(finding.value, finding.limit)
    facts = [("measured", _measured(finding))]
    if finding.hint:
        facts.append(("hint", finding.hint))
    if finding.expected is not None:
        facts.append(("declared beforehand", finding.expected))
    tables = []
    if finding.parts:
        tables.append(
            Table(
                f"{name}, timing: the parts that it consists of",
                (*words.PART_HEADER[1:-1], "what it says"),
                [row[1:] for row in words.part_rows(_alone(name, label))],
            )
        )
    if finding.rung == "accuracy" and label.equivalence:
        tables.append(
            Table(
                f"{name}: paired equivalence tests over seeds",
                words.EQUIVALENCE_HEADER[1:],
                [row[1:] for row in words.equivalence_rows(_alone(name, label))],
            )
        )
    measured = []
    for told, evidence in (
        ("first over its limit", finding.first),
        ("furthest over its limit" if finding.first else "nearest its limit", finding.evidence),
    ):
        if evidence is not None and (told.startswith("first") or evidence != finding.first):
            measured.append((told, evidence_facts(finding, evidence, name, record, limits)))
    void = void_part(finding.parts) is not None
    return Cell(
        id=id_,
        label=name,
        rung=finding.rung,
        verdict="expected" if finding.expected is not None else finding.verdict,
        mark=words.MARKS[finding.verdict],
        value="void" if void else unit(finding.value) if finding.value is not None else "",
        limit="" if finding.value is None or finding.limit is None else unit(finding.limit),
        sign=">" if share is not None and share > 1 else "≤",
        margin="as declared" if finding.expected is not None else _margin(share, finding),
        filled=_filled(share),
        sentence=finding.sentence,
        facts=facts,
        measured=measured,
        tables=tables,
    )


def _alone(name: str, label: LabelVerdict) -> Verdict:
    """One label alone, for the tables that have a row a label."""
    return Verdict(verdict="agree", summary="", labels={name: label}, first_divergence=None)


def _measured(finding: Finding) -> str:
    what = {"accuracy": "trainings", "timing": "timed steps"}.get(finding.rung, "tensors")
    return f"{finding.measured} {what}"


def _unit(finding: Finding) -> Callable[[Number | None], str]:
    """How a rung's value and limit are written, with their unit where they have one."""
    if finding.rung == "timing":
        return lambda value: f"{value:.3g}×" if isinstance(value, float) else words.figure(value)
    if finding.rung == "accuracy" and finding.evidence is not None:
        size, unit = UNITS.get(finding.evidence.tensor, (1, ""))
        return lambda value: (
            f"{words.figure(value * size)} {unit}" if isinstance(value, float) else str(value)
        )
    return words.figure


def _share(value: Number | None, limit: float | None) -> float | None:
    """A value in units of its limit; None where there is no such figure."""
    if not isinstance(value, float | int) or not limit or not value >= 0:
        return None
    return value / limit


def _margin(share: float | None, finding: Finding) -> str:
    """How far from its limit a value lies: limit / value."""
    if share is None:
        return "exact" if finding.value == 0 and finding.limit == 0 else ""
    if share == 0:
        return "exact"
    return f"{_short(1 / share)}× below" if share <= 1 else f"{_short(share)}× over"


def _short(value: float) -> str:
    return f"{value:.0f}" if 99.5 <= value < 1e5 else words.figure(number(value))


def _filled(share: float | None) -> int | None:
    """A bar that is full at the limit and empty at a thousandth of it, on a log scale."""
    if share is None:
        return None
    if share <= 0 or not math.isfinite(share):
        return 0 if share <= 0 else 100
    return round(100 * min(1.0, max(0.0, 1 + math.log10(share) / 3)))


def evidence_facts(
    finding: Finding, at: Evidence, name: str, record: Record, limits: tuple[Limit, ...]
) -> list[tuple[str, str]]:
    """A finding's measurement as names and values, for its label `name`."""
    unit = _unit(finding)
    found = [
        ("batch", at.where),
        ("step", None if at.step is None else str(at.step)),
        ("dtype", at.dtype or None),
        ("tensor", at.tensor),
        ("worst element", None if at.index is None else str(at.index)),
        ("got", _whole(at.got)),
        ("expected", _whole(at.expected)),
        ("distance", None if at.distance is None else unit(at.distance)),
        ("problem", at.problem),
        ("limit", None if at.limit is None else unit(at.limit)),
        ("margin", _margin(_share(at.distance, at.limit), finding) or None),
        ("limit because", at.why),
        ("seen in correct code", _seen(finding.rung, at, name, record, limits)),
    ]
    return [(term, told) for term, told in found if told is not None]


def _whole(value: Number | None) -> str | None:
    return None if value is None else value if isinstance(value, str) else repr(value)


def _seen(
    rung: str, at: Evidence, name: str, record: Record, limits: tuple[Limit, ...]
) -> str | None:
    """What correct code was seen to reach, of the row that the limit comes from."""
    precision = process_precision(record.plan.labels[name], at.dtype)
    case = at.tensor if rung == "accuracy" else at.where
    row = limit_for(rung, at.dtype, case, precision, limits)
    if row is None and rung == "trajectory" and record.plan.trajectory is not None:
        replicas = [r for r in record.envelope if f"{r.regime}, after {r.after} steps" == at.where]
        row = envelope_limit(replicas, record.plan.trajectory) if replicas else None
    return row.seen if row is not None and row.value == at.limit else None
