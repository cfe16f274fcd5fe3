"""The roofline: by hand, and as a picture of made records."""

from __future__ import annotations

import msgspec
import pytest

from harness.record.schema import Roof
from harness.report import roofline
from harness.report.run import as_markdown
from harness.verdict.verdict import judge
from harness.workloads import WORKLOADS
from tests import make

WORKLOAD = WORKLOADS["mlp-scratch"]


def record(names=("numpy", "torch"), **changes):
    made = make.timed(names)
    roofs = [
        Roof(
            label=name,
            dtype="float32",
            size=1536,
            flop_per_s=200e9,
            copy_bytes_per_s=50e9 if name == "numpy" else None,
        )
        for name in names
    ]
    return msgspec.structs.replace(made, **({"roofs": roofs} | changes))


def test_work_and_traffic_are_those_of_the_five_products():
    n, d, h, k = 256, 784, 256, 10
    flop, traffic = roofline.work_and_traffic(WORKLOAD, 4)
    assert flop == 2 * n * (d * h + h * k + h * k + k * h + d * h)
    large = n * d + d * h + n * h  # X W1, and X' dH turned round
    small = n * h + h * k + n * k  # H W2, H' dO and dO W2'
    assert traffic == 4 * (2 * large + 3 * small)


def test_a_step_stands_under_the_flat_roof_with_its_share():
    made = record()
    rows = {row[0]: row[1:] for row in roofline.rows(made, judge(made))}
    # 0.20945 GFLOP in 705 microseconds, in 1 ms and in 1.5 ms, under a roof of 200 GFLOP/s.
    assert rows["numpy"] == ["200", "297", "209", "105%"]
    assert rows["torch"][2:] == ["140", "70%"]
    assert "bound by arithmetic" in roofline.sentence(made)


def test_a_slow_copy_is_the_roof():
    made = record()
    made.roofs[0].copy_bytes_per_s = 1e9
    assert "bound by memory" in roofline.sentence(made)


def test_a_label_that_does_not_agree_is_not_drawn():
    made = record()
    made.results["torch"].measurements[5].distance = 1.0
    assert [row[0] for row in roofline.rows(made, judge(made))] == ["numpy"]


@pytest.mark.parametrize(
    "roofs", [[], [Roof(label="numpy", dtype="float32", size=8, flop_per_s=1.0)]]
)
def test_without_a_roof_there_is_no_picture_and_no_sentence(roofs):
    made = record(roofs=roofs)
    assert roofline.plot(made, judge(made)) is None
    assert roofline.sentence(made) == ""
    assert "Roofline" not in as_markdown(made, judge(made))


def test_the_picture_has_a_step_its_products_and_the_roof_above_them():
    made = record(("numpy", "torch", "_<script>$x$"[:11]))
    plot = roofline.plot(made, judge(made))
    roofs, *labels = plot.traces
    assert max(roofs["y"]) == 200
    assert [trace["name"] for trace in labels] == ["numpy", "torch", "_&lt;script&gt;$x"]
    steps, products = zip(*(trace["y"] for trace in labels), strict=True)
    flop, traffic = roofline.work_and_traffic(WORKLOAD, 4)
    assert steps == pytest.approx([flop / ns for ns in (1e6, 1.5e6, 2e6)], rel=0.01)
    assert products == pytest.approx([flop / 705_000] * 3, rel=0.01)
    assert labels[1]["x"] == pytest.approx([flop / traffic] * 2)  # the one in the middle
    assert plot.rows == [row[:1] + row[1:] for row in roofline.rows(made, judge(made))]
