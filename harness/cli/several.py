"""`compare` with several workloads: a run each, and one table of them all."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.output import at_work, out, show, warn
from harness.errors import InputError
from harness.files import write_atomic

if TYPE_CHECKING:
    from harness.plan.model import Plan


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


def compare(plans: list[Plan], results_dir: Path, strict: bool, as_json: bool) -> int:
    """Run the plans, store each verdict as ever, then the table; the worst exit status."""
    from harness.cli.stored import judge_one
    from harness.report import markdown, matrix, page
    from harness.run import session, several

    rows, statuses = [], []
    phases = sum(session.phases(plan) for plan in plans)
    with (
        at_work(phases) as progress,
        contextlib.closing(several.run(plans, results_dir, progress)) as runs,
    ):
        for done in runs:
            if isinstance(done, several.NotRun):
                warn(f"{done.workload}: {done.reason}")
                rows.append(matrix.Row(done.workload, None, None, "", done.reason))
                statuses.append(3)
                continue
            judged, status = judge_one(*done, strict)
            record, folder = done
            rows.append(
                matrix.Row(record.plan.workload.name, record, judged, str(folder.resolve()))
            )
            statuses.append(status)
    last = next((row for row in rows[::-1] if row.folder), None)
    report = matrix.report(rows)
    written = []
    if last is not None:
        place = results_dir / "several"
        place.mkdir(parents=True, exist_ok=True)
        name = Path(last.folder).name
        for ending, text in (
            ("md", markdown.render(report)),
            ("html", page.render(report)),
            ("json", json.dumps(matrix.document(rows), indent=1, allow_nan=False) + "\n"),
        ):
            written.append(place / f"{name}.{ending}")
            write_atomic(written[-1], text.encode())
    if as_json:
        out(json.dumps(matrix.document(rows), allow_nan=False) + "\n")
    else:
        show(report)
        out("".join(f"written: {file}\n" for file in written))
    return max(statuses)
