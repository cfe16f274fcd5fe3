"""What moved between two runs, for people: a report's sections.

Takes a `harness.results.diff.Diff` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.report import words
from harness.report.plots import changes
from harness.report.sections import Form, Report, Section, Value
from harness.results.diff import Diff, Judged, LabelDiff, RungDiff, TrainingDiff, ratio
from harness.text import short
from harness.verdict.finding import RungVerdict
from harness.workloads.reference.limits import RUNGS

# A mark beside the word, as those of verdicts are.
MARKS = {"same": "✓", "moved": "~", "better": "✓", "worse": "✗", "not comparable": "?"}
# The verdict whose colours the word has.
TONES = {
    "same": "agree",
    "moved": "inconclusive",
    "better": "agree",
    "worse": "disagree",
    "not comparable": "inconclusive",
}


def report(diff: Diff, form: Form) -> Report:
    """The report as one form shows it."""
    foot = [f"First run: {diff.then.record}. Second run: {diff.now.record}."]
    if diff.one_run:
        foot = [f"Run: {diff.now.record}."]
    sections = {"terminal": _terminal, "markdown": _markdown, "page": _page}[form]
    asked = Section(lines=sentences(diff))
    on_terminal = form == "terminal"
    brief = form == "page" and diff.verdict == "same"  # the sentence and the ratios say it all
    return Report(
        word=diff.verdict,
        sentence=diff.summary,
        mark=MARKS[diff.verdict],
        tone=TONES[diff.verdict],
        headline=[headline(diff)] if on_terminal else [],
        warnings=diff.cautions,
        top=[] if on_terminal else [asked] if brief else [asked, runs(diff)],
        sections=[*sections(diff), asked] if on_terminal else sections(diff),
        end=foot if form == "page" else [],
        title=f"{diff.verdict}: {headline(diff)}",
    )


def _terminal(diff: Diff) -> list[Section]:
    """What has room on 80 columns; what is said of several labels stands below, once."""
    reasons: dict[str, list[str]] = {}
    for label in diff.labels:
        reasons.setdefault(label.speed.reason, []).append(label.name)
    steps = speeds(diff)
    steps = replace(
        steps,
        header=steps.header[:-1],
        rows=[row[:-1] for row in steps.rows],
        lines=[f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items()],
    )
    moved = Section(lines=[f"{mark}: {text}" for mark, text in moves(diff).texts])
    return [ladder(diff), bits(diff), steps, beside(diff), environment(diff), moved]


def _markdown(diff: Diff) -> list[Section]:
    sections = [moves(diff), rungs(diff), trainings(diff), speeds(diff), beside(diff)]
    return [*sections, environment(diff, say=True)]


def _page(diff: Diff) -> list[Section]:
    note = (
        "Both sides are judged by the same limits, today's. Results are compared bit for bit where "
        "they were given the same parameters and batch."
    )
    steps = Section(
        "Step time", id="speed", pictures=changes.steps(diff), inside=[speeds(diff), beside(diff)]
    )
    if diff.verdict == "same":
        inside = [runs(diff), ladder(diff), rungs(diff), trainings(diff), environment(diff)]
        folded = [replace(section, folded=True) for section in inside if section]
        return [steps, Section("What was compared", id="compared", note=note, inside=folded)]
    compared = [
        Section("Numbers", id="numbers", note=note, inside=[ladder(diff), rungs(diff)]),
        Section("Trainings", id="trainings", inside=[trainings(diff)]),
        steps,
    ]
    return [
        Section("What moved", id="moved", inside=[moves(diff)]),
        *(compared if diff.labels else []),
        Section("Environment", id="environment", inside=[environment(diff, say=True)]),
    ]


def headline(diff: Diff) -> str:
    """The two runs, or the labels of one, in a line."""
    if diff.one_run:
        pairs = ", ".join(label.name for label in diff.labels)
        return f"{pairs} of run {diff.now.run} ({diff.now.started})"
    return f"{diff.then.run} ({diff.then.started}) → {diff.now.run} ({diff.now.started})"


def sentences(diff: Diff) -> list[str]:
    """A sentence for every pair that was asked for; none where the one stands above already."""
    return [label.told for label in diff.labels if label.told and len(diff.labels) > 1]


def runs(diff: Diff) -> Section:
    """The two runs, or the one: a row each."""
    sides = {"both": diff.now} if diff.one_run else {"first": diff.then, "second": diff.now}
    return Section(
        "The run of both" if diff.one_run else "The two runs",
        ("run", "id", "started", "verdict", "profile", "harness", "machine", "ended"),
        [
            [name, of.run, of.started, f"{words.MARKS.get(of.verdict, '')} {of.verdict}",
             of.profile, of.harness_version, of.machine, of.ended]
            for name, of in sides.items()
        ],
    )  # fmt: skip


def moves(diff: Diff) -> Section:
    """What moved: a row each, the worse first."""
    rows = [[f"{MARKS[move.direction]} {move.direction}", move.text] for move in diff.moves]
    return Section("What moved, the worse first", ("word", "what moved"), rows)


def cell(rung: RungDiff) -> str:
    """One rung of one label: how it is judged now, and how it was where that is not the same."""
    then, now = _judged(rung.then), _judged(rung.now)
    if then == now:
        return now
    if rung.then is None or rung.now is None or rung.then.verdict != rung.now.verdict:
        return f"{now} (was {then})"
    return f"{now} (was {short(rung.then.value)})"


def _judged(side: Judged | None) -> str:
    if side is None:
        return "–"
    verdict: RungVerdict = side.verdict
    declared = " as declared" if side.declared else ""
    value = "" if side.value is None else f" {short(side.value)}"
    return f"{words.MARKS[verdict]}{value}{declared}"


def _bits(rung: RungDiff) -> str:
    """How many of one rung's results are the same, bit for bit; + those given other numbers."""
    compared = rung.identical + rung.moved
    counts = [f"{rung.identical}/{compared}"] if compared else []
    counts += [f"+{rung.given_other}"] if rung.given_other else []
    return " ".join(counts) or "–"


def _by_rung(title: str, diff: Diff, of: Callable[[RungDiff], str]) -> Section:
    """A row a rung, a column a label: four then fit into 80 columns."""
    cells = [[of(rung) for rung in label.rungs] for label in diff.labels]
    rows = [[rung, *row] for rung, *row in zip(RUNGS, *cells, strict=True)] if cells else []
    return Section(title, ("rung", *(label.name for label in diff.labels)), rows)


def ladder(diff: Diff) -> Section:
    """The value nearest its limit, now and as it was."""
    return _by_rung("Value nearest its limit, now and as it was, by today's limits", diff, cell)


def bits(diff: Diff) -> Section:
    """How many results are the same."""
    title = "Results that are the same, bit for bit (+ those given other numbers)"
    return _by_rung(title, diff, _bits)


def rungs(diff: Diff) -> Section:
    """Numbers: a row a label and rung."""
    return Section(
        "Results of every rung, by what became of them",
        ("label", "rung", "now", "then", "share of the limit, now", "then", "same bits",
         "other bits", "given other numbers", "in one run only", "largest change of a distance"),
        [
            [label.name, of.rung, _judged(of.now), _judged(of.then), _share(of.now),
             _share(of.then), of.identical, of.moved, of.given_other,
             of.only_then + of.only_now, _largest(of)]
            for label in diff.labels
            for of in label.rungs
        ],
    )  # fmt: skip


def _share(side: Judged | None) -> Value:
    return None if side is None else side.share


def _largest(rung: RungDiff) -> str:
    if rung.largest is None:
        return "–"
    at, (then, now) = rung.largest, map(short, rung.largest.distances)
    return f"{then} → {now}: {at.tensor} of {at.case}, {at.dtype}"


def trainings(diff: Diff) -> Section:
    """Trainings that both runs have, the reference's own at the end."""
    pairs = [(label.name, training) for label in diff.labels for training in label.trainings]
    pairs += [("the reference", training) for training in diff.reference]
    return Section(
        "Free trainings that both have",
        ("label", "dtype", "seed", "steps compared", "losses differ", "by at most (relative)",
         "last epoch's loss, now", "then", "test accuracy, now", "then", "churn, now", "then"),
        [
            [name, of.dtype, of.seed, of.steps,
             "no" if of.first_step is None else f"from step {of.first_step} on", of.furthest,
             *(_exact(of) if of.alike else ["–"] * 6)]
            for name, of in pairs
        ],
    )  # fmt: skip


def _exact(training: TrainingDiff) -> list[Value]:
    """Loss, accuracy and churn, now and then, of a training that went the same way."""
    (then, now), (was, right) = training.loss, training.accuracy
    numbers = [("{:.6f}", now), ("{:.6f}", then), ("{:.2%}", right), ("{:.2%}", was)]
    written = [p.format(v) if isinstance(v, float) else v for p, v in numbers]
    return [*written, *reversed(training.churn)]


def speeds(diff: Diff) -> Section:
    """Steps: a row a label, with interval and whether it is claimed."""
    rows = []
    for label in diff.labels:
        of = label.speed
        then, now = (words.duration(ns) for ns in of.steps_ns or (None, None))
        unit = {"floor": "multiple of the floor", "ns": "time", None: "–"}[of.unit]
        unit += ", in the same rounds" if of.paired else ""
        change = ratio(of.change) if of.change is not None else "–"
        rows.append([label.name, _outcome(label), change, unit, now, then, of.reason])
    header = ("label", "step", "now / then", "of what", "step now", "step then", "because")
    return Section("Step time, now over then", header, rows, across=True)


def _outcome(label: LabelDiff) -> str:
    mark = {"slower": "✗", "faster": "✓", "same": "✓"}.get(label.speed.outcome, "?")
    return f"{mark} {label.speed.outcome}"


def beside(diff: Diff) -> Section:
    """What is shown and never claimed: a row a label that has any of it."""
    rows = []
    for label in diff.labels:
        first, memory = label.first_step_ns, label.peak_rss_bytes
        if any(value is not None for value in (*first, *memory)):
            shown = [*map(words.duration, first[::-1]), *map(words.megabytes, memory[::-1])]
            rows.append([label.name, *shown])
    header = ("label", "first step, now", "then", "peak memory, now", "then")
    return Section("First step and memory: shown beside, no claim", header, rows, across=True)


def environment(diff: Diff, *, say: bool = False) -> Section:
    """What changed around the runs: a row each. say: also that nothing did."""
    sides = "labels" if diff.one_run else "runs"
    return Section(
        f"What changed around the {sides}",
        ("where", "what", "then", "now"),
        [[change.where, change.what, change.then, change.now] for change in diff.environment],
        note=f"Nothing around the {sides} changed." if say and not diff.environment else "",
    )
