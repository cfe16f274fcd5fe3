"""Workers that crash, hang, starve, shout or lie: contained, named, the others unharmed.

What is wrong is the process, not its framework: NumPy under several labels stands for all of them,
and several faults stand side by side in one run, each under its own name. One is torch's as well.
"""

from __future__ import annotations

import msgspec
import pytest

from harness.plan.model import Timeouts, Timing
from harness.record.store import read
from tests.conftest import carry_out, needs, plant
from tests.make import make_plan

# Faults after which a label has failed, and a word of the reason.
FAILING = {
    "killed": "SIGKILL",
    "segfaults": "SIGSEGV",
    "dies_with_a_child": "SIGKILL",
    "answers_nothing": "unusable answer",
    "garbage": "unusable answer",
    "out_of_memory": "out of memory",
}
# Faults that make a label disagree: the first rung that does, and a word of the problem.
WRONG = {
    "not_a_number": ("lockstep", "NaN"),
    "nan_logit": ("forward", "NaN"),
    "wrong_gradient_names": ("gradients", "shape"),
}


@pytest.fixture(scope="module")
def run_faults(small_data, tmp_path_factory):
    """Run a smoke plan with NumPy, and with NumPy under each fault's name with that fault."""

    def run(*faults, change=None, **words):
        plan = make_plan(
            profile="smoke",
            backends=("numpy", *(f"{fault}=numpy" for fault in faults)),
            plants={fault: plant("process.py", fault) for fault in faults},
            data_dir=str(small_data),
            threads=1,
            **({"timeout_s": 240.0} | words),
        )
        plan = msgspec.structs.replace(plan, **(change or {}))
        return carry_out(plan, tmp_path_factory.mktemp("processes"))

    return run


@pytest.fixture(scope="module")
def failing(run_faults):
    return run_faults(*FAILING, memory_headroom=600_000_000)


@pytest.fixture(scope="module")
def wrong(run_faults):
    return run_faults(*WRONG, "no_float64")


def assert_numpy_is_whole(outcome):
    entry = outcome.json["backends"]["numpy"]
    assert entry["status"] == "ok"
    assert entry["rungs"]["lockstep"]["verdict"] == "agree"
    assert entry["step_time"]["steps"] > 0
    assert entry["test_accuracy"]["0"]


def test_what_dies_or_lies_fails_the_run_and_harms_no_other(failing):
    assert failing.json["verdict"] == "failed"
    assert failing.exit_status == 3
    assert f"{len(FAILING)} of {len(FAILING) + 1} backends failed" in failing.json["summary"]
    assert_numpy_is_whole(failing)


@pytest.mark.parametrize(("fault", "words"), FAILING.items(), ids=list(FAILING))
def test_a_worker_that_dies_or_lies_is_failed_with_its_reason(failing, fault, words):
    entry = failing.json["backends"][fault]
    assert entry["status"] == "failed"
    assert words in entry["reason"]
    assert words in failing.json["summary"]


@needs("torch")
def test_a_framework_with_threads_of_its_own_is_killed_and_harms_no_other(run_plan):
    plants = {"torch": plant("process.py", "killed")}
    outcome = run_plan(backends=("numpy", "torch"), plants=plants)
    assert outcome.json["backends"]["torch"]["status"] == "failed"
    assert "SIGKILL" in outcome.json["backends"]["torch"]["reason"]
    assert_numpy_is_whole(outcome)


def test_a_killed_worker_keeps_what_it_measured(failing):
    assert len(failing.record.results["killed"].measurements) > 50
    assert failing.rung("killed", "lockstep") == "inconclusive"


def test_a_stored_failed_run_reads_back_the_same(failing):
    again = read(failing.folder)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(failing.record)


def test_a_worker_that_hangs_is_ended_at_its_time_limit(run_faults):
    limits = Timeouts(start_s=120.0, command_s=4.0, per_step_s=0.01)
    outcome = run_faults("hangs", change={"timeouts": limits})
    entry = outcome.json["backends"]["hangs"]
    assert entry["status"] == "failed"
    assert "no answer within" in entry["reason"]
    assert outcome.exit_status == 3
    assert_numpy_is_whole(outcome)


def test_a_missing_framework_is_skipped_and_counted_in_the_headline(run_faults):
    plan = make_plan(backends=("numpy", "missing=numpy"))
    unasked = {name: msgspec.structs.replace(x, asked_for=False) for name, x in plan.labels.items()}
    fault = plant("process.py", "missing")
    unasked["missing"] = msgspec.structs.replace(unasked["missing"], plant=fault)
    untimed = Timing(sessions=1, rounds=0, warmup_rounds=0)
    change = {"labels": unasked, "timing": untimed, "trajectory": None}
    outcome = run_faults("missing", change=change)
    entry = outcome.json["backends"]["missing"]
    assert entry["status"] == "skipped"
    assert "frobnicate" in entry["reason"]
    assert outcome.json["verdict"] == "agree"
    assert "1 of 2 backends" in outcome.json["summary"]
    assert outcome.exit_status == 0


def test_a_device_without_float64_is_judged_by_the_other_rungs(wrong):
    entry = wrong.json["backends"]["no_float64"]
    assert entry["status"] == "ok"
    assert entry["rungs"]["lockstep"]["verdict"] == "not-possible"
    assert entry["rungs"]["update"]["verdict"] == "agree"
    assert wrong.verdict.labels["no_float64"].agrees
    assert "no_float64 lockstep (" in wrong.json["summary"].partition("; not possible: ")[2]


@pytest.mark.parametrize(("fault", "first"), WRONG.items(), ids=list(WRONG))
def test_wrong_shapes_and_nan_on_one_side_disagree(wrong, fault, first):
    rung, words = first
    findings = wrong.verdict.labels[fault].findings
    assert next(f.rung for f in findings.values() if f.verdict == "disagree") == rung
    assert words in findings[rung].first.problem


def test_what_disagrees_is_named_and_harms_no_other(wrong):
    assert wrong.json["verdict"] == "disagree"
    assert wrong.exit_status == 1
    # The lowest rung of all, and of its labels the first.
    assert wrong.json["first_divergence"]["rung"] == "forward"
    assert wrong.json["first_divergence"]["label"] == "nan_logit"
    assert_numpy_is_whole(wrong)
