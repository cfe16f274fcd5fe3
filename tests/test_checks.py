"""A verdict says what a record shows: no more, no less, and the first divergence by name."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.record.schema import Number, Record, Worst
from harness.verdict.document import Document
from harness.verdict.timings import median_interval
from harness.verdict.verdict import document as verdict_json
from harness.verdict.verdict import exit_status, judge
from harness.workloads.reference.limits import DECIDING, LIMITS, RUNGS, limit_for
from tests import make


def status(made: Record, *, strict: bool = False) -> int:
    return exit_status(made, judge(made), strict=strict)


def off(made: Record, name: str, rung: str, distance: Number, **where: Any) -> None:
    """Plant a distance in the first measurement that fits."""
    found = make.find(made, name, rung, **where)
    found.distance = distance
    found.worst = Worst(index=[5, 6], got=2.5, want=2.25, in_rms=1.0)


# -- the verdict -----------------------------------------------------------------------------


def test_a_clean_record_agrees() -> None:
    made = make.record()
    verdict = judge(made)
    assert verdict.verdict == "agree"
    assert "2 of 2 backends compute the same as harness/float64" in verdict.summary
    assert verdict.first_divergence is None
    assert status(made) == status(made, strict=True) == 0
    for label in verdict.labels.values():
        assert {label.findings[rung].verdict for rung in DECIDING} == {"agree"}
        assert label.agrees


@pytest.mark.parametrize(
    ("rung", "dtype"),
    [(r, d) for r in DECIDING for d in ("float32", "float64") if (r, d) != ("lockstep", "float32")],
)
def test_one_measurement_over_its_limit_disagrees_and_is_named(rung: str, dtype: str) -> None:
    made = make.record()
    case, step = ("after step 9", 9) if rung == "lockstep" else ("step 10", 10)
    limit = limit_for(rung, dtype, case)
    assert limit is not None
    distance = 1.01 * limit.value if limit.value else 1.0
    tensor = {"inputs": "W1", "forward": "logits", "loss": "loss"}.get(rung, "b1")
    off(made, "torch", rung, distance, dtype=dtype, step=step, tensor=tensor)
    verdict = judge(made)
    assert verdict.verdict == "disagree"
    assert status(made) == 1
    assert verdict.first_divergence is not None
    wanted = {
        "label": "torch",
        "rung": rung,
        "step": step,
        "tensor": tensor,
        "index": [5, 6],
        "expected": 2.25,
        "got": 2.5,
        "distance": distance,
        "limit": limit.value,
        "dtype": dtype,
        "case": case,
    }
    assert msgspec.structs.asdict(verdict.first_divergence).items() >= wanted.items()
    for word in ("torch", rung, case, tensor, "[5, 6]", "2.5", "2.25"):
        assert word in verdict.summary
    assert "numpy agree" in verdict.summary
    findings = verdict.labels["torch"].findings
    assert [r for r in DECIDING if findings[r].verdict != "agree"] == [rung]
    assert verdict.labels["numpy"].agrees


@pytest.mark.parametrize("rung", DECIDING)
def test_a_measurement_at_its_limit_agrees(rung: str) -> None:
    made = make.record()
    for m in made.results["torch"].measurements:
        if m.rung == rung and (limit := limit_for(rung, m.dtype, m.case)):
            m.distance = limit.value
    assert judge(made).verdict == "agree"


def test_the_lowest_rung_and_then_the_earliest_step_is_the_first_divergence() -> None:
    made = make.record()
    off(made, "numpy", "update", 1.0, step=0)
    off(made, "torch", "gradients", 1.0, case="corner")
    off(made, "torch", "gradients", 0.5, step=10, tensor="b1")
    first = judge(made).first_divergence
    assert first is not None
    assert (first.label, first.rung, first.step, first.distance) == (
        "torch",
        "gradients",
        10,
        0.5,
    )
    off(made, "numpy", "gradients", 0.25, step=0)
    first = judge(made).first_divergence
    assert first is not None
    assert (first.label, first.step) == ("numpy", 0)


def test_the_earliest_step_is_reported_whatever_the_order_in_the_record() -> None:
    made = make.record(("numpy",))
    off(made, "numpy", "lockstep", 1.0, step=9)
    off(made, "numpy", "lockstep", 2.0, step=234)
    made.results["numpy"].measurements.reverse()
    first = judge(made).first_divergence
    assert first is not None
    assert first.step == 9


@pytest.mark.parametrize("rung", DECIDING)
def test_a_problem_disagrees_and_is_told(rung: str) -> None:
    made = make.record()
    found = make.find(made, "torch", rung, dtype="float64")
    found.distance, found.problem = None, "NaN only in what was got, at [0, 1] (2 elements differ)"
    verdict = judge(made)
    assert verdict.verdict == "disagree"
    assert "NaN only in what was got" in verdict.summary
    assert verdict.first_divergence is not None
    assert verdict.first_divergence.problem == found.problem


@pytest.mark.parametrize("rung", DECIDING)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", None])
def test_a_distance_that_is_no_number_disagrees(rung: str, value: Any) -> None:
    made = make.record()
    off(made, "torch", rung, value, dtype="float64")
    assert judge(made).verdict == "disagree"
    assert status(made) == 1


def test_a_missing_case_is_inconclusive_and_named() -> None:
    made = make.record()
    results = made.results["torch"]
    results.measurements = [
        m for m in results.measurements if (m.dtype, m.case) != ("float64", "corner")
    ]
    verdict = judge(made)
    assert verdict.verdict == "inconclusive"
    assert "torch gradients" in verdict.summary
    assert "corner in float64" in verdict.labels["torch"].findings["gradients"].sentence
    assert verdict.labels["torch"].findings["lockstep"].verdict == "agree"
    assert (status(made), status(made, strict=True)) == (0, 1)


def test_a_divergence_weighs_more_than_a_missing_case() -> None:
    made = make.record()
    results = made.results["torch"]
    results.measurements = [m for m in results.measurements if m.case != "corner"]
    off(made, "torch", "gradients", 1.0)
    assert judge(made).verdict == "disagree"


def test_a_device_without_float64_is_judged_by_the_other_rungs() -> None:
    labels = {"torch": make.label("torch", twin=False)}
    made = make.record(
        ("torch",),
        plan=make.plan(("torch",), labels=labels),
        results={"torch": make.results("torch", dtypes=("float32",))},
    )
    verdict = judge(made)
    assert verdict.verdict == "agree"
    assert verdict.labels["torch"].findings["lockstep"].verdict == "not-possible"


# -- how a run ended -------------------------------------------------------------------------


def test_a_failed_worker_fails_the_run_even_when_others_disagree() -> None:
    made = make.record(("numpy", "torch", "jax"))
    off(made, "torch", "forward", 1.0)
    make.fail(made, "jax", "died of SIGSEGV")
    verdict = judge(made)
    assert verdict.verdict == "failed"
    assert status(made) == status(made, strict=True) == 3
    for told in ("1 of 3 backends failed", "jax: died of SIGSEGV", "disagree: torch"):
        assert told in verdict.summary
    assert verdict.first_divergence is not None
    assert verdict.labels["jax"].status == "failed"


def test_a_skipped_backend_is_counted_in_the_headline() -> None:
    made = make.record(("numpy", "torch", "jax", "tensorflow"))
    make.skip(made, "tensorflow", "tensorflow not installed")
    verdict = judge(made)
    assert verdict.verdict == "agree"
    assert status(made) == 0
    assert verdict.summary.startswith("3 of 4 backends")
    assert "skipped: tensorflow (tensorflow not installed)" in verdict.summary
    assert verdict.labels["tensorflow"].findings == {}


def test_a_finished_record_without_a_labels_results_or_its_twin_is_failed() -> None:
    made, twinless = make.record(), make.record()
    del made.results["torch"]
    twin = twinless.results["torch"].processes[1]
    twin.status, twin.reason = "failed", "time-out"
    for each, word in ((made, "torch"), (twinless, "torch: time-out")):
        assert judge(each).verdict == "failed"
        assert word in judge(each).summary
        assert status(each) == 3


def test_a_skipped_float64_twin_hides_nothing_of_the_float32_process() -> None:
    made = make.record()
    twin = made.results["torch"].processes[1]
    twin.status, twin.reason = "skipped", "no float64 on this device"
    made.results["torch"].measurements = [
        m for m in made.results["torch"].measurements if m.dtype == "float32"
    ]
    verdict = judge(made)
    assert verdict.verdict == "agree"
    assert verdict.labels["torch"].findings["lockstep"].verdict == "not-possible"
    make.find(made, "torch", "forward", step=0).distance = 1.0
    assert judge(made).verdict == "disagree"


@pytest.mark.parametrize("rung", DECIDING)
def test_one_missing_measurement_makes_its_rung_inconclusive(rung: str) -> None:
    count = len([m for m in make.record().results["torch"].measurements if m.rung == rung])
    assert count > 1
    for number in range(count):
        made = make.record()
        measurements = made.results["torch"].measurements
        measurements.remove([m for m in measurements if m.rung == rung][number])
        verdict = judge(made)
        assert verdict.labels["torch"].findings[rung].verdict == "inconclusive"
        assert verdict.verdict == "inconclusive"


def test_a_measurement_without_a_limit_is_not_agreement() -> None:
    fewer = tuple(x for x in LIMITS if (x.rung, x.dtype) != ("gradients", "float64"))
    verdict = judge(make.record(), fewer)
    assert verdict.verdict == "inconclusive"
    assert "no limit" in verdict.labels["numpy"].findings["gradients"].sentence


def test_a_stored_known_answer_that_is_wrong_is_failed() -> None:
    made = make.record()
    made.known_answers[0].got = "2"
    assert judge(made).verdict == "failed"
    assert status(made) == 3


def test_a_lockstep_run_cut_short_is_no_training_to_judge() -> None:
    made = with_training(whole=False, epoch_losses=[1.04], test_accuracy=[])
    made.ended = "interrupted"
    assert accuracy_of(made) == "inconclusive"


def test_nothing_compared_is_inconclusive() -> None:
    made = make.record()
    make.skip(made, "numpy")
    make.skip(made, "torch")
    assert judge(made).verdict == "inconclusive"


def test_a_record_without_cases_does_not_agree() -> None:
    made = make.record(cases=[])
    for results in made.results.values():
        results.measurements = [m for m in results.measurements if m.rung == "lockstep"]
    assert judge(made).verdict == "inconclusive"


def test_an_interrupted_run_ends_with_130_and_never_agrees() -> None:
    made = make.record(ended="interrupted")
    verdict = judge(made)
    assert verdict.verdict == "inconclusive"
    assert "interrupted" in verdict.summary
    assert status(made) == status(made, strict=True) == 130
    off(made, "torch", "forward", 1.0)
    assert judge(made).verdict == "disagree"
    assert status(made) == 130


def test_a_run_that_the_harness_itself_broke_off_has_failed() -> None:
    made = make.record(ended="known answers of the shared code: W1, seed 0")
    verdict = judge(made)
    assert verdict.verdict == "failed"
    assert "W1, seed 0" in verdict.summary
    assert status(made) == 3


def test_synthetic_data_and_planted_faults_stand_in_the_summary() -> None:
    labels = {"torch": make.label("torch", plant="lr.py:wrong")}
    made = make.record(
        ("torch",),
        plan=make.plan(("torch",), labels=labels),
        dataset=make.dataset(name="synthetic", synthetic=True, sha256="other"),
    )
    summary = judge(made).summary
    assert "SYNTHETIC data" in summary
    assert "FAULT PLANTED in torch (lr.py:wrong)" in summary


def test_rungs_that_may_stay_open_are_named_in_the_same_sentence() -> None:
    assert "trajectory, accuracy, timing inconclusive" in judge(make.record()).summary


# -- accuracy --------------------------------------------------------------------------------


def accuracy_of(made: Record) -> str:
    return judge(made).labels["numpy"].findings["accuracy"].verdict


def with_training(**changes: Any) -> Record:
    made = make.record(("numpy",))
    made.results["numpy"].training = [make.training(**changes)]
    make.evaluated(made.results["numpy"])
    return made


def test_one_seed_inside_the_sanity_band_is_not_yet_agreement() -> None:
    made = with_training()
    assert accuracy_of(made) == "inconclusive"
    sentence = judge(made).labels["numpy"].findings["accuracy"].sentence
    assert "1 seed: inside the sanity band" in sentence
    assert "at least 5" in sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch_losses": [1.0, 0.5, 0.4, 0.3749]},
        {"epoch_losses": [1.0, 0.5, 0.4, 0.3901]},
        {"test_accuracy": [0.7, 0.8, 0.8, 0.8]},
        {"test_accuracy": [0.7, 0.87, 0.87, 0.87]},
    ],
)
def test_a_training_outside_the_sanity_band_disagrees_on_the_real_data_only(
    changes: dict[str, Any],
) -> None:
    made = with_training(**changes)
    assert accuracy_of(made) == "disagree"
    assert judge(made).verdict == "disagree"
    assert status(made) == 1
    first = judge(made).first_divergence
    assert first is not None
    assert first.rung == "accuracy"
    made.dataset = make.dataset(sha256="other", synthetic=True)
    assert accuracy_of(made) == "inconclusive"
    assert judge(made).verdict == "agree"


def test_the_sanity_band_is_for_whole_schedules_only() -> None:
    made = with_training(epoch_losses=[2.0], test_accuracy=[0.3])
    assert accuracy_of(made) == "disagree"
    made.plan = make.plan(("numpy",), steps=30)
    assert accuracy_of(made) == "inconclusive"
    shorter = msgspec.structs.replace(make.plan().workload, epochs=4)
    made.plan = make.plan(("numpy",), workload=shorter)
    assert accuracy_of(made) == "inconclusive"


@pytest.mark.parametrize("field", ["losses", "test_accuracy"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_training_that_is_not_finite_disagrees_on_any_data(field: str, value: str) -> None:
    made = with_training(**{field: [0.5, value]})
    made.dataset = make.dataset(sha256="other", synthetic=True)
    assert accuracy_of(made) == "disagree"
    assert judge(made).verdict == "disagree"


def test_the_whole_training_of_each_seed_in_the_labels_dtype_is_judged() -> None:
    made = with_training()
    short = make.training(whole=False, losses=[1.0], test_accuracy=[0.1], epoch_losses=[2.0])
    wide = make.training(dtype="float64", test_accuracy=[0.1], epoch_losses=[2.0])
    made.results["numpy"].training += [short, wide]
    assert accuracy_of(made) == "inconclusive"
    made.results["numpy"].training.append(make.training(seed=1, test_accuracy=[0.1]))
    finding = judge(made).labels["numpy"].findings["accuracy"]
    assert finding.verdict == "disagree"
    assert "seed 1" in finding.sentence


# -- timing ----------------------------------------------------------------------------------


def coverage(low: int, high: int, n: int) -> float:
    """P(x_(low) <= median <= x_(high)), order statistics counted from 1: brute force."""
    return float(sum(binom.pmf(k, n, 0.5) for k in range(low, high)))


@pytest.mark.parametrize("n", [*range(6, 80), 150, 301])
def test_the_interval_of_the_median_covers_95_percent_and_no_narrower_one_does(n: int) -> None:
    low, high = median_interval([float(i) for i in range(1, n + 1)])
    assert (int(low), int(high)) == (low, high)
    assert low + high == n + 1
    assert coverage(int(low), int(high), n) >= 0.95
    if low + 1 < high - 1:
        assert coverage(int(low) + 1, int(high) - 1, n) < 0.95


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_the_interval_of_the_median_does_not_depend_on_order(values: list[int]) -> None:
    low, high = median_interval(values)
    assert (low, high) == median_interval(values[::-1])
    assert min(values) <= low <= high <= max(values)
    if len(values) < 6:
        assert (low, high) == (min(values), max(values))


def test_step_times_are_of_the_rounds_after_warm_up() -> None:
    made = make.record()
    for r in made.results["numpy"].rounds:  # long enough for a multiple of them to be told
        r.step_ns = [100 * ns for ns in r.step_ns]
    made.results["numpy"].rounds[0].step_ns = [10**9]
    time = judge(made).labels["numpy"].step_time
    assert time is not None
    assert 100_000 <= time.median_ns <= 101_400
    assert time.steps == 7 * 3
    assert time.spread_ns == [100_100, 100_700]
    assert (time.put_median_ns, time.gather_median_ns, time.gemm_floor_ns) == (20, 10, 450)
    # The ratio is formed within each of the rounds 1 to 7; the median round's is told.
    assert time.floor_ratio == pytest.approx(100_400 / 450)
    assert time.compile_ns == 0


def test_a_record_without_rounds_has_no_step_time() -> None:
    made = make.record()
    for results in made.results.values():
        results.rounds = []
    verdict = judge(made)
    assert verdict.verdict == "agree"
    assert {label.step_time for label in verdict.labels.values()} == {None}
    assert "nothing was timed" in verdict.labels["torch"].findings["timing"].sentence


# -- verdict.json ----------------------------------------------------------------------------

TOP = {"schema", "verdict", "summary", "profile", "workload", "dataset", "reference", "record",
       "backends", "first_divergence", "other_limits"}  # fmt: skip
# What history asks of a run, and what came later, beside the names that are fixed.
ABOUT = {
    "failure",
    "operators",
    "run",
    "started",
    "seconds",
    "ended",
    "harness_version",
    "machine",
    "processor",
    "threads",
}
DATASET = {"name", "synthetic", "sha256", "train", "test"}
BACKEND = {"status", "reason", "backend", "device", "dtype", "variant", "precision", "python",
           "versions", "rungs", "train_loss", "test_accuracy", "step_time",
           "peak_rss_bytes"}  # fmt: skip
STEP_TIME = {"median_ns", "ci95_ns", "first_step_ns", "compile_ns", "put_median_ns",
             "gemm_floor_ns", "floor_ratio", "steps", "sessions"}  # fmt: skip
DIVERGENCE = {"label", "rung", "step", "tensor", "index", "expected", "got", "distance", "limit"}


def document(made: Record) -> Any:
    """verdict.json as others read it; what the harness itself reads from it is what it wrote."""
    written = verdict_json(made, judge(made), "results/runs/x")
    text = json.dumps(written.plain(), allow_nan=False)
    assert msgspec.json.decode(text, type=Document) == written
    return json.loads(text)


def test_verdict_json_has_the_fields_that_were_promised() -> None:
    made = make.record()
    off(made, "torch", "gradients", 1.0)
    found = document(made)
    assert found.keys() == TOP | ABOUT
    assert found["schema"] == 1
    assert found["record"] == "results/runs/x"
    assert found["dataset"].keys() == DATASET
    assert found["backends"].keys() == {"numpy", "torch"}
    for backend in found["backends"].values():
        assert backend.keys() >= BACKEND
        assert backend["rungs"].keys() == set(RUNGS)
        for rung in backend["rungs"].values():
            assert rung.keys() >= {"verdict", "value", "limit"}
            assert rung["verdict"] in ("agree", "disagree", "inconclusive", "not-possible")
        assert backend["step_time"].keys() >= STEP_TIME
        assert backend["train_loss"] == {"0": [1.0, 0.5, 0.39, 0.38]}
        assert backend["test_accuracy"] == {"0": [0.7, 0.83, 0.84, 0.835]}
        assert backend["versions"] == {"numpy": "2.4.6"}
        assert (backend["python"], backend["peak_rss_bytes"]) == ("3.11.2", 10**8)
    assert found["first_divergence"].keys() >= DIVERGENCE
    assert found["first_divergence"]["label"] == "torch"


def test_verdict_json_is_strict_json_whatever_is_not_finite() -> None:
    made = with_training(losses=["nan"], epoch_losses=["nan"], test_accuracy=["inf"])
    for m, value in zip(
        made.results["numpy"].measurements, ["nan", "inf", "-inf"] * 9, strict=False
    ):
        m.distance = value
        m.want_norm = m.got_norm = value
        m.worst = Worst(index=[0], got=value, want="nan", in_rms="inf")
    found = document(made)
    assert found["verdict"] == "disagree"
    assert found["first_divergence"]["distance"] in ("nan", "inf", "-inf")
    assert found["backends"]["numpy"]["train_loss"] == {"0": ["nan"]}
    assert found["backends"]["numpy"]["test_accuracy"] == {"0": ["inf"]}


def test_verdict_json_of_a_run_that_hardly_began_is_whole() -> None:
    made = make.record(dataset=None, results={}, cases=[], ended="interrupted")
    make.skip(made, "torch")
    found = document(made)
    assert found.keys() == TOP | ABOUT
    assert found["dataset"].keys() == DATASET
    assert found["verdict"] == "inconclusive"
    assert found["backends"]["torch"]["status"] == "skipped"
    assert found["backends"]["torch"]["reason"] == "torch not installed"
    assert found["backends"]["torch"]["step_time"] is None


def test_judging_changes_nothing_in_the_record() -> None:
    made = make.record()
    off(made, "torch", "gradients", 1.0)
    before = msgspec.json.encode(made)
    judge(made)
    assert msgspec.json.encode(made) == before
