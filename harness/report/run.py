"""The report of one run: which sections it has, and which of them each form shows, in its order.

Takes stored records and the files beside them, and starts nothing. Whatever cannot be read is left
out, with a sentence saying why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from harness import text
from harness.record.schema import Record
from harness.report import (
    brief,
    failing,
    fastest,
    learnt,
    markdown,
    operators,
    roofline,
    trust,
    unsettled,
    where,
    words,
)
from harness.report import run_tables as tables
from harness.report.images import image
from harness.report.ladder import ladder
from harness.report.plots import pictures
from harness.report.run_tables import Run
from harness.report.sections import Cell, Form, Report, Section, Value
from harness.verdict.verdict import Verdict

NAME = "report.html"
# Of a run's folder: enough for every log of twelve labels in five sessions and two dtypes.
MOST_FILES, DEEPEST = 400, 3
# What a session stores is fewer; a record from elsewhere may hold any number.
MOST_IMAGES = 60
# Of a sentence what a page shows below it: the worst element in full digits, what was planted.
BELOW = re.compile(r"; worst at \[[\d, ]*\]: got \S+, expected [^\s;,]+|; FAULT PLANTED in [^;]*$")
Build = Callable[[Run], Section]


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
        sentence=BELOW.sub("", verdict.summary) if form == "page" else verdict.summary,
        mark=mark,
        tone=verdict.verdict,
        headline=[words.headline(record)],
        warnings=words.warnings(record),
        top=[*_top(run, form)],
        sections=_chapters(run) if form == "page" else _shown(run, form),
        end=end[form],
        title=f"{mark} {verdict.verdict} · run {text.clean(record.run)[:80]}",
    )


def as_markdown(record: Record, verdict: Verdict) -> str:
    """The verdict as Markdown."""
    return markdown.render(report(Run(record, verdict, Path()), "markdown"))


def summary(record: Record, verdict: Verdict, folder: Path) -> Report:
    """What a terminal shows: everything a reader needs first, the one sentence last."""
    return report(Run(record, verdict, folder), "terminal")


def _top(run: Run, form: Form) -> Iterator[Section]:
    """Below the verdict: on a page what was run, in Markdown what to do next of one that fails."""
    if form == "page":
        yield Section(inside=[_facts(run.record)])
    if form == "markdown" and (command := where.bundle(run)):
        yield Section(note=f"Next: {command} writes what shows it without the harness.")


def _shown(run: Run, form: Form) -> list[Section]:
    """A terminal's or Markdown's sections, in the latter folded but for what is read first."""
    many = form == "terminal" and len(run.verdict.labels) > MOST_LABELS
    return [
        replace(build(run), folded=form == "markdown" and build not in OPEN)
        for build in (BRIEF if many else SHOWN[form])
    ]


def _chapters(run: Run) -> list[Section]:
    """A page's sections: what answers first, then chapters of what belongs together."""
    return [
        *(_part(run, *part) for part in SUMMARY),
        *(
            Section(title, id=name, inside=[_part(run, *part) for part in parts])
            for name, title, parts in CHAPTERS
        ),
    ]


def _part(run: Run, name: str, title: str, inside: tuple[Build, ...]) -> Section:
    """Its plots, and below them what is inside."""
    return Section(
        title,
        id=name,
        pictures=pictures(run, name),
        look="pair" if name in PAIRED else "",
        inside=[build(run) for build in inside],
    )


def _fastest(run: Run) -> Section:
    """Of a run that fails folded: its numbers come first."""
    return replace(fastest.section(run), folded=run.verdict.first_divergence is not None)


def _images(run: Run) -> Section:
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


def _files(run: Run) -> Section:
    """What lies in the run's folder, as links that work where the page lies in it."""
    rows = list(islice(_listed(run.folder), MOST_FILES)) if run.with_links else []
    note = "Beside this page, in the folder of the run." if rows else ""
    return Section(note=note, rows=rows, look="files")


def _listed(folder: Path) -> Iterator[list[Value]]:
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
            return f"{text.short(size / least)} {unit}"
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
    return Section("What was run, and on what", rows=facts, look="facts", folded=True)


def _screening(run: Run) -> Section:
    return Section("Screening", note=words.screening(run.record) if run.record.cases else "")


def _explanations(run: Run) -> Section:
    title = "What does not agree"
    return Section(title, lines=words.explanations(run.verdict))


def _in_sentences(run: Run) -> Section:
    return replace(_explanations(run), title="In sentences", folded=True)


def _where(run: Run) -> Section:
    """Where it went wrong, and all that does not agree in sentences; empty where all do."""
    there = where.section(run)
    return Section(inside=[*there.inside, _in_sentences(run)]) if there else Section()


def _others(run: Run) -> Section:
    return Section() if run.verdict.first_divergence else _in_sentences(run)


def _several_seeds(run: Run) -> Section:
    return tables.equivalence(run) if len(run.record.plan.seeds) > 1 else Section()


def environment(run: Run) -> Section:
    """What every label and the machine were."""
    facts = [*run.record.machine.items()]
    machine = Section("The machine", ("what", "value"), facts, figures=False)
    inside = [tables.configurations(run), tables.environment(run), machine]
    return Section("Environment", inside=inside)


SHOWN: dict[str, tuple[Build, ...]] = {
    "terminal": (
        ladder, failing.section, operators.verdicts, tables.times, tables.ratios, tables.training,
        learnt.numbers, _several_seeds, _screening, unsettled.section, _explanations,
    ),
    "markdown": (
        ladder, unsettled.section, failing.section, _explanations, tables.values, _screening,
        tables.times, tables.ratios, tables.parts, roofline.section, tables.training,
        learnt.numbers, learnt.descents, learnt.gradients, learnt.classes, tables.equivalence,
        tables.churn, tables.repeats, tables.envelope, operators.section, tables.limits,
        environment,
    ),
}  # fmt: skip
# Of a terminal where there are more labels than this; the tables are in the run's folder.
MOST_LABELS = 4
BRIEF = (
    brief.section, failing.section, operators.brief, _screening, unsettled.section, _explanations,
)  # fmt: skip
# What Markdown shows unasked.
OPEN = (ladder, unsettled.section, failing.section, _explanations, tables.times)
# Of a page: id, title, and what is inside below the plots of that id. What answers first, each a
# section of its own, then all else in four.
Part = tuple[str, str, tuple[Build, ...]]
SUMMARY: tuple[Part, ...] = (
    ("divergence", "Where it went wrong", (_where,)),
    ("ladder", "Same?", (ladder, failing.section, _others)),
    ("fastest", "Fastest?", (_fastest,)),
    ("trust", "Trust?", (trust.section,)),
)
CHAPTERS: tuple[tuple[str, str, tuple[Part, ...]], ...] = (
    ("numbers", "Numbers", (
        ("agreement", "Error against limits", (_screening, tables.envelope, tables.repeats)),
        ("operators", "Single operators", (operators.section,)),
        ("limits", "Limits", (tables.limits,)),
    )),
    ("learning", "Learning", (
        ("curves", "What was learned", (tables.training, tables.equivalence, tables.churn)),
        ("confusion", "Classes and images", (learnt.classes, _images)),
    )),
    ("speed", "Speed", (
        ("steps", "Step time", (tables.times, tables.ratios, tables.parts)),
        ("memory", "Start-up and memory", (tables.starts,)),
        ("roofline", "Roofline", (roofline.section,)),
    )),
    ("stored", "Evidence", (
        ("environment", "Environment", (environment,)),
        ("files", "Raw files", (_files,)),
    )),
)  # fmt: skip
# Their plots stand side by side where there is room.
PAIRED = ("curves", "confusion")
