"""A small roofline: what the machine reaches in a large product and in a copy, and where steps lie.

Work is the floating-point operations of a step's matrix products; traffic is what they read and
write at the least, each operand and result once. Their quotient says which roof is above a step:
the slope of a copy, or the flat one of a large product (Williams, Waterman and Patterson 2009,
Communications of the ACM 52(4), 65-76).
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.interface import Workload
from harness.record.schema import Record, Roof
from harness.report.drawing import as_svg, drawing, name_entries
from harness.verdict.timings import control
from harness.verdict.verdict import Verdict

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
COLOURS = ("#1b6ca8", "#d1495b", "#2e7d32", "#b8860b", "#6a4c93", "#444444")


class Point(msgspec.Struct, kw_only=True):
    """One label: FLOP/s of its whole step, of the step's products alone, of one large product."""

    label: str
    step: float
    products: float
    large: float | None


def work_and_traffic(workload: Workload, item_bytes: int) -> tuple[int, int]:
    """FLOP of a step's products, and the bytes that they move at the least."""
    flop = traffic = 0
    for product in workload.products:
        a = product.a[::-1] if product.transposed == "a" else product.a
        b = product.b[::-1] if product.transposed == "b" else product.b
        flop += 2 * a[0] * a[1] * b[1]
        traffic += item_bytes * (a[0] * a[1] + b[0] * b[1] + a[0] * b[1])
    return flop, traffic


def points(record: Record, verdict: Verdict) -> list[Point]:
    """Every label that was timed and agrees, on the control arm's device (the CPU)."""
    flop, _ = work_and_traffic(record.plan.workload, 4)
    roofs = {roof.label: roof for roof in record.roofs}
    return [
        Point(
            label=told,
            step=flop / time.median_ns * 1e9,
            products=flop / time.own_floor_ns * 1e9,
            large=roofs[told].flop_per_s if told in roofs else None,
        )
        for told, label in verdict.labels.items()
        if (time := label.step_time) is not None
        and label.agrees
        and record.plan.labels[told].device == "cpu"
        and record.plan.labels[told].dtype == "float32"
        and time.median_ns > 0
        and time.own_floor_ns > 0
    ]


def roof(record: Record) -> Roof | None:
    """The control arm's: the one whose copy was measured too."""
    return next((r for r in record.roofs if r.copy_bytes_per_s and r.flop_per_s > 0), None)


HEADER = ("label", "large product", "step's products", "whole step", "of the roof")


def rows(record: Record, verdict: Verdict) -> list[list[str]]:
    """GFLOP/s of every label, and the share of the roof that its whole step reaches."""
    over = _above(record)
    return [
        [
            point.label,
            "–" if point.large is None else f"{point.large / 1e9:.0f}",
            f"{point.products / 1e9:.0f}",
            f"{point.step / 1e9:.0f}",
            "–" if over is None else f"{point.step / over:.0%}",
        ]
        for point in points(record, verdict)
    ]


def _above(record: Record) -> float | None:
    """FLOP/s of the roof above this workload's step."""
    top = roof(record)
    if top is None or top.copy_bytes_per_s is None:
        return None
    flop, traffic = work_and_traffic(record.plan.workload, 4)
    return min(top.flop_per_s, top.copy_bytes_per_s * flop / traffic)


def sentence(record: Record) -> str:
    """The roofs in words; empty without them."""
    top, over = roof(record), _above(record)
    if top is None or top.copy_bytes_per_s is None or over is None:
        return ""
    flop, traffic = work_and_traffic(record.plan.workload, 4)
    bound = "arithmetic" if over == top.flop_per_s else "memory"
    return (
        f"NumPy reaches {top.flop_per_s / 1e9:.0f} GFLOP/s in a product of {top.size} x {top.size} "
        f"and {top.copy_bytes_per_s / 1e9:.0f} GB/s in a copy (read and written); the products of "
        f"a step are {flop / 1e9:.3f} GFLOP over at least {traffic / 1e6:.1f} MB, "
        f"{flop / traffic:.0f} FLOP a byte: bound by {bound}."
    )


def draw(record: Record, verdict: Verdict) -> str:
    """The picture as an <svg> element; empty where there is no roof or nothing was timed."""
    found, top = points(record, verdict), roof(record)
    if not found or top is None or top.copy_bytes_per_s is None or control(record) is None:
        return ""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    flop, traffic = work_and_traffic(record.plan.workload, 4)
    here = flop / traffic
    ridge = top.flop_per_s / top.copy_bytes_per_s
    left, right = min(ridge, here) / 8, max(ridge, here) * 8
    with drawing("roofline"):
        figure = Figure(figsize=(7.5, 4.6), facecolor="white", layout="constrained")
        axis = figure.subplots()
        axis.plot(
            [left, ridge, right],
            [v / 1e9 for v in (left * top.copy_bytes_per_s, top.flop_per_s, top.flop_per_s)],
            color="#111111",
            linewidth=1.8,
        )
        axis.axvline(here, color="#999999", linewidth=0.8, linestyle=":")
        handles: list[Any] = []
        for place, point in enumerate(found):
            style: dict[str, Any] = {
                "marker": MARKERS[place % len(MARKERS)],
                "color": COLOURS[place % len(COLOURS)],
                "linestyle": "",
                "markersize": 8,
            }
            # Side by side around the one intensity that all share, so that none hides another.
            x = here * 1.12 ** (place - (len(found) - 1) / 2)
            handles += axis.plot([x], [point.step / 1e9], **style)
            axis.plot([x], [point.products / 1e9], **style | {"markerfacecolor": "none"})
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("arithmetic intensity of a step's products (FLOP / byte)")
        axis.set_ylabel("GFLOP/s")
        axis.grid(visible=True, which="both", color="#e4e4e4", linewidth=0.6)
        for each in (axis.xaxis, axis.yaxis):
            each.set_major_locator(LogLocator(subs=(1, 2, 5)))
            each.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            each.set_minor_formatter(NullFormatter())
        axis.set_title(
            "filled: whole step; hollow: its matrix products alone; line: what NumPy reaches\n"
            "(all at the dotted intensity, side by side to be seen)",
            fontsize="small",
        )
        places = [str(i) for i in range(len(found))]
        legend = figure.legend(handles, places, loc="outside right upper", frameon=False)
        name_entries(legend, [point.label for point in found])
        return as_svg(figure, "Roofline: where a training step lies")
