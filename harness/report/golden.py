"""Golden files for people: what one holds, and how far a backend is from it."""

from __future__ import annotations

from harness.report.sections import Report, Section, Value
from harness.report.words import MARKS
from harness.results.golden import Checked, Header, summary
from harness.text import clean, short
from harness.verdict.numbers import within

HEADER = ("steps", "tensor", "distance", "limit", "worst element", "got", "expected")


def described(header: Header) -> str:
    """What a golden file holds, in one line."""
    steps = ", ".join(map(str, header.after))
    return clean(
        f"{header.workload.name} by {header.writer.label} ({_named(header.writer.versions)}), "
        f"{header.data.name}, seed {header.seed}, float64; parameters after {steps} steps; "
        f"{header.written}"
    )


def _named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def rows(checked: Checked) -> list[list[Value]]:
    """A row a tensor and number of steps."""
    table: list[list[Value]] = []
    for steps, m in checked.measured:
        mark = MARKS["agree" if within(m, checked.limit) else "disagree"]
        distance = f"{mark} {m.problem or short(m.distance)}"
        row: list[Value] = [steps, m.tensor, distance, checked.limit.value, None, None, None]
        if m.worst is not None:
            both = (m.worst.got, m.worst.want)
            values = [short(v, 8) for v in both]
            row[4:] = [str(m.worst.index), *values]
        table.append(row)
    return table


def report(checked: Checked) -> Report:
    """What it is held to, the table, one sentence."""
    tone = "agree" if checked.first is None else "disagree"
    versions = f"{checked.label}: {_named(checked.versions)}"
    return Report(
        word="",
        sentence=summary(checked),
        mark=MARKS[tone],
        tone=tone,
        headline=[f"golden: {described(checked.header)}", versions],
        sections=[Section(header=HEADER, rows=rows(checked))],
    )
