"""Pictures of agreement: rounding along the reference's training, lockstep, free training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.plan.model import Trajectory
from harness.record.schema import OWN, Record, Replica
from harness.report import words
from harness.report.figure import GREY, Plot, text
from harness.report.learnt import references
from harness.report.plots import axes, findings
from harness.report.plots.picture import Log, Series, cells, picture, values_of
from harness.report.run_tables import Run
from harness.verdict.numbers import envelope_limit, share, with_limits
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import LIMITS, limit_for

# The rungs of one teacher-forced batch that round; `inputs` is copied.
ROUNDING = ("forward", "loss", "gradients", "update")
# A clean backend stays below this share of every limit.
CLEAN = 1 / 3
# Above this many, points of one picture are lines: a browser draws those faster.
MOST_POINTS = 12_000
STEP = "training step (the first is 1)"


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


def checkpoints(run: Run) -> list[Plot]:
    """Teacher-forced batches along the reference's training: the largest share of a limit."""
    record = run.record
    series = []
    for label in run.verdict.labels:
        worst = _worst(
            (m.step, share(m, limit), f"{rung} {m.tensor}")
            for rung in ROUNDING
            for m, limit in with_limits(rung, label, record, LIMITS)
            if m.step is not None and limit and m.dtype == record.plan.labels[label].dtype
        )
        if worst:
            median = statistics.median(value for value, _ in worst.values())
            at, (largest, what) = max(worst.items(), key=lambda item: item[1][0])
            trace = _along_steps(record, label, worst, "step %{x}: %{y:.2~g} of the limit")
            series.append(Series(trace, [cells(label, len(worst), median, largest, at, what)]))
    first, told = _first_beyond(run) if series else ([], "")
    caption = (
        "Each checkpoint is computed anew from the reference's own parameters, so nothing adds up: "
        "the largest distance of logits, loss, gradients and update, as a share of its limit. "
        "Dashed: the limit; dotted: a third of it, below which correct code stays."
    )
    if run.verdict.other_limits is not None:
        caption += " The limits are the built-in ones, not those that the verdict was made under."
    return picture(
        "checkpoints",
        "Rounding at every teacher-forced step (largest share of a limit)",
        caption + told,
        [*series, *first],
        axes.steps(STEP),
        Log("share of the limit", known=(CLEAN, 1.0), edge=True),
        ("label", "steps", "median share", "largest share", "at step", "of"),
        height=340,
        finding=findings.nearest_to_limit(values_of(series)),
        shapes=[axes.line(y=1.0), axes.line(y=CLEAN, line={"dash": "dot"})],
    )


def _first_beyond(run: Run) -> tuple[list[Series], str]:
    """A cross where each label is first beyond a limit, and the same in words."""
    series, told = [], ""
    for label, of in run.verdict.labels.items():
        finding = next((f for f in of.findings.values() if f.counts and f.first), None)
        if finding is None or finding.first is None or finding.rung not in ROUNDING:
            continue
        first = finding.first
        what = f"{finding.rung} {first.tensor}, {words.cell(finding)}"
        told += f" First beyond its limit: {axes.plain(label)}, {axes.plain(what)}."
        if first.step is None:
            continue
        look = axes.style_of(run.record, label)["marker"]
        trace = axes.scatter(
            "markers",
            f"{label}: first beyond",
            "step %{x}: %{text}",
            x=np.array([first.step + 1.0]),
            y=axes.at_edge([finding.share]),
            text=[text(what)],
            marker=look | {"symbol": "x", "size": 13},
        )
        series.append(Series(trace))
    return series, told


def depth(run: Run) -> list[Plot]:
    """What each layer adds to the error of those before it, and what has come together there."""
    record = run.record
    order = {f"{name}{OWN}": place for place, name in enumerate(record.plan.workload.trace)}
    series = []
    for label, results in record.results.items():
        worst: dict[str, tuple[float, float, str]] = {}
        for m in results.measurements:
            if m.tensor in order and m.dtype == record.plan.labels[label].dtype:
                own, whole = axes.at_edge([m.distance, m.beside.get("reference")])
                if m.tensor not in worst or own > worst[m.tensor][0]:
                    worst[m.tensor] = float(own), float(whole), m.case
        shown = {name: worst[name] for name in order if name in worst}
        x = np.array([order[name] for name in shown], dtype=np.float64)
        for place, what in enumerate(("own error", "from the reference") if shown else ()):
            hover = f"%{{text}}, {what}: %{{y:.2~g}}"
            y = np.array([values[place] for values in shown.values()])
            trace = axes.line_of(record, label, "lines+markers", hover, x=x, y=y)
            trace["text"] = [text(name.removesuffix(OWN)) for name in shown]
            rows = [cells(label, n.removesuffix(OWN), *values) for n, values in shown.items()]
            if place:
                trace |= {"line": trace["line"] | {"width": 1, "dash": "dot"}, "showlegend": False}
            series.append(Series(trace, [] if place else rows))
    limits = [limit.value for limit in [limit_for("forward", "float32", "")] if limit is not None]
    names = [text(name.removesuffix(OWN)) for name in order]
    return picture(
        "depth",
        "Layer by layer: what each adds to the error, in the forward pass",
        "Strong: a value's own error, of what the layer was given; dotted: its distance from the "
        "reference's, with all that was inherited. The batch with the largest own error of each "
        "value. Where a line leaves the others is the layer to look at. Dashed: the limit of "
        "an own error in float32, at any depth.",
        series,
        axes.linear("value inside the model", tickvals=[*order.values()], ticktext=names),
        Log("relative distance", known=limits, edge=True),
        ("label", "value", "own error", "from the reference", "batch"),
        finding=findings.furthest(values_of(series), limits),
        shapes=[axes.line(y=limit) for limit in limits],
    )


def lockstep_parameters(run: Run) -> list[Plot]:
    """Float64 from step 0: the parameters' distances at the steps that are compared."""
    record = run.record
    series = []
    for label, results in record.results.items():
        worst = _worst(
            # One without a distance is the worst there is.
            (m.step, float(axes.at_edge([None if m.problem else m.distance])[0]), m.tensor)
            for m in results.measurements
            if m.rung == "lockstep" and m.tensor != "losses" and m.step is not None
        )
        if worst:
            trace = _along_steps(record, label, worst, "after step %{x}: %{y:.2~g}")
            rows = [cells(label, step, value, tensor) for step, (value, tensor) in worst.items()]
            series.append(Series(trace, rows))
    limits = _lockstep_limits(run.verdict)
    return picture(
        "lockstep-parameters",
        "Lockstep: parameters in float64 against the reference's (relative distance)",
        "As above, the tensor that is furthest off at each step that is compared, in units of its "
        "norm. Dashed: the limit.",
        series,
        axes.steps("training steps made"),
        Log("relative distance", known=limits, edge=True),
        ("label", "after step", "distance", "of tensor"),
        finding=findings.furthest(values_of(series), limits),
        shapes=[axes.line(y=limit) for limit in limits],
    )


def _lockstep_limits(verdict: Verdict) -> list[float]:
    findings = [label.findings.get("lockstep") for label in verdict.labels.values()]
    return sorted({finding.limit for finding in findings if finding and finding.limit})


# ---- losses against the reference's --------------------------------------------------------------


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
            hover = f"seed {training.seed}, step %{{x}}: %{{y:.2~g}}"
            trace = axes.line_of(record, label, mode, hover, first=place == 0, y=off)
            trace |= {part: trace[part] | change for part, change in look.items()}
            finite = off[np.isfinite(off)]
            summary = (np.median(finite), np.max(finite), finite[-1]) if len(finite) else [None] * 3
            counts = training.seed, len(off), int(np.count_nonzero(off <= 0))
            series.append(Series(trace, [cells(label, *counts, *summary, axes.missing(off))]))
    return series


def _losses(
    name: str, title: str, caption: str, series: list[Series], limits: Sequence[float] = ()
) -> list[Plot]:
    return picture(
        name,
        title,
        caption,
        series,
        axes.steps(STEP),
        Log("relative difference", known=limits),
        ("label", "seed", "steps", "exactly 0", "median", "largest", "last", "not finite"),
        height=340,
        finding=findings.furthest(values_of(series), limits),
        shapes=[axes.line(y=limit) for limit in limits],
    )


def lockstep_losses(run: Run) -> list[Plot]:
    """Float64 from step 0: the loss of every step against the reference's."""
    record = run.record
    dtypes = dict.fromkeys(record.results, "float64")
    series = _loss_series(record, dtypes, "markers", marker={"size": 4})
    # Most are a whole number of roundings apart: points, where lines would be a tangle.
    if sum(len(s.trace["y"]) for s in series) > MOST_POINTS:
        series = _loss_series(record, dtypes, "lines")
    return _losses(
        "lockstep-losses",
        "Lockstep: every step's loss in float64 and the reference's (relative difference)",
        "Each label trains freely from step 0 in float64, where rounding adds up slowly: the "
        "lines stay flat near 1e-16, and another algorithm leaves them at once. Dashed: the limit, "
        "which holds for all losses since the last comparison together.",
        series,
        _lockstep_limits(run.verdict),
    )


def free_losses(run: Run) -> list[Plot]:
    """Free training in a label's own dtype, not float64: every step's loss, every seed."""
    record = run.record
    dtypes = {name: record.plan.labels[name].dtype for name in record.results}
    dtypes = {name: dtype for name, dtype in dtypes.items() if dtype != "float64"}
    series = _loss_series(record, dtypes, "lines", line={"width": 1})
    shown = {s.rows[0][0] for s in series}
    drawn = {dtype for name, dtype in dtypes.items() if axes.plain(name) in shown}
    several = len({s.rows[0][1] for s in series}) > 1
    return _losses(
        "free-losses",
        f"Free training: every step's loss in {', '.join(sorted(drawn))} against the reference's "
        "(relative difference)",
        "Nothing is judged here: rounding grows as soon as one hidden unit falls on the other "
        "side of zero, in every framework alike. A line that rises where the others do not is what "
        "to look for."
        + (" Strong: each label's first seed; faint: the others." if several else ""),
        series,
    )


# ---- the envelope of replicas --------------------------------------------------------------------

# By regime and steps made: the replicas there.
Envelope = dict[str, dict[int, list[Replica]]]


def trajectory(run: Run) -> list[Plot]:
    """Float32 parameters of each label among the replicas of the float32 reference."""
    record = run.record
    envelope: Envelope = {}
    for replica in sorted(record.envelope, key=lambda r: (r.regime != "start", r.after)):
        envelope.setdefault(replica.regime, {}).setdefault(replica.after, []).append(replica)
    limits = {
        regime: {n: value for n, of in at.items() if (value := _limit(of, record.plan.trajectory))}
        for regime, at in envelope.items()
    }
    labels = _in_envelope(record, envelope, limits)
    grey = [
        series
        for place, (regime, at) in enumerate(envelope.items())
        for series in _envelope(at, limits[regime], first=place == 0)
    ]
    return picture(
        "trajectory",
        "Free training in float32 within the envelope of replicas (relative distance)",
        "How far the float32 parameters are from the float64 reference's. Grey: the band that is "
        "spanned by replicas of the float32 reference itself, which differ in rounding only. "
        "Dashed: the limit. Judged only where lines are: in between, chaos makes every band too "
        "wide.",
        [*grey, *labels] if labels else [],
        axes.steps("training steps made"),
        Log("relative distance", edge=True),
        ("label", "regime", "steps", "distance", "furthest replica", "of furthest", "limit"),
        height=340,
        finding=findings.nearest_to_limit(
            (row[0], value / limits[row[1]].get(int(row[2]), math.inf))
            for s in labels
            for row, value in zip(s.rows, s.trace["y"].tolist(), strict=True)
        ),
    )


def _limit(replicas: list[Replica], chosen: Trajectory | None) -> float | None:
    limit = envelope_limit(replicas, chosen) if chosen is not None else None
    return limit.value if limit is not None else None


def _in_envelope(
    record: Record, envelope: Envelope, limits: dict[str, dict[int, float]]
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
            values = axes.at_edge(distances.values())
            rows = []
            for after, distance in zip(distances, values, strict=True):
                furthest = np.max(axes.numeric(r.distance for r in at[after]))
                with np.errstate(all="ignore"):
                    multiple = f"{distance / furthest:.3f}"
                limit = limits[regime].get(after)
                rows.append(cells(label, regime, after, distance, furthest, multiple, limit))
            hover = f"{regime}, after %{{x}} steps: %{{y:.4~g}}"
            x = axes.numeric(distances)
            trace = axes.line_of(record, label, "lines+markers", hover, x=x, y=values)
            series.append(Series(trace | {"showlegend": not begun}, rows))
            begun = True
    return series


def _envelope(
    at: dict[int, list[Replica]], limits: dict[int, float], *, first: bool
) -> list[Series]:
    """Of one regime: the band of the replicas, and the limit."""
    distances = [axes.at_edge(r.distance for r in replicas) for replicas in at.values()]
    low, high = ([end(values) for values in distances] for end in (np.min, np.max))
    band = axes.scatter(
        "lines",
        "replicas",
        "",
        legendgroup="band",
        hoverinfo="skip",
        x=axes.numeric([*at, *reversed(at)]),
        y=np.array([*high, *reversed(low)]),
        fill="toself",
        fillcolor=axes.PALE,
        line={"color": GREY, "width": 0.5},
    )
    tick = {"symbol": "line-ew", "size": 9, "line": {"color": GREY, "width": 2}}
    limit = axes.scatter(
        "lines+markers",
        "limit",
        "limit after %{x} steps: %{y:.3~g}",
        legendgroup="limit",
        x=axes.numeric(limits),
        y=np.array([*limits.values()]),
        line={"color": GREY, "width": 1.5, "dash": "dash"},
        marker=tick | {"color": GREY},
    )
    traces = [band, limit] if limits else [band]
    return [Series(trace | {"showlegend": first}) for trace in traces]
