"""Pictures of agreement: rounding along the reference's training, lockstep, free training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from harness.plan.model import Trajectory
from harness.record.schema import Record, Replica, Training
from harness.report.figure import Plot, text
from harness.report.plots import axes
from harness.report.plots.picture import Log, Series, cells, picture
from harness.verdict.numbers import envelope_limit, share, with_limits
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import LIMITS

# The rungs of one teacher-forced batch that round; `inputs` is copied.
ROUNDING = ("forward", "loss", "gradients", "update")
# A clean backend stays below this share of every limit.
CLEAN = 1 / 3
# Above this many, points of one picture are lines: a browser draws those faster.
MOST_POINTS = 12_000
STEP = "training step (the first is 1)"


def numbers(record: Record, verdict: Verdict) -> list[Plot]:
    """Rounding along the checkpoints, then the error along training."""
    pictures = [
        checkpoints(record, verdict),
        lockstep_losses(record, verdict),
        lockstep_parameters(record, verdict),
        free_losses(record),
        trajectory(record),
    ]
    return [plot for plot in pictures if plot is not None]


# ---- the worst of each step ----------------------------------------------------------------------

# By step: the largest value, and of what it is.
Worst = dict[int, tuple[float, str]]


def _worst(measured: Iterable[tuple[int, float, str]]) -> Worst:
    """The worst of every step, in the order of steps; measured: step, value, what it is of."""
    worst: Worst = {}
    for step, value, what in measured:
        if step not in worst or value > worst[step][0]:
            worst[step] = value, what
    return dict(sorted(worst.items()))


def _along_steps(record: Record, label: str, worst: Worst, hover: str) -> axes.Trace:
    steps, values = axes.numeric(worst) + 1, np.array([value for value, _ in worst.values()])
    trace = axes.line_of(record, label, "lines+markers", f"{hover}, %{{text}}", x=steps, y=values)
    return trace | {"text": [text(what) for _, what in worst.values()]}


def checkpoints(record: Record, verdict: Verdict) -> Plot | None:
    """Teacher-forced batches along the reference's training: the largest share of a limit."""
    series = []
    for label in verdict.labels:
        worst = _worst(
            (m.step, share(m, limit), f"{rung} {m.tensor}")
            for rung in ROUNDING
            for m, limit in with_limits(rung, label, record, LIMITS)
            if m.step is not None and limit and m.dtype == record.plan.labels[label].dtype
        )
        if worst:
            median = statistics.median(value for value, _ in worst.values())
            at, (largest, what) = max(worst.items(), key=lambda item: item[1][0])
            trace = _along_steps(record, label, worst, "step %{x}: %{y:.2g} of the limit")
            series.append(Series(trace, [cells(label, len(worst), median, largest, at, what)]))
    caption = (
        "Each checkpoint is computed anew from the reference's own parameters, so nothing adds up: "
        "the largest distance of logits, loss, gradients and update, as a share of its limit. "
        "Dashed: the limit; dotted: a third of it, below which correct code stays."
    )
    if verdict.other_limits is not None:
        caption += " The limits are the built-in ones, not those that the verdict was made under."
    return picture(
        "checkpoints",
        "Rounding at every teacher-forced step (largest share of a limit)",
        caption,
        series,
        axes.steps_axis(STEP),
        Log("share of the limit", known=(CLEAN, 1.0), edge=True),
        ("label", "steps", "median share", "largest share", "at step", "of"),
        height=340,
        shapes=[axes.line(y=1.0), axes.line(y=CLEAN, line={"dash": "dot"})],
    )


def lockstep_parameters(record: Record, verdict: Verdict) -> Plot | None:
    """Float64 from step 0: the parameters' distances at the steps that are compared."""
    series = []
    for label, results in record.results.items():
        worst = _worst(
            # One without a distance is the worst there is.
            (m.step, m.distance if m.problem is None and isinstance(m.distance, float)
             else math.inf, m.tensor)
            for m in results.measurements
            if m.rung == "lockstep" and m.tensor != "losses" and m.step is not None
        )  # fmt: skip
        if worst:
            trace = _along_steps(record, label, worst, "after step %{x}: %{y:.2g}")
            rows = [cells(label, step, value, tensor) for step, (value, tensor) in worst.items()]
            series.append(Series(trace, rows))
    limits = _lockstep_limits(verdict)
    return picture(
        "lockstep-parameters",
        "Lockstep: parameters in float64 against the reference's (relative distance)",
        "As above, the tensor that is furthest off at each step that is compared, in units of its "
        "norm. Dashed: the limit.",
        series,
        axes.steps_axis("training steps made"),
        Log("relative distance", known=limits, edge=True),
        ("label", "after step", "distance", "of tensor"),
        shapes=[axes.line(y=limit) for limit in limits],
    )


def _lockstep_limits(verdict: Verdict) -> list[float]:
    findings = [label.findings.get("lockstep") for label in verdict.labels.values()]
    return sorted({finding.limit for finding in findings if finding and finding.limit})


# ---- losses against the reference's --------------------------------------------------------------


def references(record: Record) -> dict[int, Training]:
    """The reference's training of each seed, the longest where there are several."""
    longest: dict[int, Training] = {}
    for training in record.reference:
        other = longest.get(training.seed)
        if other is None or len(training.losses) > len(other.losses):
            longest[training.seed] = training
    return longest


def _loss_series(
    record: Record, dtypes: Mapping[str, str], mode: str, **look: dict[str, Any]
) -> list[Series]:
    """|loss - reference's| / |reference's| of every step, of each training in its label's dtype."""
    judged = {seed: training for seed, training in references(record).items() if training.losses}
    series = []
    for label, dtype in dtypes.items():
        compared = [
            training
            for training in record.results[label].training
            if training.dtype == dtype and training.seed in judged and training.losses
        ]
        for place, training in enumerate(compared):
            pairs = [*zip(training.losses, judged[training.seed].losses, strict=False)]
            own, wanted = (axes.numeric(pair[side] for pair in pairs) for side in (0, 1))
            with np.errstate(all="ignore"):
                off = np.where(own == wanted, 0.0, np.abs(own - wanted) / np.abs(wanted))
            hover = f"seed {training.seed}, step %{{x}}: %{{y:.2g}}"
            trace = axes.line_of(record, label, mode, hover, first=place == 0, y=off)
            trace |= {part: trace[part] | change for part, change in look.items()}
            finite = off[np.isfinite(off)]
            summary = (np.median(finite), np.max(finite), finite[-1]) if len(finite) else [None] * 3
            counts = training.seed, len(off), axes.zeros(off)
            series.append(Series(trace, [cells(label, *counts, *summary, axes.missing(off))]))
    return series


LOSS_HEADER = (
    "label", "seed", "steps", "exactly 0", "median", "largest", "last", "not finite"
)  # fmt: skip


def lockstep_losses(record: Record, verdict: Verdict) -> Plot | None:
    """Float64 from step 0: the loss of every step against the reference's."""
    dtypes = dict.fromkeys(record.results, "float64")
    series = _loss_series(record, dtypes, "markers", marker={"size": 4})
    # Most are a whole number of roundings apart: points, where lines would be a tangle.
    if sum(len(s.trace["y"]) for s in series) > MOST_POINTS:
        series = _loss_series(record, dtypes, "lines")
    limits = _lockstep_limits(verdict)
    return picture(
        "lockstep-losses",
        "Lockstep: every step's loss in float64 and the reference's (relative difference)",
        "Each label trains freely from step 0 in float64, where rounding adds up slowly: the "
        "lines stay flat near 1e-16, and another algorithm leaves them at once. Dashed: the limit, "
        "which holds for all losses since the last comparison together.",
        series,
        axes.steps_axis(STEP),
        Log("relative difference", known=limits),
        LOSS_HEADER,
        height=340,
        shapes=[axes.line(y=limit) for limit in limits],
    )


def free_losses(record: Record) -> Plot | None:
    """Free training in a label's own dtype, not float64: every step's loss, every seed."""
    dtypes = {name: record.plan.labels[name].dtype for name in record.results}
    dtypes = {name: dtype for name, dtype in dtypes.items() if dtype != "float64"}
    series = _loss_series(record, dtypes, "lines", line={"width": 1})
    drawn = {
        dtypes[name] for name in dtypes if any(s.rows[0][0] == axes.plain(name) for s in series)
    }
    seeds = len({s.rows[0][1] for s in series})
    return picture(
        "free-losses",
        f"Free training: every step's loss in {', '.join(sorted(drawn))} against the reference's "
        "(relative difference)",
        "Nothing is judged here: rounding grows as soon as one hidden unit falls on the other "
        "side of zero, in every framework alike. A line that rises where the others do not is what "
        "to look for."
        + (" Strong: each label's first seed; faint: the others." if seeds > 1 else ""),
        series,
        axes.steps_axis(STEP),
        Log("relative difference"),
        LOSS_HEADER,
        height=340,
    )


# ---- the envelope of replicas --------------------------------------------------------------------

# By regime and steps made: the replicas there.
Envelope = dict[str, dict[int, list[Replica]]]


def trajectory(record: Record) -> Plot | None:
    """Float32 parameters of each label among the replicas of the float32 reference."""
    envelope: Envelope = {}
    for replica in sorted(record.envelope, key=lambda r: (r.regime != "start", r.after)):
        envelope.setdefault(replica.regime, {}).setdefault(replica.after, []).append(replica)
    limits = {
        (regime, after): limit
        for regime, at in envelope.items()
        for after, replicas in at.items()
        if (limit := _limit(replicas, record.plan.trajectory)) is not None
    }
    labels = _in_envelope(record, envelope, limits)
    grey = [
        series
        for place, (regime, at) in enumerate(envelope.items())
        for series in _envelope(at, {n: v for (r, n), v in limits.items() if r == regime}, place)
    ]
    return picture(
        "trajectory",
        "Free training in float32 within the envelope of replicas (relative distance)",
        "How far the float32 parameters are from the float64 reference's. Grey: replicas of the "
        "float32 reference itself, which differ in rounding only, and the band they span. Dashed: "
        "the limit. Judged only where lines are: in between, chaos makes every band too wide.",
        [*grey, *labels] if labels else [],
        axes.steps_axis("training steps made"),
        Log("relative distance", edge=True),
        ("label", "regime", "steps", "distance", "furthest replica", "of furthest", "limit"),
        height=340,
    )


def _limit(replicas: list[Replica], chosen: Trajectory | None) -> float | None:
    limit = envelope_limit(replicas, chosen) if chosen is not None else None
    return limit.value if limit is not None else None


def _in_envelope(
    record: Record, envelope: Envelope, limits: dict[tuple[str, int], float]
) -> list[Series]:
    """A line a label and regime, at the steps where there are replicas."""
    series = []
    for label, results in record.results.items():
        by_case = {m.case: m for m in results.measurements if m.rung == "trajectory"}
        begun = False
        for regime, at in envelope.items():
            cases = {after: by_case.get(f"{regime}, after {after} steps") for after in at}
            distances = {after: m.distance for after, m in cases.items() if m is not None}
            if not distances:
                continue
            values = axes.numeric(distances.values())
            rows = []
            for after, distance in zip(distances, values, strict=True):
                furthest = np.max(axes.numeric(r.distance for r in at[after]))
                with np.errstate(all="ignore"):
                    multiple = distance / furthest
                share_ = f"{multiple:.3f}"
                limit = limits.get((regime, after))
                rows.append(cells(label, regime, after, distance, furthest, share_, limit))
            hover = f"{regime}, after %{{x}} steps: %{{y:.4g}}"
            x = axes.numeric(distances)
            trace = axes.line_of(record, label, "lines+markers", hover, x=x, y=values)
            trace["showlegend"] = not begun
            series.append(Series(trace, rows))
            begun = True
    return series


def _envelope(at: dict[int, list[Replica]], limits: dict[int, float], place: int) -> list[Series]:
    """Of one regime: the band of the replicas, a line for each, and the limit."""
    grey: axes.Trace = {
        "type": "scatter",
        "mode": "lines",
        "showlegend": False,
        "hoverinfo": "skip",
    }
    distances = [axes.numeric(r.distance for r in replicas) for replicas in at.values()]
    distances = [np.where(np.isfinite(d), d, np.inf) for d in distances]
    low, high = ([end(values) for values in distances] for end in (np.min, np.max))
    traces: list[axes.Trace] = [
        grey
        | {
            "name": "replicas",
            "legendgroup": "band",
            "showlegend": place == 0,
            "x": axes.numeric([*at, *reversed(at)]),
            "y": np.array([*high, *reversed(low)]),
            "fill": "toself",
            "fillcolor": axes.PALE,
            "line": {"color": axes.GREY, "width": 0.5},
        }
    ]
    for replica in sorted({r.replica for replicas in at.values() for r in replicas}):
        own = [(n, r.distance) for n, of in at.items() for r in of if r.replica == replica]
        traces.append(
            grey
            | {
                "name": f"replica {replica}",
                "x": axes.numeric(after for after, _ in own),
                "y": axes.numeric(distance for _, distance in own),
                "line": {"color": axes.GREY, "width": 1},
                "opacity": 0.4,
            }
        )
    if limits:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "limit",
                "legendgroup": "limit",
                "showlegend": place == 0,
                "x": axes.numeric(limits),
                "y": np.array([*limits.values()]),
                "line": {"color": axes.GREY, "width": 1.5, "dash": "dash"},
                "marker": {"color": axes.GREY, "symbol": "line-ew", "size": 9,
                           "line": {"color": axes.GREY, "width": 2}},
                "hovertemplate": "limit after %{x} steps: %{y:.3g}",
            }
        )  # fmt: skip
    return [Series(trace) for trace in traces]
