"""A small roofline: what the machine reaches in a large product and in a copy, and where steps lie.

Work is the floating-point operations of a step's matrix products; traffic is what they read and
write at the least, each operand and result once. Their quotient says which roof is above a step:
the slope of a copy, or the flat one of a large product (Williams, Waterman and Patterson 2009,
Communications of the ACM 52(4), 65-76).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.interface import Workload
from harness.record.schema import Roof
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.verdict.timings import StepTime, large_product, of_large_product, too_short


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
    not too short for multiples. Empty where no copy was measured. A convolution's products bound no
    step: of those that have one the rate of all products is told, beside that of a large one.
    """
    record = run.record
    top = large_product(record)
    workload = record.plan.workload
    if top is None or top.copy_bytes_per_s is None or not workload.products:
        return Section()
    if workload.floor != workload.products:
        return _of_convolutions(run, top)
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
            for name, time in _timed(run)
            if time.own_floor_ns > 0
        ],
        note=f"NumPy reaches {top.flop_per_s / 1e9:.0f} GFLOP/s in a product of {top.size} x "
        f"{top.size} and {top.copy_bytes_per_s / 1e9:.0f} GB/s in a copy (read and written); the "
        f"products of a step are {workload.flop / 1e9:.3f} GFLOP over at least "
        f"{traffic_bytes(workload, 4) / 1e6:.1f} MB, {intensity:.0f} FLOP a byte: bound by "
        f"{'arithmetic' if over == top.flop_per_s else 'memory'}.",
    )


def _of_convolutions(run: Run, top: Roof) -> Section:
    work, roofs = run.record.plan.workload.work, {r.label: r for r in run.record.roofs}
    return Section(
        "What a step reaches of a large product (GFLOP/s)",
        ("label", "large product", "whole step", "of NumPy's large product"),
        [
            [
                name,
                f"{roofs[name].flop_per_s / 1e9:.0f}" if name in roofs else "–",
                f"{work / time.median_ns:.1f}",
                f"{of_large_product(run.record, time.median_ns):.0%}",
            ]
            for name, time in _timed(run)
        ],
        note=f"NumPy reaches {top.flop_per_s / 1e9:.0f} GFLOP/s in a product of {top.size} x "
        f"{top.size}. A step's products, each convolution as one of what its windows see, are "
        f"{work / 1e9:.3g} GFLOP: a yardstick and no bound, for there are ways around them.",
    )


def _timed(run: Run) -> Iterator[tuple[str, StepTime]]:
    """The labels that a rate is told of, with their times."""
    record = run.record
    for name, label in run.verdict.labels.items():
        on = record.plan.labels[name]
        told = label.agrees and (on.device, on.dtype) == ("cpu", "float32")
        if told and label.step_time is not None and not too_short(record, name):
            yield name, label.step_time
