"""A run of the grid as a page, as pictures and on a terminal: from its stored record only.

The pictures are SVGs that need no script and no network; every line has its own marker and dashes,
and the map has its numbers in it, so that nothing depends on colour.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness import text
from harness.files import write_atomic
from harness.record.schema import FINISHED
from harness.report import words
from harness.report.drawing import as_svg, drawing, name_entries
from harness.report.tables import escape, table
from harness.run.scale import RUNGS, ScaleRecord
from harness.run.scale_figures import (
    BAR_WIDTH,
    FLOOR,
    BreakEven,
    Figure,
    bars,
    break_evens,
    figures,
    fits,
    ranked,
    share_of_limit,
)
from harness.text import clean
from harness.verdict.timing_stats import MIN_SESSIONS

if TYPE_CHECKING:
    from rich.console import Console

# The slices that are drawn as lines go through the size of the usual workload.
USUAL = 256
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#1f5fa8", "linestyle": "-", "marker": "o"},
    {"color": "#c0392b", "linestyle": "--", "marker": "s"},
    {"color": "#2e7d32", "linestyle": "-.", "marker": "^"},
    {"color": "#7b3fa0", "linestyle": ":", "marker": "D"},
    {"color": "#b26a00", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#00707a", "linestyle": (0, (8, 3)), "marker": "P"},
    {"color": "#444444", "linestyle": (0, (1, 3)), "marker": "x"},
    {"color": "#a31562", "linestyle": (0, (4, 2, 1, 2)), "marker": "*"},
)
FLOOR_STYLE: dict[str, Any] = {"color": "black", "linestyle": "-", "linewidth": 0.9}
PICTURES = {
    "time": "Time per step against the work of its matrix products",
    "floor": "Multiple of the floor against width and against batch size",
    "map": "Multiple of the floor in every cell; ✗: not ranked, –: not measured",
}
HEADER = "time per step, multiple of the GEMM floor, worst share of its limit"


def write(record: ScaleRecord, folder: Path, page: Path | None) -> list[Path]:
    """Write scale.html, scale.md and its pictures into the folder; `page`: scale.md once more.

    The pictures of a page lie beside it, under its own name. Raises InputError as `write_atomic`.
    """
    from harness.report import scale_page

    found = figures(record)
    write_atomic(folder / "scale.html", scale_page.render(record, found).encode())
    drawn = {name: svg for name, svg in draw(record, found).items() if svg}
    written = []
    for file in (folder / "scale.md", *([page] if page is not None else [])):
        pictures = {name: f"{file.stem}-{name}.svg" for name in drawn}
        for name, svg in drawn.items():
            write_atomic(file.parent / pictures[name], svg.encode())
        write_atomic(file, render(record, found, pictures).encode())
        written.append(file)
    return written


def to_json(record: ScaleRecord, found: list[Figure], folder: str) -> dict[str, Any]:
    """What a program wants to know: every figure, fit, break-even and bar."""
    return {
        "record": folder,
        "run": record.run,
        "ended": record.ended,
        "indicative": indicative(record),
        "cells": [
            msgspec.to_builtins(figure)
            | {"worst_share": None if figure.worst is None else words_share(figure)}
            for figure in found
        ],
        "exponents": msgspec.to_builtins(fits(found)),
        "break_even": msgspec.to_builtins(break_evens(record, found)),
        "bars": [msgspec.to_builtins(b) | {"verdict": b.verdict} for b in bars(record, found)],
        "skipped": record.plan.plan.skipped,
    }


def words_share(figure: Figure) -> float | str:
    """The worst share of a limit as JSON has it: a number, or "inf"."""
    share = figure.worst_share
    return "inf" if share is None or math.isinf(share) else share


def indicative(record: ScaleRecord) -> bool:
    """Whether there are too few sessions for any claim."""
    return _sessions(record) < MIN_SESSIONS


def _sessions(record: ScaleRecord) -> int:
    """How many there were for each number of threads; of an interrupted run, the fewest."""
    begun = [session.threads for session in record.sessions]
    return min((begun.count(threads) for threads in record.plan.threads), default=0)


def headline(record: ScaleRecord) -> str:
    """What was run, in a line."""
    plan, data = record.plan, record.dataset
    told = "no data set" if data is None else f"{data.name}, {data.train} + {data.test} images"
    timing = plan.plan.timing
    return (
        f"{plan.plan.workload.name} · widths {_list(plan.widths)} · "
        f"batches {_list(plan.batches)} · threads {_list(plan.threads)} · {timing.sessions} session"
        f"{'s' if timing.sessions > 1 else ''} of {timing.rounds} rounds · {told} · "
        f"run {record.run}"
    )


def _list(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def warned(record: ScaleRecord) -> list[str]:
    """What must be said loudly above everything else."""
    found = []
    if record.dataset is not None and record.dataset.synthetic:
        found.append("SYNTHETIC DATA: this run did not use Fashion-MNIST.")
    planted = [f"{n}: {k.plant}" for n, k in record.plan.plan.labels.items() if k.plant]
    if planted:
        found.append(f"FAULT PLANTED on purpose: {', '.join(planted)}.")
    if record.ended != FINISHED:
        found.append(f"NOT FINISHED: {record.ended}.")
    if indicative(record):
        found.append(
            f"Indicative: {text.many(_sessions(record), 'session')}, and a claim needs "
            f"{MIN_SESSIONS}; "
            "figures carry the rounds' spread only."
        )
    return found


def cell(figure: Figure | None) -> str:
    """A label in a cell: its time only beside its agreement."""
    if figure is None or figure.verdict == "not measured":
        return "–"
    if figure.verdict == "failed":
        return "failed"
    if figure.verdict == "void":
        return "✗ void"
    if figure.verdict == "disagree":
        assert figure.worst is not None
        share = share_of_limit(figure.worst)
        return f"✗ {figure.worst.rung} " + ("off" if math.isinf(share) else f"{share:.3g}× limit")
    assert figure.worst_share is not None
    of = figure.multiple
    multiple = "–" if of is None else f"{of.value:.2f}×"
    if of is not None and of.claimable and of.low is not None and of.high is not None:
        multiple += f" [{of.low:.2f} to {of.high:.2f}]"
    return f"{words.duration(figure.step_ns)}, {multiple}, {figure.worst_share:.0%}"


def time_rows(record: ScaleRecord, found: list[Figure], threads: int) -> list[list[str]]:
    """Width, batch, GFLOP, floor, then a cell a label."""
    labels = _labels(record)
    by_where: dict[tuple[int, int], dict[str, Figure]] = {}
    for figure in found:
        if figure.threads == threads:
            by_where.setdefault((figure.width, figure.batch), {})[figure.label] = figure
    rows = []
    for (width, batch), of in by_where.items():
        any_ = next(iter(of.values()))
        sizes = [str(width), str(batch), f"{any_.flop / 1e9:.3g}", words.duration(any_.floor_ns)]
        rows.append([*sizes, *(cell(of.get(label)) for label in labels)])
    return rows


def _labels(record: ScaleRecord) -> list[str]:
    return [label for label in record.plan.plan.labels if label not in record.plan.plan.skipped]


BAR_HEADER = ("label", "threads", "bar", "cells", "keep it", "largest", "at", "verdict")


def bar_rows(record: ScaleRecord, found: list[Figure]) -> list[list[str]]:
    """The bars above BAR_WIDTH: a row a label and number of threads."""
    return [
        [
            bar.label,
            str(bar.threads),
            f"≤ {bar.bar:g}×",
            str(bar.cells),
            str(bar.met),
            "–" if bar.largest is None else f"{bar.largest:.2f}×",
            "–" if bar.largest is None else f"{bar.width} × {bar.batch}",
            bar.verdict,
        ]
        for bar in bars(record, found)
    ]


FIT_HEADER = ("label", "threads", "exponent", "95 % interval", "scatter", "cells")


def fit_rows(found: list[Figure]) -> list[list[str]]:
    """Exponents of time against work."""
    return [
        [
            fit.label,
            str(fit.threads),
            f"{fit.law.exponent:.3f}",
            f"{fit.law.low:.3f} to {fit.law.high:.3f}",
            f"{math.expm1(min(fit.law.sd, 50.0)):.0%}",
            str(fit.law.n),
        ]
        for fit in fits(found)
    ]


PAYS_HEADER = ("label", "threads", "compile", "pays after, steps", "never", "against")


def pays_rows(record: ScaleRecord, found: list[Figure]) -> list[list[str]]:
    """When a compile pays, a row a label: over all cells, the smallest, median and largest."""
    rows = []
    made = break_evens(record, found)
    for threads, label in dict.fromkeys((b.threads, b.label) for b in made):
        of = [b for b in made if (b.threads, b.label) == (threads, label)]
        steps = sorted(b.steps for b in of if b.steps is not None)
        compile_ns = [b.compile_ns for b in of]
        told = "–"
        if steps:
            told = f"{steps[0]} to {steps[-1]}, median {round(statistics.median(steps))}"
            told = str(steps[0]) if steps[0] == steps[-1] else told
        rows.append(
            [
                label,
                str(threads),
                words.span(min(compile_ns), max(compile_ns)),
                told,
                f"in {len(of) - len(steps)} of {len(of)} cells",
                ", ".join(dict.fromkeys(b.against for b in of)),
            ]
        )
    return rows


def break_even_rows(
    record: ScaleRecord, made: list[BreakEven], threads: int
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: width, batch, then for each label that compiles when that pays."""
    of = {(b.width, b.batch, b.label): b for b in made if b.threads == threads}
    labels = [label for label in _labels(record) if any(label == key[2] for key in of)]
    rows = []
    for width, batch in dict.fromkeys((b.width, b.batch) for b in of.values()):
        cells = []
        for label in labels:
            b = of.get((width, batch, label))
            if b is None:
                cells.append("–")
            else:
                pays = "never" if b.steps is None else f"after {b.steps}"
                cells.append(f"{words.duration(b.compile_ns)}, {pays} ({b.against})")
        rows.append([str(width), str(batch), *cells])
    return ["width", "batch", *map(escape, labels)], rows


def reasons(record: ScaleRecord, found: list[Figure]) -> list[str]:
    """A sentence for everything that is not ranked, and for what does not repeat itself."""
    told = [f"{n} skipped: {reason}" for n, reason in record.plan.plan.skipped.items()]
    seen: dict[tuple[str, str], list[Figure]] = {}
    for figure in found:
        if figure.verdict != "agree":
            seen.setdefault((figure.label, figure.reason or ""), []).append(figure)
    for (label, reason), of in seen.items():
        first = f"{label}, width {of[0].width}, batch {of[0].batch}"
        more = f", and {len(of) - 1} more" if len(of) > 1 else ""
        told.append(f"✗ {first}{more}: {of[0].verdict}: {reason}")
    wavering = [f for f in found if not f.repeats]
    told += [
        f"{f.label}, width {f.width}, batch {f.batch}: two replays of the same steps end at "
        "different parameters: it does not repeat itself"
        for f in wavering
    ]
    return told


DETAIL_HEADER = (
    "width",
    "batch",
    "threads",
    "label",
    "verdict",
    "step",
    "rounds",
    "× floor",
    "of physics",
    "first call",
    "more than steady",
    "nearest its limit",
)


def detail_rows(found: list[Figure]) -> list[list[str]]:
    """Every figure of every cell."""
    rows = []
    for f in found:
        shown, several = f.verdict == "agree", f.at_once > 1
        nearest = "–"
        if f.worst is not None:
            nearest = f"{f.worst.rung} {f.worst.tensor}: " + (
                f.worst.problem or f"{words.figure(f.worst.distance)} of {f.worst.limit:g}"
            )
        rows.append(
            [
                *map(str, (f.width, f.batch, f.threads, f.label, f.verdict)),
                words.duration(f.step_ns) if shown else "–",
                words.span(*f.spread_ns) if shown and f.spread_ns else "–",
                f"{f.multiple.value:.3f}" if shown and f.multiple is not None else "–",
                f"{f.of_physics:.2f}" if f.of_physics is not None else "–",
                words.duration(f.first_step_ns) + (f" ({f.at_once} steps)" if several else ""),
                words.duration(f.compile_ns),
                nearest,
            ]
        )
    return rows


ABOUT_FITS = (
    "Least squares in log-log over the ranked cells: time grows as work to this power, work being "
    "the FLOP of a step's five matrix products. The interval knows the scatter only; a fixed cost "
    "per step bends the line and pulls the exponent below 1."
)
ABOUT_PAYS = (
    "A compile is what the first step of a size takes more than a steady one (tracing while the "
    "trainer is built is not in it). It pays from the step on at which that is earned back against "
    "the fastest label that compiles nothing."
)


def render(record: ScaleRecord, found: list[Figure], pictures: dict[str, str]) -> str:
    """The whole page; `pictures`: file names of those that were drawn."""
    lines = ["# Time per step as the work grows", "", escape(headline(record)), ""]
    for warning in warned(record):
        lines += [f"> **{escape(warning)}**", ""]
    lines += [f"## Bars above width {BAR_WIDTH}", ""]
    about = f"Step over GEMM floor in every cell wider than {BAR_WIDTH}; met where all of them are"
    lines += [f"{about} ranked and keep it.", "", *table(list(BAR_HEADER), bar_rows(record, found))]
    lines += ["## How time grows", "", ABOUT_FITS, ""]
    lines += table(list(FIT_HEADER), fit_rows(found))
    for name, file in pictures.items():
        lines += [f"![{PICTURES[name]}](<{file}>)", "", f"{PICTURES[name]}.", ""]
    labels = [escape(label) for label in _labels(record)]
    for threads in record.plan.threads:
        lines += [f"## Time per step, threads: {threads}", "", f"Each cell: {HEADER}.", ""]
        header = ["width", "batch", "GFLOP", "floor", *labels]
        lines += table(header, time_rows(record, found, threads))
    told = reasons(record, found)
    if told:
        lines += ["## Not ranked", "", *(f"- {escape(line)}" for line in told), ""]
    made = break_evens(record, found)
    if made:
        lines += ["## When a compile pays", "", ABOUT_PAYS, ""]
        lines += table(list(PAYS_HEADER), pays_rows(record, found))
        for threads in record.plan.threads:
            header, rows = break_even_rows(record, made, threads)
            if rows:
                lines += [f"Threads: {threads}", "", *table(header, rows)]
    lines += ["<details><summary>Every figure</summary>", ""]
    told_of = (
        "*of physics*: step over the fastest products of all labels in the same rounds. *rounds*: "
        f"smallest and largest median. Judged in every cell: {', '.join(RUNGS)}."
    )
    lines += [told_of, ""]
    lines += [*table(list(DETAIL_HEADER), detail_rows(found)), "</details>", ""]
    lines += ["## Environment", ""]
    facts = [["machine", name, value] for name, value in record.machine.items()]
    for session in record.sessions[:1]:
        for p in session.processes:
            facts += [[p.label, name, value] for name, value in p.facts.items()]
    return "\n".join([*lines, *table(["where", "what", "value"], facts)])


def show(record: ScaleRecord, found: list[Figure], folder: str, console: Console) -> None:
    """The tables on a terminal."""
    from rich.text import Text

    from harness.report.terminal import print_table

    def say(text: str, style: str = "") -> None:
        console.print(Text(clean(text), style=style), soft_wrap=True)

    say(headline(record))
    for warning in warned(record):
        say(f"!! {warning}", "bold yellow")
    for threads in record.plan.threads:
        header = ["size", "floor", *_labels(record), "limits"]
        title = f"threads: {threads}; width×batch: time per step, × floor; most of a limit"
        print_table(console, header, short_rows(record, found, threads), title)
    print_table(console, list(PAYS_HEADER), pays_rows(record, found), "when a compile pays")
    print_table(console, list(FIT_HEADER), fit_rows(found), "time grows as work to the power of")
    title = f"bars above width {BAR_WIDTH}: step over GEMM floor, in every cell"
    print_table(console, list(BAR_HEADER), bar_rows(record, found), title)
    for line in reasons(record, found):
        say(line)
    say(f"record: {folder}")


def short_rows(record: ScaleRecord, found: list[Figure], threads: int) -> list[list[str]]:
    """As `time_rows`, without what can be left out: four labels then fit into 80 columns.

    One share of a limit for all ranked labels of a cell: the largest.
    """
    rows = []
    for width, batch, _, *rest in time_rows(record, found, threads):
        here = [f for f in ranked(found) if f.where == (threads, int(width), int(batch))]
        worst = max((f.worst_share or 0.0 for f in here), default=None)
        cells = [_short(text.rpartition(",")[0] or text) for text in rest]
        rows.append([f"{width}×{batch}", *cells, "–" if worst is None else f"{worst:.0%}"])
    return rows


def _short(text: str) -> str:
    return text if text.startswith("✗") else text.replace(" ", "", 1).translate({0xD7: "", 44: ""})


def draw(record: ScaleRecord, found: list[Figure]) -> dict[str, str]:
    """The pictures by name, each an <svg> element; empty where nothing can be drawn.

    The same record gives the same text, whatever matplotlib's own settings are.
    """
    styles = {label: STYLES[i % len(STYLES)] for i, label in enumerate(_labels(record))}
    drawn = {}
    for which, make in (("time", draw_time), ("floor", draw_floor), ("map", draw_map)):
        with drawing("scale", {"font.size": 9}):
            made = make(record, ranked(found) if which != "map" else found, styles)
            drawn[which] = "" if made is None else as_svg(made, PICTURES[which])
    return drawn


def _panels(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height), facecolor="white", layout="constrained")
    return canvas, canvas.subplots(rows, columns, squeeze=False)


def _name(canvas: Any, styles: dict[str, Any], floor: str | None) -> None:
    """A key above all panels."""
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], markersize=5, linewidth=1.6, **style) for style in styles.values()]
    names = [*styles]
    if floor is not None:
        keys.append(Line2D([], [], **FLOOR_STYLE))
        names.append(floor)
    places = [str(i) for i in range(len(keys))]
    made = canvas.legend(keys, places, loc="outside upper center", ncols=5, frameon=False)
    name_entries(made, names)


def draw_time(record: ScaleRecord, found: list[Figure], styles: dict[str, Any]) -> Any:
    """Time against work: a mark a cell, a line through the geometric means at each work."""
    if not found:
        return None
    threads = record.plan.threads
    canvas, panels = _panels(1, len(threads), 1.6 + 5.6 * len(threads), 4.6)
    for axis, count in zip(panels[0], threads, strict=True):
        of = [f for f in found if f.threads == count]
        floors = {f.where: (f.flop / 1e9, f.floor_ns / 1e6) for f in of if f.floor_ns}
        if floors:
            axis.plot(*_means([*floors.values()]), **FLOOR_STYLE)
        for label, look in styles.items():
            points = [(f.flop / 1e9, f.step_ns / 1e6) for f in of if f.label == label and f.step_ns]
            if points:
                marks = {"color": look["color"], "marker": look["marker"], "linestyle": ""}
                axis.plot(*zip(*points, strict=True), markersize=3.5, alpha=0.55, **marks)
                line = {k: v for k, v in look.items() if k != "marker"}
                axis.plot(*_means(points), linewidth=1.6, **line)
        axis.set_xscale("log")
        axis.set_yscale("log")
        _plain_numbers(axis.xaxis)
        _plain_numbers(axis.yaxis)
        axis.grid(visible=True, color="#dddddd", linewidth=0.6)
        axis.set_xlabel("work of a step's matrix products, GFLOP")
        axis.set_ylabel("time per step, ms")
        if len(threads) > 1:
            axis.set_title(f"threads: {count}")
    _name(canvas, styles, FLOOR)
    return canvas


def _means(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """The geometric mean of the values at each x, ascending."""
    at: dict[float, list[float]] = {}
    for x, y in points:
        at.setdefault(x, []).append(y)
    xs = sorted(at)
    return xs, [statistics.geometric_mean(at[x]) for x in xs]


def _plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers: 0.1, 1, 10."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def draw_floor(record: ScaleRecord, found: list[Figure], styles: dict[str, Any]) -> Any:
    """Multiples of the floor along the width and along the batch, a row for each threads."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    times = [(f, f.multiple.value) for f in found if f.multiple is not None]
    if not times:
        return None
    plan = record.plan
    batch, width = _nearest(plan.batches, USUAL), _nearest(plan.widths, USUAL)
    times = [(f, value) for f, value in times if f.batch == batch or f.width == width]
    if not times:
        return None
    canvas, panels = _panels(len(plan.threads), 2, 9.6, 0.9 + 3.3 * len(plan.threads))
    least, largest = min(value for _, value in times), max(value for _, value in times)
    ticks = [t for t in (0.5, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100) if t <= 1.3 * largest]
    for row, count in zip(panels, plan.threads, strict=True):
        for axis, along, sizes in ((row[0], "width", plan.widths), (row[1], "batch", plan.batches)):
            for label, look in styles.items():
                points = sorted(
                    (getattr(f, along), value)
                    for f, value in times
                    if f.label == label
                    and f.threads == count
                    and (f.batch == batch if along == "width" else f.width == width)
                )
                if points:
                    axis.plot(*zip(*points, strict=True), markersize=5, linewidth=1.6, **look)
            axis.axhline(1, **FLOOR_STYLE)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.xaxis.set_major_locator(FixedLocator(sizes))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_locator(FixedLocator(ticks))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.yaxis.set_minor_locator(NullLocator())
            _plain_numbers(axis.xaxis)
            _plain_numbers(axis.yaxis)
            axis.set_ylim(min(0.95, 0.9 * least), 1.1 * max(largest, 1.5))
            axis.grid(visible=True, color="#dddddd", linewidth=0.6)
            of = f", threads: {count}" if len(plan.threads) > 1 else ""
            fixed = f"batch {batch}" if along == "width" else f"width {width}"
            axis.set_title(f"at {fixed}{of}")
            axis.set_xlabel("hidden units" if along == "width" else "batch size, samples")
        row[0].set_ylabel("step / GEMM floor")
    _name(canvas, styles, f"{FLOOR} = 1")
    return canvas


def _nearest(sizes: tuple[int, ...], wanted: int) -> int:
    return min(sizes, key=lambda size: abs(math.log(size / wanted)))


def draw_map(record: ScaleRecord, found: list[Figure], styles: dict[str, Any]) -> Any:
    """A map for each label, two beside each other: widths up, batches across, a number a cell."""
    plan = record.plan
    values = [f.multiple.value for f in ranked(found) if f.multiple is not None]
    if not values:
        return None
    across, up = len(plan.batches), len(plan.widths)
    maps = [(count, label) for count in plan.threads for label in styles]
    columns = min(2, len(maps))
    rows = math.ceil(len(maps) / columns)
    canvas, panels = _panels(
        rows, columns, (0.8 + 0.55 * across) * columns, (0.8 + 0.38 * up) * rows
    )
    axes = panels.ravel().tolist()
    for axis in axes[len(maps) :]:
        axis.set_axis_off()
    darkest = math.log(max(2.0, *values))
    for axis, (count, label) in zip(axes, maps, strict=False):
        of = {(f.width, f.batch): f for f in found if (f.label, f.threads) == (label, count)}
        for y, width in enumerate(plan.widths):
            for x, batch in enumerate(plan.batches):
                text, shade = _square(of.get((width, batch)), darkest)
                axis.fill_between((x - 0.5, x + 0.5), y - 0.5, y + 0.5, color=str(1 - shade))
                axis.text(x, y, text, ha="center", va="center", fontsize=8)
        axis.set_xlim(-0.5, across - 0.5)
        axis.set_ylim(-0.5, up - 0.5)
        axis.set_xticks(range(across), [str(b) for b in plan.batches])
        axis.set_yticks(range(up), [str(w) for w in plan.widths])
        axis.tick_params(length=0, labelsize=8)
        of_threads = f", threads: {count}" if len(plan.threads) > 1 else ""
        axis.set_title(clean(label)[:60] + of_threads, parse_math=False)
        axis.set_xlabel("batch size")
        axis.set_ylabel("hidden units")
    return canvas


def _square(figure: Figure | None, darkest: float) -> tuple[str, float]:
    """Text and shade (0 white) of a cell of the map; `darkest`: the largest log of a multiple."""
    if figure is None or figure.verdict == "not measured":
        return "–", 0.0
    if figure.verdict != "agree":
        return "✗", 0.0
    if figure.multiple is None:
        return "–", 0.0
    value = figure.multiple.value
    text = f"{value:.2f}" if value < 9.95 else f"{value:.0f}"
    return text, 0.55 * min(max(math.log(value), 0.0) / darkest, 1.0)
