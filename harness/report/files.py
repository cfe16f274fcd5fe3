"""Writes what a run's folder holds for readers, from its record and verdict."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import InputError
from harness.files import why, write_atomic
from harness.record.schema import Record
from harness.report import card, markdown, page
from harness.report.run import NAME, report
from harness.report.run_tables import Run
from harness.verdict.verdict import Verdict

# GitHub takes at most 1 MiB from one step; what is longer it drops whole.
SUMMARY_BYTES = 1024 * 1024


def write(
    record: Record,
    verdict: Verdict,
    folder: Path,
    *,
    out: Path | None = None,
    with_images: bool = True,
) -> list[Path]:
    """Write report.md, report.html and card.svg into a run's folder, or into another one.

    What was written is given back.

    folder: where the record lies; out: where else to write, made where it is not there;
    with_images: also the test images on which backends differ. InputError where nothing can be
    written.
    """
    to = folder if out is None else out
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make {to}: {why(error)}") from None
    run = Run(record, verdict, folder, with_images, with_links=out is None)
    texts = {"report.md": markdown.render(report(run, "markdown"))}
    texts[NAME] = page.render(report(run, "page"))
    texts[card.NAME] = card.card(record, verdict)
    for name, text in texts.items():
        write_atomic(to / name, text.encode())
    return [to / name for name in texts]


def append_summary(record: Record, verdict: Verdict, file: str) -> None:
    """Add the Markdown report to a GitHub step summary, cut to what there is room for.

    Raises OSError where the file cannot be written.
    """
    if os.path.exists(file) and not os.path.isfile(file):
        raise OSError("not a file")
    room = SUMMARY_BYTES - (os.path.getsize(file) if os.path.exists(file) else 0)
    text = markdown.fitted(report(Run(record, verdict), "markdown"), room)
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(text)
