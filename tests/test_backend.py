"""One backend at a time against the float64 judge; `--only-backend NAME` for the sessions that
have one framework only. Everything goes through a worker: no framework is imported here.
"""

from __future__ import annotations

import msgspec
import pytest

from backends import BACKENDS
from harness.checks.numbers import share
from harness.limits import DECIDING, limit_for
from harness.plan import Timing, available_threads, make_plan, missing
from tests.conftest import all_processors, carry_out, plant

QUICK = {"timing": Timing(sessions=1, rounds=0, warmup_rounds=0)}


def pytest_generate_tests(metafunc):
    if "name" in metafunc.fixturenames:
        only = metafunc.config.getoption("--only-backend")
        metafunc.parametrize("name", [only] if only else list(BACKENDS), scope="module")


@pytest.fixture(scope="module")
def settings(name, small_data, request):
    if missing(name):
        if request.config.getoption("--only-backend"):
            pytest.fail(f"{name} was asked for: {missing(name)}")
        pytest.skip(missing(name))
    return {"profile": "smoke", "backends": (name,), "data_dir": str(small_data), "threads": 1}


@pytest.fixture(scope="module")
def clean(settings, tmp_path_factory):
    with all_processors():
        words = settings | {"threads": available_threads()}
        return carry_out(make_plan(**words), tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory):
    """Float64 alone, one thread."""
    plan = make_plan(**settings, dtype="float64")
    return carry_out(plan, tmp_path_factory.mktemp("alone"))


def test_every_deciding_rung_agrees_with_the_float64_judge(clean, name):
    assert clean.json["verdict"] == "agree"
    for rung in DECIDING:
        assert clean.rung(name, rung) == "agree"


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


def test_nothing_aliases_the_callers_memory_in_either_direction(settings, name, tmp_path):
    """A caller that writes into everything it hands in or out, and watches what it was handed."""
    plan = make_plan(**settings, plants={name: plant("callers.py", "hostile")})
    outcome = carry_out(plan, tmp_path)
    assert outcome.verdict.labels[name].reason is None
    assert outcome.json["verdict"] == "agree"


def test_two_processes_train_the_same_from_the_same_numbers(settings, name, tmp_path, alone):
    plan = msgspec.structs.replace(make_plan(**settings, dtype="float64"), **QUICK)
    again = carry_out(plan, tmp_path)

    def series(outcome):
        return [t.losses for t in outcome.record.results[name].training]

    assert series(again) == series(alone)


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


@pytest.mark.parametrize("fault", ["aliasing_put", "handing_out_itself"])
def test_the_aliasing_test_catches_a_backend_that_aliases(settings, name, tmp_path, fault):
    plan = make_plan(**settings, dtype="float64", plants={name: plant("callers.py", fault)})
    outcome = carry_out(plan, tmp_path)
    if fault == "aliasing_put":
        assert outcome.json["first_divergence"]["rung"] == "inputs"
    else:
        assert "has changed" in outcome.verdict.labels[name].reason


def test_float64_alone_is_judged_whole(alone, name):
    entry = alone.json["backends"][name]
    assert alone.json["verdict"] == "agree"
    assert entry["dtype"] == "float64"
    assert len(alone.record.results[name].processes) == 1
    assert entry["test_accuracy"]["0"]


def test_the_threads_asked_for_are_the_threads_in_use(clean, alone, name):
    for outcome, threads in ((clean, clean.record.plan.threads), (alone, 1)):
        facts = outcome.record.results[name].processes[0].facts
        assert facts["threads"] == str(threads)


def test_cuda_agrees_where_there_is_a_device(settings, name, tmp_path):
    if "cuda" not in BACKENDS[name].devices:
        pytest.skip(f"{name} does not run on cuda")
    if missing(name, "cuda"):
        pytest.skip(missing(name, "cuda"))
    outcome = carry_out(make_plan(**settings, device="cuda"), tmp_path)
    assert outcome.json["verdict"] == "agree"
    assert outcome.json["backends"][name]["device"] == "cuda"
