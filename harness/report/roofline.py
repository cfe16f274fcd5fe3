"""A small roofline: what the machine reaches in a large product and in a copy, and where steps lie.

Work is the floating-point operations of a step's matrix products; traffic is what they read and
write at the least, each operand and result once. Their quotient says which roof is above a step:
the slope of a copy, or the flat one of a large product (Williams, Waterman and Patterson 2009,
Communications of the ACM 52(4), 65-76).
"""

from __future__ import annotations

import msgspec
import numpy as np

from harness.interface import Workload
from harness.record.schema import Record, Roof
from harness.report.figure import Plot
from harness.report.plots import axes
from harness.report.plots.picture import Log, Series, picture
from harness.verdict.timings import control
from harness.verdict.verdict import Verdict


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


def plot(record: Record, verdict: Verdict) -> Plot | None:
    """The picture; None where there is no roof or nothing was timed."""
    labels, top = points(record, verdict), roof(record)
    if not labels or top is None or top.copy_bytes_per_s is None or control(record) is None:
        return None
    flop, traffic = work_and_traffic(record.plan.workload, 4)
    intensity, ridge = flop / traffic, top.flop_per_s / top.copy_bytes_per_s
    x = np.array([min(ridge, intensity) / 8, ridge, max(ridge, intensity) * 8])
    roofs = {
        "type": "scatter",
        "mode": "lines",
        "name": "NumPy's roof",
        "x": x,
        "y": np.minimum(x * top.copy_bytes_per_s, top.flop_per_s) / 1e9,
        "line": {"color": axes.GREY, "width": 2},
        "hoverinfo": "skip",
    }
    series = [Series(roofs)]
    for place, (point, row) in enumerate(zip(labels, rows(record, verdict), strict=True)):
        # Side by side around the one intensity that all share, so that none hides another.
        beside = intensity * 1.12 ** (place - (len(labels) - 1) / 2)
        look = axes.line_of(record, point.label, "markers", "%{text}: %{y:.3g} GFLOP/s")
        marker = look["marker"]
        marker["symbol"] = [marker["symbol"], marker["symbol"].removesuffix("-open") + "-open"]
        trace = look | {
            "marker": marker | {"size": 9},
            "x": np.full(2, beside),
            "y": np.array([point.step, point.products]) / 1e9,
            "text": ["whole step", "its products"],
        }
        series.append(Series(trace, [row]))
    return picture(
        "roofline",
        "Roofline: where a training step lies (GFLOP/s)",
        "Line: what NumPy reaches; filled: the whole step; hollow: its matrix products alone (all "
        "at the dotted intensity, side by side to be seen).",
        series,
        Log("arithmetic intensity of a step's products, FLOP / byte"),
        Log("GFLOP/s"),
        (HEADER[0], *(f"{name} (GFLOP/s)" for name in HEADER[1:-1]), HEADER[-1]),
        height=360,
        shapes=[axes.line(x=intensity, line={"dash": "dot", "width": 1})],
    )
