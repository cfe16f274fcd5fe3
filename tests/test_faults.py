"""Planted faults: the first rung that fails is the right one, by a margin; twins are silent."""

from __future__ import annotations

import pytest

from harness import canonical, known_answers
from harness.checks.numbers import share
from harness.limits import DECIDING, limit_for
from harness.plan import Timing
from tests.conftest import needs, plant

# No timing and two frameworks at once: what is asked here is which rung fails first.
QUICK = {"timing": Timing(sessions=1, rounds=0, warmup_rounds=0)}
PAIR = ("numpy", "torch")
# A caught fault exceeds its limit by this factor; a clean value stays below a third of it.
MARGIN = 3

FAULTS = [
    ("labels_shifted", PAIR, "inputs", None),
    ("pixels_bfloat16", PAIR, "inputs", None),
    ("leaky_relu", PAIR, "forward", None),
    ("bias_twice", PAIR, "forward", None),
    ("float64_in_float32", PAIR, "forward", None),
    ("loss_summed", PAIR, "loss", None),
    ("short_batch_by_256", PAIR, "loss", "short"),
    ("epsilon_in_log", PAIR, "loss", "confident"),
    ("softmax_without_shift", PAIR, "loss", "shifted"),
    ("no_gradient_of_b1", PAIR, "gradients", None),
    ("relu_slope_1_at_0", ("torch", "jax"), "gradients", "corner"),
    ("lr_one_per_mille", PAIR, "update", None),
    ("no_update", PAIR, "update", None),
    ("momentum", PAIR, "lockstep", None),
    ("every_tenth_batch_ignored", PAIR, "lockstep", None),
]


def first_failing(outcome, label):
    findings = outcome.verdict.labels[label].findings
    return next((rung for rung in DECIDING if findings[rung].verdict == "disagree"), None)


def over(outcome, label, rung):
    """The float32 batches over their limit at a rung, made batches without their suffix."""
    return {
        m.case.partition("-")[0]
        for m in outcome.record.results[label].measurements
        if m.rung == rung
        and m.dtype == "float32"
        and share(m, limit_for(m.rung, m.dtype, m.case)) >= MARGIN
    }


@pytest.mark.parametrize(("fault", "names", "rung", "case"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_planted_fault_is_caught_first_at_its_rung(run_plan, fault, names, rung, case):
    for name in names:
        mark = needs(name)
        if mark.args[0]:
            pytest.skip(mark.kwargs["reason"])
    plants = {name: plant("numbers.py", fault) for name in names}
    outcome = run_plan(backends=names, plants=plants, change=QUICK)
    assert outcome.exit_status == 1
    for name in names:
        assert outcome.verdict.labels[name].status == "ok"
        assert first_failing(outcome, name) == rung
        finding = outcome.verdict.labels[name].findings[rung]
        assert finding.first is not None
        if finding.first.problem is None:
            assert finding.first.tensor
            assert finding.first.index is not None
            assert finding.first.distance >= MARGIN * finding.first.limit
        if case == "short":
            assert (
                finding.first.where
                == f"step {len(outcome.record.results[name].training[0].losses) - 1}"
            )
        elif case is not None:
            assert case in over(outcome, name, rung)
    assert "FAULT PLANTED" in outcome.json["summary"]


def test_the_clean_twin_is_silent_and_below_a_third_of_every_limit(run_plan):
    outcome = run_plan(backends=PAIR, change=QUICK)
    assert outcome.json["verdict"] == "agree"
    for name in PAIR:
        for measurement in outcome.record.results[name].measurements:
            limit = limit_for(measurement.rung, measurement.dtype, measurement.case)
            assert limit is not None
            assert share(measurement, limit) <= 1 / MARGIN


@pytest.mark.parametrize("where", ["epoch_order", "accuracy", "schedule"])
def test_a_fault_in_the_shared_code_fails_before_anything_is_compared(run_plan, monkeypatch, where):
    original = getattr(canonical, where)
    wrong = {
        "epoch_order": lambda seed, epoch, n: original(seed, 0, n),
        "accuracy": lambda logits, labels: original(logits[:9984], labels[:9984]),
        "schedule": lambda *words: [s for s in original(*words) if (s.stop - s.start) == 256],
    }[where]
    monkeypatch.setattr(canonical, where, wrong)
    outcome = run_plan(backends=("numpy",), change=QUICK)
    assert outcome.json["verdict"] == "failed"
    assert outcome.exit_status == 3
    assert "known answers" in outcome.json["summary"]
    assert not any(r.measurements for r in outcome.record.results.values())


def test_known_answers_are_part_of_every_record(run_plan):
    outcome = run_plan(backends=("numpy",), change=QUICK)
    names = {answer.name for answer in outcome.record.known_answers}
    assert set(known_answers.DIGESTS) <= names
    assert all(answer.got == answer.want for answer in outcome.record.known_answers)
