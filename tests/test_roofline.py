"""The roofline: by hand, and as a table of made records."""

from __future__ import annotations

import msgspec
import pytest

from harness.record.schema import Roof
from harness.report import roofline
from harness.report.run import as_markdown
from harness.report.run_tables import Run
from harness.verdict.verdict import judge
from harness.workloads import WORKLOADS
from tests import make


def record():
    made = make.timed(("numpy", "torch"))
    made.roofs = [
        Roof(label=name, dtype="float32", size=1536, flop_per_s=200e9, copy_bytes_per_s=copy)
        for name, copy in (("numpy", 50e9), ("torch", None))
    ]
    return made


def section(made):
    return roofline.section(Run(made, judge(made)))


def test_traffic_is_that_of_the_five_products():
    n, d, h, k = 256, 784, 256, 10
    large = n * d + d * h + n * h  # X W1, and X' dH turned round
    small = n * h + h * k + n * k  # H W2, H' dO and dO W2'
    moved = roofline.traffic_bytes(WORKLOADS["mlp-scratch"], 4)
    assert moved == 4 * (2 * large + 3 * small)


def test_a_step_stands_under_the_flat_roof_with_its_share():
    shown = section(record())
    # 0.20945 GFLOP in 705 microseconds, in 1 ms and in 1.5 ms, under a roof of 200 GFLOP/s.
    assert shown.texts[0] == ["numpy", "200", "297", "209", "105%"]
    assert shown.texts[1][3:] == ["140", "70%"]
    assert "bound by arithmetic" in shown.note


def test_a_slow_copy_is_the_roof():
    made = record()
    made.roofs[0].copy_bytes_per_s = 1e9
    assert "bound by memory" in section(made).note


def test_a_label_that_does_not_agree_is_not_in_it():
    made = record()
    made.results["torch"].measurements[5].distance = 1.0
    assert [row[0] for row in section(made).rows] == ["numpy"]


@pytest.mark.parametrize(
    "roofs", [[], [Roof(label="numpy", dtype="float32", size=8, flop_per_s=1.0)]]
)
def test_without_a_roof_there_is_no_section(roofs):
    made = record()
    assert "Roofline" in as_markdown(made, judge(made))
    made.roofs = roofs
    assert not section(made)
    assert "Roofline" not in as_markdown(made, judge(made))


def test_of_convolutions_the_rate_of_all_products_is_told_beside_a_large_one():
    made = record()
    workload = WORKLOADS["cifar-net"]
    made.plan = msgspec.structs.replace(made.plan, workload=workload)
    judged = judge(record())  # agreement and times are those of another workload
    shown = roofline.section(Run(made, judged))
    flop = sum(2 * p.a[0] * p.a[1] * p.b[p.transposed != "b"] for p in workload.products)
    assert workload.flop < workload.work == flop
    assert shown.texts[0] == ["numpy", "200", f"{flop / 1e6:.1f}", f"{flop / 1e6 / 200:.0%}"]
    assert "no bound" in shown.note
