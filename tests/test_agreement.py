"""End to end through live workers: envelope, repeats, seeds, another reference, trials."""

from __future__ import annotations

import base64

import msgspec
import numpy as np
import pytest

from harness import data, interface
from harness.errors import InputError
from harness.plan.model import Timing
from harness.run import session
from harness.run.learning import MOST_IMAGES
from harness.verdict.numbers import share
from harness.verdict.verdict import judge, to_json
from harness.workers import launch
from harness.workloads.reference.limits import DECIDING, limit_for
from tests.conftest import Silent, carry_out, needs, plant
from tests.make import make_plan

QUICK = {"timing": Timing(sessions=1, rounds=0, warmup_rounds=0)}


@pytest.fixture(scope="module")
def full(small_data, tmp_path_factory):
    """The full profile, five seeds, on small data: every rung of one backend."""
    plan = make_plan(profile="full", backends=("numpy",), data_dir=str(small_data), threads=1)
    plan = msgspec.structs.replace(plan, **QUICK)
    return carry_out(plan, tmp_path_factory.mktemp("full"))


def test_the_full_profile_judges_every_rung_but_timing(full):
    assert full.json["verdict"] == "agree"
    rungs = full.json["backends"]["numpy"]["rungs"]
    assert {rung: found["verdict"] for rung, found in rungs.items()} == {
        **dict.fromkeys(DECIDING, "agree"),
        "trajectory": "agree",
        "accuracy": rungs["accuracy"]["verdict"],
        "timing": "inconclusive",
    }
    assert "start and late" in rungs["trajectory"]["reason"]
    test = full.json["backends"]["numpy"]["equivalence"]["test accuracy"]
    assert test["n"] == 5
    assert test["low"] <= test["mean"] <= test["high"]


def test_the_envelope_is_stored_whole_and_every_replica_differs(full):
    after = {(r.regime, r.after) for r in full.record.envelope}
    # 6000 samples: 23 full batches and a short one; late from the end of the third epoch.
    assert {n for regime, n in after if regime == "start"} == {20}
    assert {n for regime, n in after if regime == "late"} == {24 * e for e in range(3, 11)}
    for place in after:
        distances = [r.distance for r in full.record.envelope if (r.regime, r.after) == place]
        assert len(distances) == 8
        assert len(set(distances)) == 8
        assert min(distances) > 0


def test_the_reference_trains_every_seed_and_predictions_are_compared(full):
    assert [t.seed for t in full.record.reference] == [0, 1, 2, 3, 4]
    assert all(len(t.test_accuracy) == 10 for t in full.record.reference)
    churn = full.record.results["numpy"].churn
    assert [c.seed for c in churn] == [0, 1, 2, 3, 4]
    assert all(c.samples == 1000 and c.differ < 100 for c in churn)
    numpy = full.record.results["numpy"].training
    for trained in (*full.record.reference, *numpy):
        if trained.whole and trained.test_accuracy:
            counts = np.array(trained.confusion)
            assert counts.sum() == 1000
            assert np.trace(counts) / 1000 == trained.test_accuracy[-1]
    own = {t.seed: t for t in numpy if t.dtype == "float32"}
    for reference in full.record.reference:
        assert own[reference.seed].losses[0] == pytest.approx(reference.losses[0], rel=1e-6)


def test_images_that_are_classified_differently_are_kept_with_their_pixels(full, small_data):
    dataset = data.load("fashion-mnist", data_dir=small_data, warn=print)
    kept = full.record.differing
    (churn,) = (c for c in full.record.results["numpy"].churn if c.seed == 0)
    assert len(kept) == min(churn.differ, MOST_IMAGES)
    for image in kept:
        pixels = np.frombuffer(base64.b64decode(image.pixels), dtype=np.uint8)
        assert np.array_equal(pixels.reshape(image.shape), dataset.test_x[image.index])
        assert image.true == dataset.test_y[image.index]
        assert image.predicted["numpy"] != image.reference
    assert full.record.dataset.class_names == list(dataset.class_names)


def test_every_process_was_repeated_and_is_the_same(full):
    repeats = full.record.results["numpy"].repeats
    assert {(r.dtype, r.identical) for r in repeats} == {("float32", True), ("float64", True)}
    assert full.json["backends"]["numpy"]["reproducible"] is True


def test_small_batches_and_operators_are_in_the_record(full):
    rows = {case.rows for case in full.record.cases}
    assert {256, 112, 7, 1} <= rows
    assert any("batch of 1" in m.case for m in full.record.results["numpy"].measurements)
    assert full.record.results["numpy"].operators


def test_a_backend_that_does_not_repeat_itself_is_reported_with_the_size(run_plan):
    plants = {"numpy": plant("steps.py", "not_deterministic")}
    outcome = run_plan(backends=("numpy",), plants=plants, change=QUICK)
    entry = outcome.json["backends"]["numpy"]
    assert entry["reproducible"] is False
    assert "not deterministic: numpy" in outcome.json["summary"]
    assert 0 < max(entry["repeats"][0]["distances"].values()) < 1e-3


@needs("torch")
def test_another_label_can_be_the_reference(run_plan):
    words = {"backends": ("numpy", "torch"), "reference": "torch:float64"}
    outcome = run_plan(**words, change=QUICK)
    assert outcome.json["reference"] == "torch:float64"
    assert outcome.json["verdict"] == "agree"
    own = [m for m in outcome.record.results["torch"].measurements if m.dtype == "float64"]
    # What the reference computes is what it is compared with: nothing is left of any distance.
    evaluated = [m for m in own if m.case.startswith("evaluation")]
    own = [m for m in own if m not in evaluated]
    assert {m.distance for m in own if m.rung in ("forward", "loss", "gradients")} == {0.0}
    assert all(m.distance < 1e-14 for m in evaluated)  # asked for in other pieces
    assert {m.distance for m in own if m.rung == "lockstep"} == {0.0}
    other = [m for m in outcome.record.results["numpy"].measurements if m.rung == "lockstep"]
    assert max(m.distance for m in other) > 0


def test_against_a_wrong_reference_the_right_one_disagrees(run_plan):
    words = {"backends": ("numpy", "wrong=numpy"), "reference": "wrong:float64"}
    plants = {"wrong": plant("numbers.py", "leaky_relu")}
    outcome = run_plan(**words, plants=plants, change=QUICK)
    assert outcome.rung("wrong", "lockstep") == "agree"
    assert outcome.rung("numpy", "lockstep") == "disagree"
    assert outcome.json["first_divergence"]["label"] == "numpy"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_reference_that_disagrees_with_itself_is_a_failure_and_blames_nobody(run_plan, dtype):
    """What it steps is not what its own gradients say: nothing that it judges counts."""
    words = {"backends": ("numpy", "wrong=numpy"), "reference": "wrong:float64", "dtype": dtype}
    outcome = run_plan(**words, plants={"wrong": plant("numbers.py", "weight_decay")}, change=QUICK)
    assert (outcome.json["verdict"], outcome.exit_status) == ("failed", 3)
    assert "the reference wrong:float64 disagrees with itself: update" in outcome.json["summary"]


def test_a_reference_that_dies_fails_the_run(run_plan):
    plants = {"numpy": plant("process.py", "killed")}
    words = {"backends": ("numpy",), "reference": "numpy:float64", "plants": plants}
    outcome = run_plan(**words, change=QUICK)
    assert outcome.exit_status == 3
    assert "reference numpy:float64 failed" in outcome.json["summary"]


def test_another_reference_trains_every_seed_before_its_worker_ends(run_plan):
    words = {"backends": ("numpy",), "reference": "numpy:float64", "seeds": "0,1"}
    outcome = run_plan(**words, change=QUICK)
    assert outcome.json["verdict"] == "agree"
    assert [t.seed for t in outcome.record.reference] == [0, 1]


def test_a_float64_process_that_cannot_start_is_a_failure_not_a_gap(run_plan):
    plants = {"other": plant("process.py", "missing_in_float64")}
    outcome = run_plan(backends=("numpy", "other=numpy"), plants=plants, change=QUICK)
    assert outcome.exit_status == 3
    assert "the float64 process beside it cannot run" in outcome.json["summary"]


@pytest.mark.parametrize("reference", ["torch:float64", "numpy", "numpy:float32", "harness"])
def test_a_reference_that_is_no_float64_process_of_the_plan_is_refused(reference):
    with pytest.raises(InputError, match="choose from harness/float64, numpy:float64"):
        make_plan(backends=("numpy",), reference=reference)


def test_trials_in_the_same_workers_leave_no_trace(small_data, tmp_path):
    words = {"backends": ("numpy",), "data_dir": str(small_data), "threads": 1}
    plan = make_plan(profile="smoke", **words)
    with session.live(plan, tmp_path, Silent()) as live:
        before = live.trial({"numpy": None})
        for fault in ("leaky_relu", "momentum"):
            planted = live.trial({"numpy": plant("numbers.py", fault)})
            assert judge(planted).verdict == "disagree"
        after = live.trial({"numpy": None})
    assert judge(before).verdict == judge(after).verdict == "agree"
    assert [m.digest for m in before.results["numpy"].measurements] == [
        m.digest for m in after.results["numpy"].measurements
    ]


@pytest.mark.parametrize(
    ("light", "order"),
    [(interface.LIGHT, ["ask", "ask", "answer", "answer"]), (0, ["ask", "answer"] * 2)],
)
def test_where_steps_are_light_all_processes_compile_the_first_batch_at_once(
    small_data, tmp_path, monkeypatch, light, order
):
    monkeypatch.setattr(interface, "LIGHT", light)
    plan = make_plan(profile="smoke", backends=("numpy",), data_dir=str(small_data), threads=1)
    with session.live(plan, tmp_path, Silent()) as live:
        found = []
        for way in ("ask", "answer"):
            of_worker = getattr(launch.Worker, way)

            def noted(worker, *what, way=way, of_worker=of_worker, **fields):
                if "case" in (*what[:1], worker._doing):
                    found.append(way)
                return of_worker(worker, *what, **fields)

            monkeypatch.setattr(launch.Worker, way, noted)
        live.trial({"numpy": None})
    assert found[:4] == order


def test_no_clean_value_of_any_batch_lies_above_a_third_of_its_limit(full):
    shares = {
        (m.rung, m.dtype, m.case, m.tensor): share(m, limit)
        for m in full.record.results["numpy"].measurements
        if m.rung in DECIDING and (limit := limit_for(m.rung, m.dtype, m.case))
    }
    assert max(shares.values()) <= 1 / 3, max(shares, key=shares.get)


def test_a_stored_record_of_every_rung_gives_the_same_verdict_again(full):
    again = msgspec.json.decode(msgspec.json.encode(full.record), type=type(full.record))
    assert to_json(again, judge(again), "x") == to_json(full.record, full.verdict, "x")


def test_the_start_is_screened_by_the_reference_alone(full):
    """The start's distances of a replica lie together: no unit was flipped in any of them."""
    replicas = [r.distance for r in full.record.envelope if r.regime == "start"]
    assert np.ptp(replicas) / np.mean(replicas) < 0.05
