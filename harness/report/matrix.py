"""Several workloads in one table: a row a workload, a column a label, an answer in each cell."""

from __future__ import annotations

from typing import Any, NamedTuple

from harness.record.schema import Record
from harness.report.sections import Cell, Report, Section, Value
from harness.report.words import MARKS, duration
from harness.verdict.timings import too_short
from harness.verdict.verdict import LabelVerdict, Verdict
from harness.workloads.reference.limits import DECIDING

# The worst word of several, first.
WORST = ("failed", "disagree", "inconclusive", "agree")


class Row(NamedTuple):
    """A workload's run, judged; without a record: `reason` says why there is none."""

    workload: str
    record: Record | None
    verdict: Verdict | None
    folder: str
    reason: str = ""


def report(rows: list[Row]) -> Report:
    """The table, and a sentence for every workload that is not agreed on."""
    words = [row.verdict.verdict if row.verdict else "failed" for row in rows]
    word = next(word for word in WORST if word in words)
    labels = [*dict.fromkeys(name for row in rows if row.verdict for name in row.verdict.labels)]
    agreed = words.count("agree")
    table = Section(
        "Workloads",
        ("workload", *labels, "judged", "record"),
        [_cells(row, labels) for row in rows],
        about="first divergence, or step time over that of the fastest that agrees",
        figures=False,
    )
    lines = [
        f"{MARKS[row.verdict.verdict] if row.verdict else MARKS['failed']} {row.workload}: "
        f"{row.verdict.summary if row.verdict else row.reason}."
        for row, word in zip(rows, words, strict=True)
        if word != "agree" or (row.record is not None and row.record.failure is not None)
    ]
    return Report(
        word=word,
        sentence=f"{agreed} of {len(rows)} workloads agree",
        mark=MARKS[word],
        tone=word,
        headline=[f"{len(rows)} workloads · {len(labels)} labels"],
        sections=[table, Section("What is to be said", lines=lines)],
        title=f"{MARKS[word]} {agreed} of {len(rows)} workloads",
    )


def document(rows: list[Row]) -> dict[str, Any]:
    """The same as plain data, by workload."""
    return {
        row.workload: {
            "verdict": row.verdict.verdict if row.verdict else "failed",
            "summary": row.verdict.summary if row.verdict else row.reason,
            "record": row.folder or None,
            "labels": {
                name: {
                    "status": label.status,
                    "agrees": label.agrees,
                    "first_divergence": _divergence(label) or None,
                    "step_ns": label.step_time.median_ns if label.step_time else None,
                    "ratio": _ratio(row, name),
                }
                for name, label in (row.verdict.labels if row.verdict else {}).items()
            },
        }
        for row in rows
    }


def _cells(row: Row, labels: list[str]) -> list[Value]:
    if row.verdict is None:
        return [row.workload, *("–" for _ in labels), Cell("failed", tone="failed"), "–"]
    cells: list[Value] = [row.workload]
    cells += [_cell(row, name) for name in labels]
    name = row.record.run if row.record is not None else "–"
    return [*cells, Cell(row.verdict.verdict, tone=row.verdict.verdict), name]


def _cell(row: Row, name: str) -> Cell:
    label = row.verdict.labels.get(name) if row.verdict else None
    if label is None or label.status == "skipped":
        return Cell("–", spoken="not run")
    if label.status == "failed":
        return Cell(f"{MARKS['failed']} failed", tone="failed")
    if first := _divergence(label):
        return Cell(f"{MARKS['disagree']} {first}", tone="disagree")
    word = "agree" if label.agrees else "inconclusive"
    return Cell(f"{MARKS[word]} {_speed(row, name)}", tone=word)


def _divergence(label: LabelVerdict) -> str:
    """The lowest rung that disagrees, where, and which tensor; empty where none does."""
    for rung in DECIDING:
        finding = label.findings.get(rung)
        if finding is not None and finding.verdict == "disagree" and finding.first is not None:
            step = "" if finding.first.step is None else f", step {finding.first.step}"
            return f"{rung}{step}: {finding.first.tensor}"
    return ""


def _speed(row: Row, name: str) -> str:
    """A step over the fastest one's; its time where it is too short, or the only one."""
    assert row.verdict is not None
    time = row.verdict.labels[name].step_time
    if time is None:
        return ""
    ratio = _ratio(row, name)
    return duration(time.median_ns) if ratio is None else f"{ratio:.2f}×"


def _ratio(row: Row, name: str) -> float | None:
    """Of a label's step to the fastest of those that agree, where both are long enough."""
    assert row.verdict is not None
    assert row.record is not None
    times = {
        other: label.step_time.median_ns
        for other, label in row.verdict.labels.items()
        if label.step_time is not None and label.agrees
    }
    if name not in times or len(times) < 2:
        return None
    if any(too_short(row.record, each) for each in times):
        return None
    return times[name] / min(times.values())
