"""The outputs that a metric is counted from are judged, every time they are counted."""

from __future__ import annotations

import msgspec
import pytest

from harness.plan.model import Timing
from harness.record.schema import evaluation_case
from harness.verdict import verdict
from tests.conftest import carry_out, needs, plant
from tests.make import make_plan

FAULTS = ("scaled_twice", "last_rows_reversed", "stale")


NAMES = ("numpy", "torch")


@pytest.fixture(scope="module")
def planted(small_data, tmp_path_factory):
    """Every fault in every framework, a label each, in one run that is not timed."""
    where = {f"{fault}-{name}": (fault, name) for fault in FAULTS for name in NAMES}
    plan = make_plan(
        profile="smoke",
        backends=tuple(f"{label}={name}" for label, (_, name) in where.items()),
        plants={label: plant("evaluating.py", fault) for label, (fault, _) in where.items()},
        data_dir=str(small_data),
        dtype="float64",  # one process a label
        threads=1,
    )
    timing = Timing(sessions=1, rounds=0, warmup_rounds=0)
    plan = msgspec.structs.replace(plan, timing=timing)
    return carry_out(plan, tmp_path_factory.mktemp("evaluation")).verdict


@needs("torch")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_in_evaluation_only_is_caught(planted, fault: str, name: str) -> None:
    assert planted.verdict == "disagree"
    findings = planted.labels[f"{fault}-{name}"].findings
    first = findings["forward"].first
    assert first is not None
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
