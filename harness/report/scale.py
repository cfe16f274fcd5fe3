"""A grid as a report: what its table, its page and its JSON say. From its stored records only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from harness.files import write_atomic
from harness.report import markdown, page, words
from harness.report.plots.scaling import multiples, of_large, winners
from harness.report.run import environment
from harness.report.run_tables import Run
from harness.report.sections import Report, Section
from harness.results.scale import BAR_WIDTH, Figure, Grid, Growth, growths
from harness.text import many, short
from harness.verdict.timing_stats import MIN_SESSIONS
from harness.verdict.verdict import judge
from harness.workloads import side_of, width_of

TITLE = "Time per step as the work grows"
BRIEF = "width×batch: most of a limit; then time per step and × floor"
BRIEF_IMAGES = "width×batch×side: most of a limit; time per step, share of a large product"
ABOUT_SIZES = "width×batch; time per step, multiple of the GEMM floor, worst share of its limit"
ABOUT_IMAGES = (
    "Channels×batch×side; time per step, its FLOP a second (each convolution as one product of "
    "what its windows see) as a share of NumPy's rate in a large product, worst share of its "
    "limit. A yardstick and no bound: there are ways around these products."
)
GROWTH = ("label", "exponent", f"bar above {BAR_WIDTH}", "compile", "pays after, steps")
ABOUT_GROWTH = (
    "Exponent: time grows as work to this power (least squares in log-log over the ranked sizes; "
    "work is the FLOP of a step's matrix products), its 95 % interval, the scatter and the "
    "number of sizes. A fixed cost per step bends the line and pulls it below 1. Bar: step over "
    f"GEMM floor at sizes wider than {BAR_WIDTH}; met where all of them are ranked and keep it. "
    "Compile: what the first step of a size takes more than a steady one (tracing while a trainer "
    "is built is not in it); it pays from the step on at which that is earned back against the "
    "fastest label that compiles nothing."
)


def write(grid: Grid, folder: Path, into: Path | None = None) -> None:
    """Write scale.html and scale.md into the folder; `into`: the one of its ending once more.

    InputError where nothing can be written.
    """
    shown = report(grid)
    texts = {".html": page.render(shown).encode(), ".md": markdown.render(shown).encode()}
    for ending, text in texts.items():
        write_atomic(folder / f"scale{ending}", text)
    if into is not None:
        write_atomic(into, texts[into.suffix])


def to_json(grid: Grid, folder: str) -> dict[str, Any]:
    """What a program wants to know: every figure, and how each label grows."""
    return {
        "record": folder,
        "run": grid.name,
        "ended": grid.ended,
        "indicative": grid.sessions < MIN_SESSIONS,
        "cells": msgspec.to_builtins(grid.figures),
        "labels": msgspec.to_builtins([*growths(grid)]),
        "skipped": grid.records[0].plan.skipped,
    }


def report(grid: Grid, end: Sequence[str] = (), *, brief: bool = False) -> Report:
    """What was run, how time grows, every size, and what is not ranked.

    `end`: lines after all else; `brief`: what a terminal of 80 columns has room for.
    """
    sections = []
    images = any(figure.side for figure in grid.figures)
    brief_title = BRIEF_IMAGES if images else BRIEF
    for threads in grid.threads:
        of = f", threads: {threads}" if len(grid.threads) > 1 else ""
        more = ["limits"] if brief else ["GFLOP"]
        sections += [
            Section(
                f"How time grows{of}",
                id=f"growth-{threads}",
                note="" if brief else ABOUT_GROWTH,
                pictures=[
                    *winners(grid, threads),
                    *(of_large if images else multiples)(grid, threads),
                ],
                header=GROWTH,
                rows=[_growth_row(grid, each) for each in growths(grid) if each.threads == threads],
                across=True,
            ),
            Section(
                f"{brief_title if brief else 'Every size'}{of}",
                about=ABOUT_IMAGES if images else ABOUT_SIZES,
                id=f"sizes-{threads}",
                header=["size", *more, *([] if images else ["floor"]), *grid.labels],
                rows=size_rows(grid, threads, brief=brief),
            ),
        ]
    sections.append(Section("Not ranked", id="not-ranked", lines=reasons(grid)))
    if not brief:
        first = environment(Run(grid.records[0], judge(grid.records[0])))
        sections.append(replace(first, id="environment"))
    return Report(
        word=TITLE,
        title=f"{TITLE}, {grid.name}",
        headline=[headline(grid)],
        warnings=warnings(grid),
        sections=sections,
        end=end,
    )


def headline(grid: Grid) -> str:
    """What was run, in a line."""
    plan, images = grid.records[0].plan, words.images(grid.records[0])
    workloads = [r.plan.workload for r in grid.records]
    sizes = [(width_of(one), one.batch_size, side_of(one)) for one in workloads]
    widths, batches, sides = (
        ", ".join(str(value) for value in sorted({*of}) if value) for of in zip(*sizes, strict=True)
    )
    return (
        f"{plan.workload.name} · widths {widths} · batches {batches} · "
        f"{f'sides {sides} · ' if sides else ''}threads {', '.join(map(str, grid.threads))} · "
        f"{many(plan.timing.sessions, 'session')} of {many(plan.timing.rounds, 'round')} · "
        f"{images} · run {grid.name}"
    )


def warnings(grid: Grid) -> list[str]:
    """What must be said loudly above everything else, each once."""
    found = [warning for record in grid.records for warning in words.warnings(record)]
    if grid.sessions < MIN_SESSIONS:
        found.append(
            f"Indicative: {many(grid.sessions, 'session')}, and a claim needs {MIN_SESSIONS}; "
            "figures carry the rounds' spread only."
        )
    return [*dict.fromkeys(found)]


def cell(figure: Figure | None) -> str:
    """A label at a size: its time only beside its agreement."""
    if figure is None or figure.verdict == "not measured":
        return "–"
    if figure.verdict == "failed":
        return "failed"
    if figure.verdict == "void":
        return "✗ void"
    share = figure.worst_share
    if figure.verdict == "disagree":
        rung = figure.worst["rung"] if figure.worst is not None else ""
        return f"✗ {rung} " + (f"{short(share)}× limit" if isinstance(share, float) else "off")
    of = figure.multiple
    multiple = "–" if of is None else words.times_floor(of.value, "×")
    if figure.of_large is not None:
        multiple = f"{figure.of_large:.0%}"
    if of is not None and of.claimable and of.low is not None and of.high is not None:
        multiple += f" [{of.low:.2f} to {of.high:.2f}]"
    return f"{words.duration(figure.step_ns)}, {multiple}, {float(share or 0):.0%}"


def size_rows(grid: Grid, threads: int, *, brief: bool = False) -> list[list[str]]:
    """Width, batch size and side, GFLOP, floor (of convolutions none), then a cell a label.

    `brief`: in place of GFLOP the largest share of a limit, which the cells then leave out.
    """
    at: dict[tuple[int, int, int, int], dict[str, Figure]] = {}
    for figure in grid.figures:
        if figure.threads == threads:
            at.setdefault(figure.size, {})[figure.label] = figure
    rows = []
    for (_, *size, side), of in at.items():
        floor = next((f.floor_ns for f in of.values() if f.floor_ns is not None), None)
        floors = [] if side else [words.duration(floor)]
        more = short(next(iter(of.values())).flop / 1e9, 3)
        cells = [cell(of.get(label)) for label in grid.labels]
        if brief:
            shares = [float(f.worst_share or 0) for f in of.values() if f.verdict == "agree"]
            more = f"{max(shares):.0%}" if shares else "–"
            cells = [_short(text) for text in cells]
        place = "×".join(map(str, [*size, side] if side else size))
        rows.append([place, more, *floors, *cells])
    return rows


def _short(text: str) -> str:
    """A cell without its unit's space, × and limit: four labels then fit into 80 columns."""
    times = text.rpartition(", ")[0]
    return times.replace(" ", "", 1).translate({ord("×"): "", ord(","): ""}) or text


def _growth_row(grid: Grid, growth: Growth) -> list[str]:
    """How the time of a label grows, its bar, and when its compile pays."""
    exponent = bar = compiled = after = "–"
    if (law := growth.law) is not None:
        scatter = math.expm1(min(law.sd, 50.0))
        exponent = f"{law.exponent:.3f} [{law.low:.3f}, {law.high:.3f}], {scatter:.0%}, {law.n}"
    if growth.bar is not None:
        word = "met" if growth.met == growth.wide else "missed"
        largest = "" if growth.largest is None else f", at most {growth.largest:.2f}×"
        kept = f"{word}, {growth.met} of {growth.wide}{largest}" if growth.wide else "not measured"
        bar = f"≤ {growth.bar:g}×: {kept}"
    own = (growth.label, growth.threads)
    if pays := [f for f in grid.ranked if f.against and (f.label, f.threads) == own]:
        spent = [f.compile_ns or 0 for f in pays]
        compiled = words.span(min(spent), max(spent))
        steps = sorted(f.pays_after for f in pays if f.pays_after is not None)
        after = f"{len(pays) - len(steps)} of {len(pays)} never"
        if steps:
            after = f"{steps[0]}–{steps[-1]}, median {statistics.median_low(steps)}; {after}"
    return [growth.label, exponent, bar, compiled, after]


def reasons(grid: Grid) -> list[str]:
    """A sentence for everything that is not ranked, and for what does not repeat itself."""
    lines = [f"{n} skipped: {reason}" for n, reason in grid.records[0].plan.skipped.items()]
    alike: dict[tuple[str, str], list[Figure]] = {}
    for figure in grid.figures:
        if figure.verdict != "agree":
            alike.setdefault((figure.label, figure.reason or ""), []).append(figure)
    for (label, reason), of in alike.items():
        more = f", and {len(of) - 1} more" if len(of) > 1 else ""
        where = f"{label}, {of[0].place}{more}"
        lines.append(f"✗ {where}: {of[0].verdict}: {reason}")
    return lines + [
        f"{f.label}, {f.place}: two trainings of the same steps end at "
        "different parameters: it does not repeat itself"
        for f in grid.figures
        if not f.repeats
    ]
