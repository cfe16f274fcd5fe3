"""Workers that crash, hang, starve, shout or lie: contained, named, the others unharmed."""

from __future__ import annotations

import msgspec
import pytest

from harness.plan import Timeouts
from harness.record import read
from tests.conftest import needs, plant

pytestmark = needs("torch")
BOTH = ("numpy", "torch")


def run_with(run_plan, fault, **words):
    return run_plan(backends=BOTH, plants={"torch": plant("process.py", fault)}, **words)


def assert_numpy_is_whole(outcome):
    entry = outcome.json["backends"]["numpy"]
    assert entry["status"] == "ok"
    assert entry["rungs"]["lockstep"]["verdict"] == "agree"
    assert entry["step_time"]["steps"] > 0
    assert entry["test_accuracy"]["0"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("killed", "SIGKILL"),
        ("segfaults", "SIGSEGV"),
        ("exits", "exit status 7"),
        ("dies_with_a_child", "SIGKILL"),
        ("earlier_run", "instead of run"),
        ("answers_nothing", "unusable answer"),
        ("garbage", "unusable answer"),
    ],
)
def test_a_worker_that_dies_or_lies_is_failed_with_its_reason(run_plan, fault, words):
    outcome = run_with(run_plan, fault)
    entry = outcome.json["backends"]["torch"]
    assert entry["status"] == "failed"
    assert words in entry["reason"]
    assert outcome.json["verdict"] == "failed"
    assert outcome.exit_status == 3
    assert_numpy_is_whole(outcome)


def test_a_device_without_float64_is_judged_by_the_other_rungs(run_plan):
    outcome = run_with(run_plan, "no_float64")
    entry = outcome.json["backends"]["torch"]
    assert entry["status"] == "ok"
    assert entry["rungs"]["lockstep"]["verdict"] == "not-possible"
    assert entry["rungs"]["update"]["verdict"] == "agree"
    assert outcome.json["verdict"] == "agree"


def test_a_killed_worker_keeps_what_it_measured(run_plan):
    outcome = run_with(run_plan, "killed")
    assert len(outcome.record.results["torch"].measurements) > 50
    assert outcome.rung("torch", "lockstep") == "inconclusive"


def test_a_worker_that_hangs_is_ended_at_its_time_limit(run_plan):
    limits = Timeouts(start_s=120.0, command_s=5.0, per_step_s=0.01)
    outcome = run_with(run_plan, "hangs", change={"timeouts": limits})
    entry = outcome.json["backends"]["torch"]
    assert entry["status"] == "failed"
    assert "no answer within" in entry["reason"]
    assert outcome.exit_status == 3
    assert_numpy_is_whole(outcome)


def test_a_worker_out_of_memory_is_failed_and_named_so(run_plan):
    outcome = run_with(run_plan, "out_of_memory", memory_headroom=2_000_000_000)
    entry = outcome.json["backends"]["torch"]
    assert entry["status"] == "failed"
    assert entry["reason"].startswith("out of memory")
    assert_numpy_is_whole(outcome)


def test_a_worker_that_prints_megabytes_agrees_and_its_words_are_kept(run_plan):
    outcome = run_with(run_plan, "noisy")
    assert outcome.json["verdict"] == "agree"
    (process,) = (p for p in outcome.record.results["torch"].processes if p.dtype == "float32")
    assert process.stdout_bytes > 1_000_000
    assert process.stderr_bytes > 1_000_000
    kept = outcome.folder / "logs" / "torch-float32.stdout.txt"
    assert kept.stat().st_size == process.stdout_bytes


def test_a_missing_framework_is_skipped_and_counted_in_the_headline(run_plan):
    import harness.plan as plans

    plan_words = {"plants": {"torch": plant("process.py", "missing")}}
    skipped_others = {name: "left out of this test" for name in plans.BACKENDS if name not in BOTH}
    outcome = run_plan(change={"skipped": skipped_others}, **plan_words)
    entry = outcome.json["backends"]["torch"]
    assert entry["status"] == "skipped"
    assert "frobnicate" in entry["reason"]
    assert outcome.json["verdict"] == "agree"
    assert "1 of 4 backends" in outcome.json["summary"]
    assert outcome.exit_status == 0


@pytest.mark.parametrize(
    ("fault", "rung", "words"),
    [
        ("not_a_number", "lockstep", "NaN"),
        ("nan_logit", "forward", "NaN"),
        ("wrong_shape", "forward", "shape"),
        ("wrong_gradient_names", "gradients", "shape"),
    ],
)
def test_wrong_shapes_and_nan_on_one_side_disagree(run_plan, fault, rung, words):
    outcome = run_with(run_plan, fault)
    assert outcome.json["verdict"] == "disagree"
    assert outcome.exit_status == 1
    first = outcome.json["first_divergence"]
    assert (first["label"], first["rung"]) == ("torch", rung)
    assert words in first["problem"]
    assert_numpy_is_whole(outcome)


def test_a_stored_failed_run_reads_back_the_same(run_plan):
    outcome = run_with(run_plan, "killed")
    again = read(outcome.folder)
    assert msgspec.to_builtins(again) == msgspec.to_builtins(outcome.record)
