"""The picture of what moved between two runs (`results/diff.py`)."""

from __future__ import annotations

import numpy as np

from harness.report.figure import Plot, style
from harness.report.plots import axes, findings
from harness.report.plots.picture import Series, cells, picture
from harness.results.diff import Diff, ratio


def steps(diff: Diff) -> list[Plot]:
    """Each label's steps now over then, with their interval, beside the band that is no change."""
    timed = [(label, change) for label in diff.labels if (change := label.speed.change)]
    ends = [(of.low or of.value, of.high or of.value) for _, of in timed]
    factor = max((label.speed.factor or 1.0 for label, _ in timed), default=1.0)
    series = []
    for place, (label, of) in enumerate(timed):
        low, high = ends[place]
        look = style(place, label.labels[-1].partition(":")[0])["marker"]
        bar = {"type": "data", "symmetric": False, "thickness": 2, "color": look["color"],
               "array": [high - of.value], "arrayminus": [of.value - low]}  # fmt: skip
        trace = axes.scatter(
            "markers",
            label.name,
            f"%{{x:.4f}} [{low:.4f}, {high:.4f}]",
            x=np.array([of.value]),
            y=np.array([place]),
            marker=look | {"size": 10},
            error_x=bar,
            showlegend=False,
        )
        series.append(Series(trace, [cells(label.name, ratio(of), of.verdict)]))
    inside = [*(end for of in ends for end in of), 1 / factor, factor]
    return picture(
        "changes",
        "Step now over then",
        "Right of 1 is slower. Bars: the 95 % interval, where both sides have sessions enough. "
        f"Grey: within {factor:g} times, which is no change.",
        series,
        axes.logarithmic("step now / then", min(inside), max(inside)),
        axes.rows_axis([axes.tick(label.name) for label, _ in timed]),
        ("label", "now / then", "step"),
        finding=findings.moved(
            [(label.name, np.array([1.0, of.value])) for label, of in timed], "then"
        ),
        height=90 + 45 * len(timed),
        shapes=[axes.line(x=1.0), axes.shade(x0=1 / factor, x1=factor)],
    )
