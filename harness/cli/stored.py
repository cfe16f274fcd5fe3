"""Verbs that read stored runs and start nothing: check, report, bundle, diff, export."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from harness import files
from harness.cli.options import (
    BundleFolder,
    ExportTo,
    FirstRun,
    FormatName,
    GivenBaseline,
    Into,
    Json,
    LabelNames,
    LabelPairs,
    Largest,
    LimitsFile,
    MarkdownFile,
    OneRecord,
    PageFile,
    Records,
    ReportFolder,
    SecondRun,
    Strict,
    TrackingUri,
    WithoutImages,
)
from harness.cli.output import on_console, out, print_document, read, warn
from harness.errors import InputError
from harness.plan.choices import pairs

if TYPE_CHECKING:
    from harness.record.schema import Record
    from harness.results.baseline import Baseline
    from harness.verdict.finding import Part
    from harness.workloads.reference.limits import Limit


def check(
    records: Records,
    limits: LimitsFile = None,
    baseline: GivenBaseline = None,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Judge stored records again, and write their verdict.json; starts no worker."""
    from harness.workloads.reference.limits import read_limits

    table = (read_limits(limits), limits.name) if limits is not None else None
    found = read(records)
    return judge_and_store(found, strict, as_json, report=False, limits=table, baseline=baseline)


def report(
    records: Records,
    largest: Largest = None,
    into: Into = None,
    to: ReportFolder = None,
    without_images: WithoutImages = False,
    as_json: Json = False,
) -> int:
    """Print stored records' verdicts, and write their verdict.json, report.md and report.html."""
    if sum(given is not None for given in (largest, into, to)) > 1:
        raise InputError("report: --largest, --into and --out: choose one")
    if largest is not None:
        from harness.files import write_atomic
        from harness.report import largest as page

        text = page.render([record for record, _ in read(records)])
        write_atomic(largest, text.encode())
        return _tell([largest], as_json)
    if into is not None:
        _put_into(into, records)
        return _tell([into], as_json)
    if to is not None:
        from harness.report import files
        from harness.verdict.verdict import judge

        record, folder = _only(records, "report --out")
        images = not without_images
        made = files.write(record, judge(record), folder, out=to, with_images=images)
        return _tell(made, as_json)
    return judge_and_store(
        read(records), False, as_json, report=True, quiet=True, with_images=not without_images
    )


def _only(records: list[Path], what: str) -> tuple[Record, Path]:
    if len(records) != 1:
        raise InputError(f"{what}: one stored run")
    return read(records)[0]


def _tell(written: list[Path], as_json: bool) -> int:
    """Say what was written, as `export` does."""
    names = [str(file) for file in written]
    print_document({"written": names}, as_json, "\n".join(names))
    return 0


def _put_into(file: Path, records: list[Path]) -> None:
    """Replace what stands between the markers of a Markdown file."""
    from harness.files import why, write_atomic
    from harness.report import excerpt
    from harness.verdict.verdict import judge

    record, _ = _only(records, "report --into")
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file}: {why(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: not a text in UTF-8") from None
    made = excerpt.put(text, excerpt.excerpt(record, judge(record)), str(file))
    write_atomic(file, made.encode())


def bundle(record: OneRecord, out: BundleFolder = None, as_json: Json = False) -> int:
    """Write a reproduction of a record's first divergence: tensors, and a script per framework."""
    from harness import bundle as reproduction

    ((found, folder),) = read([record])
    made = reproduction.make_bundle(found, folder, out if out is not None else folder / "bundle")
    print_document(reproduction.describe(made), as_json, reproduction.as_text(made))
    return 0


def diff(
    before: FirstRun,
    after: SecondRun = None,
    label: LabelNames = None,
    pair: LabelPairs = None,
    markdown: MarkdownFile = None,
    page: PageFile = None,
    as_json: Json = False,
) -> int:
    """What moved from stored run A to stored run B, or between labels: numbers, speed, versions."""
    from harness.files import write_atomic
    from harness.report import diff as shown
    from harness.report import markdown as markdowns
    from harness.report import page as pages
    from harness.report import terminal
    from harness.results import diff as differences

    if label and pair:
        raise InputError("diff: --label and --pair: choose one")
    if after is None and not pair:
        raise InputError("diff: name a second run, or say with --pair which labels to compare")
    names, only = pairs("--label", label), pairs("--pair", pair)
    (then, here), (now, there) = read([before, before if after is None else after])
    folders = (str(here.resolve()), str(there.resolve()))
    found = differences.compare(then, now, names, folders, only or None)
    if markdown is not None:
        text = markdowns.render(shown.report(found, "markdown"))
        write_atomic(markdown, text.encode())
    if page is not None:
        write_atomic(page, pages.render(shown.report(found, "page")).encode())
    if as_json:
        out(differences.encode(found).decode() + "\n")
    else:
        with on_console() as console:
            terminal.show(shown.report(found, "terminal"), console)
    return differences.exit_status(found)


def export(
    name: FormatName,
    records: Records,
    to: ExportTo = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> int:
    """Write stored runs in a format that other tools read."""
    from harness import export as formats
    from harness.export.shown import Run, line
    from harness.verdict import verdict

    target = formats.check(name, len(records), to, tracking_uri).target
    if as_json and target == "file" and to is None:
        raise InputError(f"export {name} --json: say with --out where the export itself goes")
    runs = [Run(record, verdict.judge(record), folder) for record, folder in read(records)]
    made = formats.export(name, runs, to, tracking_uri)
    for left in made.left_out:
        warn(line(f"run {left.run}, left out: {left.what} ({left.reason})"))
    if made.text is not None:
        out(made.text)
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
    with_images: bool = True,
    limits: tuple[tuple[Limit, ...], str] | None = None,
    baseline: Path | None = None,
) -> int:
    """Judge, store and print each record; the worst exit status (0 with `quiet`)."""
    from harness.verdict import verdict
    from harness.workloads.reference.limits import LIMITS

    documents, statuses = [], []
    for record, folder in records:
        parts = _baseline_parts(baseline, record) if baseline is not None else None
        table, other = limits or (LIMITS, None)
        judged = verdict.judge(record, table, other, parts)
        document = verdict.to_json(record, judged, str(folder.resolve()))
        documents.append(document)
        statuses.append(verdict.exit_status(record, judged, strict=strict))
        if not as_json:
            from harness.report.run import print_verdict

            with on_console() as console:
                print_verdict(record, judged, str(folder), console)
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        files.write_atomic(folder / "verdict.json", text.encode())
        if report:
            from harness.report import files as reports

            reports.write(record, judged, folder, with_images=with_images)
            if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
                try:
                    reports.append_summary(record, judged, summary)
                except OSError as error:
                    warn(f"GITHUB_STEP_SUMMARY {summary}: {error.strerror}")
    if as_json:
        whole = documents[0] if len(documents) == 1 else documents
        out(json.dumps(whole, allow_nan=False) + "\n")
    return 0 if quiet else max(statuses, default=0)


def read_baseline(path: Path) -> Baseline:
    """A stored baseline; InputError unless it is one."""
    from harness.results import baseline

    return baseline.read(path)


def _baseline_parts(path: Path, record: Record) -> dict[str, Part]:
    """What the baseline says of each label of a record, as the fifth part of its timing."""
    from harness.results import baseline

    compared = baseline.compare(read_baseline(path), [record])
    parts = {label: baseline.as_part(found) for label, found in compared.items()}
    return {label: part for label, part in parts.items() if part is not None}
