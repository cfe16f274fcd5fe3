"""Pictures of the error along training: lockstep, free training, the envelope of replicas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.interface import Array
from harness.plan.model import Trajectory
from harness.record.schema import Record, Replica, Training, number
from harness.report import words
from harness.report.figure import Plot, text
from harness.report.plots import axes
from harness.verdict.numbers import envelope_limit
from harness.verdict.verdict import Verdict

# Above this many, points of one picture are lines: a browser draws those faster.
MOST_POINTS = 12_000


def drift(record: Record, verdict: Verdict) -> list[Plot]:
    """Losses and parameters in lockstep, losses of free training, parameters in the envelope."""
    found = [
        lockstep_losses(record, verdict),
        lockstep_parameters(record, verdict),
        free_losses(record),
        trajectory(record),
    ]
    return [plot for plot in found if plot is not None]


def references(record: Record) -> dict[int, Training]:
    """The reference's training of each seed, the longest where there are several."""
    found: dict[int, Training] = {}
    for training in record.reference:
        held = found.get(training.seed)
        if held is None or len(training.losses) > len(held.losses):
            found[training.seed] = training
    return found


def _differences(record: Record, dtypes: dict[str, str]) -> list[tuple[str, Training, Array]]:
    """Of every training in its label's dtype, |loss - reference's| / |reference's| of each step."""
    judged = references(record)
    found = []
    for name, dtype in dtypes.items():
        for training in record.results[name].training:
            if training.dtype == dtype and training.seed in judged:
                pairs = [*zip(training.losses, judged[training.seed].losses, strict=False)]
                here, there = (axes.numeric(pair[side] for pair in pairs) for side in (0, 1))
                with np.errstate(all="ignore"):
                    off = np.abs(here - there) / np.abs(there)
                if len(off):
                    found.append((name, training, np.where(here == there, 0.0, off)))
    return found


def _of_losses(
    record: Record,
    found: list[tuple[str, Training, Array]],
    known: tuple[float, ...] = (),
    **look: Any,
) -> tuple[list[axes.Trace], list[list[str]], dict[str, Any], str]:
    """A line a training, the rows, the axis, and in words what cannot be drawn."""
    every = np.concatenate([off for *_, off in found])
    scale = axes.scale(every, known=known)
    traces, rows, begun = [], [], set()
    for name, training, off in found:
        traces.append(
            axes.merged(axes.line_of(record, name, first=name not in begun), look)
            | {"x0": 1, "dx": 1, "y": scale.place(off)}
            | {"hovertemplate": f"seed {training.seed}, step %{{x}}: %{{y:.2g}}"}
        )
        begun.add(name)
        finite = off[np.isfinite(off)]
        told = (np.median(finite), np.max(finite), finite[-1]) if len(finite) else (None,) * 3
        rows.append(
            [
                axes.plain(name),
                *map(str, (training.seed, len(off), axes.zeros(off))),
                *(words.figure(None if value is None else float(value)) for value in told),
                str(axes.missing(off)),
            ]
        )
    axis = axes.logarithmic("relative difference", *scale.shown(every, np.array(known)))
    of = f"of {len(every)} values"
    return traces, rows, axis, axes.said(scale.floor, axes.zeros(every), axes.missing(every), of)


LOSS_HEADER = (
    "label", "seed", "steps", "exactly 0", "median", "largest", "last", "not finite"
)  # fmt: skip


def lockstep_losses(record: Record, verdict: Verdict) -> Plot | None:
    """Float64 from step 0: the loss of every step against the reference's."""
    found = _differences(record, dict.fromkeys(record.results, "float64"))
    if not found:
        return None
    limits = _lockstep_limits(verdict)
    # Most are a whole number of roundings apart: points, where lines would be a tangle.
    few = sum(len(off) for *_, off in found) <= MOST_POINTS
    look = {"mode": "markers", "marker": {"size": 4}} if few else {"mode": "lines"}
    traces, rows, axis, more = _of_losses(record, found, limits, **look)
    return Plot(
        name="lockstep-losses",
        title="Lockstep: every step's loss in float64 and the reference's (relative difference)",
        caption="Each label trains freely from step 0 in float64, where rounding adds up slowly: "
        "the lines stay flat near 1e-16, and another algorithm leaves them at once. Dashed: the "
        f"limit, which holds for all losses since the last comparison together.{more}",
        traces=traces,
        layout=axes.layout(
            axes.steps_axis("training step (the first is 1)"),
            axis,
            shapes=[axes.line(y=limit) for limit in limits],
        ),
        header=LOSS_HEADER,
        rows=rows,
        height=axes.tall(traces, 340),
    )


def _lockstep_limits(verdict: Verdict) -> tuple[float, ...]:
    found = [label.findings["lockstep"] for label in verdict.labels.values()
             if "lockstep" in label.findings]  # fmt: skip
    return tuple(sorted({finding.limit for finding in found if finding.limit}))


def lockstep_parameters(record: Record, verdict: Verdict) -> Plot | None:
    """Float64 from step 0: the parameters' distances at the steps that are compared."""
    found: dict[str, dict[int, tuple[float, str]]] = {}
    for name, results in record.results.items():
        for m in results.measurements:
            if m.rung == "lockstep" and m.tensor != "losses" and m.step is not None:
                # One without a distance is the worst there is.
                odd = m.problem is not None or not isinstance(m.distance, float)
                distance = math.inf if odd else float(m.distance or 0.0)
                at = found.setdefault(name, {})
                if m.step not in at or distance > at[m.step][0]:
                    at[m.step] = distance, m.tensor
    if not found:
        return None
    limits = _lockstep_limits(verdict)
    values = np.array([value for at in found.values() for value, _ in at.values()])
    scale = axes.scale(values, known=limits)
    traces, rows = [], []
    for name, at in found.items():
        steps = sorted(at)
        traces.append(
            axes.line_of(record, name)
            | {
                "mode": "lines+markers",
                "x": axes.whole(steps) + 1,
                "y": scale.place(np.array([at[step][0] for step in steps]), edge=True),
                "text": [text(at[step][1]) for step in steps],
                "hovertemplate": "after step %{x}: %{y:.2g}, %{text}",
            }
        )
        rows += [
            [
                axes.plain(name),
                str(step),
                words.figure(number(at[step][0])),
                axes.plain(at[step][1]),
            ]
            for step in steps
        ]
    told = (
        "As above, the tensor that is furthest off at each step that is compared, in units of its "
        "norm. Dashed: the limit."
    )
    told += axes.said(scale.floor, axes.zeros(values), 0, "of these")
    if off := axes.missing(values):
        told += f" {off} could not be measured: at the upper edge."
    return Plot(
        name="lockstep-parameters",
        title="Lockstep: parameters in float64 against the reference's (relative distance)",
        caption=told,
        traces=traces,
        layout=axes.layout(
            axes.steps_axis("training steps made"),
            axes.logarithmic("relative distance", *scale.shown(values, np.array(limits))),
            shapes=[axes.line(y=limit) for limit in limits],
        ),
        header=("label", "after step", "distance", "of tensor"),
        rows=rows,
        height=axes.tall(traces, 320),
    )


def free_losses(record: Record) -> Plot | None:
    """Free training in a label's own dtype, not float64: every step's loss, every seed."""
    dtypes = {name: record.plan.labels[name].dtype for name in record.results}
    found = _differences(record, {n: dtype for n, dtype in dtypes.items() if dtype != "float64"})
    if not found:
        return None
    traces, rows, axis, more = _of_losses(record, found, mode="lines", line={"width": 1})
    seeds = len({training.seed for _, training, _ in found})
    thin = " Strong: each label's first seed; faint: the others." if seeds > 1 else ""
    told = ", ".join(sorted({training.dtype for _, training, _ in found}))
    return Plot(
        name="free-losses",
        title=f"Free training: every step's loss in {told} against the reference's (relative "
        "difference)",
        caption="Nothing is judged here: rounding grows as soon as one hidden unit falls on the "
        "other side of zero, in every framework alike. A line that rises where the others do not "
        f"is what to look for.{thin}{more}",
        traces=traces,
        layout=axes.layout(
            axes.steps_axis("training step (the first is 1)"),
            axis,
        ),
        header=LOSS_HEADER,
        rows=rows,
        height=axes.tall(traces, 340),
    )


def trajectory(record: Record) -> Plot | None:
    """Float32 parameters of each label among the replicas of the float32 reference."""
    at: dict[str, dict[int, list[Replica]]] = {}
    for replica in sorted(record.envelope, key=lambda r: (r.regime != "start", r.after)):
        at.setdefault(replica.regime, {}).setdefault(replica.after, []).append(replica)
    limits = {
        regime: {after: _limit(replicas, record.plan.trajectory) for after, replicas in of.items()}
        for regime, of in at.items()
    }
    labels = {
        (name, regime): {after: found[case] for after in held
                         if (case := f"{regime}, after {after} steps") in found}
        for name, results in record.results.items()
        for found in [{m.case: m for m in results.measurements if m.rung == "trajectory"}]
        for regime, held in at.items()
    }  # fmt: skip
    if not any(labels.values()):
        return None
    measured = axes.numeric(m.distance for of in labels.values() for m in of.values())
    replicas = axes.numeric(replica.distance for replica in record.envelope)
    known = [limit for of in limits.values() for limit in of.values() if limit is not None]
    scale = axes.scale(measured, replicas, known=known)
    traces: list[axes.Trace] = []
    for regime, held in at.items():
        traces += _envelope(held, limits[regime], scale, first=regime == next(iter(at)))
    begun, rows = set(), []
    for (name, regime), of in labels.items():
        if not of:
            continue
        distances = axes.numeric(m.distance for m in of.values())
        traces.append(
            axes.line_of(record, name)
            | {
                "mode": "lines+markers",
                "x": axes.whole(of),
                "y": scale.place(distances, edge=True),
                "showlegend": name not in begun,
                "hovertemplate": f"{regime}, after %{{x}} steps: %{{y:.4g}}",
            }
        )
        begun.add(name)
        for after, distance in zip(of, distances, strict=True):
            furthest = np.max(axes.numeric(r.distance for r in at[regime][after]))
            with np.errstate(all="ignore"):
                multiple = distance / furthest
            rows.append(
                [
                    axes.plain(name),
                    regime,
                    str(after),
                    words.figure(number(distance)),
                    words.figure(number(furthest)),
                    f"{multiple:.3f}",
                    words.figure(limits[regime][after]),
                ]
            )
    told = (
        "How far the float32 parameters are from the float64 reference's. Grey: replicas of the "
        "float32 reference itself, which differ in rounding only, and the band they span. Dashed: "
        "the limit. Judged only where lines are: in between, chaos makes every band too wide."
    )
    if off := axes.missing(measured):
        told += f" {off} of the labels' distances are not finite: at the upper edge."
    told += axes.said(scale.floor, axes.zeros(measured), 0, "of the labels' distances")
    return Plot(
        name="trajectory",
        title="Free training in float32 within the envelope of replicas (relative distance)",
        caption=told,
        traces=traces,
        layout=axes.layout(
            axes.steps_axis("training steps made"),
            axes.logarithmic(
                "relative distance", *scale.shown(measured, replicas, np.array(known))
            ),
        ),
        header=("label", "regime", "steps", "distance", "furthest replica", "of furthest", "limit"),
        rows=rows,
        height=axes.tall(traces, 340),
    )


def _limit(replicas: list[Replica], chosen: Trajectory | None) -> float | None:
    limit = envelope_limit(replicas, chosen) if chosen is not None else None
    return limit.value if limit is not None else None


def _envelope(
    at: dict[int, list[Replica]],
    limits: dict[int, float | None],
    scale: axes.Scale,
    *,
    first: bool,
) -> list[axes.Trace]:
    """Of one regime: the band of the replicas, a line for each, and the limit."""
    after = axes.whole(at)
    distances = [scale.place(axes.numeric(r.distance for r in of), edge=True) for of in at.values()]
    low, high = (np.array([float(end(of)) for of in distances]) for end in (np.min, np.max))
    grey: axes.Trace = {"type": "scatter", "showlegend": False, "hoverinfo": "skip"}
    traces = [
        grey
        | {
            "mode": "lines",
            "name": "replicas",
            "legendgroup": "band",
            "showlegend": first,
            "x": np.concatenate([after, after[::-1]]),
            "y": axes.drawn(np.concatenate([high, low[::-1]])),
            "fill": "toself",
            "fillcolor": axes.PALE,
            "line": {"color": axes.GREY, "width": 0.5},
        }
    ]
    for replica in sorted({r.replica for of in at.values() for r in of}):
        own = [(n, r.distance) for n, of in at.items() for r in of if r.replica == replica]
        traces.append(
            grey
            | {
                "mode": "lines",
                "name": f"replica {replica}",
                "x": axes.whole(n for n, _ in own),
                "y": scale.place(axes.numeric(value for _, value in own), edge=True),
                "line": {"color": axes.GREY, "width": 1},
                "opacity": 0.4,
            }
        )
    shown = {n: limit for n, limit in limits.items() if limit is not None}
    if shown:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "limit",
                "legendgroup": "limit",
                "showlegend": first,
                "x": axes.whole(shown),
                "y": scale.place(np.array([*shown.values()])),
                "line": {"color": axes.GREY, "width": 1.5, "dash": "dash"},
                "marker": {"color": axes.GREY, "symbol": "line-ew", "size": 9,
                           "line": {"color": axes.GREY, "width": 2}},
                "hovertemplate": "limit after %{x} steps: %{y:.3g}",
            }
        )  # fmt: skip
    return traces
