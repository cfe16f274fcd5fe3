"""The rung timing: five parts, each with three answers, at and beside its limits; no more is said.

Pure: made records, no process and no clock. What real workers do is in test_sessions.py.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import BACKENDS
from harness.errors import InputError
from harness.plan.model import CONTROL, Plan
from harness.plan.profiles import TABLE
from harness.record.schema import Record, Repeat, Roof, Round
from harness.report import roofline, run_tables, words
from harness.report.ladder import ladder
from harness.report.run import as_markdown
from harness.report.run_tables import Run
from harness.verdict import verdict
from harness.verdict.finding import Finding, Part
from harness.verdict.timing import LEAST_BURSTS, LEAST_DRAIN_NS
from harness.verdict.timings import StepTime
from harness.verdict.verdict import exit_status, judge, to_json
from harness.workers.desks.timing import cycled
from harness.workers.desks.training import shared, step_groups
from harness.workloads.reference.limits import RUNGS
from tests import make
from tests.make import make_plan

FLOOR = 700_000  # the fastest products of a made record, nanoseconds


def timing_of(made: Record, name: str = "torch") -> Finding:
    return judge(made).labels[name].findings["timing"]


def part_of(made: Record, part: str, name: str = "torch") -> Part:
    return next(p for p in timing_of(made, name).parts if p.name == part)


def step_time(made: Record, name: str = "torch") -> StepTime:
    found = judge(made).labels[name].step_time
    assert found is not None
    return found


def rounds_of(made: Record, name: str = "torch", session: int | None = None) -> list[Round]:
    return [r for r in made.results[name].rounds if session in (None, r.session)]


def every(made: Record, name: str, **change: Callable[[Round], Any]) -> None:
    """Set fields of every round of a label to what a function makes of that round."""
    for r in rounds_of(made, name):
        for field, value in change.items():
            setattr(r, field, value(r))


def slow(r: Round, by: float) -> None:
    """Everything that a step takes, longer by a factor; its floor stays."""
    for field in ("step_ns", "burst_ns", "warmup_ns"):
        setattr(r, field, [round(ns * by) for ns in getattr(r, field)])


def change_timing(made: Record, **changes: Any) -> None:
    timing = msgspec.structs.replace(made.plan.timing, **changes)
    made.plan = msgspec.structs.replace(made.plan, timing=timing)


# -- the whole -------------------------------------------------------------------------------


def test_a_clean_record_of_five_sessions_agrees_in_every_part() -> None:
    made = make.timed()
    for name in ("numpy", "torch"):
        finding = timing_of(made, name)
        assert finding.verdict == "agree"
        assert [p.name for p in finding.parts] == ["itself", "clocks", "physics", "across"]
        assert {p.verdict for p in finding.parts} == {"agree"}
        assert (finding.value, finding.limit) == (finding.parts[3].value, 4.0)
    assert timing_of(made).value == pytest.approx(1.5, rel=1e-4)
    assert "1.50 [1.50, 1.50] times the fastest here (numpy), band 4" in timing_of(made).sentence
    verdict = judge(made)
    assert (verdict.verdict, exit_status(made, verdict)) == ("agree", 0)
    assert "timing inconclusive" not in verdict.summary


@pytest.mark.parametrize("sessions", [1, 2, 4])
def test_fewer_than_five_sessions_never_claim_anything(sessions: int) -> None:
    made = make.timed(number=sessions)
    every(made, "torch", step_ns=lambda r: [20 * ns for ns in r.step_ns])
    every(made, "torch", burst_ns=lambda r: [20 * ns for ns in r.burst_ns])
    for name in ("numpy", "torch"):
        finding = timing_of(made, name)
        assert finding.verdict == "inconclusive"
        assert f"indicative: {sessions} session" in finding.sentence
        assert step_time(made, name).indicative
        assert step_time(made, name).floor_ci95 is None
    assert part_of(made, "across").verdict == "inconclusive"
    assert part_of(made, "across", "numpy").verdict == "agree"
    assert {row[-1] for row in run_tables.ratios(Run(made, judge(made))).texts} == {
        "no: too few sessions"
    }
    assert (judge(made).verdict, exit_status(made, judge(made))) == ("agree", 0)


def test_a_disagreement_weighs_more_than_an_open_part_and_that_more_than_agreement() -> None:
    made = make.timed(number=2)
    every(made, "torch", drain_ns=lambda r: [3_000_000, 100_000])
    finding = timing_of(made)
    assert {p.verdict for p in finding.parts} == {"inconclusive", "disagree", "agree"}
    assert finding.verdict == "disagree"
    assert finding.sentence.startswith("torch, timing: ")
    assert "indicative" not in finding.sentence
    made = make.timed(number=2)
    assert {p.verdict for p in timing_of(made).parts} == {"inconclusive", "agree"}
    assert timing_of(made).verdict == "inconclusive"


def test_a_disagreement_of_timing_alone_is_exit_status_1() -> None:
    made = make.timed()
    for r in rounds_of(made):
        slow(r, 3)
    verdict = judge(made)
    assert (verdict.verdict, exit_status(made, verdict)) == ("disagree", 1)
    assert "torch disagrees: torch, timing: 4.50 [4.50, 4.50] times the fastest" in verdict.summary


# -- itself ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("factor", "want"), [(1.12, "agree"), (1.17, "inconclusive")])
def test_sessions_may_lie_so_far_apart_and_no_further(factor: float, want: str) -> None:
    """The limit is 1.15; the made sessions differ by .8 % in the first place."""
    made = make.timed()
    for r in rounds_of(made, session=3):
        slow(r, factor)
    part = part_of(made, "itself")
    assert part.verdict == want
    assert isinstance(part.value, float)
    assert (part.value > 1.15) == (want == "inconclusive")
    assert part_of(made, "itself", "numpy").verdict == "agree"


def test_a_machine_that_is_slower_in_one_session_is_no_spread() -> None:
    made = make.timed()
    for results in (*made.results.values(), *made.again.values()):
        for r in results.rounds:
            if r.session == 2:
                slow(r, 1.5)
                r.products_ns = [round(1.5 * ns) for ns in r.products_ns]
    for name in ("numpy", "torch"):
        assert timing_of(made, name).verdict == "agree"
        assert step_time(made, name).floor_ratio == pytest.approx(
            {"numpy": 1.0, "torch": 1.5}[name] * 1_000_000 / 705_000, rel=0.01
        )


def test_a_against_a_that_claims_a_difference_leaves_every_label_open() -> None:
    made = make.timed(("numpy", "torch", "jax"))
    for r in made.again["numpy"].rounds:
        slow(r, 1.05)
    for name in ("numpy", "torch", "jax"):
        part = part_of(made, "itself", name)
        assert part.verdict == "inconclusive"
        assert "two processes of numpy differ: 0.951" in part.sentence
        assert timing_of(made, name).verdict == "inconclusive"
    assert [run_tables.ratios(Run(made, judge(made))).texts[-1][column] for column in (0, -1)] == [
        "numpy / numpy, A/A",
        "yes",
    ]


def test_a_against_a_within_three_percent_is_no_difference() -> None:
    made = make.timed()
    for r in made.again["numpy"].rounds:
        slow(r, 1.025)
    assert part_of(made, "itself").verdict == "agree"
    change_timing(made, least=0.02)
    assert part_of(made, "itself").verdict == "inconclusive"


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_against_a_that_was_not_measured_is_not_inside_the_band(left: int) -> None:
    made = make.timed()
    made.again["numpy"].rounds = [r for r in made.again["numpy"].rounds if r.session < left]
    part = part_of(made, "itself")
    assert part.verdict == "inconclusive"
    assert ("was not timed" if left == 0 else f"in {left} sessions only") in part.sentence
    made.again = {}
    assert part_of(made, "itself").verdict == "inconclusive"
    change_timing(made, again=None)
    assert part_of(made, "itself").verdict == "agree"


@pytest.mark.parametrize(("share", "want"), [(0.62, "agree"), (0.58, "inconclusive")])
def test_the_threads_asked_for_must_be_at_work(share: float, want: str) -> None:
    made = make.timed()
    every(made, "torch", cpu_ns=lambda r: round(2 * share * sum(r.step_ns)))
    part = part_of(made, "itself")
    assert part.verdict == want
    assert ("of 2 threads were at work" in part.sentence) == (want == "inconclusive")
    assert step_time(made).cores == pytest.approx(2 * share, rel=1e-3)
    every(made, "torch", cpu_ns=lambda r: None)
    assert part_of(made, "itself").verdict == "agree"
    assert step_time(made).cores is None


@pytest.mark.parametrize("number", [1, 5])
def test_a_replay_that_ends_elsewhere_makes_the_times_void(number: int) -> None:
    made = make.timed(number=number)
    rounds_of(made, session=number - 1)[1].replayed = "other"
    finding = timing_of(made)
    assert finding.verdict == "disagree"
    assert f"session {number - 1}, round 1" in finding.sentence
    assert "what was timed is not what was checked" in finding.sentence
    assert [p.name for p in finding.parts] == ["itself", "clocks", "physics"]
    assert verdict.agreement(judge(made).labels["torch"]) == "NOT RANKED: the times are void"
    assert exit_status(made, judge(made)) == 1


def test_a_session_that_ends_elsewhere_than_the_first_makes_the_times_void() -> None:
    made = make.timed()
    later = rounds_of(made, session=3)[1]
    later.digest = later.replayed = "other"
    finding = timing_of(made)
    assert finding.verdict == "disagree"
    assert "session 3, round 1" in finding.sentence
    assert timing_of(made, "numpy").verdict == "agree"


def test_the_second_process_of_a_label_must_end_where_the_first_does() -> None:
    made = make.timed()
    second = made.again["numpy"].rounds[1]
    second.digest = second.replayed = "other"
    assert timing_of(made, "numpy").verdict == "disagree"
    assert timing_of(made).verdict == "agree"


def test_a_replay_is_not_asked_of_a_label_that_does_not_repeat_itself() -> None:
    made = make.timed()
    for session in range(5):
        rounds_of(made, session=session)[1].digest = f"other {session}"
    repeat = Repeat(dtype="float32", steps=20, first_step=None, distances={"W1": 0.0})
    made.results["torch"].repeats = [repeat]
    assert timing_of(made).verdict == "disagree"
    made.results["torch"].repeats = [repeat, msgspec.structs.replace(repeat, first_step=3)]
    assert timing_of(made).verdict == "agree"


# -- clocks ----------------------------------------------------------------------------------

AT_LIMITS = [(1.0, "agree"), (1.09, "agree"), (1.11, "inconclusive"), (1.98, "inconclusive"),
             (2.02, "disagree"), (12.0, "disagree")]  # fmt: skip
EPOCH_NS = 2_200_000  # what the parts of a made epoch take together


def lengthen_bursts(made: Record, k: float, twice_k: float) -> None:
    every(
        made,
        "torch",
        burst_ns=lambda r: [round(k * r.burst_ns[0]), round(twice_k * r.burst_ns[1])],
    )


def lengthen_epoch(made: Record, factor: float, epochs: int = 5) -> None:
    training = made.results["torch"].training[0]
    training.epoch_ns = [round(EPOCH_NS * factor)] * epochs
    for name in ("step_ns", "gather_ns", "put_ns"):
        setattr(training, name, getattr(training, name) * epochs)


@pytest.mark.parametrize(("factor", "want"), [(2.6, "inconclusive"), (1 / 2.6, "disagree")])
def test_one_interruption_makes_an_epoch_long_and_none_makes_it_short(
    factor: float, want: str
) -> None:
    made = make.timed()
    lengthen_epoch(made, factor, epochs=1)
    assert part_of(made, "clocks").verdict == want


@pytest.mark.parametrize(("factor", "want"), AT_LIMITS)
@pytest.mark.parametrize(
    ("clock", "change"),
    [
        ("throughput / latency", lambda made, f: lengthen_bursts(made, f, f)),
        ("2K steps / twice K steps", lambda made, f: lengthen_bursts(made, f, 1)),
        ("2K steps / twice K steps", lambda made, f: lengthen_bursts(made, 1 / f, 1)),
        ("epoch / (gathers + puts + steps)", lambda made, f: lengthen_epoch(made, f)),
        ("epoch / (gathers + puts + steps)", lambda made, f: lengthen_epoch(made, 1 / f)),
    ],
)
def test_clocks_on_the_same_work_tell_the_same(
    clock: str, change: Callable[[Record, float], None], factor: float, want: str
) -> None:
    made = make.timed()
    change(made, factor)
    part = part_of(made, "clocks")
    assert part.verdict == want
    if want != "agree":
        assert clock in part.sentence
        assert part.value == pytest.approx(factor, rel=0.01)
    epoch_ns = made.results["torch"].training[0].epoch_ns[0]
    assert step_time(made).loop_overhead == pytest.approx(epoch_ns / EPOCH_NS)


def test_throughput_may_be_as_fast_as_it_likes() -> None:
    made = make.timed()
    every(made, "torch", burst_ns=lambda r: [ns // 10 for ns in r.burst_ns])
    assert part_of(made, "clocks").verdict == "agree"
    assert step_time(made).throughput_ns == pytest.approx(150_000, rel=0.01)


def test_interruptions_lengthen_bursts_and_means_alike_and_are_no_disagreement() -> None:
    """A processor shared with another job: most steps take 1, every fourth takes 5."""
    made = make.timed()
    every(made, "torch", step_ns=lambda r: [1_500_000] * 9 + [7_500_000] * 3)
    every(made, "torch", burst_ns=lambda r: [18_000_000, 36_000_000])
    assert part_of(made, "clocks").verdict == "agree"


def test_the_overhead_of_the_loop_is_that_of_the_median_epoch_in_the_labels_dtype() -> None:
    made = make.timed()
    one = made.results["torch"].training[0]
    wide = msgspec.structs.replace(one, dtype="float64", epoch_ns=[10**9])
    two = msgspec.structs.replace(
        one,
        seed=1,
        step_ns=[1000, 1000, 2000, 2000],
        gather_ns=[100] * 4,
        put_ns=[150] * 4,
        epoch_ns=[2500, 5400],  # 1.0 and 1.2 times 2 (1000 + 250) and 2 (2000 + 250)
    )
    made.results["torch"].training = [wide, one, two]
    assert step_time(made).loop_overhead == pytest.approx(2_222_000 / 2_200_000)
    made.results["torch"].training = [two]
    assert step_time(made).loop_overhead == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("left", "want"),
    [(0.0, "agree"), (0.49, "agree"), (0.51, "inconclusive"), (0.99, "inconclusive"),
     (1.01, "disagree"), (6.0, "disagree")],
)  # fmt: skip
def test_work_left_after_the_last_wait_shows_in_the_drain(left: float, want: str) -> None:
    made = make.timed()
    every(made, "torch", drain_ns=lambda r: [140_000 + round(left * 1_500_000), 140_000])
    part = part_of(made, "clocks")
    assert part.verdict == want
    if want != "agree":
        assert part.value == pytest.approx(left, rel=0.01)
        assert part.limit == 0.5
        assert f"{left:.2f} steps of work were left" in part.sentence
    assert part_of(made, "clocks", "numpy").verdict == "agree"


def test_of_two_clocks_the_worse_is_told() -> None:
    made = make.timed()
    every(made, "torch", drain_ns=lambda r: [2_000_000 * 2, 0])
    every(made, "torch", burst_ns=lambda r: [round(1.2 * ns) for ns in r.burst_ns])
    part = part_of(made, "clocks")
    assert part.verdict == "disagree"
    assert "were left" in part.sentence
    every(made, "torch", drain_ns=lambda r: [1_000_000, 0])
    every(made, "torch", burst_ns=lambda r: [3 * ns for ns in r.burst_ns])
    part = part_of(made, "clocks")
    assert part.verdict == "disagree"
    assert "throughput / latency" in part.sentence


def test_too_few_bursts_and_no_timed_epoch_leave_the_clocks_open() -> None:
    made = make.timed(number=1)
    for name in ("numpy", "torch"):
        made.results[name].training = []
    kept = rounds_of(made)[1 : LEAST_BURSTS + 1]
    made.results["torch"].rounds = kept
    assert part_of(made, "clocks").verdict == "agree"
    made.results["torch"].rounds = kept[:-1]
    part = part_of(made, "clocks")
    assert (part.verdict, part.value) == ("inconclusive", None)
    assert "too few rounds" in part.sentence
    every(made, "torch", drain_ns=lambda r: [2_000_000, 0])
    assert part_of(made, "clocks").verdict == "disagree"


@pytest.mark.parametrize(("hit", "want"), [(2, "agree"), (4, "inconclusive"), (5, "disagree")])
@pytest.mark.parametrize("longer", [[4, 4], [1, 4], [4, 1]])
def test_clocks_disagree_where_all_of_five_rounds_say_so(
    hit: int, want: str, longer: list[int]
) -> None:
    """Interruptions hit some of five bursts; a step that is not waited for shows in all."""
    made = make.timed(number=1)
    for r in rounds_of(made)[1 : hit + 1]:
        r.burst_ns = [ns * by for ns, by in zip(r.burst_ns, longer, strict=True)]
    assert part_of(made, "clocks").verdict == want


def test_five_bursts_that_are_each_of_another_length_tell_nothing() -> None:
    """As torch took for one step on two processors that six threads of others wanted (ms)."""
    made = make.timed(number=1)
    taken = [(65.9, 180.7), (93.3, 206.4), (43.6, 1405.3), (142.6, 1226.4), (24.2, 269.0)]
    for r, burst in zip(rounds_of(made)[1:], taken, strict=True):
        r.burst_ns = [round(1e6 * ms) for ms in burst]
        r.step_ns = [round(sum(burst) * 1e6 / 3 / r.burst_steps)] * len(r.step_ns)
    found = part_of(made, "clocks")
    assert "2K steps / twice K steps is off by 4.3" in found.sentence
    assert found.verdict == "inconclusive"
    for r in rounds_of(made)[1:]:
        r.burst_ns[1] = round(8.6 * r.burst_ns[0])
    assert part_of(made, "clocks").verdict == "disagree"


def test_of_many_rounds_a_few_that_say_otherwise_do_not_save_the_clocks() -> None:
    made = make.timed(number=1, rounds=31)
    for r in rounds_of(made)[5:]:
        r.burst_ns = [4 * ns for ns in r.burst_ns]
    assert part_of(made, "clocks").verdict == "disagree"


def test_interruptions_of_two_drains_in_five_are_no_work_that_was_left() -> None:
    made = make.timed(number=1)
    for r in rounds_of(made)[1:3]:
        r.drain_ns = [10**9, 0]
    assert part_of(made, "clocks").verdict == "agree"


# -- physics ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "want"), [(1.0, "agree"), (0.96, "agree"), (0.94, "disagree")])
def test_a_step_takes_its_matrix_products_at_least(share: float, want: str) -> None:
    made = make.timed()
    step = round(share * FLOOR)
    every(made, "torch", step_ns=lambda r: [step] * 3, burst_ns=lambda r: [6 * step, 12 * step])
    part = part_of(made, "physics")
    assert part.verdict == want
    assert part.value == pytest.approx(0.95 / share, rel=0.01)
    finding = timing_of(made)
    if want == "disagree":
        assert "torch, timing: a step takes 0.94 of the time" in finding.sentence
        assert [p.name for p in finding.parts] == ["itself", "clocks", "physics"]
        assert (finding.value, finding.limit) == (part.value, 1.0)
        assert "void" in words.cell(finding)
    else:
        assert finding.verdict == "agree"


def test_the_physical_floor_is_that_of_the_fastest_on_the_same_device() -> None:
    made = make.timed(("numpy", "torch", "jax"))
    every(made, "jax", products_ns=lambda r: [9 * 10**5, 8 * 10**5])
    assert part_of(made, "physics", "jax").verdict == "agree"
    every(made, "torch", products_ns=lambda r: [10**7, 2_200_000, 10**7])
    assert part_of(made, "physics", "jax").verdict == "agree"
    for name in ("numpy", "torch", "jax"):
        every(made, name, products_ns=lambda r: [10**7, 2_200_000, 10**7])
    assert part_of(made, "physics", "jax").verdict == "disagree"  # a step takes 2 000 000
    cuda = msgspec.structs.replace(made.plan.labels["jax"], device="cuda")
    made.plan = msgspec.structs.replace(made.plan, labels=made.plan.labels | {"jax": cuda})
    every(made, "jax", products_ns=lambda r: [10**6])
    assert part_of(made, "physics", "jax").verdict == "agree"
    assert part_of(made, "physics", "torch").verdict == "disagree"  # what a GPU can is not asked


def test_a_machine_that_changes_its_speed_between_rounds_changes_nothing_of_physics() -> None:
    """Steps of fast rounds are faster than products of slow ones, and that says nothing."""
    made = make.timed()
    for results in (*made.results.values(), *made.again.values()):
        for r in results.rounds:
            factor = 6 if (r.session + r.round) % 3 else 1
            slow(r, factor)
            r.products_ns = [factor * ns for ns in r.products_ns]
    fastest = min(ns for r in rounds_of(made) for ns in r.step_ns)
    slowest = max(ns for r in rounds_of(made) for ns in r.products_ns)
    assert fastest < 0.95 * slowest
    assert part_of(made, "physics").verdict == "agree"
    assert part_of(made, "physics").value == pytest.approx(0.95 * FLOOR / 1_500_000, rel=0.01)


def test_a_round_in_which_one_label_was_not_timed_has_the_floor_of_the_others() -> None:
    made = make.timed()
    made.results["numpy"].rounds = [r for r in rounds_of(made, "numpy") if r.session % 2]
    every(made, "torch", products_ns=lambda r: [800_000])
    assert part_of(made, "physics").value == pytest.approx(0.95 * 8 / 15, rel=0.01)


# -- across ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factors", "want"),
    [
        ([3.9] * 5, "agree"),
        ([4.1] * 5, "disagree"),
        ([3.5, 3.7, 4.0, 4.3, 4.5], "inconclusive"),
        ([3.6, 3.7, 3.8, 3.9, 4.05], "inconclusive"),
        ([4.02, 4.1, 4.4, 4.9, 5.2], "inconclusive"),
        ([4.3, 4.4, 4.4, 4.5, 4.6], "disagree"),
        ([3.5, 3.55, 3.6, 3.65, 3.7], "agree"),
    ],
)
def test_the_whole_interval_lies_inside_the_band_or_outside(
    factors: list[float], want: str
) -> None:
    made = make.timed()
    numpy = {(r.session, r.round): r for r in rounds_of(made, "numpy")}
    for r in rounds_of(made):
        beside = numpy[r.session, r.round]
        for field in ("step_ns", "burst_ns"):
            setattr(r, field, [round(factors[r.session] * ns) for ns in getattr(beside, field)])
    part = part_of(made, "across")
    assert (part.verdict, part.limit) == (want, 4.0)
    assert part.value == pytest.approx(math.exp(statistics.fmean(map(math.log, factors))), rel=1e-5)
    if want == "disagree":
        assert exit_status(made, judge(made)) == 1


def test_the_band_is_that_of_the_plan() -> None:
    made = make.timed()
    change_timing(made, band=1.4)
    assert part_of(made, "across").verdict == "disagree"
    assert part_of(made, "across").limit == 1.4
    assert part_of(made, "across", "numpy").verdict == "agree"


def variants(**speeds: float) -> Record:
    """NumPy, torch at 1.5 times its step, and a variant of NumPy's at so many times it."""
    made = make.timed(("numpy", "torch", "numpy:plain"))
    labels = made.plan.labels
    plain = msgspec.structs.replace(labels["numpy:plain"], variant="plain", default=False)
    made.plan = msgspec.structs.replace(made.plan, labels=labels | {"numpy:plain": plain})
    for r in rounds_of(made, "numpy:plain"):
        slow(r, speeds["plain"] / 2)
    for r in rounds_of(made):
        slow(r, speeds.get("torch", 1.5) / 1.5)
    for name in labels:
        every(made, name, cpu_ns=lambda r: 2 * sum(r.step_ns))
    return made


@pytest.mark.parametrize("plain", [0.9, 3.0, 6.0])
def test_a_variant_that_is_not_the_default_is_ranked_and_held_to_no_band(plain: float) -> None:
    made = variants(plain=plain)
    verdict = judge(made)
    assert (verdict.verdict, exit_status(made, verdict)) == ("agree", 0)
    part = part_of(made, "across", "numpy:plain")
    assert part.value == pytest.approx(plain, rel=1e-2)
    assert part.verdict == ("not-possible" if plain > 4 else "agree")
    assert ("held to no band" in part.sentence) == (plain > 4)
    assert timing_of(made, "numpy:plain").verdict == "agree"
    # The others are compared with the fastest default, however fast a variant is.
    assert part_of(made, "across").value == pytest.approx(1.5, rel=1e-2)
    assert "times the fastest here (numpy)" in part_of(made, "across").sentence


def test_a_slow_default_disagrees_beside_all_its_variants() -> None:
    made = variants(plain=6.0, torch=4.5)
    verdict = judge(made)
    assert (verdict.verdict, exit_status(made, verdict)) == ("disagree", 1)
    assert "torch, timing: 4.50" in verdict.summary
    assert "plain, timing" not in verdict.summary


def test_labels_whose_numbers_do_not_agree_are_compared_with_nobody() -> None:
    made = make.timed(("numpy", "torch", "jax"))
    make.find(made, "numpy", "gradients").distance = 1.0
    found = {name: timing_of(made, name) for name in ("numpy", "torch", "jax")}
    assert "across" not in [p.name for p in found["numpy"].parts]
    assert "numbers do not agree" in found["numpy"].sentence
    assert "(torch)" in found["torch"].sentence
    assert "(torch)" in found["jax"].sentence
    assert found["jax"].value == pytest.approx(2.0 / 1.5, rel=1e-3)
    assert verdict.agreement(judge(made).labels["numpy"]) == "NOT RANKED: do not agree"
    assert not any(
        row[0].startswith(("torch /", "jax /"))
        for row in run_tables.ratios(Run(made, judge(made))).texts
    )


@pytest.mark.parametrize("void", ["itself", "clocks", "physics"])
def test_labels_whose_times_are_void_are_compared_with_nobody(void: str) -> None:
    made = make.timed(("numpy", "torch", "jax"))
    if void == "itself":
        rounds_of(made, "numpy")[1].replayed = "other"
    elif void == "clocks":
        every(made, "numpy", drain_ns=lambda r: [10**8, 10**5])
    else:
        for r in (*rounds_of(made, "numpy"), *made.again["numpy"].rounds):
            slow(r, 0.1)
    found = {name: timing_of(made, name) for name in ("numpy", "torch", "jax")}
    assert found["numpy"].verdict == "disagree"
    assert part_of(made, void, "numpy").verdict == "disagree"
    assert "across" not in [p.name for p in found["numpy"].parts]
    assert found["torch"].value == 1.0
    assert "(torch)" in found["jax"].sentence


def test_labels_that_share_no_round_are_not_compared() -> None:
    made = make.timed()
    for r in rounds_of(made):
        r.round += 100
    part = part_of(made, "across")
    assert (part.verdict, part.value, part.sentence) == ("inconclusive", None, "shares no round")


# -- steps too short for multiples -----------------------------------------------------------

# "1.50 times", "1.50×", "is off by 1.01", "1.50 [1.49, 1.51]", as reports write them.
MULTIPLE = re.compile(r"[0-9] ?(times|×)|is off by [0-9]|[0-9] [\\]?[\[][0-9]")


@pytest.mark.parametrize(("us", "told"), [(19, False), (21, True)])
def test_a_step_of_less_than_20_us_has_its_time_told_and_no_multiple_anywhere(
    us: float, told: bool
) -> None:
    made = make.lasting(numpy=us, torch=us)
    roof = {"size": 8, "flop_per_s": 1e15, "copy_bytes_per_s": 1e15}
    made.roofs = [Roof(label="numpy", dtype="float32", **roof)]
    run = Run(made, judge(made))
    document = to_json(made, run.verdict, "r")["backends"]
    for name in ("numpy", "torch"):
        time = document[name]["step_time"]
        assert time["median_ns"] == pytest.approx(us * 1000, rel=0.01)
        for field in ("floor_ratio", "floor_ci95", "gemm_floor_ns"):
            assert (time[field] is not None) == told
        rung = document[name]["rungs"]["timing"]
        parts = {part["name"]: part for part in rung["parts"]}
        assert rung["verdict"] == ("agree" if told else "inconclusive")
        for value in (rung["value"], *(parts[part]["value"] for part in ("across", "clocks"))):
            assert (value is not None) == told
        short = f"a step of {name} takes less than 20 µs: its time is told, no multiple of it"
        assert (parts["clocks"]["sentence"] == short) == (not told)
        assert (short in rung["reason"]) == (not told)
        assert ("1.00 [1.00, 1.00] times the fastest here" in parts["across"]["sentence"]) == told
    times, ratios = run_tables.times(run), run_tables.ratios(run).texts
    for row in times.texts:
        by_name = dict(zip(times.header, row, strict=True))
        assert by_name["step"] == f"{us} µs"
        for column in ("× floor", "its interval"):
            assert (by_name[column] != "–") == told
    assert [row[0] for row in ratios] == ["torch / numpy", "numpy / numpy, A/A"] * told
    assert len(roofline.section(run).rows) == 2 * told
    for text in (json.dumps(document, ensure_ascii=False), as_markdown(made, run.verdict)):
        assert bool(MULTIPLE.search(text)) == told
    assert (run.verdict.verdict, exit_status(made, run.verdict)) == ("agree", 0)


def test_the_step_is_too_short_where_the_median_session_is() -> None:
    for ns, told in ((19_999, False), (20_000, True)):
        made = make.lasting(numpy=25, torch=25)
        sessions = (ns, ns, ns, 18_500, 30_000)
        every(made, "torch", step_ns=lambda r, each=sessions: [each[r.session]] * 3)
        assert (step_time(made).floor_ratio is not None) == told
        assert (part_of(made, "across").value is not None) == told
        assert step_time(made, "numpy").floor_ratio is not None


def test_beside_a_control_arm_that_is_too_short_a_long_step_has_a_floor_and_no_ratio() -> None:
    made = make.lasting(numpy=19, torch=60, jax=90)
    short = "a step of numpy takes less than 20 µs: its time is told, no multiple of it"
    for name, us in (("torch", 60), ("jax", 90)):
        assert step_time(made, name).floor_ratio == pytest.approx(us / 13.4, rel=0.01)
        assert part_of(made, "clocks", name).verdict == "agree"
        assert part_of(made, "physics", name).value is not None
        for part in ("across", "itself"):  # A against A has no ratio either
            assert (part_of(made, part, name).sentence) == short
            assert part_of(made, part, name).verdict == "inconclusive"
        assert timing_of(made, name).sentence == short
    assert run_tables.ratios(Run(made, judge(made))).texts == []


@pytest.mark.parametrize(
    ("us", "at_490_us", "at_510_us"),
    [
        (19, "inconclusive", "disagree"),  # too short for clocks, and still not waited for
        (30, "agree", "disagree"),
        (700, "agree", "inconclusive"),
    ],
)
def test_copying_parameters_may_take_500_us_longer_the_first_time_however_short_a_step(
    us: float, at_490_us: str, at_510_us: str
) -> None:
    for longer_ns, want in ((490_000, at_490_us), (510_000, at_510_us)):
        made = make.lasting(numpy=us, torch=us)
        every(made, "torch", drain_ns=lambda r, longer=longer_ns: [50_000 + longer, 50_000])
        part = part_of(made, "clocks")
        assert part.verdict == want
        left = "steps of work were left after the last wait" in part.sentence
        assert left == (longer_ns > LEAST_DRAIN_NS)
        assert (timing_of(made).verdict == "disagree") == (want == "disagree")


def test_a_short_step_that_is_faster_than_its_products_is_void() -> None:
    made = make.lasting(numpy=19, torch=5)
    assert part_of(made, "physics").verdict == "disagree"
    assert "somebody is not waiting" in timing_of(made).sentence
    assert part_of(made, "physics", "numpy").verdict == "agree"


# -- the control arm and the floor -----------------------------------------------------------


def test_without_a_control_arm_there_is_no_floor_and_all_else_is_judged() -> None:
    made = make.timed(("torch", "jax"))
    for name in ("torch", "jax"):
        time = step_time(made, name)
        assert (time.gemm_floor_ns, time.floor_ratio, time.floor_ci95) == (None, None, None)
        assert time.own_floor_ns == 705_000
        assert not time.indicative
        assert timing_of(made, name).verdict == "agree"
    assert run_tables.ratios(Run(made, judge(made))).texts == []
    for r in rounds_of(made, "jax", session=0):
        slow(r, 1.2)
    assert "steps lie 1.2" in part_of(made, "itself", "jax").sentence


def test_a_control_arm_that_was_skipped_or_died_leaves_no_floor() -> None:
    made = make.timed()
    make.skip(made, "numpy", "left out")
    made.again = {}
    change_timing(made, again=None)
    assert step_time(made).floor_ratio is None
    assert timing_of(made).verdict == "agree"
    assert timing_of(made).value == 1.0


def test_a_label_on_a_gpu_has_no_floor_of_the_processor() -> None:
    made = make.timed()
    cuda = msgspec.structs.replace(made.plan.labels["torch"], device="cuda")
    made.plan = msgspec.structs.replace(made.plan, labels=made.plan.labels | {"torch": cuda})
    every(made, "torch", cpu_ns=lambda r: sum(r.step_ns) // 100)
    time = step_time(made)
    assert (time.gemm_floor_ns, time.floor_ratio, time.floor_ci95) == (None, None, None)
    assert step_time(made, "numpy").floor_ratio is not None
    assert timing_of(made).verdict == "agree"  # and an idle processor beside it is as it should be


def test_the_floor_ratio_is_formed_within_rounds_and_its_interval_over_sessions() -> None:
    made = make.timed()
    logs = []
    for session, factor in enumerate((1.0, 1.02, 0.98, 1.01, 0.99)):
        for r in rounds_of(made, session=session):
            r.step_ns = [round(1_500_000 * factor)] * 3
        logs.append(math.log(1_500_000 * factor / 705_000))
    time = step_time(made)
    half = 2.7764451051977987 * statistics.stdev(logs) / math.sqrt(5)  # t of 4 degrees, 97.5 %
    mean = statistics.fmean(logs)
    assert time.floor_ratio == pytest.approx(math.exp(mean), rel=1e-6)
    assert time.floor_ci95 == pytest.approx(
        [math.exp(mean - half), math.exp(mean + half)], rel=1e-6
    )
    assert time.median_ns == pytest.approx(math.exp(mean) * 705_000, rel=1e-6)
    assert time.ci95_ns == pytest.approx([705_000 * value for value in time.floor_ci95], rel=1e-6)
    assert (time.sessions, time.steps) == (5, 5 * 5 * 3)


def test_steps_that_one_call_makes_are_all_counted() -> None:
    made = make.timed()
    every(made, "torch", at_once=lambda r: 12, cpu_ns=lambda r: 2 * 12 * sum(r.step_ns))
    assert step_time(made).steps == 12 * 5 * 5 * 3
    assert step_time(made).at_once == 12
    assert step_time(made).cores == pytest.approx(2.0, rel=1e-3)


# -- records that are not whole --------------------------------------------------------------


@pytest.mark.parametrize("lost", range(1, 6))
def test_a_worker_that_died_in_a_session_leaves_what_it_measured(lost: int) -> None:
    """Some rounds of session 3, and none of session 4."""
    made = make.timed()
    made.results["torch"].rounds = [r for r in rounds_of(made) if (r.session, r.round) < (3, lost)]
    made.results["torch"].processes[-2].status = "failed"
    made.results["torch"].processes[-2].reason = "died of SIGKILL"
    verdict = judge(made)
    assert verdict.labels["torch"].status == "failed"
    assert exit_status(made, verdict) == 3
    assert step_time(made).sessions == (3 if lost == 1 else 4)
    assert step_time(made).indicative
    assert timing_of(made).verdict == "inconclusive"
    assert timing_of(made, "numpy").verdict == "agree"
    assert_it_can_be_told(made)


def test_sessions_whose_steps_took_no_time_lie_infinitely_far_apart() -> None:
    made = make.timed()
    for r in rounds_of(made, session=2):
        r.step_ns = [0, 0, 0]
    part = part_of(made, "itself")
    assert (part.verdict, part.value) == ("inconclusive", "inf")
    assert_it_can_be_told(made)


@pytest.mark.parametrize("number", range(1, 6))
def test_a_session_of_few_rounds_is_too_short_to_be_steady(number: int) -> None:
    made = make.timed(number=2, rounds=number + 1)
    assert step_time(made).steadiness == (["flat"] * 2 if number == 5 else ["too short"] * 2)
    assert_it_can_be_told(made)


@pytest.mark.parametrize(
    "field", ["step_ns", "gather_ns", "put_ns", "products_ns", "burst_ns", "drain_ns", "warmup_ns"]
)
@pytest.mark.parametrize("all_rounds", [True, False])
def test_a_round_with_an_empty_series_is_no_reason_to_crash(field: str, all_rounds: bool) -> None:
    made = make.timed()
    for r in rounds_of(made) if all_rounds else rounds_of(made)[3:4]:
        setattr(r, field, [])
    verdict = judge(made)
    assert verdict.verdict == "agree"
    assert timing_of(made, "numpy").verdict == "agree"
    assert_it_can_be_told(made)


def test_a_label_that_was_never_timed_is_inconclusive_beside_others_that_were() -> None:
    made = make.timed()
    made.results["torch"].rounds = []
    finding = timing_of(made)
    assert (finding.verdict, finding.sentence) == ("inconclusive", "nothing was timed")
    assert timing_of(made, "numpy").verdict == "agree"
    assert_it_can_be_told(made)


def assert_it_can_be_told(made: Record) -> None:
    """Judged, as strict JSON, on a terminal: every reader of a verdict gets through."""
    verdict = judge(made)
    json.loads(json.dumps(to_json(made, verdict, "r"), allow_nan=False))
    run_tables.times(Run(made, verdict))
    run_tables.ratios(Run(made, verdict))
    run_tables.parts(Run(made, verdict))
    ladder(Run(made, verdict))


WHOLE = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.integers(1, 10**7))
SERIES = st.lists(WHOLE, max_size=4)
HOSTILE = st.builds(
    Round,
    session=st.integers(0, 5),
    round=st.integers(0, 3),
    place=st.integers(0, 3),
    at_once=WHOLE,
    step_ns=SERIES,
    gather_ns=SERIES,
    put_ns=SERIES,
    warmup_ns=SERIES,
    products_ns=SERIES,
    burst_steps=WHOLE,
    burst_ns=SERIES,
    drain_ns=SERIES,
    cpu_ns=st.none() | WHOLE,
    digest=st.none() | st.sampled_from("ab"),
    replayed=st.none() | st.sampled_from("ab"),
)
# The same, with every series there: such records get further.
NEARLY_WHOLE = st.builds(
    Round,
    session=st.integers(0, 5),
    round=st.integers(1, 3),
    place=st.just(0),
    step_ns=st.lists(WHOLE, min_size=1, max_size=3),
    gather_ns=st.lists(WHOLE, min_size=1, max_size=2),
    put_ns=st.lists(WHOLE, min_size=1, max_size=2),
    warmup_ns=st.just([]),
    products_ns=st.lists(WHOLE, min_size=1, max_size=2),
    burst_steps=WHOLE,
    burst_ns=st.lists(WHOLE, min_size=2, max_size=2),
    drain_ns=st.lists(WHOLE, min_size=2, max_size=2),
    cpu_ns=WHOLE,
)
ROUNDS = st.lists(HOSTILE, max_size=8) | st.lists(NEARLY_WHOLE, min_size=5, max_size=12)


@settings(deadline=None, max_examples=300)
@given(ROUNDS, ROUNDS, ROUNDS, st.lists(SERIES, min_size=4, max_size=4), WHOLE)
def test_whatever_whole_numbers_a_record_holds_it_is_judged(
    first: list[Round], second: list[Round], again: list[Round], series: list[list[int]], ns: int
) -> None:
    made = make.timed()
    made.results["numpy"].rounds, made.results["torch"].rounds = first, second
    made.again["numpy"].rounds = again
    (training,) = made.results["torch"].training
    training.step_ns, training.gather_ns, training.put_ns, training.epoch_ns = series
    training.eval_ns = series[0]
    process = made.results["torch"].processes[0]
    process.first_step_ns, process.import_ns, process.build_ns = {"256": ns, "96": ns}, ns, ns
    before = msgspec.json.encode(made)
    assert_it_can_be_told(made)
    assert judge(made).labels["torch"].agrees
    assert msgspec.json.encode(made) == before


# -- verdict.json ----------------------------------------------------------------------------


def test_verdict_json_keeps_the_names_of_step_time_that_were_promised() -> None:
    made = make.timed()
    found = to_json(made, judge(made), "r")["backends"]["torch"]
    time = found["step_time"]
    for name in ("median_ns", "first_step_ns", "compile_ns", "put_median_ns", "gemm_floor_ns",
                 "steps", "sessions"):  # fmt: skip
        assert type(time[name]) is int
    assert [type(end) for end in time["ci95_ns"]] == [int, int]
    assert time["ci95_ns"][0] <= time["median_ns"] <= time["ci95_ns"][1]
    assert type(time["floor_ratio"]) is float
    assert time["first_step_ns"] == 5000
    assert (time["put_median_ns"], time["gemm_floor_ns"]) == (20_000, 705_000)
    assert (time["steps"], time["sessions"]) == (75, 5)


def test_verdict_json_tells_the_parts_of_timing_and_of_no_other_rung() -> None:
    made = make.timed()
    rungs = to_json(made, judge(made), "r")["backends"]["torch"]["rungs"]
    assert set(rungs) == set(RUNGS)
    assert [rung for rung in rungs if "parts" in rungs[rung]] == ["timing"]
    parts = rungs["timing"]["parts"]
    assert [part["name"] for part in parts] == ["itself", "clocks", "physics", "across"]
    for part in parts:
        assert set(part) == {"name", "verdict", "value", "limit", "sentence"}
        assert part["sentence"]


def test_a_terminal_shows_every_part_of_every_label() -> None:
    made = make.timed()
    rows = run_tables.parts(Run(made, judge(made))).texts
    assert [(row[0], row[1]) for row in rows] == [
        (label, part)
        for label in ("numpy", "torch")
        for part in ("itself", "clocks", "physics", "across")
    ]
    assert all(len(row) == 6 for row in rows)
    for row in run_tables.times(Run(made, judge(made))).texts:
        assert len(row) == len(run_tables.STEP_TIMES)


# -- the worker's helpers --------------------------------------------------------------------


@given(
    st.lists(st.booleans(), max_size=40), st.sets(st.integers(0, 45), max_size=12),
    st.integers(1, 9),
)  # fmt: skip
def test_steps_are_made_together_only_where_nobody_looks_between_them(
    full: list[bool], looked_at: set[int], at_once: int
) -> None:
    groups = step_groups(full, looked_at, at_once)
    assert [number for group in groups for number in group] == [*range(len(full))]
    for group in groups:
        many = range(group.start, group.start + at_once)
        fits = many.stop <= len(full) and all(full[n] for n in many)
        seen = any(n in looked_at for n in many if n != many.stop - 1)
        # As many as may be: alone exactly where they cannot go together.
        assert group == (
            many if at_once > 1 and fits and not seen else range(many.start, many.start + 1)
        )


@given(st.integers(0, 10**12), st.integers(1, 100))
def test_a_time_that_is_shared_adds_up_and_is_shared_evenly(total: int, parts: int) -> None:
    shares = shared(total, parts)
    assert len(shares) == parts
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@given(st.lists(st.integers(), min_size=1, max_size=20), st.integers(0, 60))
def test_batches_are_taken_in_turn(items: list[int], count: int) -> None:
    assert [*cycled(items, count)] == [items[i % len(items)] for i in range(count)]


# -- the plan --------------------------------------------------------------------------------


@pytest.fixture
def everything_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every framework were installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


def plan_of(**words_: Any) -> Plan:
    return make_plan(**({"backends": ("numpy",)} | words_))


@pytest.mark.parametrize(("option", "most"), [("sessions", 100), ("rounds", 10_000)])
def test_sessions_and_rounds_have_bounds(option: str, most: int) -> None:
    for value in (1, most):
        assert getattr(plan_of(**{option: value}).timing, option) == value
    for value in (0, -1, most + 1):
        with pytest.raises(InputError, match=f"--{option} {value}: choose from 1 to {most}"):
            plan_of(**{option: value})


@pytest.mark.parametrize("profile", TABLE)
def test_sessions_and_rounds_not_given_are_those_of_the_profile(profile: str) -> None:
    timing = plan_of(profile=profile).timing
    assert timing.sessions == TABLE[profile].timing.sessions
    assert timing.rounds == TABLE[profile].timing.rounds
    assert plan_of(profile=profile, sessions=3).timing.rounds == timing.rounds


@pytest.mark.usefixtures("everything_is_here")
def test_the_control_arm_enters_twice_where_there_are_several_sessions() -> None:
    assert plan_of(sessions=1).timing.again is None
    assert plan_of(sessions=2).timing.again == CONTROL
    assert make_plan(sessions=2).timing.again == CONTROL
    assert make_plan(sessions=2, backends=("torch", "numpy")).timing.again == CONTROL
    assert make_plan(sessions=2, backends=("torch", "jax")).timing.again == "torch"
    for profile in TABLE:
        timing = plan_of(profile=profile).timing
        assert timing.again == (CONTROL if timing.sessions > 1 else None)


@pytest.mark.usefixtures("everything_is_here")
def test_all_variants_enter_the_default_one_under_its_backends_name() -> None:
    plan = make_plan(all_variants=True)
    want = [
        name if variant == entry.variants[0] else f"{name}:{variant}"
        for name, entry in BACKENDS.items()
        for variant in entry.variants
    ]
    assert [*plan.labels] == want
    assert len(want) > len(BACKENDS)
    for label, configured in plan.labels.items():
        backend, _, variant = label.partition(":")
        assert configured.backend == backend
        assert configured.variant == (variant or BACKENDS[backend].variants[0])
        assert configured.default is not bool(variant)
    eager = make_plan(backends=("tensorflow",), variants={"tensorflow": "eager"})
    assert not eager.labels["tensorflow"].default


@pytest.mark.usefixtures("everything_is_here")
def test_all_variants_of_one_backend_are_those_of_that_backend() -> None:
    plan = make_plan(all_variants=True, backends=("tensorflow",))
    assert {configured.backend for configured in plan.labels.values()} == {"tensorflow"}
    assert [c.variant for c in plan.labels.values()] == [*BACKENDS["tensorflow"].variants]


def test_all_variants_and_one_variant_are_refused_together() -> None:
    with pytest.raises(InputError, match="--all-variants and --variant: choose one") as caught:
        make_plan(backends=("numpy",), all_variants=True, variants={"numpy": "buffered"})
    assert caught.value.exit_status == 2
