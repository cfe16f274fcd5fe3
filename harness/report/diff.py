"""What moved between two runs, for people: a report's sections, and the pictures of its page.

Takes a `harness.results.diff.Diff` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.report import words
from harness.report.figure import Plot, style
from harness.report.plots import axes
from harness.report.sections import Form, Report, Section, Value
from harness.results.diff import Diff, Judged, LabelDiff, RungDiff, TrainingDiff, ratio
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
# Of a page's picture: a share below is drawn here, so that a logarithm can be taken of 0.
LEAST_SHARE = 1e-6


def report(diff: Diff, form: Form) -> Report:
    """The report as one form shows it."""
    foot = [f"First run: {diff.then.record}. Second run: {diff.now.record}."]
    if diff.one_run:
        foot = [f"Run: {diff.now.record}."]
    sections = {"terminal": _terminal, "markdown": _markdown, "page": _page}[form]
    asked = Section(lines=sentences(diff))
    on_terminal = form == "terminal"
    return Report(
        word=diff.verdict,
        sentence=diff.summary,
        mark=MARKS[diff.verdict],
        tone=TONES[diff.verdict],
        headline=[headline(diff)] if on_terminal else [],
        warnings=diff.cautions,
        top=[] if on_terminal else [asked, runs(diff)],
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
    drawn = [[plot] if plot is not None else [] for plot in (shares_plot(diff), speeds_plot(diff))]
    numbers = [ladder(diff), Section(pictures=drawn[0]), rungs(diff)]
    speed = [Section(pictures=drawn[1]), speeds(diff), beside(diff)]
    chapters = [("moved", "What moved", "", [moves(diff)])]
    if diff.labels:
        chapters += [
            ("numbers", "Numbers", note, numbers),
            ("trainings", "Trainings", "", [trainings(diff)]),
            ("speed", "Step time", "", speed),
        ]
    chapters.append(("environment", "Environment", "", [environment(diff, say=True)]))
    return [
        Section(title, id=id_, note=note, inside=inside) for id_, title, note, inside in chapters
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
    rows = []
    sides = {"both": diff.now} if diff.one_run else {"first": diff.then, "second": diff.now}
    for name, of in sides.items():
        verdict = f"{words.MARKS.get(of.verdict, '')} {of.verdict}"
        row = [name, of.run, of.started, verdict, of.profile, of.harness_version]
        rows.append([*row, of.machine, of.ended])
    header = ("run", "id", "started", "verdict", "profile", "harness", "machine", "ended")
    return Section("The run of both" if diff.one_run else "The two runs", header, rows)


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
    return f"{now} (was {words.figure(rung.then.value)})"


def _judged(side: Judged | None) -> str:
    if side is None:
        return "–"
    verdict: RungVerdict = side.verdict
    declared = " as declared" if side.declared else ""
    value = "" if side.value is None else f" {words.figure(side.value)}"
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
    rows: list[list[Value]] = []
    for label in diff.labels:
        for of in label.rungs:
            row = [label.name, of.rung, _judged(of.now), _judged(of.then)]
            shares = [side.share if side is not None else None for side in (of.now, of.then)]
            counts = [of.identical, of.moved, of.given_other, of.only_then + of.only_now]
            rows.append([*row, *shares, *counts, _largest(of)])
    header = ("label", "rung", "now", "then", "share of the limit, now", "then", "same bits")
    more = ("other bits", "given other numbers", "in one run only", "largest change of a distance")
    return Section("Results of every rung, by what became of them", (*header, *more), rows)


def _largest(rung: RungDiff) -> str:
    if rung.largest is None:
        return "–"
    at, (then, now) = rung.largest, map(words.figure, rung.largest.distances)
    return f"{then} → {now}: {at.tensor} of {at.case}, {at.dtype}"


def trainings(diff: Diff) -> Section:
    """Trainings that both runs have, the reference's own at the end."""
    pairs = [(label.name, training) for label in diff.labels for training in label.trainings]
    pairs += [("the reference", training) for training in diff.reference]
    rows: list[list[Value]] = []
    for name, of in pairs:
        since = "no" if of.first_step is None else f"from step {of.first_step} on"
        row: list[Value] = [name, of.dtype, of.seed, of.steps, since, of.furthest]
        rows.append([*row, *((of.alike and _exact(of)) or ["–"] * 6)])
    header = ("label", "dtype", "seed", "steps compared", "losses differ", "by at most (relative)")
    more = ("last epoch's loss, now", "then", "test accuracy, now", "then", "churn, now", "then")
    return Section("Free trainings that both have", (*header, *more), rows)


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


def _rows_plot(
    name: str, title: str, caption: str, x: str, names: list[str], traces: list[Any], **more: Any
) -> Plot:
    """Marks in rows, each with a name, over a ratio on a logarithmic axis with a line at 1."""
    dots = {"type": "scatter", "mode": "markers", "y": list(range(len(names)))}
    layout = {
        "xaxis": {"type": "log", "title": {"text": x}, "exponentformat": "power"},
        "yaxis": axes.rows_axis(names),
        "shapes": [axes.line(x=1.0)],
    }
    return Plot(name, title, caption, [dots | trace for trace in traces], layout, **more)


def shares_plot(diff: Diff) -> Plot | None:
    """Value over limit of every rung that has both, then and now; None where none has."""
    pairs = [
        (label.name, rung.rung, rung.now.share, rung.then.share)
        for label in diff.labels
        for rung in label.rungs
        if rung.rung != "timing" and rung.then and rung.now
        if isinstance(rung.then.share, float) and isinstance(rung.now.share, float)
    ]
    if not pairs:
        return None
    _, _, now, then = zip(*pairs, strict=True)
    traces = [
        {
            "name": when,
            "x": [max(share, LEAST_SHARE) for share in shares],
            "marker": style(place)["marker"] | {"symbol": symbol, "size": size},
        }
        for when, shares, place, symbol, size in (
            ("then", then, 7, "circle-open", 13),
            ("now", now, 0, "x", 9),
        )
    ]
    return _rows_plot(
        "shares",
        "Value as a share of its limit, then and now",
        "A circle is the first run, a cross the second; right of 1 a rung disagrees. "
        f"Shares below {LEAST_SHARE:g} are drawn there.",
        "value / limit",
        [f"{axes.tick(name)}, {rung}" for name, rung, *_ in pairs],
        traces,
        header=("rung", "now", "then"),
        rows=[[f"{name}, {rung}", *map(words.figure, shares)] for name, rung, *shares in pairs],
        height=140 + 22 * len(pairs),
    )


def speeds_plot(diff: Diff) -> Plot | None:
    """Steps now over then, with intervals; None where no label's are comparable."""
    pairs = [
        (label.name, label.speed, change)
        for label in diff.labels
        if (change := label.speed.change) is not None
    ]
    if not pairs:
        return None
    how = "Ratios formed within a round, where both were measured seconds apart."
    if not diff.one_run:
        how = (
            "As multiples of the GEMM floor on a CPU, so that a machine that is slower as a whole "
            "accuses nobody."
        )
    changes = [change for *_, change in pairs]
    ends = {
        "array": [(c.high or c.value) - c.value for c in changes],
        "arrayminus": [c.value - (c.low or c.value) for c in changes],
    }
    trace = {
        "name": "now / then",
        "showlegend": False,
        "x": [change.value for change in changes],
        "error_x": {"type": "data", "symmetric": False} | ends,
        "marker": style(0)["marker"] | {"size": 10},
    }
    return _rows_plot(
        "speeds",
        "Step now / then, with its 95 % interval",
        f"Right of 1: slower now. {how} Without a bar there are too few sessions.",
        "ratio of step times",
        [axes.tick(name) for name, *_ in pairs],
        [trace],
        header=("label", "now / then", "outcome"),
        rows=[[name, ratio(change), speed.outcome] for name, speed, change in pairs],
        height=160 + 32 * len(pairs),
    )
