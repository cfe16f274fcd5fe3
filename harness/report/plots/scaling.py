"""The picture of a grid: multiples of the floor as the work grows."""

from __future__ import annotations

import numpy as np

from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.words import duration
from harness.results.scale import Grid


def multiples(grid: Grid, threads: int) -> list[Plot]:
    """Step over GEMM floor against the work of a step, a mark a size; only what is ranked.

    Empty where nothing can be drawn.
    """
    fair = [
        (f, f.multiple.value)
        for f in grid.ranked
        if f.threads == threads and f.multiple is not None
    ]
    if not fair:
        return []
    traces: list[axes.Trace] = []
    for place, label in enumerate(grid.labels):
        of = sorted((f.flop, f.width, f.batch, value) for f, value in fair if f.label == label)
        if of:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": text(label),
                    "x": axes.drawn(np.array([flop / 1e9 for flop, *_ in of])),
                    "y": axes.drawn(np.array([value for *_, value in of])),
                    "text": [f"width {width}, batch {batch}" for _, width, batch, _ in of],
                    "hovertemplate": "%{y:.3f}× floor at %{x:.3g} GFLOP, %{text}",
                    "marker": style(place)["marker"],
                }
            )
    work = [f.flop / 1e9 for f, _ in fair]
    values = [value for _, value in fair]
    low, high = min(0.9, *values), 1.15 * max(2.0, *values)
    missing = sum(f.threads == threads for f in grid.figures) - len(fair)
    left_out = f" Not ranked and left out: {missing}, named below." if missing else ""
    several = f", threads: {threads}" if len(grid.threads) > 1 else ""
    return [
        Plot(
            name=f"scaling-{threads}",
            title=f"Step over GEMM floor against the work of a step (GFLOP){several}",
            caption="Both axes logarithmic, a mark a size of network and batch. Dashed: the floor, "
            "the step's matrix products alone. What a framework adds to every step lifts the left "
            f"end; where the time is the products', marks lie on the floor.{left_out}",
            traces=traces,
            layout=axes.layout(
                axes.logarithmic("work of a step's matrix products, GFLOP", min(work), max(work)),
                axes.logarithmic("× floor", low, high, range=axes.span(low, high)),
                shapes=[axes.line(y=1.0)],
            ),
            header=("label", "width", "batch", "step", "× floor"),
            rows=[
                [axes.plain(f.label), str(f.width), str(f.batch), duration(f.step_ns), f"{v:.3f}"]
                for f, v in fair
            ],
            height=axes.tall(traces, 420),
        )
    ]
