"""One backend at a time against the float64 judge; `--only-backend NAME` for the sessions that
have one framework only, `--only-python PATH` where it has an environment of its own. Everything
goes through a worker: no framework is imported here.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from backends import BACKENDS
from harness.conformance import CHECKS, certify
from harness.plan.make import available_threads, missing
from harness.plan.model import Timing
from harness.report.certificate import explanations
from harness.verdict.numbers import share
from harness.workers.pool import open_worker
from harness.workloads.reference.limits import DECIDING, limit_for
from tests.conftest import Silent, all_processors, carry_out, plant
from tests.make import make_plan


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        only = metafunc.config.getoption("--only-backend")
        metafunc.parametrize("name", [only] if only else list(BACKENDS), scope="module")


@pytest.fixture(scope="module")
def settings(name, small_data, request):
    python = request.config.getoption("--only-python")
    if not python and missing(name):
        if request.config.getoption("--only-backend"):
            pytest.fail(f"{name} was asked for: {missing(name)}")
        pytest.skip(missing(name))
    words = {"profile": "smoke", "backends": (name,), "data_dir": str(small_data), "threads": 1}
    return words | ({"pythons": {name: python}} if python else {})


@pytest.fixture(scope="module")
def clean(settings, tmp_path_factory):
    return carry_out(make_plan(**settings), tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory):
    """Float64 alone, one thread, untimed."""
    plan = make_plan(**settings, dtype="float64")
    plan = replace(plan, timing=Timing(sessions=1, rounds=0, warmup_rounds=0))
    return carry_out(plan, tmp_path_factory.mktemp("alone"))


def test_every_deciding_rung_agrees_with_the_float64_judge(clean, name):
    assert {rung: clean.rung(name, rung) for rung in DECIDING} == dict.fromkeys(DECIDING, "agree")
    # Its clocks are another matter: five rounds on a busy machine.
    assert clean.json["backends"][name]["status"] == "ok"


def test_no_clean_value_lies_above_a_third_of_its_limit(clean, name):
    shares = {
        (m.rung, m.dtype, m.case, m.tensor): share(m, limit)
        for m in clean.record.results[name].measurements
        if (limit := limit_for(m.rung, m.dtype, m.case))
    }
    assert max(shares.values()) <= 1 / 3, max(shares, key=shares.get)
    assert {key[1] for key in shares} == {"float32", "float64"}


def test_the_steps_were_timed_and_the_first_ones_kept(clean, name):
    time = clean.json["backends"][name]["step_time"]
    assert time["steps"] == 5 * 12
    assert 0 < time["median_ns"] < 1_000_000_000
    process = clean.record.results[name].processes[0]
    assert {"256", "112", "7", "1"} == set(process.first_step_ns)
    assert process.peak_rss_bytes > 10_000_000


def test_the_record_says_what_was_used(clean, name):
    entry = clean.json["backends"][name]
    assert entry["versions"]
    assert entry["python"]
    facts = clean.record.results[name].processes[0].facts
    assert int(facts["threads"]) == clean.record.plan.threads
    assert facts["device"]


def test_it_is_certified(settings, name, request):
    """Copying, aliasing, threads, repeatability: every check of the conformance kit."""
    if name == "numpy" and not request.config.getoption("--only-backend"):
        pytest.skip("test_certify.py does that, from the command line")
    python = settings.get("pythons", {}).get(name)
    found = certify.certify(certify.ask_for(name, python=python), Silent())
    assert found.verdict == "certified", explanations(found)
    told = {(result.check, result.dtype): result.status for result in found.results}
    assert {*told} == {(check.name, dtype) for check in CHECKS for dtype in check.dtypes}
    assert "expected" not in told.values()
    # More threads than asked for do not show on one processor: beside another pytest.
    impossible = {check for (check, _), status in told.items() if status == "not-possible"}
    assert impossible <= {"run", "trace", "training-outputs", "threads"}


def test_two_processes_train_the_same_from_the_same_numbers(clean, alone, name):
    """Bit for bit, whatever else each of them did before."""
    (held,), (free,) = (
        [t for t in outcome.record.results[name].training if t.dtype == "float64"]
        for outcome in (clean, alone)
    )
    assert 0 < len(held.losses) <= len(free.losses)
    assert free.losses[: len(held.losses)] == held.losses


@pytest.mark.parametrize(
    ("fault", "rung"), [("lr_one_per_mille", "update"), ("every_tenth_batch_ignored", "lockstep")]
)
def test_a_fault_planted_in_this_backend_is_caught(settings, name, tmp_path, fault, rung, request):
    if not request.config.getoption("--only-backend"):
        pytest.skip("test_faults.py plants these where every backend is tested")
    plan = make_plan(**settings, dtype="float64", plants={name: plant("numbers.py", fault)})
    outcome = carry_out(plan, tmp_path)
    assert outcome.exit_status == 1
    assert outcome.json["first_divergence"]["rung"] == rung


def test_float64_alone_is_judged_whole(alone, name):
    entry = alone.json["backends"][name]
    assert alone.json["verdict"] == "agree"
    assert entry["dtype"] == "float64"
    assert len(alone.record.results[name].processes) == 1
    assert entry["test_accuracy"]["0"]


def test_the_threads_asked_for_are_the_threads_in_use(settings, clean, name, tmp_path):
    plan = make_plan(**settings | {"threads": available_threads()})
    with all_processors():
        worker = open_worker(
            plan, name, "float32", name=name, run="r", logs=tmp_path, scratch=tmp_path
        )
        try:
            many = worker.answer()["facts"]
        finally:
            worker.end()
    one = clean.record.results[name].processes[0].facts
    assert (one["threads"], many["threads"]) == ("1", str(available_threads()))


def test_cuda_agrees_where_there_is_a_device(settings, name, tmp_path):
    if name not in BACKENDS or "cuda" not in BACKENDS[name].devices:
        pytest.skip(f"{name} does not run on cuda")
    if missing(name, "cuda"):
        pytest.skip(missing(name, "cuda"))
    outcome = carry_out(make_plan(**settings, device="cuda"), tmp_path)
    assert outcome.json["verdict"] == "agree"
    assert outcome.json["backends"][name]["device"] == "cuda"
