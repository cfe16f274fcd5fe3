"""Writes what a run's folder holds for readers, from its record and verdict."""

from __future__ import annotations

import os
from pathlib import Path

from harness.record import Record, write_atomic
from harness.report import markdown, operators, roofline
from harness.verdict import Verdict

# GitHub takes at most 1 MiB from one step; what is longer it drops whole.
SUMMARY_BYTES = 1024 * 1024


def write(record: Record, verdict: Verdict, folder: Path) -> None:
    """Write report.md and its pictures into a run's folder; InputError where that cannot be."""
    write_atomic(folder / "report.md", markdown.render(record, verdict).encode())
    if any(results.operators for results in record.results.values()):
        write_atomic(folder / "operators.svg", operators.draw(record).encode())
    if drawn := roofline.draw(record, verdict):
        write_atomic(folder / "roofline.svg", drawn.encode())


def append_summary(record: Record, verdict: Verdict, file: str) -> None:
    """Add the Markdown report to a GitHub step summary, cut to what there is room for.

    Raises OSError where the file cannot be written.
    """
    room = SUMMARY_BYTES - (os.path.getsize(file) if os.path.exists(file) else 0)
    text = markdown.fitted(markdown.render(record, verdict), room)
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(text)
