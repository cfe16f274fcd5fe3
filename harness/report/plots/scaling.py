"""Pictures of a run of the grid: how time per step grows with the work."""

from __future__ import annotations

from statistics import geometric_mean
from typing import TYPE_CHECKING

import numpy as np

from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes

if TYPE_CHECKING:
    from harness.run.scale import ScaleRecord
    from harness.run.scale_figures import Figure, Where


def scaling(record: ScaleRecord, found: list[Figure]) -> list[Plot]:
    """Time against work, and multiples of the floor against width, for each number of threads.

    found: what `harness.checks.scale.figures` makes of the record; only what is ranked is drawn.
    """
    from harness.run.scale_figures import ranked

    plots = []
    for threads in dict.fromkeys(record.plan.threads):
        of = [f for f in found if f.threads == threads]
        fair = [f for f in ranked(of) if f.step_ns is not None and f.step_ns > 0]
        told = _left_out(of)
        plots += [_time(record, fair, threads, told), _floor(record, fair, threads, told)]
    return [plot for plot in plots if plot is not None]


def _left_out(found: list[Figure]) -> str:
    """A sentence that names what is not ranked, or nothing."""
    at: dict[tuple[str, str], int] = {}
    for f in found:
        if f.verdict != "agree":
            at[f.label, f.verdict] = at.get((f.label, f.verdict), 0) + 1
    told = [f"{axes.plain(label)} in {count} cells ({why})" for (label, why), count in at.items()]
    return f" Not ranked and left out: {'; '.join(told)}." if told else ""


def _of_threads(record: ScaleRecord, threads: int) -> str:
    return f", threads: {threads}" if len(set(record.plan.threads)) > 1 else ""


def _time(record: ScaleRecord, found: list[Figure], threads: int, told: str) -> Plot | None:
    """Time per step against the work of its matrix products: a mark a cell."""
    from harness.run.scale_figures import FLOOR, fits

    if not found:
        return None
    labels = [*record.plan.plan.labels]
    traces: list[axes.Trace] = []
    floors: dict[int, dict[Where, int]] = {}
    for f in found:
        if f.floor_ns:
            floors.setdefault(f.flop, {})[f.where] = f.floor_ns
    if floors:
        means = [(work, geometric_mean(of.values())) for work, of in sorted(floors.items())]
        at = np.array(means, dtype=np.float64)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": FLOOR,
                "x": axes.drawn(at[:, 0] / 1e9),
                "y": axes.drawn(at[:, 1] / 1e6),
                "line": {"color": axes.GREY, "width": 1.5},
                "hovertemplate": "floor: %{y:.3g} ms at %{x:.3g} GFLOP",
            }
        )
    for label in labels:
        of = sorted((f for f in found if f.label == label), key=lambda f: (f.flop, f.width))
        if of:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": text(label),
                    "x": axes.drawn(np.array([f.flop for f in of]) / 1e9),
                    "y": axes.drawn(np.array([f.step_ns for f in of]) / 1e6),
                    "text": [f"width {f.width}, batch {f.batch}" for f in of],
                    "hovertemplate": "%{y:.3g} ms at %{x:.3g} GFLOP, %{text}",
                    "marker": style(labels.index(label))["marker"],
                }
            )
    laws = {fit.label: fit.law for fit in fits(found)}
    rows = [
        [
            axes.plain(label),
            str(sum(f.label == label for f in found)),
            f"{law.exponent:.3f}" if (law := laws.get(label)) else "–",
            f"{law.low:.3f} to {law.high:.3f}" if law else "–",
        ]
        for label in (*labels, FLOOR)
        if label in laws or any(f.label == label for f in found)
    ]
    return Plot(
        name=f"scaling-time-{threads}",
        title=f"Time per step (ms) against its work (GFLOP){_of_threads(record, threads)}",
        caption="Both axes logarithmic, a mark a size of network and batch; work is that of the "
        f"step's five matrix products. Where time is theirs, marks run along the {FLOOR} (grey); "
        f"what a framework adds to every step keeps the left end up.{told}",
        traces=traces,
        layout=axes.layout(
            axes.logarithmic("work of a step, GFLOP", *_ends(traces, "x")),
            axes.logarithmic("time per step, ms", *_ends(traces, "y")),
        ),
        header=("label", "cells", "time grows as work to the power", "95 % interval"),
        rows=rows,
        height=axes.tall(traces, 380),
    )


def _ends(traces: list[axes.Trace], side: str) -> tuple[float, float]:
    """The smallest and the largest of all that is drawn along one axis."""
    values = np.concatenate([of[side] for of in traces])
    return float(np.min(values)), float(np.max(values))


def _floor(record: ScaleRecord, found: list[Figure], threads: int, told: str) -> Plot | None:
    """Multiple of the floor against width: a row of the picture for each batch size."""
    found = [f for f in found if f.multiple is not None]
    batches = sorted({f.batch for f in found})
    if not batches:
        return None
    labels, count = [*record.plan.plan.labels], len(batches)
    values = [f.multiple.value for f in found if f.multiple is not None]
    low, high = min(0.9, *values), 1.15 * max(2.0, *values)
    widths = sorted({f.width for f in found})
    traces: list[axes.Trace] = []
    layout = axes.layout(
        axes.logarithmic(
            "hidden units",
            widths[0],
            widths[-1],
            tickmode="array",
            tickvals=widths,
            ticktext=[str(width) for width in widths],
            anchor=f"y{count if count > 1 else ''}",
        ),
        {},
    )
    layout["shapes"], layout["annotations"] = [], []
    begun = set()
    for row, batch in enumerate(batches):
        axis = "" if row == 0 else str(row + 1)
        domain = axes.band(row, count)
        layout[f"yaxis{axis}"] = axes.logarithmic(
            "× floor", low, high, range=axes.span(low, high), domain=domain
        )
        layout["annotations"].append(
            axes.note(
                f"batch {batch}",
                x=1,
                y=domain[1],
                xref="paper",
                yref="paper",
                xanchor="right",
                yanchor="bottom",
            )
        )
        layout["shapes"].append(axes.line(y=1.0) | {"yref": f"y{axis}"})
        for place, label in enumerate(labels):
            of = sorted((f for f in found if (f.label, f.batch) == (label, batch)),
                        key=lambda f: f.width)  # fmt: skip
            if of:
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers",
                        "name": text(label),
                        "legendgroup": f"label {place}",
                        "showlegend": label not in begun,
                        "x": np.array([f.width for f in of]),
                        "y": axes.drawn(np.array([f.multiple.value for f in of if f.multiple])),
                        "yaxis": f"y{axis}",
                        "hovertemplate": f"width %{{x}}, batch {batch}: %{{y:.3f}}× floor",
                    }
                    | style(place)
                )
                begun.add(label)
    rows = [
        [
            axes.plain(f.label),
            str(f.width),
            str(f.batch),
            words.duration(f.step_ns),
            f"{f.multiple.value:.3f}",
            f"{f.multiple.low:.3f}–{f.multiple.high:.3f}"
            if f.multiple.low is not None and f.multiple.high is not None
            else "–",
        ]
        for f in found
        if f.multiple is not None
    ]
    return Plot(
        name=f"scaling-floor-{threads}",
        title=f"Multiple of the GEMM floor by hidden units{_of_threads(record, threads)}",
        caption="One row of the picture for each batch size, all on one scale. Dashed: the floor, "
        f"the step's matrix products alone.{told}",
        traces=traces,
        layout=layout,
        header=("label", "width", "batch", "step", "× floor", "95 % interval"),
        rows=rows,
        height=axes.tall(traces, 90 + 130 * count),
    )
