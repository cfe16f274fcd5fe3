"""The picture of a grid: multiples of the floor as the work grows."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.report.figure import Plot, styles
from harness.report.plots import axes
from harness.report.plots.picture import Log, Series, picture
from harness.report.words import BELOW, duration
from harness.results.scale import Grid


def _marks(look: dict[str, Any], below: list[bool]) -> dict[str, Any]:
    """A label's marks, hollow where they lie below the floor."""
    symbol = look["symbol"].removesuffix("-open")
    return look | {"symbol": [symbol + "-open" * strange for strange in below]}


def multiples(grid: Grid, threads: int) -> list[Plot]:
    """Step over GEMM floor against the work of a step, a mark a size; only what is ranked.

    Empty where nothing can be drawn.
    """
    fair = [
        (f, f.multiple.value)
        for f in grid.ranked
        if f.threads == threads and f.multiple is not None
    ]
    series = []
    labels = grid.records[0].plan.labels
    look = styles({label: labels[label].backend for label in grid.labels})
    for label in grid.labels:
        of = sorted((f.flop, f.width, f.batch, value) for f, value in fair if f.label == label)
        if of:
            trace = axes.scatter(
                "markers",
                label,
                "%{y:.3f}× floor at %{x:.3~g} GFLOP, %{text}",
                x=np.array([flop / 1e9 for flop, *_ in of]),
                y=np.array([value for *_, value in of]),
                text=[
                    f"width {width}, batch {batch}{BELOW * (value < 1)}"
                    for _, width, batch, value in of
                ],
                marker=_marks(look[label]["marker"], [value < 1 for *_, value in of]),
            )
            rows = [
                [axes.plain(f.label), str(f.width), str(f.batch), duration(f.step_ns), f"{v:.3f}"]
                for f, v in fair
                if f.label == label
            ]
            series.append(Series(trace, rows))
    missing = sum(f.threads == threads for f in grid.figures) - len(fair)
    return picture(
        f"scaling-{threads}",
        "Step over GEMM floor against the work of a step (GFLOP)"
        + (f", threads: {threads}" if len(grid.threads) > 1 else ""),
        "Both axes logarithmic, a mark a size of network and batch. Dashed: the floor, the step's "
        "matrix products alone. What a framework adds to every step lifts the left end; where the "
        "time is the products', marks lie on the floor. Hollow: below it, where no step can be: "
        "the floor was not steady.",
        series,
        Log("work of a step's matrix products, GFLOP"),
        Log("× floor", known=[0.9, 2.0], room=1.15),
        ("label", "width", "batch", "step", "× floor"),
        height=420,
        after=f" Not ranked and left out: {missing}, named below." if missing else "",
        shapes=[axes.line(y=1.0)],
    )
