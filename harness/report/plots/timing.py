"""Pictures of time, of labels that may be ranked only: the others are named.

Samples and distributions, multiples of the floor, ratios. Figures that a table of the page holds
whole (memory, throughput, epochs, what a step consists of, what is paid once) have no picture.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.interface import Array
from harness.record.schema import Record, Round
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.picture import Log, Series, cells, interval, picture
from harness.report.run_tables import Run
from harness.verdict import timings
from harness.verdict.timing_stats import Ratio, claim, ratio
from harness.verdict.timings import Place, median_interval
from harness.verdict.verdict import agreement

# Above this many samples a page grows too large; then some are left out.
MOST_SAMPLES = 60_000
INDICATIVE = (
    " Hollow: too few sessions for a claim; the thin line is the interval of the median over the "
    "rounds of what was measured, and says nothing of other processes."
)


def _ranked(run: Run) -> tuple[list[str], str]:
    """The labels that were timed and may be ranked, and a sentence that names the others."""
    told = {name: agreement(label) for name, label in run.verdict.labels.items()}
    timed = [name for name, label in run.verdict.labels.items()
             if told[name] == "agree" and label.step_time is not None]  # fmt: skip
    others = [f"{axes.plain(name)} ({word})" for name, word in told.items() if word != "agree"]
    return timed, f" Left out: {'; '.join(others)}." if others else ""


# ---- samples -------------------------------------------------------------------------------------


class Arm(NamedTuple):
    """One process that was timed, with its place among the colours."""

    name: str
    place: int
    rounds: list[Round]


def _arms(record: Record, timed: list[str]) -> list[Arm]:
    """What was timed, and has samples; second processes (A against A) at the end."""
    last = len(record.plan.labels)
    arms = [Arm(name, axes.place_of(record, name), record.results[name].rounds) for name in timed]
    arms += [
        Arm(f"{axes.plain(name)}, again", last + further, results.rounds)
        for further, (name, results) in enumerate(record.again.items())
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
    count = sum(len(_samples(r)) for r in rounds)
    every = math.ceil(count / MOST_SAMPLES)
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
            ("warm-up", axes.GREY, 2, warmup, []),
            (text(arm.name), style(arm.place)["line"]["color"], 4, steady,
             [cells(arm.name, len(arm.rounds), samples, *times)]),
        ):  # fmt: skip
            x, y = points[:, ::every]
            trace: axes.Trace = {
                "type": "scatter",
                "mode": "markers",
                "yaxis": f"y{row + 1}" if row else "y",
                "name": name,
                "legendgroup": name,
                "showlegend": row == 0 or bool(rows),
                "x": x,
                "y": y / size,
                "marker": {"color": colour, "size": wide, "opacity": 0.7},
                "hovertemplate": f"%{{y:.4g}} {unit}, round %{{x:.1f}}",
            }
            series.append(Series(trace, rows))
    caption = (
        "In the order of measurement, a row for each label, all on one scale. A median may be "
        "taken of what is level and flat; grey is warm-up, which enters no figure."
    )
    if every > 1:
        caption += f" Of {count} samples one in {every} is drawn; steps.parquet has them all."
    sessions = [session for session, _ in order]
    begin = [x for x in range(1, len(sessions)) if sessions[x] != sessions[x - 1]]
    if begin:
        caption += " Dotted lines: fresh processes, a new session."
    return picture(
        "step-series",
        f"Step time, every sample ({unit})",
        caption,
        series,
        axes.linear("round", range=[-0.2, len(order) + 0.2], anchor=f"y{len(arms)}"),
        Log(unit, room=1.15),
        ("label", "rounds", "samples", "shortest steady", "median", "longest"),
        height=90 + 105 * len(arms),
        after=left_out,
        panels=len(arms),
        shapes=[axes.line(x=x, line={"dash": "dot", "width": 1}) for x in begin],
    )


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
        if sum(map(len, samples.values())) > MOST_SAMPLES:
            # Of very many, as many quantiles as a page can hold.
            shown = np.quantile(steps, np.linspace(0, 1, 2000))
        hover = f"%{{y:.1f}} % of steps take %{{x:.4g}} {unit} or less"
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
        after=left_out,
        shapes=[axes.line(y=50, line={"dash": "dot", "width": 1})],
    )


# ---- ratios and their intervals ------------------------------------------------------------------


class Compared(NamedTuple):
    """One row of ratios: its name, its label, and the ratio in words.

    `above`, `below`: medians by round, of what the ratio is formed.
    """

    name: str
    label: str
    ratio: Ratio
    above: dict[Place, float]
    below: dict[Place, float]
    words: str

    @property
    def ends(self) -> tuple[float, float]:
        """Student's t over sessions, or with too few that of the median over their rounds."""
        if self.ratio.claimable and self.ratio.low is not None and self.ratio.high is not None:
            return self.ratio.low, self.ratio.high
        below = self.below
        shared = [value / below[at] for at, value in self.above.items() if below.get(at, 0) > 0]
        return median_interval(shared) if shared else (math.nan, math.nan)


def _forest(
    record: Record, rows: list[Compared], middle: float | None = None, *, with_words: bool = False
) -> list[Series]:
    """A point and its interval a row.

    Long words stand right of a point left of `middle`, and left of others: there they have room.
    """
    series = []
    for place, of in enumerate(rows):
        claimable, value, (low, high) = of.ratio.claimable, of.ratio.value, of.ends
        look = style(axes.place_of(record, of.label))["marker"] | {"size": 10}
        look["symbol"] = look["symbol"].removesuffix("-open") + ("" if claimable else "-open")
        look["line"] = {"width": 2, "color": look["color"]}
        side = "center" if middle is None else "left" if value > middle else "right"
        trace = interval(of.name, place, value, (low, high), look, width=2 if claimable else 1) | {
            "mode": "markers+text",
            "text": [of.words],
            "textposition": f"top {side}",
            "textfont": {"size": 11},
            "cliponaxis": False,
            "hovertemplate": f"%{{x:.4f}} [{low:.4f}, {high:.4f}]",
        }
        over = "sessions" if claimable else "rounds"
        row = cells(of.name, f"{value:.3f}", f"{low:.3f}–{high:.3f}", of.ratio.n, over)
        series.append(Series(trace, [[*row, of.words] if with_words else row]))
    return series


def _indicative(rows: list[Compared]) -> str:
    return "" if all(of.ratio.claimable for of in rows) else INDICATIVE


def floor(run: Run) -> list[Plot]:
    """Each label's step as a multiple of the GEMM floor."""
    record = run.record
    timed, left_out = _ranked(run)
    arm = timings.control(record)
    if arm is None:
        return []
    below = timings.product_medians(record, record.results[arm])
    rows = []
    for name in timed:
        if logs := timings.floor_logs(record, name):
            of, above = ratio(logs), timings.step_medians(record, record.results[name])
            rows.append(Compared(name, name, of, above, below, f"{of.value:.2f}×"))
    return picture(
        "floor",
        "Step time as a multiple of the GEMM floor",
        "The floor (dashed, 1) is the step's matrix products alone, in NumPy, in the same "
        "rounds. A point is the mean of the sessions, its line the 95 % interval over them.",
        _forest(record, rows),
        axes.linear("step time / GEMM floor", rangemode="tozero"),
        axes.rows_axis([axes.tick(of.name) for of in rows]),
        ("label", "× floor", "95 % interval", "sessions", "interval over"),
        height=90 + 50 * len(rows),
        after=_indicative(rows) + left_out,
        shapes=[axes.line(x=1.0)],
    )


def ratios(run: Run) -> list[Plot]:
    """Each label's step over the control arm's, and A against A; claimed or not."""
    record, results, least = run.record, run.record.results, run.record.plan.timing.least
    timed, left_out = _ranked(run)
    arm = timings.control(record)
    others = [name for name in timed if name != arm] if arm in timed and arm is not None else []
    pairs = [(n, n, timings.versus(record, n, arm), results[arm]) for n in others if arm]
    pairs += [
        (f"{name}, A/A", name, of, record.again[name])
        for name, of in timings.against_itself(record).items()
        if name in timed
    ]
    rows = []
    for title, name, of, other in pairs:
        if of is not None:
            above, below = (timings.step_medians(record, each) for each in (results[name], other))
            said = "claimed" if claim(of, least) else "not claimed"
            said = f"{of.value:.3f}, {said if of.claimable else 'too few sessions'}"
            rows.append(Compared(title, name, of, above, below, said))
    band = 1 / (1 + least), 1 + least
    ends = [end for of in rows for end in (*of.ends, of.ratio.value)]
    ends = [*(end for end in ends if math.isfinite(end) and end > 0), *band, 1.0]
    low, high = min(ends), max(ends)
    shade = {"type": "rect", "layer": "below", "fillcolor": axes.PALE, "line": {"width": 0}}
    ticks = [
        axes.tick(of.label) if of.name == of.label else f"{axes.tick(of.label, 9)}, A/A"
        for of in rows
    ]
    return picture(
        "ratios",
        "Step time against the control arm's (ratio, formed within a round)",
        f"Right of 1 is slower than {axes.plain(arm or '')}. A difference is claimed where the "
        "95 % interval over sessions excludes 1 and the ratio leaves the shaded "
        f"±{least:.0%}, by which two processes of one backend may differ (A/A: one backend twice; "
        "nothing may be claimed).",
        _forest(record, rows, math.sqrt(low) * math.sqrt(high), with_words=True),
        axes.logarithmic(f"step time / {text(arm or '')}'s", low, high),
        axes.rows_axis(ticks),
        ("step of", "ratio", "95 % interval", "sessions", "interval over", "claimed"),
        height=90 + 50 * len(rows),
        after=_indicative(rows) + left_out,
        shapes=[axes.line(x=1.0), axes.line(x=1.0) | shade | {"x0": band[0], "x1": band[1]}],
    )
