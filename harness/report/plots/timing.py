"""Pictures of time, of labels that may be ranked only: the others are named.

Samples and distributions, multiples of the floor, ratios; `costs` has what lies around a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.interface import Array
from harness.record.schema import Record, Round
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.costs import costs
from harness.report.plots.shown import Timed, ranked, unranked
from harness.verdict.timing_stats import Ratio, claim, ratio
from harness.verdict.timings import (
    Place,
    against_itself,
    control,
    floor_logs,
    median_interval,
    product_medians,
    step_medians,
    versus,
)
from harness.verdict.verdict import Verdict

# Above this many samples a page grows too large; then each round has one point.
MOST_SAMPLES = 60_000


def timing(record: Record, verdict: Verdict) -> list[Plot]:
    """Samples, distributions, floor, ratios, then what lies around a step."""
    timed, left_out = ranked(verdict), unranked(verdict)
    found = [
        series(record, timed, left_out),
        distributions(record, timed, left_out),
        floor(record, timed, left_out),
        ratios(record, timed, left_out),
    ]
    return [
        *(plot for plot in found if plot is not None),
        *costs(record, verdict, timed, left_out),
    ]


class Arm(NamedTuple):
    """One process that was timed, with its place among the colours."""

    name: str
    place: int
    rounds: list[Round]


def _arms(record: Record, timed: Timed) -> list[Arm]:
    """What was timed, and has samples; second processes (A against A) at the end."""
    found = [Arm(name, axes.place_of(record, name), record.results[name].rounds) for name in timed]
    last = len(record.plan.labels)
    found += [
        Arm(f"{axes.plain(name)}, again", last + further, of.rounds)
        for further, (name, of) in enumerate(record.again.items())
        if name in timed
    ]
    found = [
        arm._replace(rounds=[r for r in arm.rounds if r.warmup_ns or r.step_ns]) for arm in found
    ]
    return [arm for arm in found if arm.rounds]


def series(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """Every sample of the rounds, warm-up included, in the order in which they were taken."""
    arms = _arms(record, timed)
    if not arms:
        return None
    rounds = [r for arm in arms for r in arm.rounds]
    count = sum(len(r.step_ns) + len(r.warmup_ns) for r in rounds)
    whole = count <= MOST_SAMPLES
    order = {at: x for x, at in enumerate(sorted({(r.session, r.round) for r in rounds}))}
    slots = {at: slot for slot, at in enumerate(sorted({r.place for r in rounds}))}
    size, called = axes.unit(ns for r in rounds for ns in r.step_ns)
    traces: list[axes.Trace] = []
    rows: list[list[str]] = []
    held: list[Array] = []
    for row, arm in enumerate(arms):
        points: dict[bool, list[Array]] = {True: [], False: []}
        for r in sorted(arm.rounds, key=lambda r: order[r.session, r.round]):
            taken = np.array([*r.warmup_ns, *r.step_ns], dtype=np.float64) / size
            into = (slots[r.place] + (np.arange(len(taken)) + 0.5) / len(taken)) / len(slots)
            warm = np.arange(len(taken)) < len(r.warmup_ns)
            warm |= r.round < record.plan.timing.warmup_rounds
            for kind in (False, True):
                part = np.array([order[r.session, r.round] + into, taken])[:, warm == kind]
                if part.size and not whole:
                    part = np.median(part, axis=1, keepdims=True)
                points[kind].append(part)
        steady, warmup = (np.concatenate(points[kind], axis=1) for kind in (False, True))
        held += [steady[1], warmup[1]]
        traces += [
            {
                "type": "scatter",
                "mode": "markers",
                "name": told,
                "legendgroup": told,
                "showlegend": told not in {of["name"] for of in traces},
                "x": x.astype(np.float32),
                "y": y,
                "yaxis": f"y{row + 1}" if row else "y",
                "marker": {"color": colour, "size": wide, "opacity": 0.7},
                "hovertemplate": f"%{{y:.4g}} {called}, round %{{x:.1f}}",
            }
            # Steady steps lie over the warm-up, whose points are many and far apart.
            for told, colour, wide, (x, y) in (
                ("warm-up", axes.GREY, 2, warmup),
                (text(arm.name), style(arm.place)["line"]["color"], 4, steady),
            )
            if y.size
        ]
        rows.append(
            [
                axes.plain(arm.name),
                str(len(arm.rounds)),
                str(sum(len(r.step_ns) + len(r.warmup_ns) for r in arm.rounds)),
                *(
                    words.duration(size * float(of(steady[1]))) if steady.size else "–"
                    for of in (np.min, np.median, np.max)
                ),
            ]
        )
    scale = axes.scale(*held)
    for of in traces:
        of["y"] = scale.place(of["y"])
    sessions = [session for session, _ in order]
    begin = [x for x, session in enumerate(sessions) if x and session != sessions[x - 1]]
    told = (
        f"In the order of measurement, {'a point a step' if whole else 'a point a round'}, and a "
        "row for each label, all on one scale. A median may be taken of what is level and flat; "
        "grey is warm-up, which enters no figure."
    )
    if not whole:
        told += f" There are {count} samples, too many for a page; steps.parquet has them all."
    if begin:
        told += " Dotted lines: fresh processes, a new session."
    layout = axes.layout(
        axes.linear("round", range=[-0.2, len(order) + 0.2], anchor=f"y{len(arms)}"),
        {},
        shapes=[axes.line(x=x, line={"dash": "dot", "width": 1}) for x in begin],
    )
    low, high = scale.shown(*held)
    for row in range(len(arms)):
        layout[f"yaxis{row + 1 if row else ''}"] = axes.logarithmic(
            called,
            low,
            high,
            range=axes.span(low / 1.15, high * 1.15),
            domain=axes.band(row, len(arms)),
        )
    layout["legend"]["itemsizing"] = "constant"
    what = "every sample" if whole else "the median of each round"
    return Plot(
        name="step-series",
        title=f"Step time, {what} ({called})",
        caption=told + left_out,
        traces=traces,
        layout=layout,
        header=("label", "rounds", "samples", "shortest steady", "median", "longest"),
        rows=rows,
        height=axes.tall(traces, 90 + 105 * len(arms)),
    )


def distributions(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """The share of steady steps that took no longer than a time."""
    warm = record.plan.timing.warmup_rounds
    samples = {
        name: np.sort(np.array(
            [ns for r in record.results[name].rounds if r.round >= warm for ns in r.step_ns],
            dtype=np.float64,
        ))
        for name in timed
    }  # fmt: skip
    samples = {name: of for name, of in samples.items() if len(of)}
    if not samples:
        return None
    most = sum(map(len, samples.values()))
    size, called = axes.unit(np.median(of) for of in samples.values())
    of_all = [of / size for of in samples.values()]
    scale = axes.scale(*of_all)
    traces, rows = [], []
    for name, of in samples.items():
        # Of very many, as many quantiles as a page can hold.
        kept = of if most <= MOST_SAMPLES else np.quantile(of, np.linspace(0, 1, 2000))
        traces.append(
            axes.line_of(record, name)
            | {
                "mode": "lines",
                "x": scale.place(kept / size),
                "y0": 100 / len(kept),
                "dy": 100 / len(kept),
                "hovertemplate": f"%{{y:.1f}} % of steps take %{{x:.4g}} {called} or less",
            }
        )
        rows.append(
            [
                axes.plain(name),
                str(len(of)),
                *(words.duration(float(np.quantile(of, q))) for q in (0.05, 0.5, 0.95, 0.99, 1.0)),
            ]
        )
    return Plot(
        name="step-distribution",
        title=f"Distribution of step times ({called})",
        caption="How many of the steady steps (in %) took no longer than the time below. A line "
        "further left is faster, a steep one is steady; a long tail at the top right is "
        "interruptions." + left_out,
        traces=traces,
        layout=axes.layout(
            axes.logarithmic(f"step time, {called}", *scale.shown(*of_all)),
            axes.linear("of steady steps, %", range=[0, 101]),
            shapes=[axes.line(y=50, line={"dash": "dot", "width": 1})],
        ),
        header=("label", "steps", "5 %", "median", "95 %", "99 %", "longest"),
        rows=rows,
        height=axes.tall(traces, 320),
    )


def _forest(
    record: Record,
    found: Sequence[tuple[str, str, Ratio, tuple[float, float], str]],
    middle: float | None = None,
) -> list[axes.Trace]:
    """A point and its interval a row: (name, its label, ratio, rounds' interval, words).

    Long words stand right of a point left of `middle`, and left of others: there they have room.
    """
    traces = []
    for row, (name, label, of, rounds, told) in enumerate(found):
        look = style(axes.place_of(record, label))["marker"]
        low, high = _interval(of, rounds)
        side = "center" if middle is None else "left" if of.value > middle else "right"
        symbol = look["symbol"].removesuffix("-open") + ("" if of.claimable else "-open")
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": text(name),
                "showlegend": False,
                "x": [of.value],
                "y": [row],
                "text": [told],
                "textposition": f"top {side}",
                "textfont": {"size": 11},
                "cliponaxis": False,
                "marker": look
                | {"size": 10, "symbol": symbol, "line": {"width": 2, "color": look["color"]}},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [max(0.0, high - of.value)],
                    "arrayminus": [max(0.0, of.value - low)],
                    "color": look["color"],
                    "thickness": 2 if of.claimable else 1,
                },
                "hovertemplate": f"%{{x:.4f}} [{low:.4f}, {high:.4f}]",
            }
        )  # fmt: skip
    return traces


def _interval(of: Ratio, rounds: tuple[float, float]) -> tuple[float, float]:
    """Student's t over sessions, or with too few of them that of the median over their rounds."""
    if of.claimable and of.low is not None and of.high is not None:
        return of.low, of.high
    return rounds


INDICATIVE = (
    " Hollow: too few sessions for a claim; the thin line is the interval of the median over the "
    "rounds of what was measured, and says nothing of other processes."
)


def _of_rounds(above: dict[Place, float], below: dict[Place, float]) -> tuple[float, float]:
    """The interval of the median ratio over the rounds that both have."""
    shared = [value / below[at] for at, value in above.items() if below.get(at, 0) > 0]
    return median_interval(shared) if shared else (math.nan, math.nan)


def floor(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """Each label's step as a multiple of the GEMM floor."""
    arm = control(record)
    if arm is None:
        return None
    below = product_medians(record, record.results[arm])
    found = []
    for name in timed:
        logs = floor_logs(record, name)
        if logs:
            of = ratio(logs)
            rounds = _of_rounds(step_medians(record, record.results[name]), below)
            found.append((name, name, of, rounds, f"{of.value:.2f}×"))
    if not found:
        return None
    traces = _forest(record, found)
    return Plot(
        name="floor",
        title="Step time as a multiple of the GEMM floor",
        caption="The floor (dashed, 1) is the step's matrix products alone, in NumPy, in the same "
        "rounds. A point is the mean of the sessions, its line the 95 % interval over them."
        + (INDICATIVE if not all(of.claimable for _, _, of, _, _ in found) else "")
        + left_out,
        traces=traces,
        layout=axes.layout(
            axes.linear("step time / GEMM floor", rangemode="tozero"),
            axes.rows_axis([axes.tick(name) for name, *_ in found]),
            shapes=[axes.line(x=1.0)],
        ),
        header=("label", "× floor", "95 % interval", "sessions", "interval over"),
        rows=[_ratio_row(name, of, rounds) for name, _, of, rounds, _ in found],
        height=90 + 50 * len(found),
    )


def _ratio_row(name: str, of: Ratio, rounds: tuple[float, float]) -> list[str]:
    low, high = _interval(of, rounds)
    return [
        axes.plain(name),
        f"{of.value:.3f}",
        f"{low:.3f}–{high:.3f}",
        str(of.n),
        "sessions" if of.claimable else "rounds",
    ]


def ratios(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """Each label's step over the control arm's, and A against A; claimed or not."""
    arm, least = control(record), record.plan.timing.least
    found = []
    for name in timed:
        of = versus(record, name, arm) if arm in timed and arm is not None and name != arm else None
        if of is not None and arm is not None:
            above, below = (step_medians(record, record.results[n]) for n in (name, arm))
            found.append((name, name, of, _of_rounds(above, below), _claimed(of, least)))
    pairs = {name: of for name, of in against_itself(record).items() if name in timed}
    for name, of in pairs.items():
        above, below = (step_medians(record, of[name]) for of in (record.results, record.again))
        told = _claimed(of, least)
        found.append((f"{name}, A/A", name, of, _of_rounds(above, below), told))
    if not found:
        return None
    band = (1 / (1 + least), 1 + least)
    low, high = _ends(found, *band)
    traces = _forest(record, found, math.sqrt(low) * math.sqrt(high))
    against = axes.plain(arm or "")
    return Plot(
        name="ratios",
        title="Step time against the control arm's (ratio, formed within a round)",
        caption=f"Right of 1 is slower than {against}. A difference is claimed where the 95 % "
        f"interval over sessions excludes 1 and the ratio leaves the shaded ±{least:.0%}, by which "
        "two processes of one backend may differ (A/A: one backend twice; nothing may be claimed)."
        + (INDICATIVE if not all(of.claimable for _, _, of, _, _ in found) else "")
        + left_out,
        traces=traces,
        layout=axes.layout(
            axes.logarithmic(f"step time / {text(arm or '')}'s", low, high),
            axes.rows_axis(
                [axes.tick(name) if what == name else f"{axes.tick(name, 9)}, A/A"
                 for what, name, *_ in found]
            ),
            shapes=[
                axes.line(x=1.0),
                {
                    "type": "rect",
                    "layer": "below",
                    "xref": "x",
                    "yref": "paper",
                    "x0": band[0],
                    "x1": band[1],
                    "y0": 0,
                    "y1": 1,
                    "fillcolor": axes.PALE,
                    "line": {"width": 0},
                },
            ],
        ),
        header=("step of", "ratio", "95 % interval", "sessions", "interval over", "claimed"),
        rows=[
            [*_ratio_row(name, of, rounds), told] for name, _, of, rounds, told in found
        ],
        height=90 + 50 * len(found),
    )  # fmt: skip


def _ends(
    found: Sequence[tuple[str, str, Ratio, tuple[float, float], str]], *known: float
) -> tuple[float, float]:
    """The smallest and the largest value of a forest, and of what is known to be in it."""
    ends = [end for _, _, of, rounds, _ in found for end in (*_interval(of, rounds), of.value)]
    ends = [end for end in ends if math.isfinite(end) and end > 0]
    return min(*ends, *known, 1.0), max(*ends, *known, 1.0)


def _claimed(of: Ratio, least: float) -> str:
    told = "claimed" if claim(of, least) else "not claimed"
    return f"{of.value:.3f}, {told}" if of.claimable else f"{of.value:.3f}, too few sessions"
