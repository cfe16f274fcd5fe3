"""Verbs that read stored runs and start nothing: check, report, explain, bundle, diff, export."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cli import options
from harness.cli.output import out, out_file, print_document, read, show, warn
from harness.errors import HarnessError, InputError
from harness.files import why, write_atomic
from harness.plan.choices import pairs

if TYPE_CHECKING:
    from harness.record.schema import Record
    from harness.results.baseline import Baseline
    from harness.verdict.verdict import Verdict
    from harness.workloads.reference.limits import Limit


def check(
    records: options.Records,
    limits: options.LimitsFile = None,
    baseline: options.GivenBaseline = None,
    strict: options.Strict = False,
    results_dir: options.ResultsDir = Path("results"),
    as_json: options.Json = False,
) -> int:
    """Judge stored records again, and write their verdict.json; starts no worker."""
    from harness.results import baseline as baselines
    from harness.verdict.numbers import unused
    from harness.workloads.reference.limits import read_limits

    table = (read_limits(limits), limits.name) if limits is not None else None
    held = baselines.read(baseline) if baseline is not None else None
    stored = read(records, results_dir)
    if table is not None and (rows := unused([record for record, _ in stored], table[0])):
        raise InputError(f"--limits {limits}: {rows[0].place}: the limit of nothing in these runs")
    return judge_and_store(stored, strict, as_json, report=False, limits=table, baseline=held)


def report(
    records: options.Records,
    largest: options.Largest = None,
    into: options.Into = None,
    to: options.ReportFolder = None,
    without_images: options.WithoutImages = False,
    results_dir: options.ResultsDir = Path("results"),
    as_json: options.Json = False,
) -> int:
    """Print stored records' verdicts, and write verdict.json, report.md, report.html, card.svg."""
    if sum(option is not None for option in (largest, into, to)) > 1:
        raise InputError("report: --largest, --into and --out: choose one")
    images = not without_images
    if largest is None and into is None and to is None:
        return judge_and_store(
            read(records, results_dir), False, as_json, report=True, quiet=True, images=images
        )
    from harness.report import excerpt, files
    from harness.report.largest import render
    from harness.verdict.verdict import judge

    if largest is None and len(records) != 1:
        raise InputError(f"report --{'out' if into is None else 'into'}: one stored run")
    read_records = read(records, results_dir)
    record, folder = read_records[0]
    if to is not None:
        written = files.write(record, judge(record), folder, out=to, with_images=images)
    elif into is not None:
        written = [excerpt.put_into(into, record, judge(record))]
    elif largest is not None:
        written = [largest]
        write_atomic(largest, render([record for record, _ in read_records]).encode())
    names = [str(file) for file in written]
    print_document({"written": names}, as_json, "\n".join(names))
    return 0


def explain(
    record: options.OneRecord,
    label: options.OnlyLabels = None,
    results_dir: options.ResultsDir = Path("results"),
    as_json: options.Json = False,
) -> int:
    """Why labels differ: the convention that explains each one's first divergence, if one does."""
    from harness.results import explained
    from harness.verdict.verdict import judge

    ((stored, folder),) = read([record], results_dir)
    found, left = explained.explain(stored, judge(stored), folder, label or ())
    document = {"run": stored.run, "explained": msgspec.to_builtins(found), "left": left}
    print_document(document, as_json, explained.as_text(found, left))
    return 0


def bundle(
    record: options.OneRecord,
    out: options.BundleFolder = None,
    results_dir: options.ResultsDir = Path("results"),
    as_json: options.Json = False,
) -> int:
    """Write a reproduction of a record's first divergence: tensors, and a script per framework."""
    from harness import bundle as reproduction

    ((stored, folder),) = read([record], results_dir)
    made = reproduction.make_bundle(stored, folder, out if out is not None else folder / "bundle")
    print_document(reproduction.describe(made), as_json, reproduction.as_text(made))
    return 0


def diff(
    before: options.FirstRun,
    after: options.SecondRun = None,
    label: options.LabelNames = None,
    pair: options.LabelPairs = None,
    markdown: options.MarkdownFile = None,
    page: options.PageFile = None,
    fail_on: options.FailOn = "worse",
    results_dir: options.ResultsDir = Path("results"),
    as_json: options.Json = False,
) -> int:
    """What moved from stored run A to stored run B, or between labels: numbers, speed, versions."""
    from harness.report import markdown as markdowns
    from harness.report import page as pages
    from harness.report.diff import report
    from harness.results import diff as differences

    if label and pair:
        raise InputError("diff: --label and --pair: choose one")
    if after is None and not pair:
        raise InputError("diff: name a second run, or say with --pair which labels to compare")
    names, only = pairs("--label", label), pairs("--pair", pair)
    (then, first), (now, second) = read([before, before if after is None else after], results_dir)
    folders = (str(first.resolve()), str(second.resolve()))
    moved = differences.compare(then, now, names, folders, only or None)
    if markdown is not None:
        write_atomic(markdown, markdowns.render(report(moved, "markdown")).encode())
    if page is not None:
        write_atomic(page, pages.render(report(moved, "page")).encode())
    if as_json:
        print_document(msgspec.to_builtins(moved), as_json, "")
    else:
        show(report(moved, "terminal"))
    return differences.exit_status(moved, fail_on)


def export(
    name: options.FormatName,
    records: options.Records,
    to: options.ExportTo = None,
    tracking_uri: options.TrackingUri = None,
    results_dir: options.ResultsDir = Path("results"),
    as_json: options.Json = False,
) -> int:
    """Write stored runs in a format that other tools read."""
    from harness import export as formats
    from harness.export.shown import Run, line
    from harness.verdict import verdict

    target = formats.check(name, len(records), to, tracking_uri).target
    if as_json and target == "file" and to is None:
        raise InputError(f"export {name} --json: say with --out where the export itself goes")
    stored = read(records, results_dir)
    runs = [Run(record, verdict.judge(record), folder) for record, folder in stored]
    made = formats.export(name, runs, to, tracking_uri)
    for left in made.left_out:
        warn(line(f"run {left.run}, left out: {left.what} ({left.reason})"))
    if made.text is not None:
        out_file(made.text)
    else:
        print_document(formats.describe(made), as_json, "\n".join(made.written))
    return 0


def judge_and_store(
    records: list[tuple[Record, Path]],
    strict: bool,
    as_json: bool,
    *,
    report: bool,
    quiet: bool = False,
    images: bool = True,
    limits: tuple[tuple[Limit, ...], str] | None = None,
    baseline: Baseline | None = None,
) -> int:
    """Judge, store and then print each record; the worst exit status (0 with `quiet`)."""
    from harness.report.run import summary
    from harness.results.baseline import as_part, compare
    from harness.verdict import verdict
    from harness.workloads.reference.limits import LIMITS

    shown, documents, statuses = [], [], []
    refused: HarnessError | None = None
    for record, folder in records:
        table, other = limits or (LIMITS, None)
        compared = compare(baseline, [record]) if baseline is not None else {}
        parts = {label: part for label, of in compared.items() if (part := as_part(of)) is not None}
        judged = verdict.judge(record, table, other, parts)
        documents.append(verdict.to_json(record, judged, str(folder.resolve())))
        statuses.append(verdict.exit_status(record, judged, strict=strict))
        shown.append((record, judged, folder))
        try:
            _store(documents[-1], folder)
            if report:
                _write_report(record, judged, folder, images)
        except HarnessError as error:  # what was found is told before that
            refused = refused or error
    if as_json:
        out(json.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False) + "\n")
    else:
        for each in shown:
            show(summary(*each))
    if refused is not None:
        raise refused
    return 0 if quiet else max(statuses, default=0)


def judge_one(record: Record, folder: Path, strict: bool) -> tuple[Verdict, int]:
    """Judge a record and store what is told of it; the verdict, and the exit status."""
    from harness.verdict import verdict

    judged = verdict.judge(record)
    _store(verdict.to_json(record, judged, str(folder.resolve())), folder)
    _write_report(record, judged, folder, images=True)
    return judged, verdict.exit_status(record, judged, strict=strict)


def _store(document: dict[str, Any], folder: Path) -> None:
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_atomic(folder / "verdict.json", text.encode())


def _write_report(record: Record, judged: Verdict, folder: Path, images: bool) -> None:
    """What a run's folder holds for readers, and a GitHub step's summary where there is one."""
    from harness.report import files

    files.write(record, judged, folder, with_images=images)
    if step := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            files.append_summary(record, judged, step)
        except OSError as error:
            warn(f"GITHUB_STEP_SUMMARY {step}: {why(error)}")
