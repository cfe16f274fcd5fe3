"""The page of one run: what `run.html.j2` shows, gathered from a record and its verdict.

Takes stored records and the files beside them, and starts nothing. The words and figures are those
of the other reports (`words.py`). Whatever cannot be read is left out, with a sentence saying why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from harness import text
from harness.record.schema import Process, Record
from harness.report import operators, page, roofline, words
from harness.report.figure import Plot
from harness.report.images import image
from harness.report.ladder import evidence_facts, ladder
from harness.report.neighbourhood import Window, neighbourhood
from harness.report.page import Table
from harness.text import clean
from harness.verdict.verdict import Verdict, processes_of
from harness.workloads.reference.limits import LIMITS, RUNGS, Limit

NAME = "report.html"
# Of a run's folder: enough for every log of twelve labels in five sessions and two dtypes.
MOST_FILES, DEEPEST = 400, 3
# What a session stores is fewer; a record from elsewhere may hold any number.
MOST_IMAGES = 60


def render(
    record: Record,
    verdict: Verdict,
    folder: Path,
    *,
    limits: tuple[Limit, ...] = LIMITS,
    pictures: dict[str, str] | None = None,
    with_images: bool = True,
    with_links: bool = True,
) -> str:
    """The whole page.

    folder: where the record lies, for kept tensors and links (relative: the page belongs there);
    with_links: False for a page that goes elsewhere.
    limits: the table that the verdict was made under; pictures: drawings that were made already,
    "roofline" and "operators", as <svg> elements; with_images: False leaves out the pixels of the
    test set, which may not be the reader's to publish.
    """
    placed = _placed(record, verdict)
    context = {
        "verdict": verdict,
        "record": record,
        "warnings": words.warnings(record),
        "headline": words.headline(record),
        "facts_of_run": _facts(record),
        "rungs": RUNGS,
        "ladder": ladder(record, verdict, limits),
        "explanations": words.explanations(verdict),
        "screening": words.screening(record) if record.cases else "",
        "divergence": _divergence(record, verdict, folder, limits),
        "placed": placed,
        "training": Table(
            "Free trainings: mean loss of the last epoch in nats, accuracy on the test set",
            words.TRAINING_HEADER,
            words.training_rows(record),
        ),
        "equivalence": Table(
            "Paired tests over seeds, against the reference's own trainings",
            words.EQUIVALENCE_HEADER,
            words.equivalence_rows(verdict),
        ),
        "churn": Table(
            "Predictions after training against the reference's, in test images",
            words.CHURN_HEADER,
            words.churn_rows(verdict),
        ),
        "images": [image(record, one) for one in record.differing[:MOST_IMAGES]]
        if with_images
        else [],
        "images_left_out": bool(record.differing) and not with_images,
        "times": _times(record, verdict),
        "processes": _processes(record, verdict),
        "operators": _operators(record),
        "roofline": _roofline(record, verdict),
        "pictures": {
            name: page.data_address("image/svg+xml", drawn.encode()) if drawn else ""
            for name in ("roofline", "operators")
            for drawn in [(pictures or {}).get(name)]
        },
        "repeats": Table(
            "A against A: each process trained twice from the same numbers",
            words.REPEAT_HEADER,
            words.repeat_rows(verdict),
        ),
        "envelope": Table(
            "Distance from the float64 reference after free-running float32 steps (relative)",
            words.ENVELOPE_HEADER,
            words.envelope_rows(record),
        ),
        "limits": _limits(record, limits),
        "machine": Table(
            "The machine", ("what", "value"), [[*of] for of in record.machine.items()], False
        ),
        "configurations": _configurations(record, verdict),
        "environment": _environment(record),
        "files": _files(folder) if with_links else [],
    }  # fmt: skip
    return page.render(
        "run.html.j2",
        title=f"{words.MARKS[verdict.verdict]} {verdict.verdict} · run {clean(record.run)[:80]}",
        plots=[plot for plots in placed.values() for plot in plots],
        **context,
    )


def _placed(record: Record, verdict: Verdict) -> dict[str, list[Plot]]:
    """The plots of each section, in their order."""
    from harness.report.plots import learning, numbers, timing

    learned, timed = learning(record, verdict), timing(record, verdict)
    started = ("starts", "memory")
    return {
        "agreement": numbers(record, verdict),
        "learning": [plot for plot in learned if not plot.name.startswith("confusion")],
        "confusion": [plot for plot in learned if plot.name.startswith("confusion")],
        "speed": [plot for plot in timed if plot.name not in started],
        "memory": [plot for plot in timed if plot.name in started],
    }


def _facts(record: Record) -> list[tuple[str, str]]:
    """What was run, beside the headline."""
    plan, known = record.plan, record.machine
    steps = "whole epochs" if plan.steps is None else f"the first {plan.steps} steps"
    seeds = text.many(len(plan.seeds), "seed")
    sessions = text.many(plan.timing.sessions, "session")
    machine = [known[name] for name in ("processor", "system") if name in known]
    if "processors" in known:
        machine.insert(1, f"{known['processors']} processors")
    found = [
        ("started", f"{record.started}, took {words.duration(record.seconds * 1e9)}"),
        ("judged against", plan.reference),
        ("machine", ", ".join(machine) or "–"),
        ("training", f"{steps}, {seeds}, batches of {plan.workload.batch_size}"),
        ("threads", f"{plan.threads} each"),
        ("timing", f"{sessions} of {plan.timing.rounds} rounds"),
        ("harness", record.harness_version),
    ]
    if record.dataset is not None:
        found.insert(2, ("data", f"{record.dataset.name}, SHA-256 {record.dataset.sha256[:12]}…"))
    return found


@dataclass(frozen=True)
class Divergence:
    """The first divergence. `windows`: values around its worst element; `told`: what they are.

    `cell`: the id of its evidence; `facts`: names and values.
    """

    cell: str
    hint: str | None
    facts: list[tuple[str, str]]
    windows: list[Window]
    told: str


def _divergence(
    record: Record, verdict: Verdict, folder: Path, limits: tuple[Limit, ...]
) -> Divergence | None:
    first = verdict.first_divergence
    if first is None:
        return None
    name = first["label"]
    finding = verdict.labels[name].findings[first["rung"]]
    assert finding.first is not None
    windows, told = neighbourhood(record, verdict, folder)
    return Divergence(
        cell=f"evidence-{list(verdict.labels).index(name)}-{finding.rung}",
        hint=finding.hint,
        facts=[
            ("label", name),
            ("rung", finding.rung),
            *evidence_facts(finding, finding.first, name, record, limits),
        ],
        windows=windows,
        told=told,
    )


def _times(record: Record, verdict: Verdict) -> list[Table]:
    """Step times (a column a label, so that four fit), ratios, and the parts of the rung timing."""
    rows = words.time_rows(record, verdict)
    if not rows:
        return []
    title = words.time_title(record)
    first, *rest = zip(["what", "numbers", *words.STEP_TIME_HEADER], *rows, strict=True)
    return [
        Table(title[0].upper() + title[1:], [*first], [[*row] for row in rest]),
        Table(
            "Ratios of steps, formed within a round; A/A: a label against its own second process",
            words.RATIO_HEADER,
            words.ratio_rows(record, verdict),
        ),
        Table(
            "The parts of the rung timing (ratios; see the sentence of each)",
            (*words.PART_HEADER[:-1], "what it says"),
            words.part_rows(verdict),
        ),
    ]


def _processes(record: Record, verdict: Verdict) -> Table:
    """Import, build, first step and memory of every process."""
    rows = []
    for name, label in verdict.labels.items():
        time = label.step_time
        again = record.again[name].processes if name in record.again else []
        for process in processes_of(record, name):
            main = process is label.process
            second = any(process is other for other in again)
            rows.append(
                [
                    name,
                    process.dtype,
                    f"{process.session}{', again' if second else ''}",
                    process.status,
                    words.duration(process.import_ns),
                    words.duration(process.build_ns),
                    ", ".join(
                        f"{rows_} rows {words.duration(ns)}"
                        for rows_, ns in process.first_step_ns.items()
                    )
                    or "–",
                    words.duration(time.compile_ns if main and time is not None else None),
                    words.megabytes(process.peak_rss_bytes),
                    words.megabytes(process.peak_device_bytes),
                ]
            )
    header = (
        "label", "dtype", "session", "status", "import", "build", "first step of a batch of",
        "of that, compiling", "peak memory", "on the device",
    )  # fmt: skip
    return Table("Start-up, compiling and memory of every process", header, rows)


def _operators(record: Record) -> dict[str, object] | None:
    """Single operators: where frameworks differ, errors, and every special point."""
    found = operators.measured(record)
    if not found:
        return None
    header = ["operator", "at", "of", "true", *found]
    rows = operators.special_rows(found)
    return {
        "tables": [
            Table(
                "Where frameworks differ: the framework's own / the book's expression",
                header,
                [cells for cells, kind in rows if kind == "frameworks"],
            ),
            Table(
                "Largest error on ordinary points, in units of the RMS of the truth",
                ["operator", "of", *found],
                operators.error_rows(found),
            ),
        ],
        "all": Table("Every special point", header, [cells for cells, _ in rows]),
        "absent": operators.absences(found),
    }


def _roofline(record: Record, verdict: Verdict) -> dict[str, object] | None:
    told = roofline.sentence(record)
    if not told:
        return None
    header = [roofline.HEADER[0], *(f"{name} (GFLOP/s)" for name in roofline.HEADER[1:-1])]
    return {
        "told": told,
        "table": Table(
            "What each label reaches, GFLOP/s",
            [*header, roofline.HEADER[-1]],
            roofline.rows(record, verdict),
        ),
    }


def _limits(record: Record, limits: tuple[Limit, ...]) -> Table:
    """The rows that may hold in this run; a float64 process is always strict."""
    precisions = {"strict", *(label.precision for label in record.plan.labels.values())}
    return Table(
        "Where the limits come from",
        ("rung", "dtype", "precision", "batch", "limit", "reason", "seen in correct code"),
        [
            [row.rung, row.dtype, row.precision, row.case, f"{row.value:g}", row.reason, row.seen]
            for row in limits
            if any(fnmatchcase(precision, row.precision) for precision in precisions)
        ],
    )


def _configurations(record: Record, verdict: Verdict) -> Table:
    return Table(
        "What each label is",
        ("label", "backend", "variant", "device", "dtype", "precision", "status", "reason"),
        [
            [
                name,
                of.backend,
                of.variant,
                of.device,
                of.dtype,
                of.precision,
                verdict.labels[name].status,
                verdict.labels[name].reason or "–",
            ]
            for name, of in record.plan.labels.items()
        ],
    )


def _environment(record: Record) -> Table:
    """What the workers said of themselves: a row a fact, a column a label; "differs" in words."""
    labels = [name for name in record.plan.labels if name in record.results]
    processes = {name: processes_of(record, name) for name in labels}
    told = dict.fromkeys(
        key for name in labels for process in processes[name] for key in process.facts
    )
    rows = []
    for key in told:
        texts = [_fact(key, processes[name]) for name in labels]
        there = {text for text in texts if text != "–"}
        mark = "≠ differs" if len(there) > 1 else "same" if len(labels) > 1 else "–"
        if sum(text != "–" for text in texts) < 2:
            mark = "only there"
        rows.append([key, mark, *texts])
    header = ["what", "between labels", *labels]
    return Table("What the workers said of themselves", header, rows, False)


def _fact(key: str, processes: Iterable[Process]) -> str:
    """A label's value; where its processes differ, each value with the dtypes that have it."""
    found: dict[str, dict[str, None]] = {}
    for process in processes:
        if key in process.facts:
            found.setdefault(process.facts[key], {})[process.dtype] = None
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({', '.join(dtypes)})" for value, dtypes in found.items()) or "–"


@dataclass(frozen=True)
class File:
    """A file of the run's folder: its name, a relative link, its size."""

    name: str
    link: str
    size: str


def _files(folder: Path) -> list[File]:
    """What lies in the run's folder, as links that work where the page lies in it."""
    found: list[File] = []
    for place, folders, names in os.walk(folder):
        inside = os.path.relpath(place, folder)
        parts = [] if inside == "." else inside.split(os.sep)
        deeper = len(parts) < DEEPEST
        folders[:] = sorted(f for f in folders if deeper and not f.startswith("."))
        for name in sorted(names):
            path = os.path.join(place, name)
            if name.startswith(".") or path == str(folder / NAME) or os.path.islink(path):
                continue
            told = "/".join([*parts, name])
            try:
                size = os.path.getsize(path)
                link = "./" + quote(told.encode("utf-8", "surrogateescape"))
            except OSError:
                continue
            shown = told.encode("utf-8", "replace").decode()
            found.append(File(shown, link, _bytes(size)))
            if len(found) == MOST_FILES:
                return found
    return found


def _bytes(size: int) -> str:
    for least, unit in ((10**6, "MB"), (10**3, "kB")):
        if size >= least:
            return f"{size / least:.3g} {unit}"
    return f"{size} B"
