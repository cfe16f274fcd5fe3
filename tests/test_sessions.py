"""Timing in sessions of fresh processes, with real workers: NumPy alone, so that it is quick."""

from __future__ import annotations

import msgspec
import pytest

from harness.record.store import read
from harness.workloads.reference.limits import DECIDING
from tests.conftest import carry_out, plant
from tests.make import make_plan

ROUNDS = 3
# What is asked here is timing; of the numbers only as much as shows that they are there.
LITTLE = {"checkpoints": (0, -1), "trajectory": None, "small_sizes": ()}


@pytest.fixture(scope="module")
def run(small_data, tmp_path_factory):
    """Run NumPy through a small plan of a few rounds."""

    def run_numpy(*, change=None, **words):
        settings = {"profile": "smoke", "backends": ("numpy",), "data_dir": str(small_data)}
        settings |= {"threads": 1, "timeout_s": 240.0, "rounds": ROUNDS} | words
        plan = msgspec.structs.replace(make_plan(**settings), **LITTLE | (change or {}))
        return carry_out(plan, tmp_path_factory.mktemp("sessions"))

    return run_numpy


@pytest.fixture(scope="module")
def twice(run):
    """Two sessions of NumPy, with nothing planted."""
    return run(sessions=2)


def of_session(results, session):
    return [r for r in results.rounds if r.session == session]


def test_every_session_has_a_process_of_its_own(twice):
    results = twice.record.results["numpy"]
    places = [(p.session, p.dtype, p.status) for p in results.processes]
    assert sorted(places) == [(0, "float32", "ok"), (0, "float64", "ok"), (1, "float32", "ok")]
    for session in (0, 1):
        assert [r.round for r in of_session(results, session)] == [*range(ROUNDS + 1)]
    first, second = (p for p in results.processes if p.dtype == "float32")
    assert first.facts == second.facts
    assert second.first_step_ns.keys() == {"256"}  # its numbers are not measured again
    assert second.import_ns > 0
    assert second.peak_rss_bytes > 0


def test_the_control_arm_enters_every_session_twice(twice):
    assert twice.record.plan.timing.again == "numpy"
    again = twice.record.again["numpy"]
    assert [(p.session, p.dtype, p.status) for p in again.processes] == [
        (0, "float32", "ok"),
        (1, "float32", "ok"),
    ]
    assert not again.measurements
    for session in (0, 1):
        assert len(of_session(again, session)) == ROUNDS + 1
    # In each round the two are timed side by side, each at a place of its own.
    for r, s in zip(twice.record.results["numpy"].rounds, again.rounds, strict=True):
        assert {r.place, s.place} == {0, 1}


def test_every_process_ends_at_the_same_parameters_in_every_session(twice):
    everything = [*twice.record.results["numpy"].rounds, *twice.record.again["numpy"].rounds]
    replayed = [r for r in everything if r.digest is not None]
    assert [(r.session, r.round) for r in replayed] == 2 * [(0, 1), (1, 1)]
    assert len({r.digest for r in replayed} | {r.replayed for r in replayed}) == 1


def test_a_round_holds_what_a_record_promises(twice):
    timing = twice.record.plan.timing
    for r in twice.record.results["numpy"].rounds:
        assert [len(series) for series in (r.step_ns, r.gather_ns, r.put_ns)] == 3 * [timing.steps]
        assert len(r.warmup_ns) == timing.warmup_steps
        assert len(r.products_ns) == timing.products
        assert (r.at_once, r.burst_steps, len(r.burst_ns)) == (1, timing.burst_steps, 2)
        assert len(r.drain_ns) == 2
        assert r.cpu_ns > 0
        assert min(*r.step_ns, *r.gather_ns, *r.put_ns, *r.products_ns, *r.burst_ns) > 0


def test_a_training_times_the_parts_of_every_step(twice):
    for training in twice.record.results["numpy"].training:
        if training.whole:
            steps = len(training.losses)
            parts = (training.step_ns, training.gather_ns, training.put_ns)
            assert [len(series) for series in parts] == 3 * [steps]
            assert sum(map(sum, parts)) <= sum(training.epoch_ns)


def test_two_sessions_are_told_and_claim_nothing(twice):
    assert (twice.json["verdict"], twice.exit_status) == ("agree", 0)
    time = twice.json["backends"]["numpy"]["step_time"]
    assert (time["sessions"], time["indicative"]) == (2, True)
    rung = twice.json["backends"]["numpy"]["rungs"]["timing"]
    assert "2 sessions, and a claim needs 5" in rung["reason"]
    assert {p["name"]: p["verdict"] for p in rung["parts"]}["itself"] == "inconclusive"


def test_a_record_of_two_sessions_is_the_same_after_it_was_stored(twice):
    stored = read(twice.folder)
    twice.record.samples = stored.samples  # which file holds them is not known before
    assert msgspec.to_builtins(stored) == msgspec.to_builtins(twice.record)


def test_a_worker_killed_in_a_later_session_leaves_what_was_measured_before(run):
    timing = make_plan(profile="smoke", sessions=3, rounds=ROUNDS).timing
    outcome = run(
        all_variants=True,
        plants={"numpy": plant("process.py", "dies_when_only_timed")},
        change={"timing": msgspec.structs.replace(timing, again=None)},
    )
    died, other = (outcome.record.results[name] for name in ("numpy", "numpy:plain"))
    assert len(of_session(died, 0)) == ROUNDS + 1
    assert [r.round for r in of_session(died, 1)] == [0]
    assert of_session(died, 2) == []
    assert [p.session for p in died.processes if p.dtype == "float32"] == [0, 1]
    assert "SIGKILL" in next(p.reason for p in died.processes if p.session == 1)
    for session in (0, 1, 2):
        assert len(of_session(other, session)) == ROUNDS + 1
    entries = outcome.json["backends"]
    assert (entries["numpy"]["status"], entries["numpy:plain"]["status"]) == ("failed", "ok")
    assert "SIGKILL" in entries["numpy"]["reason"]
    for name in entries:
        assert {entries[name]["rungs"][rung]["verdict"] for rung in DECIDING} == {"agree"}
        assert entries[name]["step_time"]["steps"] > 0
    assert (outcome.json["verdict"], outcome.exit_status) == ("failed", 3)


def training(outcome, dtype):
    found = (t for t in outcome.record.results["numpy"].training if t.dtype == dtype and t.whole)
    return next(found)


def test_many_steps_made_as_one_are_trained_and_timed_as_one(run, twice):
    outcome = run(plants={"numpy": plant("steps.py", "runs_many")})
    assert outcome.json["verdict"] == "agree"
    assert {outcome.rung("numpy", rung) for rung in DECIDING} == {"agree"}
    alone, together = training(twice, "float32"), training(outcome, "float32")
    assert together.losses == alone.losses
    assert together.final_norms == alone.final_norms
    assert len(together.step_ns) == len(alone.step_ns)
    process = next(p for p in outcome.record.results["numpy"].processes if p.dtype == "float32")
    assert min(process.first_step_ns[size] for size in ("256 x 12", "256")) > 0
    rounds = outcome.record.results["numpy"].rounds
    for r in rounds:
        assert (r.at_once, len(r.step_ns), len(r.gather_ns)) == (12, 1, 12)
        # Warm-up and bursts are whole calls as well.
        assert (len(r.warmup_ns), r.burst_steps) == (2, 12)
    one = twice.record.results["numpy"].rounds[1]
    assert rounds[1].replayed == rounds[1].digest
    # A warm-up of whole calls has other steps than one of single steps.
    assert rounds[1].digest != one.digest
    time = outcome.json["backends"]["numpy"]["step_time"]
    assert (time["at_once"], time["steps"]) == (12, 12 * ROUNDS)


def test_one_update_fewer_in_many_steps_made_as_one_is_caught_by_lockstep(run):
    outcome = run(plants={"numpy": plant("steps.py", "runs_one_fewer")})
    assert outcome.exit_status == 1
    first = outcome.json["first_divergence"]
    assert (first["label"], first["rung"]) == ("numpy", "lockstep")
    for rung in DECIDING[: DECIDING.index("lockstep")]:
        assert outcome.rung("numpy", rung) == "agree"
