"""The pictures of a grid: who is fastest where; multiples of the floor, or rates, as work grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.report.figure import INK, Plot, pale, styles
from harness.report.plots import axes
from harness.report.plots.picture import Log, Series, picture
from harness.report.words import BELOW, duration
from harness.results.scale import Figure, Grid
from harness.text import short

# The ground of a size at which nobody leads.
NOBODY = "#e2e2e2"


def _marks(look: dict[str, Any], below: Sequence[bool]) -> dict[str, Any]:
    """A label's marks, hollow where they lie below the floor."""
    symbol = look["symbol"].removesuffix("-open")
    return look | {"symbol": [symbol + "-open" * strange for strange in below]}


def _series(
    grid: Grid, fair: list[tuple[Figure, float]], unit: str, *, floor: bool
) -> list[Series]:
    """A label's marks in the order of work; `floor`: what lies below 1 is hollow and says so."""
    series = []
    labels = grid.records[0].plan.labels
    look = styles({label: labels[label].backend for label in grid.labels})
    for label in grid.labels:
        own = [(f, value) for f, value in fair if f.label == label]
        if not own:
            continue
        of = sorted(own, key=lambda each: (each[0].flop, *each[0].size, each[1]))
        below = [floor and value < 1 for _, value in of]
        trace = axes.scatter(
            "markers",
            label,
            f"%{{y:.3f}}{unit} at %{{x:.3~g}} GFLOP, %{{text}}",
            x=np.array([f.flop / 1e9 for f, _ in of]),
            y=np.array([value for _, value in of]),
            text=[f.place + BELOW * strange for (f, _), strange in zip(of, below, strict=True)],
            marker=_marks(look[label]["marker"], below),
        )
        rows = [[axes.plain(label), f.place, duration(f.step_ns), f"{v:.3f}"] for f, v in own]
        series.append(Series(trace, rows))
    return series


# The two fastest at a size, and by how much.
Lead = tuple[Figure, Figure, float]


def winners(grid: Grid, threads: int) -> list[Plot]:
    """Who is fastest at each size, and by how much, of two sizes at least that two labels share.

    A lead of no more than the plan's least difference is nobody's.
    """
    least, leads = grid.records[0].plan.timing.least, _leads(grid, threads)
    if len(leads) < 2:
        return []
    labels = {name: label.backend for name, label in grid.labels.items()}
    hues = [NOBODY, *(pale(look["line"]["color"]) for look in styles(labels).values())]
    layers = sorted({size[:2] for size in leads})
    batches = sorted({size[2] for size in leads})
    won = [[leads.get((*layer, batch)) for batch in batches] for layer in layers]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": [[_place(lead, [*labels], least) for lead in row] for row in won],
        "zmin": -0.5,
        "zmax": len(hues) - 0.5,
        "colorscale": [
            [(k + end) / len(hues), hue] for k, hue in enumerate(hues) for end in (0, 1)
        ],
        "showscale": False,
        "text": [[_lead(lead, least) for lead in row] for row in won],
        "texttemplate": "%{text}",
        "textfont": {"size": 11, "color": INK},
        "hovertemplate": "%{text}<extra></extra>",
        "xgap": 2,
        "ygap": 2,
    }
    sizes = [f"width {width}" + f", side {side}" * bool(side) for width, side in layers]
    across, down = axes.rows_axis([*map(str, batches)]), axes.rows_axis(sizes)
    across |= {"title": {"text": "batch"}, "range": [-0.5, len(batches) - 0.5]}
    caption = (
        "The label whose step is the fastest, in its framework's colour, and how much longer the "
        f"next one's takes. Grey: no more than {least:.0%}, by which two processes of one backend "
        "may differ. Empty: fewer than two labels are ranked there."
    )
    rows = [
        [a.place, axes.plain(a.label), duration(a.step_ns), axes.plain(b.label),
         duration(b.step_ns), f"{lead:.1%}"]
        for a, b, lead in leads.values()
    ]  # fmt: skip
    title = "Who wins here" + (f", threads: {threads}" if len(grid.threads) > 1 else "")
    header = ("size", "fastest", "its step", "next", "its step", "lead")
    height = 110 + 46 * len(layers)
    first = [axes.plain(a.label) for a, _, lead in leads.values() if lead > least]
    most = max(first, key=first.count, default="")
    finding = (
        f"{most} leads at {first.count(most)} of {len(leads)} sizes"
        if most
        else f"Nobody leads at any of {len(leads)} sizes"
    )
    layout = axes.layout(across, down)
    return [
        Plot(f"winners-{threads}", title, caption, [trace], layout, header, rows, height, finding)
    ]


def _leads(grid: Grid, threads: int) -> dict[tuple[int, int, int], Lead]:
    """By width, side and batch size, where two labels at least are ranked."""
    at: dict[tuple[int, int, int], list[tuple[int, Figure]]] = {}
    for figure in grid.ranked:
        if figure.threads == threads and figure.step_ns:
            size = figure.width, figure.side, figure.batch
            at.setdefault(size, []).append((figure.step_ns, figure))
    leads = {}
    for size, of in sorted(at.items()):
        if len(of) > 1:
            (least, first), (more, second) = sorted(of, key=lambda each: each[0])[:2]
            leads[size] = first, second, more / least - 1
    return leads


def _place(lead: Lead | None, labels: list[str], least: float) -> float:
    """Whose hue a cell has: the winner's place from 1 on, 0 nobody's, NaN none."""
    if lead is None:
        return math.nan
    return labels.index(lead[0].label) + 1 if lead[2] > least else 0


def _lead(lead: Lead | None, least: float) -> str:
    if lead is None:
        return ""
    first, second = (axes.tick(figure.label, 12) for figure in lead[:2])
    return f"{first}<br>{lead[2]:.0%}" if lead[2] > least else f"{first} ≈<br>{second}"


def multiples(grid: Grid, threads: int) -> list[Plot]:
    """Step over GEMM floor against the work of a step, a mark a size; only what is ranked.

    Empty where nothing can be drawn.
    """
    fair = [(f, f.multiple.value) for f in grid.ranked if f.multiple is not None]
    return _against_work(
        grid,
        threads,
        fair,
        "Step over GEMM floor against the work of a step (GFLOP)",
        "Both axes logarithmic, a mark a size of network and batch. Dashed: the floor, the step's "
        "matrix products alone. What a framework adds to every step lifts the left end; where the "
        "time is the products', marks lie on the floor. Hollow: below it, where no step can be: "
        "the floor was not steady.",
        Log("× floor", known=[0.9, 2.0], room=1.15),
        "× floor",
        floor=True,
    )


def of_large(grid: Grid, threads: int) -> list[Plot]:
    """The rate of a step's products over that of a large one, against the work of a step."""
    fair = [(f, f.of_large) for f in grid.ranked if f.of_large is not None]
    return _against_work(
        grid,
        threads,
        fair,
        "What a step reaches of NumPy's large product, against its work",
        "Both axes logarithmic, a mark a size of network, batch and image: FLOP a second of a "
        "step, each convolution counted as one product of what its windows see, over NumPy's in "
        "a large product (dashed: 1). A yardstick and no bound: there are ways around these "
        "products.",
        Log("of NumPy's large product", known=[0.5, 1.0], room=1.15),
        " of a large product",
        floor=False,
    )


def _against_work(
    grid: Grid,
    threads: int,
    ranked: list[tuple[Figure, float]],
    title: str,
    caption: str,
    axis: Log,
    unit: str,
    *,
    floor: bool,
) -> list[Plot]:
    """What the ranked sizes of so many threads have, and how many figures are left out."""
    fair = [(f, value) for f, value in ranked if f.threads == threads]
    missing = sum(f.threads == threads for f in grid.figures) - len(fair)
    return picture(
        f"scaling-{threads}",
        title + (f", threads: {threads}" if len(grid.threads) > 1 else ""),
        caption,
        _series(grid, fair, unit, floor=floor),
        Log("work of a step's matrix products, GFLOP"),
        axis,
        ("label", "size", "step", unit.strip()),
        height=420,
        finding=_best(fair, unit, floor=floor),
        after=f" Not ranked and left out: {missing}, named below." if missing else "",
        shapes=[axes.line(y=1.0)],
    )


def _best(fair: list[tuple[Figure, float]], unit: str, *, floor: bool) -> str:
    """Who comes nearest to the floor, or reaches most of a large product, and at which size."""
    sound = [(f, value) for f, value in fair if not floor or value >= 1]
    if not sound:
        return ""
    best = (min if floor else max)(sound, key=lambda each: each[1])
    said = "Nearest to the floor" if floor else "Most"
    return f"{said}: {axes.plain(best[0].label)}, {short(best[1])}{unit}, {best[0].place}"
