"""`compare` with several workloads: a run each, and one table of them all."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.output import at_work, out, show, warn
from harness.errors import InputError
from harness.files import write_atomic

if TYPE_CHECKING:
    from harness.plan.model import Plan
    from harness.report.sections import Report


def names(text: str | None) -> list[str]:
    """The workloads that A,B,C or a group names; empty where it is one, or none is named.

    InputError for one that is named twice, or not at all.
    """
    from harness.workloads import GROUPS

    if text is None or (text not in GROUPS and "," not in text) or os.path.lexists(text):
        return []
    found = [name for part in text.split(",") for name in GROUPS.get(part, (part,))]
    if "" in found or len({*found}) < len(found):
        raise InputError(f"--workload {text!r}: expected names like A,B, each once")
    return found


def compare(
    plans: list[Plan], results_dir: Path, strict: bool, no_cache: bool, as_json: bool
) -> int:
    """Run the plans, store each verdict as ever, then the table; the worst exit status."""
    from harness.cli.stored import judge_one
    from harness.report import matrix
    from harness.run import memo, session, several

    rows, statuses = [], []
    kept = memo.of_user(wanted=not no_cache)
    phases = sum(session.phases(plan) for plan in plans)
    with (
        at_work(phases) as progress,
        contextlib.closing(several.run(plans, results_dir, progress, kept)) as runs,
    ):
        for done in runs:
            if isinstance(done, several.NotRun):
                warn(f"{done.workload}: {done.reason}")
                rows.append(matrix.Row(done.workload, {}, reasons={"": done.reason}))
                statuses.append(3)
                continue
            judged, status = judge_one(*done, strict)
            record, folder = done
            found = matrix.Run(record, judged, str(folder.resolve()))
            rows.append(
                matrix.Row(record.plan.workload.name, dict.fromkeys(judged.labels, (found,)), found)
            )
            statuses.append(status)
    last = next((row.timed for row in rows[::-1] if row.timed), None)
    report, document = matrix.report(rows, results_dir / "several"), matrix.document(rows)
    written = []
    if last is not None:
        written = write(results_dir / "several" / Path(last.folder).name, report, document)
    if as_json:
        out(json.dumps(document, allow_nan=False) + "\n")
    else:
        show(report)
        out("".join(f"written: {file}\n" for file in written))
    return max(statuses)


def write(place: Path, report: Report, document: dict[str, Any]) -> list[Path]:
    """The table as `place`.md, .html and .json, and their folder; the files."""
    from harness.report import markdown, page

    place.parent.mkdir(parents=True, exist_ok=True)
    texts = {
        "md": markdown.render(report),
        "html": page.render(report),
        "json": json.dumps(document, indent=1, allow_nan=False) + "\n",
    }
    written = [place.with_name(f"{place.name}.{ending}") for ending in texts]
    for file, text in zip(written, texts.values(), strict=True):
        write_atomic(file, text.encode())
    return written
