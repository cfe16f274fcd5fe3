"""The tables of a run in another Markdown file, between markers: made by a command, not by hand.

Takes a stored record only.
"""

from __future__ import annotations

from pathlib import Path

from harness import files
from harness.errors import InputError
from harness.record.schema import Record
from harness.report import markdown, run_tables, words
from harness.report.ladder import ladder
from harness.report.run_tables import STEP_TIMES, Run, versions_of
from harness.report.tables import escape
from harness.verdict.verdict import Verdict

BEGIN = "<!-- harness report --into: begin -->"
END = "<!-- harness report --into: end -->"
# What a reader of a first page asks of a step's time; report.md has the rest.
TIMES = (
    "label", "numbers", "step", "95 % interval", "× floor", "its interval", "first step", "epoch",
    "evaluation", "peak memory", "cores at work", "sessions",
)  # fmt: skip


def excerpt(record: Record, verdict: Verdict) -> str:
    """What stands between the markers."""
    lines = [f"**{words.MARKS[verdict.verdict]} {verdict.verdict}**: {escape(verdict.summary)}", ""]
    lines += [f"> **{escape(warning)}**\n" for warning in words.warnings(record)]
    facts = [
        words.headline(record),
        record.started,
        record.machine.get("processor", ""),
        f"{record.plan.threads} threads",
        versions_of(verdict),
    ]
    lines += [escape(" · ".join(fact for fact in facts if fact)), ""]
    run = Run(record, verdict)
    lines += markdown.tabled(ladder(run))
    times = run_tables.times(run, {name: STEP_TIMES[name] for name in TIMES})
    if times.rows:
        lines += [f"{times.title}:", "", *markdown.tabled(times)]
    return "\n".join(lines)


def put_into(file: Path, record: Record, verdict: Verdict) -> Path:
    """Replace what stands between the markers of a Markdown file; InputError where it has none."""
    try:
        text = files.read_bytes(file, "Markdown", files.MOST_BY_HAND).decode()
    except UnicodeDecodeError:
        raise InputError(f"{file}: not a text in UTF-8") from None
    files.write_atomic(file, put(text, excerpt(record, verdict), str(file)).encode())
    return file


def put(text: str, between: str, name: str) -> str:
    """A Markdown text with everything between its markers replaced.

    InputError, which calls the text `name`, unless it has each marker once, in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise InputError(f"{name}: needs one line {BEGIN!r} and after it one line {END!r}")
    return f"{before}{BEGIN}\n\n{between}\n{END}{after}"
