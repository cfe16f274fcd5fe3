"""The report of one run: which sections it has, and which of them each form shows, in its order.

Takes stored records and the files beside them, and starts nothing. Whatever cannot be read is left
out, with a sentence saying why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness import text
from harness.record.schema import Record
from harness.report import markdown, run_tables, terminal, words
from harness.report.figure import Plot
from harness.report.sections import Cell, Drawing, Form, Look, Report, Section, Value
from harness.verdict.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import Console

NAME = "report.html"
# Of a run's folder: enough for every log of twelve labels in five sessions and two dtypes.
MOST_FILES, DEEPEST = 400, 3
# What a session stores is fewer; a record from elsewhere may hold any number.
MOST_IMAGES = 60
Chapter = tuple[str, str, Sequence[str]]  # id, title, the sections inside


@dataclass(frozen=True)
class Run:
    """What a report is made of.

    folder: where the record lies, for kept tensors and links (relative: the page belongs there);
    with_links: False for a page that goes elsewhere. drawings: those that were made already, by
    name; with_images: False leaves out the pixels of the test set, which may not be the reader's to
    publish.
    """

    record: Record
    verdict: Verdict
    folder: Path
    drawings: dict[str, str] = field(default_factory=dict)
    with_images: bool = True
    with_links: bool = True

    @cached_property
    def plots(self) -> dict[str, list[Plot]]:
        """The plots of each section, in their order."""
        from harness.report.plots import learning, numbers, timing

        learned, timed = (draw(self.record, self.verdict) for draw in (learning, timing))
        started = ("starts", "memory")
        return {
            "agreement": numbers(self.record, self.verdict),
            "learning": [plot for plot in learned if not plot.name.startswith("confusion")],
            "confusion": [plot for plot in learned if plot.name.startswith("confusion")],
            "speed": [plot for plot in timed if plot.name not in started],
            "starts": [plot for plot in timed if plot.name in started],
        }


def report(run: Run, form: Form) -> Report:
    """The whole report as one form shows it."""
    record, verdict = run.record, run.verdict
    mark = words.MARKS[verdict.verdict]
    foot = f"run {record.run} · record schema {record.schema}"
    end = {
        "terminal": [f"record: {run.folder}"],
        "markdown": [],
        "page": [f"framework-harness {record.harness_version} · {foot}"],
    }
    return Report(
        word=verdict.verdict,
        sentence=verdict.summary,
        mark=mark,
        tone=verdict.verdict,
        headline=[words.headline(record)],
        warnings=words.warnings(record),
        top=[_facts(record)] if form == "page" else [],
        sections=[_chapter(run, of) for of in SHOWN[form]],
        end=end[form],
        title=f"{mark} {verdict.verdict} · run {text.clean(record.run)[:80]}",
    )


def as_markdown(record: Record, verdict: Verdict) -> str:
    """The verdict as Markdown."""
    return markdown.render(report(Run(record, verdict, Path()), "markdown"))


def print_verdict(record: Record, verdict: Verdict, folder: str, console: Console) -> None:
    """Everything a reader needs first, the one sentence last."""
    terminal.show(report(Run(record, verdict, Path(folder)), "terminal"), console)


def _chapter(run: Run, of: str | Chapter) -> Section:
    """A section by its name, or several under a title of their own."""
    if isinstance(of, str):
        return SECTIONS[of](run)
    id_, title, names = of
    return Section(title, id=id_, inside=[SECTIONS[name](run) for name in names])


def _plots(name: str, look: Look = "") -> Callable[[Run], Section]:
    return lambda run: Section(pictures=run.plots[name], look=look)


def _ladder(run: Run) -> Section:
    from harness.report.ladder import ladder

    return ladder(run.record, run.verdict)


def _divergence(run: Run) -> Section:
    """The first divergence, with the values around its worst element."""
    from harness.report.ladder import address, evidence_facts
    from harness.report.neighbourhood import neighbourhood

    first = run.verdict.first_divergence
    if first is None:
        return Section()
    name = first.label
    finding = run.verdict.labels[name].findings[first.rung]
    assert finding.first is not None
    link = address([*run.verdict.labels].index(name), finding.rung)
    facts = [
        ("label", name),
        ("rung", finding.rung),
        *evidence_facts(finding, finding.first, name, run.record).rows,
        ("evidence", Cell("all of this cell", link=link)),
    ]
    hint = f"Hint: {finding.hint}." if finding.hint else ""
    windows = neighbourhood(run.record, run.verdict, run.folder)
    return Section(note=hint, inside=[Section(rows=facts, look="facts"), windows])


def _images(run: Run) -> Section:
    from harness.report.images import image

    differing = run.record.differing
    if not differing:
        return Section()
    if not run.with_images:
        missing = "The images on which backends differ were left out of this page"
        return Section(note=f"{missing}; the record names them.")
    images = [image(run.record, one) for one in differing[:MOST_IMAGES]]
    of = f"{len(images)} of {len(differing)} stored"
    return Section(
        "Test images on which backends differ",
        note=f"After the last epoch of the first seed; {of}. ✓ marks the true class.",
        pictures=images,
        look="images",
    )


def _operators(run: Run) -> Section:
    """Single operators: where frameworks differ, errors, and every special point."""
    from harness.report import operators

    measured = operators.measured(run.record)
    if not measured:
        return Section()
    rows = operators.special_rows(measured)
    apart = [cells for cells, kind in rows if kind == "frameworks"]
    book = [[*cells[:4], *cells[4].split(" / ")] for cells, kind in rows if kind == "book"]
    header = ("operator", "at", "of", "true", *measured)
    drawn = run.drawings.get("operators", "")
    told = "The elementwise operators and their derivatives, every framework overlaid"
    return Section(
        "Single operators",
        id="operators",
        note=operators.ABOUT,
        inside=[
            Section(
                "Where frameworks differ",
                note="" if apart else "Nowhere.",
                header=header,
                rows=apart,
            ),
            Section(
                "Where the book's expression differs, alike in every framework",
                header=("operator", "at", "of", "true", "own", "book's"),
                rows=book,
            ),
            Section(
                "Largest error on ordinary points",
                note="In units of the RMS of the truth; a rounding in float32 is 6e-8 of a number.",
                header=("operator", "of", *measured),
                rows=operators.error_rows(measured),
            ),
            Section(pictures=[Drawing("operators", drawn, told)] if drawn else []),
            Section(lines=operators.absences(measured)),
            Section(
                "Every special point", header=header, rows=[cells for cells, _ in rows], folded=True
            ),
        ],
    )


def _roofline(run: Run) -> Section:
    from harness.report import roofline

    sentence = roofline.sentence(run.record)
    if not sentence:
        return Section()
    drawing = Drawing(
        "roofline", run.drawings.get("roofline", ""), "Roofline: where a training step lies"
    )
    return Section(
        "Roofline (GFLOP/s)",
        note=sentence,
        pictures=[drawing],
        header=roofline.HEADER,
        rows=roofline.rows(run.record, run.verdict),
    )


def _files(run: Run) -> Section:
    """What lies in the run's folder, as links that work where the page lies in it."""
    rows = list(islice(_found(run.folder), MOST_FILES)) if run.with_links else []
    note = "Beside this page, in the folder of the run." if rows else ""
    return Section("Raw files", id="files", note=note, rows=rows, look="files")


def _found(folder: Path) -> Iterator[list[Value]]:
    for place, folders, names in os.walk(folder):
        inside = os.path.relpath(place, folder)
        parts = [] if inside == "." else inside.split(os.sep)
        deeper = len(parts) < DEEPEST
        folders[:] = sorted(f for f in folders if deeper and not f.startswith("."))
        for name in sorted(names):
            path = os.path.join(place, name)
            if name.startswith(".") or path == str(folder / NAME) or os.path.islink(path):
                continue
            whole = "/".join([*parts, name])
            try:
                size = os.path.getsize(path)
                link = "./" + quote(whole.encode("utf-8", "surrogateescape"))
            except OSError:
                continue
            yield [Cell(whole.encode("utf-8", "replace").decode(), link=link), _bytes(size)]


def _bytes(size: int) -> str:
    for least, unit in ((10**6, "MB"), (10**3, "kB")):
        if size >= least:
            return f"{size / least:.3g} {unit}"
    return f"{size} B"


def _facts(record: Record) -> Section:
    """What was run, beside the headline."""
    plan, known = record.plan, record.machine
    steps = "whole epochs" if plan.steps is None else f"the first {plan.steps} steps"
    seeds = text.many(len(plan.seeds), "seed")
    sessions = text.many(plan.timing.sessions, "session")
    machine = [known[name] for name in ("processor", "system") if name in known]
    if "processors" in known:
        machine.insert(1, f"{known['processors']} processors")
    facts = [
        ("started", f"{record.started}, took {words.duration(record.seconds * 1e9)}"),
        ("judged against", plan.reference),
        ("machine", ", ".join(machine) or "–"),
        ("training", f"{steps}, {seeds}, batches of {plan.workload.batch_size}"),
        ("threads", f"{plan.threads} each"),
        ("timing", f"{sessions} of {plan.timing.rounds} rounds"),
        ("harness", record.harness_version),
    ]
    if record.dataset is not None:
        facts.insert(2, ("data", f"{record.dataset.name}, SHA-256 {record.dataset.sha256[:12]}…"))
    return Section(rows=facts, look="facts")


def _screening(run: Run) -> Section:
    return Section(note=words.screening(run.record) if run.record.cases else "")


def _explanations(run: Run) -> Section:
    title = "What does not agree, or was not judged"
    return Section(title, lines=words.explanations(run.verdict))


def _times(run: Run) -> Section:
    """Step times, and beside them what was made of them."""
    times = run_tables.times(run.record, run.verdict)
    return times if times.rows else Section()


def _environment(run: Run) -> Section:
    configurations = run_tables.configurations(run.record, run.verdict)
    said, facts = run_tables.environment(run.record), [*run.record.machine.items()]
    machine = Section("The machine", ("what", "value"), facts, figures=False)
    return Section("Environment", id="environment", inside=[configurations, said, machine])


SECTIONS: dict[str, Callable[[Run], Section]] = {
    "ladder": _ladder,
    "explanations": _explanations,
    "screening": _screening,
    "values": lambda run: run_tables.values(run.verdict),
    "divergence": _divergence,
    "plots of agreement": _plots("agreement"),
    "envelope": lambda run: run_tables.envelope(run.record),
    "repeats": lambda run: run_tables.repeats(run.verdict),
    "plots of learning": _plots("learning", "pair"),
    "training": lambda run: run_tables.training(run.record),
    "equivalence": lambda run: run_tables.equivalence(run.verdict),
    "churn": lambda run: run_tables.churn(run.verdict),
    "plots of confusion": _plots("confusion", "pair"),
    "images": _images,
    "plots of speed": _plots("speed"),
    "times": _times,
    "ratios": lambda run: run_tables.ratios(run.record, run.verdict),
    "parts": lambda run: run_tables.parts(run.verdict),
    "plots of starts": _plots("starts", "pair"),
    "starts": lambda run: run_tables.starts(run.record, run.verdict),
    "operators": _operators,
    "roofline": _roofline,
    "limits": lambda run: run_tables.limits(run.record),
    "environment": _environment,
    "files": _files,
}
TERMINAL = ("ladder", "times", "ratios", "training", "equivalence", "screening", "explanations")
MARKDOWN = (
    "ladder", "explanations", "values", "screening", "times", "ratios", "parts", "roofline",
    "training", "equivalence", "churn", "repeats", "envelope", "operators", "limits", "environment",
)  # fmt: skip
PAGE = (
    ("ladder", "The ladder", ("ladder", "explanations", "screening")),
    ("divergence", "First divergence", ("divergence",)),
    ("agreement", "Error against limits", ("plots of agreement", "envelope", "repeats")),
    (
        "learning",
        "What was learned",
        ("plots of learning", "training", "equivalence", "churn"),
    ),
    ("confusion", "Confusion and images", ("plots of confusion", "images")),
    ("speed", "Step time", ("plots of speed", "times", "ratios", "parts")),
    ("memory", "Start-up and memory", ("plots of starts", "starts")),
    "operators",
    ("roofline", "Roofline", ("roofline",)),
    ("limits", "Limits", ("limits",)),
    "environment",
    "files",
)
SHOWN: dict[Form, Sequence[str | Chapter]] = {
    "terminal": TERMINAL,
    "markdown": MARKDOWN,
    "page": PAGE,
}
