"""What moved between two runs, for people: on a terminal, as Markdown, as a page.

Takes a `harness.diff.Diff` and nothing else; escapes whatever the records contain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.record.schema import Number
from harness.report import figure, tables, words
from harness.report.terminal import print_table
from harness.results.diff import Diff, Judged, LabelDiff, RungDiff, TrainingDiff, ratio
from harness.text import clean
from harness.verdict.finding import RungVerdict
from harness.workloads.reference.limits import RUNGS

# A mark beside the word, as those of verdicts are.
MARKS = {"same": "✓", "moved": "~", "better": "✓", "worse": "✗", "not comparable": "?"}
COLOURS = {
    "same": "green",
    "moved": "yellow",
    "better": "green",
    "worse": "red",
    "not comparable": "yellow",
}
# The verdict whose colours a page gives the word.
TONES = {
    "same": "agree",
    "moved": "inconclusive",
    "better": "agree",
    "worse": "disagree",
    "not comparable": "inconclusive",
}
# Of a page's picture: a share below is drawn here, so that a logarithm can be taken of 0.
LEAST_SHARE = 1e-6

RUN_HEADER = ("run", "id", "started", "verdict", "profile", "harness", "machine", "ended")
MOVE_HEADER = ("word", "what moved")
RUNG_HEADER = (
    "label",
    "rung",
    "now",
    "then",
    "share of the limit, now",
    "then",
    "same bits",
    "other bits",
    "given other numbers",
    "in one run only",
    "largest change of a distance",
)
TRAINING_HEADER = (
    "label",
    "dtype",
    "seed",
    "steps compared",
    "losses differ",
    "by at most (relative)",
    "last epoch's loss, now",
    "then",
    "test accuracy, now",
    "then",
    "churn, now",
    "then",
)
SPEED_HEADER = ("label", "step", "now / then", "of what", "step now", "step then", "because")
BESIDE_HEADER = ("label", "first step, now", "then", "peak memory, now", "then")
ENVIRONMENT_HEADER = ("where", "what", "then", "now")


def headline(found: Diff) -> str:
    """The two runs, or the labels of one, in a line."""
    if found.one_run:
        pairs = ", ".join(label.name for label in found.labels)
        return f"{pairs} of run {found.now.run} ({found.now.started})"
    return f"{found.then.run} ({found.then.started}) → {found.now.run} ({found.now.started})"


def verdict_line(found: Diff) -> str:
    """The word and the sentence."""
    return f"{MARKS[found.verdict]} {found.verdict.upper()}: {found.summary}"


def run_rows(found: Diff) -> list[list[str]]:
    """The two runs, or the one: a row each."""
    sides = [("first", found.then), ("second", found.now)]
    return [
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
        for name, side in ([("both", found.now)] if found.one_run else sides)
    ]


def told(found: Diff) -> list[str]:
    """A sentence for every pair that was asked for; none where the one stands above already."""
    return [label.told for label in found.labels if label.told and len(found.labels) > 1]


def unchanged(found: Diff) -> str:
    """What is said where nothing around the two sides changed."""
    return UNCHANGED.replace("runs", "labels") if found.one_run else UNCHANGED


def move_rows(found: Diff) -> list[list[str]]:
    """What moved: a row each, the worse first."""
    return [[f"{MARKS[move.direction]} {move.direction}", move.text] for move in found.moves]


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
    told = " as declared" if side.declared else ""
    value = "" if side.value is None else f" {words.figure(side.value)}"
    return f"{words.MARKS[verdict]}{value}{told}"


def bits(rung: RungDiff) -> str:
    """How many of one rung's results are the same, bit for bit; + those given other numbers."""
    compared = rung.identical + rung.moved
    told = [f"{rung.identical}/{compared}"] if compared else []
    told += [f"+{rung.given_other}"] if rung.given_other else []
    return " ".join(told) or "–"


def ladder_rows(found: Diff, of: Callable[[RungDiff], str]) -> list[list[str]]:
    """A row a rung, a column a label: four then fit into 80 columns."""
    if not found.labels:
        return []
    cells = zip(*([of(rung) for rung in label.rungs] for label in found.labels), strict=True)
    return [[rung, *row] for rung, row in zip(RUNGS, cells, strict=True)]


def rung_rows(found: Diff) -> list[list[str]]:
    """Numbers: a row a label and rung."""
    return [
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
        for label in found.labels
        for rung in label.rungs
    ]


def _share(side: Judged | None) -> str:
    return words.figure(side.share if side is not None else None)


def _largest(rung: RungDiff) -> str:
    if rung.largest is None:
        return "–"
    at, (then, now) = rung.largest, map(words.figure, rung.largest.distances)
    return f"{then} → {now}: {at.tensor} of {at.case}, {at.dtype}"


def training_rows(found: Diff) -> list[list[str]]:
    """Trainings that both runs have, the reference's own at the end."""
    of = [(label.name, training) for label in found.labels for training in label.trainings]
    of += [("the reference", training) for training in found.reference]
    return [[name, *_training(training)] for name, training in of]


def _training(training: TrainingDiff) -> list[str]:
    first = training.first_step
    row = [
        training.dtype,
        str(training.seed),
        str(training.steps),
        "no" if first is None else f"from step {first} on",
        words.figure(training.furthest),
    ]
    for pattern, values in (("{:.6f}", training.loss), ("{:.2%}", training.accuracy)):
        row += [_exact(value, pattern) for value in _now_then(values, alike=training.alike)]
    churn: list[Number | None] = [*training.churn]
    return row + [_exact(value, "{}") for value in _now_then(churn, alike=training.alike)]


def _now_then(values: list[Number | None], *, alike: bool) -> list[Number | None]:
    """A pair as it stands in a table; none of trainings that did not go the same way."""
    return [values[1], values[0]] if alike else [None, None]


def _exact(value: Number | None, pattern: str) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else pattern.format(value)


def speed_rows(found: Diff) -> list[list[str]]:
    """Steps: a row a label, with interval and whether it is claimed."""
    rows = []
    for label in found.labels:
        speed = label.speed
        then, now = (words.duration(ns) for ns in speed.steps_ns or (None, None))
        unit = {"floor": "multiple of the floor", "ns": "time", None: "–"}[speed.unit]
        if speed.paired:
            unit += ", in the same rounds"
        of = ratio(speed.change) if speed.change is not None else "–"
        rows.append([label.name, _outcome(label), of, unit, now, then, speed.reason])
    return rows


def _outcome(label: LabelDiff) -> str:
    mark = {"slower": "✗", "faster": "✓", "same": "✓"}.get(label.speed.outcome, "?")
    return f"{mark} {label.speed.outcome}"


def beside_rows(found: Diff) -> list[list[str]]:
    """What is shown and never claimed: a row a label that has any of it."""
    return [
        [
            label.name,
            *(words.duration(ns) for ns in reversed(label.first_step_ns)),
            *(words.megabytes(size) for size in reversed(label.peak_rss_bytes)),
        ]
        for label in found.labels
        if any(v is not None for v in (*label.first_step_ns, *label.peak_rss_bytes))
    ]


def environment_rows(found: Diff) -> list[list[str]]:
    """What changed around the runs: a row each."""
    return [[c.where, c.what, _text(c.then), _text(c.now)] for c in found.environment]


def _text(value: str | None) -> str:
    return "–" if value is None else value


UNCHANGED = "Nothing around the runs changed."
NO_CLAIM = "shown beside, no claim"


def print_diff(found: Diff, console: Console) -> None:
    """The tables on a terminal, the one sentence last."""

    def say(text: str, style: str = "") -> None:
        console.print(Text(clean(text), style=style), soft_wrap=True)

    say(headline(found))
    for caution in found.cautions:
        say(f"!! {caution}", "bold yellow")
    names = ["", *(label.name for label in found.labels)]
    for title, of in (
        ("value nearest its limit, both judged by today's limits", cell),
        ("results that are the same, bit for bit (+ those given other numbers)", bits),
    ):
        print_table(console, names, ladder_rows(found, of), title)
    # A column a label, as above; what is said of several stands below, once.
    speeds = [row[:-1] for row in speed_rows(found)]
    _across(console, SPEED_HEADER[:-1], speeds, "step time")
    reasons: dict[str, list[str]] = {}
    for label in found.labels:
        reasons.setdefault(label.speed.reason, []).append(label.name)
    for reason, labels in reasons.items():
        say(f"{', '.join(labels)}: {reason}")
    _across(console, BESIDE_HEADER, beside_rows(found), NO_CLAIM)
    print_table(console, list(ENVIRONMENT_HEADER), environment_rows(found), "environment")
    for mark, text in move_rows(found):
        say(f"{mark}: {text}")
    for sentence in told(found):
        say(sentence)
    say(verdict_line(found), f"bold {COLOURS[found.verdict]}")


def _across(console: Console, names: tuple[str, ...], rows: list[list[str]], title: str) -> None:
    """Rows of labels, drawn as columns: four then fit into 80 columns."""
    if rows:
        _, *header = (row[0] for row in [[*names], *rows])
        turned = zip(names[1:], *(row[1:] for row in rows), strict=True)
        print_table(console, ["", *header], [[*line] for line in turned], title)


def render(found: Diff) -> str:
    """The same as Markdown."""
    escape = tables.escape
    lines = [f"# {MARKS[found.verdict]} {found.verdict}: {escape(found.summary)}", ""]
    lines += tables.table(list(RUN_HEADER), run_rows(found))
    for caution in found.cautions:
        lines += [f"> **{escape(caution)}**", ""]
    if sentences := told(found):
        lines += [*(f"- {escape(sentence)}" for sentence in sentences), ""]
    for title, header, rows in (
        ("What moved", MOVE_HEADER, move_rows(found)),
        ("Numbers", RUNG_HEADER, rung_rows(found)),
        ("Trainings", TRAINING_HEADER, training_rows(found)),
        ("Step time", SPEED_HEADER, speed_rows(found)),
        (NO_CLAIM.capitalize(), BESIDE_HEADER, beside_rows(found)),
        ("Environment", ENVIRONMENT_HEADER, environment_rows(found)),
    ):
        if rows:
            lines += [f"## {title}", "", *tables.table(list(header), rows)]
        elif title == "Environment":
            lines += [f"## {title}", "", unchanged(found), ""]
    return "\n".join(lines)


def page(found: Diff) -> str:
    """The same as one self-contained HTML page."""
    from harness.report.page import render as render_page

    shares, speeds = shares_plot(found), speeds_plot(found)
    plots = [plot for plot in (shares, speeds) if plot is not None]
    sections = [
        (name, title)
        for name, title, shown in (
            ("moved", "What moved", bool(found.moves)),
            ("numbers", "Numbers", bool(found.labels)),
            ("trainings", "Trainings", bool(training_rows(found))),
            ("speed", "Step time", bool(found.labels)),
            ("environment", "Environment", True),
        )
        if shown
    ]
    return render_page(
        "diff.html.j2",
        title=f"{found.verdict}: {headline(found)}",
        plots=plots,
        diff=found,
        mark=MARKS[found.verdict],
        diff_tone=TONES[found.verdict],
        sections=sections,
        runs=(RUN_HEADER, run_rows(found)),
        moves=(MOVE_HEADER, move_rows(found)),
        ladder=(("rung", *(label.name for label in found.labels)), ladder_rows(found, cell)),
        rungs=(RUNG_HEADER, rung_rows(found)),
        trainings=(TRAINING_HEADER, training_rows(found)),
        speeds=(SPEED_HEADER, speed_rows(found)),
        beside=(BESIDE_HEADER, beside_rows(found)),
        environment=(ENVIRONMENT_HEADER, environment_rows(found)),
        caption=told(found),
        unchanged=unchanged(found),
        no_claim=NO_CLAIM,
        shares=shares,
        steps=speeds,
    )


def shares_plot(found: Diff) -> figure.Plot | None:
    """Value over limit of every rung that has both, then and now; None where none has."""
    from harness.report.plots import axes

    pairs = [
        (label.name, rung)
        for label in found.labels
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
                "marker": figure.style(place)["marker"] | {"symbol": symbol, "size": size},
            }
        )
    return figure.Plot(
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


def speeds_plot(found: Diff) -> figure.Plot | None:
    """Steps now over then, with intervals; None where no label's are comparable."""
    from harness.report.plots import axes

    pairs = [
        (label.name, label.speed, label.speed.change)
        for label in found.labels
        if label.speed.change is not None
    ]
    if not pairs:
        return None
    how = (
        "Ratios formed within a round, where both were measured seconds apart."
        if found.one_run
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
        "marker": figure.style(0)["marker"] | {"size": 10},
    }
    return figure.Plot(
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
