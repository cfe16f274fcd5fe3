"""A small roofline: what the machine reaches in a large product and in a copy, and where steps lie.

Work is the floating-point operations of a step's matrix products; traffic is what they read and
write at the least, each operand and result once. Their quotient says which roof is above a step:
the slope of a copy, or the flat one of a large product (Williams, Waterman and Patterson 2009,
Communications of the ACM 52(4), 65-76).
"""

from __future__ import annotations

import math

from harness.interface import Workload
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.verdict.timings import too_short


def traffic_bytes(workload: Workload, item_bytes: int) -> int:
    """What a step's products move at the least: two operands and a result each."""
    items = 0
    for p in workload.floor:
        rows, columns = p.a[p.transposed == "a"], p.b[p.transposed != "b"]
        items += math.prod(p.a) + math.prod(p.b) + rows * columns
    return item_bytes * items


def section(run: Run) -> Section:
    """The roofs in words, and a row a label: GFLOP/s, and the share of the roof of a whole step.

    Of labels that were timed and agree, on the control arm's device (the CPU), and whose step is
    not too short for multiples. Empty where no copy was measured, and where a step's work is not
    its products.
    """
    record = run.record
    top = next((r for r in record.roofs if r.copy_bytes_per_s and r.flop_per_s > 0), None)
    if top is None or top.copy_bytes_per_s is None:
        return Section()
    workload = record.plan.workload
    if not workload.floor or workload.floor != workload.products:
        return Section()
    intensity = workload.flop / traffic_bytes(workload, 4)
    over = min(top.flop_per_s, top.copy_bytes_per_s * intensity)
    large = {roof.label: f"{roof.flop_per_s / 1e9:.0f}" for roof in record.roofs}
    return Section(
        "Roofline (GFLOP/s)",
        ("label", "large product", "step's products", "whole step", "of the roof"),
        [
            [
                name,
                large.get(name),
                f"{workload.flop / time.own_floor_ns:.0f}",
                f"{workload.flop / time.median_ns:.0f}",
                f"{workload.flop / time.median_ns * 1e9 / over:.0%}",
            ]
            for name, label in run.verdict.labels.items()
            if (time := label.step_time) is not None
            and label.agrees
            and record.plan.labels[name].device == "cpu"
            and record.plan.labels[name].dtype == "float32"
            and time.own_floor_ns > 0
            and not too_short(record, name)
        ],
        note=f"NumPy reaches {top.flop_per_s / 1e9:.0f} GFLOP/s in a product of {top.size} x "
        f"{top.size} and {top.copy_bytes_per_s / 1e9:.0f} GB/s in a copy (read and written); the "
        f"products of a step are {workload.flop / 1e9:.3f} GFLOP over at least "
        f"{traffic_bytes(workload, 4) / 1e6:.1f} MB, {intensity:.0f} FLOP a byte: bound by "
        f"{'arithmetic' if over == top.flop_per_s else 'memory'}.",
    )
