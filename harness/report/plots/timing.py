"""Pictures of time, of labels that may be ranked only: the others are named.

Samples and distributions, ratios. Figures that a table of the page holds whole (multiples of the
floor, memory, throughput, epochs, what a step consists of, what is paid once) have no picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.interface import Array
from harness.record.schema import Record, Results, Round
from harness.report import words
from harness.report.figure import GREY, Plot, text
from harness.report.plots import axes
from harness.report.plots.picture import MOST_POINTS, Log, Series, cells, picture
from harness.report.run_tables import Run, compared, is_claimed
from harness.text import short
from harness.verdict import timings
from harness.verdict.timing_stats import Ratio
from harness.verdict.timings import Place, median_interval
from harness.verdict.verdict import agreement

INDICATIVE = (
    " Hollow: too few sessions for a claim; the thin line is the interval of the median over the "
    "rounds of what was measured, and says nothing of other processes."
)


def _ranked(run: Run) -> tuple[list[str], str]:
    """The labels that were timed and may be ranked, and a sentence that names the others.

    What was skipped is none of them: the page says so at its top.
    """
    labels = run.verdict.labels.items()
    told = {name: agreement(label) for name, label in labels if label.status != "skipped"}
    timed = [name for name, label in labels
             if told.get(name) == "agree" and label.step_time is not None]  # fmt: skip
    others = [f"{axes.plain(name)} ({word})" for name, word in told.items() if word != "agree"]
    return timed, f" Left out: {'; '.join(others)}." if others else ""


# ---- samples -------------------------------------------------------------------------------------


class Arm(NamedTuple):
    """One process that was timed."""

    name: str
    colour: str
    rounds: list[Round]


def _arms(record: Record, timed: list[str]) -> list[Arm]:
    """What was timed, and has samples; second processes (A against A) at the end."""
    own = {name: axes.style_of(record, name)["line"]["color"] for name in timed}
    arms = [Arm(name, own[name], record.results[name].rounds) for name in timed]
    arms += [
        Arm(f"{axes.plain(name)}, again", own[name], results.rounds)
        for name, results in record.again.items()
        if name in timed
    ]
    arms = [arm._replace(rounds=[r for r in arm.rounds if _samples(r)]) for arm in arms]
    return [arm for arm in arms if arm.rounds]


def _samples(r: Round) -> list[int]:
    """Every sample of a round in the order it was taken, nanoseconds."""
    return [*r.warmup_ns, *r.step_ns]


def step_series(run: Run) -> list[Plot]:
    """Every sample of the rounds, warm-up included, in the order in which they were taken."""
    record = run.record
    timed, left_out = _ranked(run)
    arms = _arms(record, timed)
    rounds = [r for arm in arms for r in arm.rounds]
    size, unit = axes.unit(ns for r in rounds for ns in r.step_ns)
    order = {at: x for x, at in enumerate(sorted({(r.session, r.round) for r in rounds}))}
    slots = {place: slot for slot, place in enumerate(sorted({r.place for r in rounds}))}
    series = []
    for row, arm in enumerate(arms):
        warmup, steady = _points(record, arm, order, slots)
        ends = [float(of(steady[1])) for of in (np.min, np.median, np.max) if steady.size]
        times = [words.duration(ns) for ns in ends] or ["–"] * 3
        samples = warmup.shape[1] + steady.shape[1]
        # Steady steps lie over the warm-up, whose points are many and far apart.
        for name, colour, wide, points, rows in (
            ("warm-up", GREY, 2, warmup, []),
            (arm.name, arm.colour, 4, steady,
             [cells(arm.name, len(arm.rounds), samples, *times)]),
        ):  # fmt: skip
            x, y = points
            trace = axes.scatter(
                "markers",
                name,
                f"%{{y:.4~g}} {unit}, round %{{x:.1f}}",
                **axes.panel(row),
                legendgroup=text(name),
                showlegend=row == 0 or bool(rows),
                x=x,
                y=y / size,
                marker={"color": colour, "size": wide, "opacity": 0.7},
            )
            series.append(Series(trace, rows))
    caption = (
        "In the order of measurement, a row for each label, all on one scale. A median may be "
        "taken of what is level and flat; grey is warm-up, which enters no figure."
    )
    sessions = [session for session, _ in order]
    begin = [x for x in range(1, len(sessions)) if sessions[x] != sessions[x - 1]]
    if begin:
        caption += " Dotted lines: fresh processes, a new session."
    return picture(
        "step-series",
        f"Step time, every sample ({unit})",
        caption,
        series,
        axes.whole("round", len(order), range=[-0.2, len(order) + 0.2]),
        Log(unit, room=1.15),
        ("label", "rounds", "samples", "shortest steady", "median", "longest"),
        finding=_restless(record, timed),
        height=90 + 105 * len(arms),
        after=left_out,
        panels=[unit] * len(arms),
        shapes=[axes.line(x=x, line={"dash": "dot", "width": 1}) for x in begin],
    )


def _restless(record: Record, timed: list[str]) -> str:
    """Whose median moves most from round to round, of the steady ones."""
    moved = {}
    for name in timed:
        medians = [*timings.step_medians(record, record.results[name]).values()]
        if len(medians) > 1 and min(medians) > 0:
            moved[name] = max(medians) / min(medians) - 1
    if not moved:
        return ""
    most = max(moved, key=lambda name: moved[name])
    return f"From round to round {axes.plain(most)}'s median moves most: by {moved[most]:.0%}"


def _points(
    record: Record, arm: Arm, order: dict[Place, int], slots: dict[int, int]
) -> tuple[Array, Array]:
    """Warm-up and steady samples, each (2, n): the round and its part that is over; nanoseconds."""
    points: list[Array] = []
    steady: list[Array] = []
    for r in sorted(arm.rounds, key=lambda r: order[r.session, r.round]):
        taken = np.array(_samples(r), dtype=np.float64)
        into = (slots[r.place] + (np.arange(len(taken)) + 0.5) / len(taken)) / len(slots)
        points.append(np.array([order[r.session, r.round] + into, taken]))
        warm = r.round < record.plan.timing.warmup_rounds
        steady.append(np.arange(len(taken)) >= (len(taken) if warm else len(r.warmup_ns)))
    every, of = np.concatenate(points, axis=1), np.concatenate(steady)
    return every[:, ~of], every[:, of]


def distributions(run: Run) -> list[Plot]:
    """The share of steady steps that took no longer than a time."""
    record = run.record
    timed, left_out = _ranked(run)
    samples: dict[str, Array] = {}
    for name in timed:
        rounds = timings.steady(record, record.results[name])
        taken = [ns for r in rounds for ns in r.step_ns]
        if taken:
            samples[name] = np.sort(np.array(taken, dtype=np.float64))
    size, unit = axes.unit(np.median(steps) for steps in samples.values())
    series = []
    for name, steps in samples.items():
        shown = steps
        if len(steps) > MOST_POINTS:  # as many quantiles as a screen can show
            shown = np.quantile(steps, np.linspace(0, 1, MOST_POINTS))
        hover = f"%{{y:.1f}} % of steps take %{{x:.4~g}} {unit} or less"
        each = 100 / len(shown)
        trace = axes.line_of(record, name, "lines", hover, x=shown / size, y0=each, dy=each)
        quantiles = np.quantile(steps, (0.05, 0.5, 0.95, 0.99, 1.0)).tolist()
        series.append(Series(trace, [cells(name, len(steps), *map(words.duration, quantiles))]))
    return picture(
        "step-distribution",
        f"Distribution of step times ({unit})",
        "How many of the steady steps (in %) took no longer than the time below. A line "
        "further left is faster, a steep one is steady; a long tail at the top right is "
        "interruptions.",
        series,
        Log(f"step time, {unit}"),
        axes.linear("of steady steps, %", range=[0, 101]),
        ("label", "steps", "5 %", "median", "95 %", "99 %", "longest"),
        finding=_tail(samples),
        after=left_out,
        shapes=[axes.line(y=50, line={"dash": "dot", "width": 1})],
    )


def _tail(samples: dict[str, Array]) -> str:
    """Whose slowest hundredth is furthest from its median."""
    times = {
        axes.plain(name): float(np.quantile(steps, 0.99) / np.median(steps))
        for name, steps in samples.items()
        if np.median(steps) > 0
    }
    if not times:
        return ""
    longest = max(times, key=lambda name: times[name])
    return (
        f"Longest tail: 1 % of {longest}'s steps take {short(times[longest])} × its median or more"
    )


# ---- ratios and their intervals ------------------------------------------------------------------


# Label, what it is over ("": itself), the ratio and the ends of its interval.
Row = tuple[str, str, Ratio, tuple[float, float]]


def ratios(run: Run) -> list[Plot]:
    """Each label's step over the control arm's, and A against A; claimed or not."""
    record, least = run.record, run.record.plan.timing.least
    timed, left_out = _ranked(run)
    rows: list[Row] = []
    for name, other, of in compared(run):
        if name in timed:
            against = record.results[other] if other else record.again[name]
            rows.append((name, other, of, _ends(of, record, record.results[name], against)))
    arm = timings.control(record) or ""
    band = 1 / (1 + least), 1 + least
    ends = [end for *_, of, span in rows for end in (*span, of.value)]
    ends = [*(end for end in ends if math.isfinite(end) and end > 0), *band, 1.0]
    low, high = min(ends), max(ends)
    indicative = "" if all(of.claimable for *_, of, _ in rows) else INDICATIVE
    ticks = [axes.tick(n) if across else f"{axes.tick(n, 9)}, A/A" for n, across, *_ in rows]
    return picture(
        "ratios",
        "Step time against the control arm's (ratio, formed within a round)",
        f"Right of 1 is slower than {axes.plain(arm)}. A difference is claimed where the "
        "95 % interval over sessions excludes 1 and the ratio leaves the shaded "
        f"±{least:.0%}, by which two processes of one backend may differ (A/A: one backend twice; "
        "nothing may be claimed).",
        _forest(run, rows, math.sqrt(low) * math.sqrt(high)),
        axes.logarithmic(f"step time / {text(arm)}'s", low, high),
        axes.rows_axis(ticks),
        ("step of", "ratio", "95 % interval", "sessions", "interval over", "claimed"),
        finding=_claims(run, rows),
        height=90 + 50 * len(rows),
        after=indicative + left_out,
        shapes=[axes.line(x=1.0), axes.shade(x0=band[0], x1=band[1])],
    )


def _claims(run: Run, rows: Sequence[Row]) -> str:
    """Which of the differences are claimed."""
    others = [(name, across, of) for name, across, of, _ in rows if across]
    claimed = [
        f"{axes.plain(name)} {short(of.value)} ×"
        for name, across, of in others
        if is_claimed(run, name, across, of)[0]
    ]
    if claimed:
        return f"Claimed: {', '.join(claimed)}"
    return "No difference between labels is claimed" if others else ""


def _forest(run: Run, rows: Sequence[Row], middle: float) -> list[Series]:
    """A point and its interval a row."""
    series = []
    for place, (label, across, of, (start, stop)) in enumerate(rows):
        claimed, why = is_claimed(run, label, across, of)
        told = f"{of.value:.3f}, {'claimed' if claimed else why or 'not claimed'}"
        marker = axes.style_of(run.record, label)["marker"]
        symbol = marker["symbol"].removesuffix("-open") + ("" if of.claimable else "-open")
        colour = marker["color"]
        name = label if across else f"{label}, A/A"
        bar = {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, stop - of.value)],
            "arrayminus": [max(0.0, of.value - start)],
            "color": colour,
            "thickness": 2 if of.claimable else 1,
        }
        # Long words stand right of a point that is left of the middle: there they have room.
        side = "left" if of.value > middle else "right"
        trace = axes.scatter(
            "markers+text",
            name,
            f"%{{x:.4f}} [{start:.4f}, {stop:.4f}]",
            showlegend=False,
            x=np.array([of.value]),
            y=np.array([place]),
            marker={"color": colour, "symbol": symbol, "size": 10,
                    "line": {"width": 2, "color": colour}},
            error_x=bar,
            text=[told],
            textposition=f"top {side}",
            textfont={"size": 11},
            cliponaxis=False,
        )  # fmt: skip
        over = "sessions" if of.claimable else "rounds"
        row = cells(name, f"{of.value:.3f}", f"{start:.3f}–{stop:.3f}", of.n, over, told)
        series.append(Series(trace, [row]))
    return series


def _ends(of: Ratio, record: Record, own: Results, other: Results) -> tuple[float, float]:
    """Student's t over sessions, or with too few that of the median over their rounds."""
    if of.claimable and of.low is not None and of.high is not None:
        return of.low, of.high
    above, below = timings.step_medians(record, own), timings.step_medians(record, other)
    shared = [value / below[at] for at, value in above.items() if below.get(at, 0) > 0]
    return median_interval(shared) if shared else (math.nan, math.nan)
