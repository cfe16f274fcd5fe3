"""What moved between two runs, for people: a report's sections, and the pictures of its page.

Takes a `harness.results.diff.Diff` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.record.schema import Number
from harness.report import words
from harness.report.figure import Plot, style
from harness.report.plots import axes
from harness.report.sections import Form, Report, Section
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
    sides = [("first", diff.then), ("second", diff.now)]
    return Section(
        "The run of both" if diff.one_run else "The two runs",
        header=("run", "id", "started", "verdict", "profile", "harness", "machine", "ended"),
        rows=[
            [
                name,
                side.run,
                side.started,
                f"{words.MARKS.get(side.verdict, '')} {side.verdict}",
                side.profile,
                side.harness_version,
                side.machine,
                side.ended,
            ]
            for name, side in ([("both", diff.now)] if diff.one_run else sides)
        ],
    )


def moves(diff: Diff) -> Section:
    """What moved: a row each, the worse first."""
    rows = [[f"{MARKS[move.direction]} {move.direction}", move.text] for move in diff.moves]
    return Section("What moved, the worse first", header=("word", "what moved"), rows=rows)


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
    return Section(title, header=("rung", *(label.name for label in diff.labels)), rows=rows)


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
        header=("label", "rung", "now", "then", "share of the limit, now", "then", "same bits",
                "other bits", "given other numbers", "in one run only",
                "largest change of a distance"),
        rows=[
            [
                label.name,
                rung.rung,
                _judged(rung.now),
                _judged(rung.then),
                _share(rung.now),
                _share(rung.then),
                str(rung.identical),
                str(rung.moved),
                str(rung.given_other),
                str(rung.only_then + rung.only_now),
                _largest(rung),
            ]
            for label in diff.labels
            for rung in label.rungs
        ],
    )  # fmt: skip


def _share(side: Judged | None) -> str:
    return words.figure(side.share if side is not None else None)


def _largest(rung: RungDiff) -> str:
    if rung.largest is None:
        return "–"
    at, (then, now) = rung.largest, map(words.figure, rung.largest.distances)
    return f"{then} → {now}: {at.tensor} of {at.case}, {at.dtype}"


def trainings(diff: Diff) -> Section:
    """Trainings that both runs have, the reference's own at the end."""
    pairs = [(label.name, training) for label in diff.labels for training in label.trainings]
    pairs += [("the reference", training) for training in diff.reference]
    return Section(
        "Free trainings that both have",
        header=("label", "dtype", "seed", "steps compared", "losses differ",
                "by at most (relative)", "last epoch's loss, now", "then", "test accuracy, now",
                "then", "churn, now", "then"),
        rows=[[name, *_training(training)] for name, training in pairs],
    )  # fmt: skip


def _training(training: TrainingDiff) -> list[str]:
    first = training.first_step
    row = [
        training.dtype,
        str(training.seed),
        str(training.steps),
        "no" if first is None else f"from step {first} on",
        words.figure(training.furthest),
    ]
    pairs: list[tuple[str, list[Any]]] = [
        ("{:.6f}", training.loss),
        ("{:.2%}", training.accuracy),
        ("{}", training.churn),
    ]
    for pattern, (then, now) in pairs:
        # Of trainings that did not go the same way there is nothing to compare.
        row += [_exact(value if training.alike else None, pattern) for value in (now, then)]
    return row


def _exact(value: Number | None, pattern: str) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else pattern.format(value)


def speeds(diff: Diff) -> Section:
    """Steps: a row a label, with interval and whether it is claimed."""
    rows = []
    for label in diff.labels:
        speed = label.speed
        then, now = (words.duration(ns) for ns in speed.steps_ns or (None, None))
        unit = {"floor": "multiple of the floor", "ns": "time", None: "–"}[speed.unit]
        unit += ", in the same rounds" if speed.paired else ""
        of = ratio(speed.change) if speed.change is not None else "–"
        rows.append([label.name, _outcome(label), of, unit, now, then, speed.reason])
    header = ("label", "step", "now / then", "of what", "step now", "step then", "because")
    return Section("Step time, now over then", header=header, rows=rows, across=True)


def _outcome(label: LabelDiff) -> str:
    mark = {"slower": "✗", "faster": "✓", "same": "✓"}.get(label.speed.outcome, "?")
    return f"{mark} {label.speed.outcome}"


def beside(diff: Diff) -> Section:
    """What is shown and never claimed: a row a label that has any of it."""
    return Section(
        "First step and memory: shown beside, no claim",
        header=("label", "first step, now", "then", "peak memory, now", "then"),
        rows=[
            [
                label.name,
                *(words.duration(ns) for ns in reversed(label.first_step_ns)),
                *(words.megabytes(size) for size in reversed(label.peak_rss_bytes)),
            ]
            for label in diff.labels
            if any(v is not None for v in (*label.first_step_ns, *label.peak_rss_bytes))
        ],
        across=True,
    )


def environment(diff: Diff, *, say: bool = False) -> Section:
    """What changed around the runs: a row each. say: also that nothing did."""
    sides = "labels" if diff.one_run else "runs"
    return Section(
        f"What changed around the {sides}",
        note=f"Nothing around the {sides} changed." if say and not diff.environment else "",
        header=("where", "what", "then", "now"),
        rows=[[c.where, c.what, c.then or "–", c.now or "–"] for c in diff.environment],
    )


def shares_plot(diff: Diff) -> Plot | None:
    """Value over limit of every rung that has both, then and now; None where none has."""
    pairs = [
        (label.name, rung)
        for label in diff.labels
        for rung in label.rungs
        if rung.rung != "timing" and rung.then and rung.now
        if isinstance(rung.then.share, float) and isinstance(rung.now.share, float)
    ]
    if not pairs:
        return None
    names = [f"{axes.tick(name)}, {rung.rung}" for name, rung in pairs]
    traces: list[dict[str, Any]] = []
    for when, place, symbol, size in (("then", 7, "circle-open", 13), ("now", 0, "x", 9)):
        values = [getattr(rung, when).share for _, rung in pairs]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": when,
                "x": [max(value, LEAST_SHARE) for value in values],
                "y": list(range(len(pairs))),
                "marker": style(place)["marker"] | {"symbol": symbol, "size": size},
            }
        )
    return Plot(
        name="shares",
        title="Value as a share of its limit, then and now",
        caption=(
            "A circle is the first run, a cross the second; right of 1 a rung disagrees. "
            f"Shares below {LEAST_SHARE:g} are drawn there."
        ),
        traces=traces,
        layout={
            "xaxis": {
                "type": "log",
                "title": {"text": "value / limit"},
                "exponentformat": "power",
            },
            "yaxis": axes.rows_axis(names),
            "shapes": [axes.line(x=1.0)],
        },
        header=("rung", "now", "then"),
        rows=[[f"{name}, {r.rung}", _share(r.now), _share(r.then)] for name, r in pairs],
        height=140 + 22 * len(pairs),
    )


def speeds_plot(diff: Diff) -> Plot | None:
    """Steps now over then, with intervals; None where no label's are comparable."""
    pairs = [
        (label.name, label.speed, label.speed.change)
        for label in diff.labels
        if label.speed.change is not None
    ]
    if not pairs:
        return None
    how = (
        "Ratios formed within a round, where both were measured seconds apart."
        if diff.one_run
        else "As multiples of the GEMM floor on a CPU, so that a machine that is slower as a whole "
        "accuses nobody."
    )
    known = [(c.low or c.value, c.value, c.high or c.value) for _, _, c in pairs]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": "now / then",
        "showlegend": False,
        "x": [value for _, value, _ in known],
        "y": list(range(len(pairs))),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for _, value, high in known],
            "arrayminus": [value - low for low, value, _ in known],
        },
        "marker": style(0)["marker"] | {"size": 10},
    }
    return Plot(
        name="speeds",
        title="Step now / then, with its 95 % interval",
        caption=(f"Right of 1: slower now. {how} Without a bar there are too few sessions."),
        traces=[trace],
        layout={
            "xaxis": {"type": "log", "title": {"text": "ratio of step times"}},
            "yaxis": axes.rows_axis([axes.tick(name) for name, _, _ in pairs]),
            "shapes": [axes.line(x=1.0)],
        },
        header=("label", "now / then", "outcome"),
        rows=[[name, ratio(c), speed.outcome] for name, speed, c in pairs],
        height=160 + 32 * len(pairs),
    )
