"""Pictures of time, of labels that may be ranked only: the others are named.

Samples and distributions, multiples of the floor, ratios, what a step consists of, what is paid
once. Figures that a table of the page holds (memory, throughput, epochs) have no picture.
"""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

import numpy as np

from harness.interface import Array
from harness.record.schema import Process, Record, Round
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.picture import Log, Series, cells, interval, picture
from harness.verdict import timings
from harness.verdict.timing_stats import Ratio, claim, ratio
from harness.verdict.timings import Place, StepTime, median_interval
from harness.verdict.verdict import Verdict, agreement

# Above this many samples a page grows too large; then each round has one point.
MOST_SAMPLES = 60_000
# What a step consists of, with a colour and a pattern each: in this order in time.
PHASES = (
    ("gather", "gather_median_ns", "#a87b00", "/"),
    ("put", "put_median_ns", "#9a63c4", "."),
    ("step", "median_ns", "#2f7ed8", ""),
)
INDICATIVE = (
    " Hollow: too few sessions for a claim; the thin line is the interval of the median over the "
    "rounds of what was measured, and says nothing of other processes."
)
Timed = dict[str, StepTime]


def timing(record: Record, verdict: Verdict) -> list[Plot]:
    """Samples, distributions, floor, ratios, phases, what is paid once."""
    fair = [name for name, label in verdict.labels.items() if agreement(label) == "agree"]
    timed = {name: t for name in fair if (t := verdict.labels[name].step_time) is not None}
    unranked = [
        f"{axes.plain(name)} ({agreement(label)})"
        for name, label in verdict.labels.items()
        if name not in fair
    ]
    left_out = f" Left out: {'; '.join(unranked)}." if unranked else ""
    pictures = [
        step_series(record, timed, left_out),
        distributions(record, timed, left_out),
        floor(record, timed, left_out),
        ratios(record, timed, left_out),
        phases(timed, left_out),
        starts(record, verdict, fair, left_out),
    ]
    return [plot for plot in pictures if plot is not None]


# ---- samples -------------------------------------------------------------------------------------


class Arm(NamedTuple):
    """One process that was timed, with its place among the colours."""

    name: str
    place: int
    rounds: list[Round]


def _arms(record: Record, timed: Timed) -> list[Arm]:
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


def step_series(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """Every sample of the rounds, warm-up included, in the order in which they were taken."""
    arms = _arms(record, timed)
    rounds = [r for arm in arms for r in arm.rounds]
    count = sum(len(_samples(r)) for r in rounds)
    whole = count <= MOST_SAMPLES
    size, unit = axes.unit(ns for r in rounds for ns in r.step_ns)
    order = {at: x for x, at in enumerate(sorted({(r.session, r.round) for r in rounds}))}
    series = []
    for row, arm in enumerate(arms):
        warmup, steady = _points(record, arm, order, {r.place for r in rounds}, whole=whole)
        common = {
            "type": "scatter",
            "mode": "markers",
            "yaxis": f"y{row + 1}" if row else "y",
            "hovertemplate": f"%{{y:.4g}} {unit}, round %{{x:.1f}}",
        }
        ends = (float(of(steady[1])) for of in (np.min, np.median, np.max) if steady.size)
        samples = sum(len(_samples(r)) for r in arm.rounds)
        times = [words.duration(ns) for ns in ends] or ["–"] * 3
        table = cells(arm.name, len(arm.rounds), samples, *times)
        # Steady steps lie over the warm-up, whose points are many and far apart.
        for name, colour, wide, (x, y), rows in (
            ("warm-up", axes.GREY, 2, warmup, []),
            (text(arm.name), style(arm.place)["line"]["color"], 4, steady, [table]),
        ):
            own = {
                "name": name,
                "legendgroup": name,
                "showlegend": row == 0 or bool(rows),
                "x": x,
                "y": y / size,
                "marker": {"color": colour, "size": wide, "opacity": 0.7},
            }
            series.append(Series(common | own, rows))
    caption = (
        f"In the order of measurement, {'a point a step' if whole else 'a point a round'}, and a "
        "row for each label, all on one scale. A median may be taken of what is level and flat; "
        "grey is warm-up, which enters no figure."
    )
    if not whole:
        caption += f" There are {count} samples, too many for a page; steps.parquet has them all."
    sessions = [session for session, _ in order]
    begin = [x for x in range(1, len(sessions)) if sessions[x] != sessions[x - 1]]
    if begin:
        caption += " Dotted lines: fresh processes, a new session."
    plot = picture(
        "step-series",
        f"Step time, {'every sample' if whole else 'the median of each round'} ({unit})",
        caption,
        series,
        axes.linear("round", range=[-0.2, len(order) + 0.2], anchor=f"y{len(arms)}"),
        Log(unit, room=1.15),
        ("label", "rounds", "samples", "shortest steady", "median", "longest"),
        height=90 + 105 * len(arms),
        after=left_out,
        shapes=[axes.line(x=x, line={"dash": "dot", "width": 1}) for x in begin],
    )
    return plot and _in_panels(plot, len(arms))


def _points(
    record: Record, arm: Arm, order: dict[Place, int], places: set[int], *, whole: bool
) -> list[Array]:
    """Warm-up and steady samples, each (2, n): the round and what part of it is over; nanoseconds.

    whole: every sample; else the median of each round.
    """
    slots = {place: slot for slot, place in enumerate(sorted(places))}
    kinds: tuple[list[Array], list[Array]] = [np.empty((2, 0))], [np.empty((2, 0))]
    for r in sorted(arm.rounds, key=lambda r: order[r.session, r.round]):
        taken = np.array(_samples(r), dtype=np.float64)
        into = (slots[r.place] + (np.arange(len(taken)) + 0.5) / len(taken)) / len(slots)
        points = np.array([order[r.session, r.round] + into, taken])
        first = len(r.warmup_ns) if r.round >= record.plan.timing.warmup_rounds else len(taken)
        for kind, part in zip(kinds, (points[:, :first], points[:, first:]), strict=True):
            if part.size:
                kind.append(part if whole else np.median(part, axis=1, keepdims=True))
    return [np.concatenate(kind, axis=1) for kind in kinds]


def _in_panels(plot: Plot, count: int) -> Plot:
    """With a panel a label, on the one scale of all."""
    shared = plot.layout["yaxis"]
    for row in range(count):
        plot.layout[f"yaxis{row + 1 if row else ''}"] = shared | {"domain": axes.band(row, count)}
    plot.layout["legend"]["itemsizing"] = "constant"
    return plot


def distributions(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """The share of steady steps that took no longer than a time."""
    warm = record.plan.timing.warmup_rounds
    samples: dict[str, Array] = {}
    for name in timed:
        taken = [ns for r in record.results[name].rounds if r.round >= warm for ns in r.step_ns]
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
    """One row of ratios: its name beside the axis, its label, and the ratio in words.

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


def floor(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """Each label's step as a multiple of the GEMM floor."""
    arm = timings.control(record)
    if arm is None:
        return None
    below = timings.product_medians(record, record.results[arm])
    rows = []
    for name in timed:
        logs = timings.floor_logs(record, name)
        if logs:
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


def ratios(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """Each label's step over the control arm's, and A against A; claimed or not."""
    arm, least = timings.control(record), record.plan.timing.least
    pairs = []
    for name in timed:
        if arm in timed and arm is not None and name != arm:
            of = timings.versus(record, name, arm)
            pairs.append((name, name, of, record.results[name], record.results[arm]))
    for name, of in timings.against_itself(record).items():
        if name in timed:
            pairs.append((f"{name}, A/A", name, of, record.results[name], record.again[name]))
    rows = []
    for title, name, of, *results in pairs:
        if of is not None:
            above, below = (timings.step_medians(record, each) for each in results)
            rows.append(Compared(title, name, of, above, below, _claimed(of, least)))
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


def _claimed(of: Ratio, least: float) -> str:
    said = "claimed" if claim(of, least) else "not claimed"
    return f"{of.value:.3f}, {said if of.claimable else 'too few sessions'}"


# ---- around the step -----------------------------------------------------------------------------


def phases(timed: Timed, left_out: str) -> Plot | None:
    """What a step consists of, end to end."""
    size, unit = axes.unit(time.median_ns for time in timed.values())
    pattern = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.7)", "size": 6}
    series = [
        Series(
            {
                "type": "bar",
                "orientation": "h",
                "name": what,
                "x": np.array([max(0, getattr(time, field)) / size for time in timed.values()]),
                "y": np.arange(len(timed)),
                # A pattern beside the colour, for who cannot tell colours.
                "marker": {"color": colour, "pattern": pattern | {"shape": shape}},
                "hovertemplate": f"%{{x:.4g}} {unit}",
            }
        )
        for what, field, colour, shape in PHASES
    ]
    rows = [
        [axes.plain(name), *(words.duration(getattr(time, field)) for _, field, *_ in PHASES)]
        for name, time in timed.items()
    ]
    return picture(
        "phases",
        f"What one training step consists of ({unit}, medians)",
        "Gather: picking the batch's rows; put: handing them to the framework and its device; "
        "step: forward, backward and update, waited for. The ratios above count the last only.",
        [*series[:-1], Series(series[-1].trace, rows)] if timed else [],
        axes.linear(f"time, {unit}", rangemode="tozero"),
        axes.rows_axis([axes.tick(name) for name in timed]),
        ("label", *(what for what, *_ in PHASES)),
        height=90 + 38 * len(timed),
        after=left_out,
        barmode="stack",
        bargap=0.35,
    )


def starts(record: Record, verdict: Verdict, fair: list[str], left_out: str) -> Plot | None:
    """What comes once: import, build, the first step of each batch size; every own process."""
    full = str(record.plan.workload.batch_size)
    kinds = "import", "build", f"first step, batch of {full}", "first step, other batches"
    points: dict[str, list[tuple[int, int]]] = {kind: [] for kind in kinds}
    rows = []
    for place, name in enumerate(fair):
        own = [p for p in record.results[name].processes
               if p.dtype == record.plan.labels[name].dtype and p.status == "ok"]  # fmt: skip
        row = cells(name, len(own))
        for number, of in enumerate(points.values()):
            times = [ns for p in own for ns in _once(p, full)[number]]
            of += [(place, ns) for ns in times]
            row.append(words.duration(statistics.median(times)) if times else "–")
        time = verdict.labels[name].step_time
        rows.append([*row, words.duration(time.compile_ns) if time else "–"])
    points = {kind: of for kind, of in points.items() if of}
    series = []
    for place, (kind, of) in enumerate(points.items()):
        offset = 0.6 * ((place + 0.5) / len(points) - 0.5)
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": text(kind),
            "x": np.array([ns / 1e9 for _, ns in of]),
            "y": np.array([label + offset for label, _ in of]),
            "marker": style(place)["marker"] | {"size": 9},
            "hovertemplate": "%{x:.3g} s",
        }
        series.append(Series(trace, [] if place else rows))
    between = {"width": 0.5, "dash": "solid"}
    return picture(
        "starts",
        "What is paid once: import, build, first steps (seconds)",
        "On a logarithmic axis, a point a process and batch size. A first step that takes "
        "hundreds of steady ones is a compilation, and comes again with every new batch size.",
        series,
        Log("seconds"),
        axes.rows_axis([axes.tick(name) for name in fair]),
        ("label", "processes", *kinds, "compile (first less steady)"),
        height=90 + 62 * len(fair),
        after=left_out,
        shapes=[axes.line(y=place + 0.5, line=between) for place in range(len(fair) - 1)],
    )


def _once(process: Process, full: str) -> list[list[int]]:
    """What a process took for each of these kinds, nanoseconds; full: the whole batch's rows."""
    first = process.first_step_ns.items()
    return [
        [process.import_ns] if process.import_ns is not None else [],
        [process.build_ns] if process.build_ns is not None else [],
        [ns for rows, ns in first if rows == full],
        [ns for rows, ns in first if rows != full],
    ]
