"""Pictures of agreement: margins, and rounding along the reference's training; then `drift`."""

from __future__ import annotations

import math
import statistics

import numpy as np

from harness.record.schema import Record, number
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.drift import drift
from harness.verdict.finding import Finding
from harness.verdict.numbers import share, with_limits
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import LIMITS, MEASURED

# The rungs of one teacher-forced batch that round; `inputs` is copied.
ROUNDING = ("forward", "loss", "gradients", "update")
# A clean backend stays below this share of every limit.
CLEAN = 1 / 3


def numbers(record: Record, verdict: Verdict) -> list[Plot]:
    """Margins and rounding along the checkpoints, then the error along training."""
    found = [margins(verdict), checkpoints(record, verdict)]
    return [*(plot for plot in found if plot is not None), *drift(record, verdict)]


def margins(verdict: Verdict) -> Plot | None:
    """Every label and rung: the value nearest its limit, as a share of it."""
    shares = {
        (name, rung): of
        for name, label in verdict.labels.items()
        for rung in MEASURED
        if rung in label.findings and (of := _share(label.findings[rung])) is not None
    }
    if not shares:
        return None
    rungs = [rung for rung in MEASURED if any(rung == held for _, held in shares)]
    values = np.array([*shares.values()])
    scale = axes.scale(values, known=(CLEAN, 1.0))
    traces: list[axes.Trace] = []
    count = len(verdict.labels)
    for place, name in enumerate(verdict.labels):
        here = [rung for rung in rungs if (name, rung) in shares]
        if not here:
            continue
        worth = np.array([shares[name, rung] for rung in here])
        offset = 0.7 * ((place + 0.5) / count - 0.5)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": text(name),
                "x": scale.place(worth, edge=True),
                "y": np.array([rungs.index(rung) + offset for rung in here], dtype=np.float32),
                "text": ["" if math.isfinite(value) else "off" for value in worth],
                "textposition": "middle left",
                "customdata": [words.figure(value) for value in map(number, worth)],
                "hovertemplate": "%{customdata} of the limit",
                "marker": style(place)["marker"] | {"size": 9},
            }
        )
    told = (
        "The measurement nearest its limit, divided by that limit: left of 1 agrees; the shaded "
        "third is where correct code lies (trajectory: two thirds). "
        f"{axes.zeros(values)} of {len(values)} are exactly 0, bit for bit: at {scale.floor:g}."
    )
    if off := axes.missing(values):
        told += f" {off} could not be measured or exceed a limit of 0: at the right edge, “off”."
    high = scale.edge * 3 if axes.missing(values) else max(3.0, scale.edge / 3)
    layout = axes.layout(
        axes.logarithmic(
            "share of the limit",
            scale.floor / 3,
            high,
            range=axes.span(scale.floor / 3, high),
        ),
        axes.rows_axis([axes.tick(rung) for rung in rungs]),
        shapes=[
            {
                "type": "rect",
                "layer": "below",
                "xref": "x",
                "yref": "paper",
                "x0": scale.floor / 10,
                "x1": CLEAN,
                "y0": 0,
                "y1": 1,
                "fillcolor": axes.PALE,
                "line": {"width": 0},
            },
            axes.line(x=1.0),
            *(
                axes.line(y=row + 0.5, line={"width": 0.5, "dash": "solid"})
                for row in range(len(rungs) - 1)
            ),
        ],
        annotations=[
            axes.note("limit", x=0, y=1, yref="paper", xanchor="left", yanchor="bottom"),
            axes.note(
                "a third", x=math.log10(CLEAN), y=1, yref="paper", xanchor="right", yanchor="bottom"
            ),
        ],
    )
    # The two words stand between the legend and the picture.
    layout["legend"]["y"] = 1.1
    rows = [
        [
            axes.plain(name),
            rung,
            words.figure(finding.value),
            words.figure(finding.limit),
            words.figure(number(shares[name, rung])) if (name, rung) in shares else "–",
            finding.verdict,
        ]
        for name, label in verdict.labels.items()
        for rung in MEASURED
        if (finding := label.findings.get(rung)) is not None
    ]
    return Plot(
        name="margins",
        title="How near each label comes to its limits (share of the limit)",
        caption=told,
        traces=traces,
        layout=layout,
        header=("label", "rung", "value", "limit", "value / limit", "verdict"),
        rows=rows,
        height=axes.tall(traces, 110 + len(rungs) * max(42, 12 * count)),
    )


def _share(finding: Finding) -> float | None:
    """Value over limit; infinite where a measurement has no distance, None where there is none."""
    if finding.evidence is None:
        return None
    if not isinstance(finding.value, float) or not finding.value >= 0:
        return math.inf
    if not finding.limit:
        return 0.0 if finding.value == 0 else math.inf
    return finding.value / finding.limit


def checkpoints(record: Record, verdict: Verdict) -> Plot | None:
    """Teacher-forced batches along the reference's training: the largest share of a limit."""
    found: dict[str, dict[int, tuple[float, str]]] = {}
    for name in verdict.labels:
        at = found.setdefault(name, {})
        for rung in ROUNDING:
            for m, limit in with_limits(rung, name, record, LIMITS):
                if m.step is None or limit is None or m.dtype != record.plan.labels[name].dtype:
                    continue
                of = share(m, limit)
                if m.step not in at or of > at[m.step][0]:
                    at[m.step] = of, f"{rung} {m.tensor}"
    found = {name: at for name, at in found.items() if at}
    if not found:
        return None
    values = np.array([of for at in found.values() for of, _ in at.values()])
    scale = axes.scale(values, known=(CLEAN, 1.0))
    traces, rows = [], []
    for name, at in found.items():
        steps = sorted(at)
        shares = np.array([at[step][0] for step in steps])
        traces.append(
            axes.line_of(record, name)
            | {
                "mode": "lines+markers",
                "x": axes.whole(steps) + 1,
                "y": scale.place(shares, edge=True),
                "text": [text(at[step][1]) for step in steps],
                "hovertemplate": "step %{x}: %{y:.2g} of the limit, %{text}",
            }
        )
        worst = max(steps, key=lambda step: at[step][0])
        rows.append(
            [
                axes.plain(name),
                str(len(steps)),
                words.figure(number(statistics.median(shares))),
                words.figure(number(at[worst][0])),
                str(worst),
                axes.plain(at[worst][1]),
            ]
        )
    told = (
        "Each checkpoint is computed anew from the reference's own parameters, so nothing adds up: "
        "the largest distance of logits, loss, gradients and update, as a share of its limit. "
        "Dashed: the limit; dotted: a third of it, below which correct code stays."
    )
    if verdict.other_limits is not None:
        told += " The limits are the built-in ones, not those that the verdict was made under."
    if off := axes.missing(values):
        told += f" {off} could not be measured: at the upper edge."
    return Plot(
        name="checkpoints",
        title="Rounding at every teacher-forced step (largest share of a limit)",
        caption=told,
        traces=traces,
        layout=axes.layout(
            axes.steps_axis("training step (the first is 1)"),
            axes.logarithmic("share of the limit", *scale.shown(values, np.array([CLEAN, 1.0]))),
            shapes=[axes.line(y=1.0), axes.line(y=CLEAN, line={"dash": "dot"})],
        ),
        header=("label", "steps", "median share", "largest share", "at step", "of"),
        rows=rows,
        height=axes.tall(traces, 340),
    )
