"""The outputs that a metric is counted from are judged, every time they are counted."""

from __future__ import annotations

import pytest

from harness.record.schema import evaluation_case
from harness.verdict import verdict
from tests.conftest import needs, plant

FAULTS = ("scaled_twice", "last_rows_reversed", "stale")


@needs("torch")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_in_evaluation_only_is_caught(run_plan, fault: str) -> None:
    names = ("numpy", "torch")
    plants = dict.fromkeys(names, plant("evaluating.py", fault))
    judged = run_plan(backends=names, plants=plants).verdict
    assert judged.verdict == "disagree"
    for name in names:
        findings = judged.labels[name].findings
        first = findings["forward"].first
        assert first is not None, name
        assert first.where == evaluation_case(0, 0)
        assert float(first.distance) > 3 * first.limit
        assert findings["forward"].hint.startswith("only evaluations")
        # Every training step is right.
        right = ("inputs", "loss", "gradients", "update", "lockstep")
        assert {findings[rung].verdict for rung in right} == {"agree"}


def test_every_accuracy_has_outputs_that_were_judged_and_without_them_there_is_no_tick(
    run_plan,
) -> None:
    made = run_plan(backends=("numpy",))
    record, judged = made.record, made.verdict
    assert judged.labels["numpy"].findings["forward"].verdict == "agree"
    results = record.results["numpy"]
    counted = [
        (t.dtype, evaluation_case(t.seed, epoch))
        for t in results.training
        for epoch in range(len(t.test_accuracy))
    ]
    judged_ones = [
        (m.dtype, m.case) for m in results.measurements if m.case.startswith("evaluation")
    ]
    assert counted
    assert sorted(counted) == sorted(judged_ones)
    shares = [m.distance for m in results.measurements if m.case.startswith("evaluation")]
    assert all(isinstance(distance, float) for distance in shares)
    results.measurements = [m for m in results.measurements if (m.dtype, m.case) != counted[0]]
    finding = verdict.judge(record).labels["numpy"].findings["forward"]
    assert finding.verdict == "inconclusive"
    assert counted[0][1] in finding.sentence
