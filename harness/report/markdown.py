"""The verdict as Markdown, for a pull request or a reader. Escapes whatever a record contains."""

from __future__ import annotations

from harness.record.schema import Record
from harness.report import operators, roofline, words
from harness.report.tables import escape, table
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import LIMITS, RUNGS


def fitted(text: str, most: int) -> str:
    """A report in at most `most` bytes: sections are left out from the end, and named.

    Where not even its beginning fits, nothing is left of it.
    """
    first, *sections = text.split("\n## ")
    for kept in range(len(sections), -1, -1):
        left = [section.partition("\n")[0] for section in sections[kept:]]
        told = f"\nLeft out for want of room: {'; '.join(left)}.\n" if left else ""
        cut = "\n## ".join([first, *sections[:kept]]) + told
        if len(cut.encode()) <= most:
            return cut
    return ""


def render(record: Record, verdict: Verdict) -> str:
    """The whole report."""
    lines = [f"# {words.MARKS[verdict.verdict]} {verdict.verdict}: {escape(verdict.summary)}", ""]
    lines += [escape(words.headline(record)), ""]
    for warning in words.warnings(record):
        lines += [f"> **{escape(warning)}**", ""]
    lines += ["## The ladder", "", "Each cell: the value nearest its limit.", ""]
    lines += table(["label", "status", *RUNGS], words.ladder_rows(verdict))
    explained = words.explanations(verdict)
    if explained:
        lines += ["## What does not agree, or was not judged", ""]
        lines += [*(f"- {escape(line)}" for line in explained), ""]
    lines += ["## Value against limit", ""]
    lines += table(
        ["label", "rung", "verdict", "value", "limit", "batch", "dtype", "tensor", "measured"],
        [
            [
                name,
                rung,
                finding.verdict,
                words.figure(finding.value),
                words.figure(finding.limit),
                at.where if (at := finding.evidence) else "–",
                at.dtype if at else "–",
                at.tensor if at else "–",
                str(finding.measured),
            ]
            for name, label in verdict.labels.items()
            for rung, finding in label.findings.items()
        ],
    )
    lines += [escape(words.screening(record)), ""] if record.cases else []
    times = words.time_rows(record, verdict)
    if times:
        title = words.time_title(record)
        lines += [f"## {title[0].upper()}{title[1:]}", ""]
        lines += table(["label", "agreement", *words.STEP_TIME_HEADER], times)
        lines += table(list(words.RATIO_HEADER), words.ratio_rows(record, verdict))
        lines += table(list(words.PART_HEADER), words.part_rows(verdict))
        if told := roofline.sentence(record):
            lines += ["## Roofline (GFLOP/s)", "", escape(told), ""]
            lines += table(list(roofline.HEADER), roofline.rows(record, verdict))
            lines += ["![Roofline: where a training step lies](roofline.svg)", ""]
    trained = words.training_rows(record)
    if trained:
        lines += ["## Free training", "", *table(list(words.TRAINING_HEADER), trained)]
    for title, header, rows in (
        (
            "Equivalence over seeds (paired with the reference)",
            words.EQUIVALENCE_HEADER,
            words.equivalence_rows(verdict),
        ),
        ("Predictions against the reference's", words.CHURN_HEADER, words.churn_rows(verdict)),
        ("A against A", words.REPEAT_HEADER, words.repeat_rows(verdict)),
        ("Envelope of float32 replicas", words.ENVELOPE_HEADER, words.envelope_rows(record)),
    ):
        lines += [f"## {title}", "", *table(list(header), rows)] if rows else []
    lines += operators.render(record)
    lines += ["## Where the limits come from", ""]
    lines += table(
        ["rung", "dtype", "precision", "batch", "limit", "reason", "seen in correct code"],
        [[r.rung, r.dtype, r.precision, r.case, f"{r.value:g}", r.reason, r.seen] for r in LIMITS],
    )
    lines += ["## Environment", ""]
    facts = [["machine", name, value] for name, value in record.machine.items()]
    for name, results in record.results.items():
        for process in results.processes:
            facts += [[f"{name} ({process.dtype})", k, v] for k, v in process.facts.items()]
    lines += table(["where", "what", "value"], facts)
    return "\n".join(lines)
