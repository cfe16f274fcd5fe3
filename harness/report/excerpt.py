"""The tables of a run in another Markdown file, between markers: made by a command, not by hand.

Takes a stored record only.
"""

from __future__ import annotations

from harness.errors import InputError
from harness.record.facts import versions
from harness.record.schema import Record
from harness.report import words
from harness.report.tables import escape, table
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import RUNGS

BEGIN = "<!-- harness report --into: begin -->"
END = "<!-- harness report --into: end -->"
# What a reader of a first page asks of a step's time; report.md has the rest.
TIMES = (
    "step",
    "95 % interval",
    "× floor",
    "its interval",
    "first step",
    "epoch",
    "evaluation",
    "peak memory",
    "cores at work",
    "sessions",
)


def excerpt(record: Record, verdict: Verdict) -> str:
    """What stands between the markers."""
    lines = [f"**{words.MARKS[verdict.verdict]} {verdict.verdict}**: {escape(verdict.summary)}", ""]
    lines += [f"> **{escape(warning)}**\n" for warning in words.warnings(record)]
    found: dict[str, str] = {}
    for label in verdict.labels.values():
        found |= versions(label.process.facts) if label.process is not None else {}
    told = [
        words.headline(record),
        record.started,
        record.machine.get("processor", ""),
        f"{record.plan.threads} threads",
        ", ".join(f"{name} {version}" for name, version in sorted(found.items())),
    ]
    lines += [escape(" · ".join(part for part in told if part)), ""]
    lines += _across(["status", *RUNGS], words.ladder_rows(verdict))
    times = words.time_rows(record, verdict)
    if times:
        names = ["numbers", *words.STEP_TIME_HEADER]
        kept = [0] + [1 + names.index(name) for name in ("numbers", *TIMES)]
        title = words.time_title(record)
        lines += [f"{title[0].upper()}{title[1:]}:", ""]
        lines += _across(["numbers", *TIMES], [[row[i] for i in kept] for row in times])
    return "\n".join(lines)


def _across(names: list[str], rows: list[list[str]]) -> list[str]:
    """A row a label, its name first, as a table with a column a label."""
    first, *rest = ([name, *cells] for name, *cells in zip(["", *names], *rows, strict=True))
    return table([first[0], *map(escape, first[1:])], rest)


def put(text: str, between: str, name: str) -> str:
    """A Markdown text with everything between its markers replaced.

    InputError, which calls the text `name`, unless it has each marker once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise InputError(f"{name}: needs one line {BEGIN!r} and after it one line {END!r}")
    return f"{before}{BEGIN}\n\n{between}\n{END}{after}"
