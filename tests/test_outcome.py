"""The rungs trajectory and accuracy, known differences, repeats and physics: from made records."""

from __future__ import annotations

import json
import random
import re
import statistics
from pathlib import Path

import msgspec
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.export import junit, shown
from harness.plan.choices import parse_expectation
from harness.plan.model import Expected
from harness.plan.profiles import TABLE
from harness.record import store
from harness.record.schema import (
    Churn,
    Explained,
    Explanation,
    Measurement,
    Pattern,
    Record,
    Repeat,
    Replica,
)
from harness.report import largest, unsettled, words
from harness.report import page as pages
from harness.report.run import as_markdown, report
from harness.report.run_tables import Run
from harness.verdict.hints import find_hint
from harness.verdict.numbers import envelope_limit, unused
from harness.verdict.verdict import exit_status, judge, to_json
from harness.workloads.reference.limits import LIMITS, Limit, read_limits
from tests import make
from tests.make import make_plan

SEEDS = (0, 1, 2, 3, 4)


# -- trajectory --------------------------------------------------------------------------------


def replicas(after: int = 20, regime: str = "start", largest: float = 1e-7) -> list[Replica]:
    return [
        Replica(
            regime=regime,
            replica=i,
            after=after,
            distance=largest * (1 - i / 100),
            tensors={"W1": largest},
        )
        for i in range(8)
    ]


def with_trajectory(distance: float = 1.2e-7, **changes: object) -> Record:
    made = make.record(("numpy",))
    made.plan = msgspec.structs.replace(made.plan, trajectory=TABLE["full"].trajectory)
    made.envelope = replicas() + replicas(705, "late", 1e-4)
    made.results["numpy"].measurements += [
        trajectory(distance, **changes),
        trajectory(2.9e-4, case="late, after 705 steps", step=704),
    ]
    return made


def trajectory(distance: object, **changes: object) -> Measurement:
    fields = {"case": "start, after 20 steps", "step": 19, "tensor": "all parameters"}
    return make.measurement("trajectory", distance=distance, **(fields | changes))


def finding_of(made: Record, rung: str = "trajectory", limits: tuple[Limit, ...] = LIMITS):
    return judge(made, limits).labels["numpy"].findings[rung]


def test_a_trajectory_inside_both_envelopes_agrees_and_says_which() -> None:
    found = finding_of(with_trajectory())
    assert found.verdict == "agree"
    assert "start and late" in found.sentence
    assert found.measured == 2
    # 1.2 of 1.5, and 2.9 of 3: the second is nearer its limit.
    assert found.value == 2.9e-4
    assert found.limit == pytest.approx(3e-4)


@pytest.mark.parametrize(
    ("distance", "case", "step"),
    [(1.51e-7, "start, after 20 steps", 19), (3.01e-4, "late, after 705 steps", 704)],
)
def test_a_trajectory_outside_an_envelope_disagrees_and_names_the_step(
    distance: float, case: str, step: int
) -> None:
    made = with_trajectory()
    made.results["numpy"].measurements[-2:] = [
        trajectory(distance if step == 19 else 1e-7),
        trajectory(distance if step == 704 else 1e-4, case="late, after 705 steps", step=704),
    ]
    found = finding_of(made)
    assert found.verdict == "disagree"
    assert found.first.where == case
    assert found.first.step == step
    assert "replicas" in found.first.why
    assert judge(made).verdict == "disagree"


def test_the_envelope_limit_is_the_factor_times_the_furthest_replica() -> None:
    rng = random.Random(1)
    chosen = TABLE["full"].trajectory
    for regime, factor in (("start", chosen.start_factor), ("late", chosen.late_factor)):
        made = replicas(regime=regime)
        for replica in made:
            replica.distance = rng.random()
        limit = envelope_limit(made, chosen)
        assert limit.value == factor * sorted(r.distance for r in made)[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made.envelope.clear(), "no envelope"),
        (lambda made: made.envelope.pop(), "7 of 8 replicas"),
        (lambda made: setattr(made.envelope[0], "distance", "nan"), "not finite"),
        (lambda made: made.results["numpy"].measurements.pop(), "not measured: late"),
    ],
)
def test_a_trajectory_that_cannot_be_judged_is_inconclusive_with_the_reason(change, words) -> None:
    made = with_trajectory()
    change(made)
    found = finding_of(made)
    assert found.verdict == "inconclusive"
    assert words in found.sentence
    assert judge(made).verdict == "agree"  # it may stay open


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_trajectory_that_is_not_finite_disagrees(value: str) -> None:
    assert finding_of(with_trajectory(value)).verdict == "disagree"


def test_reduced_precision_and_float64_are_not_held_against_the_float32_envelope() -> None:
    for changes in ({"precision": "bfloat16"}, {"dtype": "float64", "twin": False}):
        made = with_trajectory()
        labels = {"numpy": make.label(**changes)}
        made.plan = msgspec.structs.replace(made.plan, labels=labels)
        assert finding_of(made).verdict == "inconclusive"


# -- accuracy: equivalence over seeds ----------------------------------------------------------


def with_seeds(
    accuracies: list[float], losses: list[float], seeds: tuple[int, ...] = SEEDS
) -> Record:
    """Five trainings whose accuracy and loss differ from the reference's by so much."""
    made = make.record(("numpy",), plan=make.plan(("numpy",), seeds=seeds))
    made.reference = [
        make.training(dtype="float64", seed=s, test_accuracy=[0.83] * 4, epoch_losses=[1, 0.38])
        for s in seeds
    ]
    made.results["numpy"].training = [
        make.training(seed=s, test_accuracy=[0.83 + a] * 4, epoch_losses=[1.0, 0.38 + d])
        for s, a, d in zip(seeds, accuracies, losses, strict=True)
    ]
    make.evaluated(made.results["numpy"])
    return made


SMALL = [1e-4, -2e-4, 0.0, 3e-4, -1e-4]
TINY = [1e-5, -2e-5, 0.0, 1e-5, -1e-5]


def test_five_seeds_within_both_margins_agree_with_interval_and_power() -> None:
    made = with_seeds(SMALL, TINY)
    found = finding_of(made, "accuracy")
    assert found.verdict == "agree"
    assert "power" in found.sentence
    assert "90 % interval" in found.sentence
    document = to_json(made, judge(made), "here")["backends"]["numpy"]
    test = document["equivalence"]["test accuracy"]
    assert test["n"] == 5
    oracle = scipy.stats.ttest_1samp(SMALL, 0.0).confidence_interval(0.9)
    assert test["low"] == pytest.approx(oracle.low, abs=1e-12)
    assert test["high"] == pytest.approx(oracle.high, abs=1e-12)
    assert document["rungs"]["accuracy"]["limit"] in (0.003, 0.001)


@pytest.mark.parametrize(
    ("accuracies", "losses", "verdict"),
    [
        ([0.006, 0.0062, 0.0058, 0.006, 0.0061], TINY, "disagree"),
        (SMALL, [0.002, 0.0021, 0.0019, 0.002, 0.002], "disagree"),
        ([0.0029, 0.0031, 0.003, 0.0029, 0.0031], TINY, "inconclusive"),
        ([0.01, -0.01, 0.008, -0.009, 0.0], TINY, "inconclusive"),
        (SMALL, [0.003, -0.003, 0.002, -0.002, 0.0], "inconclusive"),
        ([0.006 + v for v in SMALL], [0.004 + v for v in TINY], "disagree"),
    ],
)
def test_the_verdict_over_seeds_has_three_values(accuracies, losses, verdict) -> None:
    made = with_seeds(accuracies, losses)
    found = finding_of(made, "accuracy")
    assert found.verdict == verdict
    # Value, limit and sentence are of one metric.
    assert f"seeds: {found.evidence.tensor}" in found.sentence
    if verdict == "inconclusive":
        assert "seeds would settle it" in found.sentence
        assert judge(made).verdict == "agree"
    else:
        assert judge(made).first_divergence.rung == "accuracy"


@pytest.mark.parametrize(("seeds", "trained"), [(4, 4), (5, 4)])
def test_fewer_than_five_seeds_leave_the_rung_open_whatever_they_say(seeds, trained) -> None:
    made = with_seeds(SMALL[:seeds], TINY[:seeds], SEEDS[:seeds])
    del made.results["numpy"].training[trained:]
    assert finding_of(made, "accuracy").verdict == "inconclusive"


def test_seeds_are_paired_by_number_not_by_place() -> None:
    made = with_seeds(SMALL, TINY)
    shift = [0.0, 0.001, 0.002, -0.001, -0.002]  # of reference and backend alike, seed by seed
    for trained in (made.reference, made.results["numpy"].training):
        for training in trained:
            training.test_accuracy = [v + shift[training.seed] for v in training.test_accuracy]
    made.reference.reverse()
    assert finding_of(made, "accuracy").verdict == "agree"


def test_churn_comes_with_mcnemars_test() -> None:
    made = make.record(("numpy",))
    made.results["numpy"].churn = [
        Churn(seed=0, samples=10_000, differ=50, only_here=20, only_reference=8)
    ]
    (found,) = judge(made).labels["numpy"].churn
    assert found.p == pytest.approx(scipy.stats.binomtest(8, 28).pvalue)
    assert to_json(made, judge(made), "x")["backends"]["numpy"]["churn"][0]["differ"] == 50


@given(st.lists(st.floats(-0.01, 0.01), min_size=5, max_size=5))
def test_agreement_means_that_the_whole_interval_is_inside_the_margin(differences) -> None:
    found = finding_of(with_seeds(differences, TINY), "accuracy")
    seen = [(0.83 + d) * 3 / 3 - 0.83 for d in differences]
    half = scipy.stats.t.ppf(0.95, 4) * statistics.stdev(seen) / 5**0.5
    furthest = abs(statistics.mean(seen)) + half
    if abs(furthest - 0.003) > 1e-9:
        assert (found.verdict == "agree") == (furthest < 0.003)


# -- what was declared beforehand ----------------------------------------------------------------


def with_expectation(rung: str = "gradients") -> Record:
    made = make.record()
    known = Expected(label="torch", rung=rung, reason="a leaky unit on purpose")
    made.plan = msgspec.structs.replace(made.plan, expect=(known,))
    return made


def test_a_declared_difference_is_shown_and_does_not_count() -> None:
    made = with_expectation()
    make.find(made, "torch", "gradients").distance = 1e-2
    judged = judge(made)
    assert judged.verdict == "agree"
    assert judged.first_divergence is None
    assert "differs as declared: torch gradients (a leaky unit on purpose)" in judged.summary
    rung = to_json(made, judged, "x")["backends"]["torch"]["rungs"]["gradients"]
    assert rung["verdict"] == "disagree"
    assert rung["expected"] == "a leaky unit on purpose"
    assert exit_status(made, judged) == 0


def test_a_declared_difference_that_has_vanished_is_a_failure() -> None:
    made = with_expectation()
    judged = judge(made)
    assert judged.verdict == "disagree"
    assert "take the declaration back" in judged.summary
    assert exit_status(made, judged) == 1


def test_a_declaration_covers_its_rung_and_label_only() -> None:
    made = with_expectation("forward")
    make.find(made, "torch", "gradients").distance = 1e-2
    assert judge(made).verdict == "disagree"
    made = with_expectation()
    make.find(made, "torch", "gradients").distance = 1e-2
    make.find(made, "numpy", "gradients").distance = 1e-2
    assert judge(made).first_divergence.label == "numpy"


def test_a_rung_is_declared_once_and_timing_never() -> None:
    twice = (Expected("numpy", "forward", "a"), Expected("numpy", "forward", "b"))
    with pytest.raises(InputError, match="once"):
        make_plan(backends=("numpy",), expect=twice)
    with pytest.raises(InputError, match="unknown"):
        make_plan(backends=("numpy",), expect=(Expected("numpy", "timing", "a"),))
    # A record that has both all the same: the second must not turn what the first has found.
    made = make.record()
    known = tuple(Expected("torch", "gradients", reason) for reason in "ab")
    made.plan = msgspec.structs.replace(made.plan, expect=known)
    assert judge(made).verdict == "disagree"


def test_declarations_are_parsed_and_refused_in_one_line() -> None:
    found = parse_expectation("torch:forward=its own relu")
    assert found == Expected("torch", "forward", "its own relu")
    for text in ("torch", "torch:forward", "torch=x", ":forward=x", "torch:=x", "torch:forward= "):
        with pytest.raises(InputError):
            parse_expectation(text)
    with pytest.raises(InputError, match="unknown"):
        make_plan(backends=("numpy",), expect=(Expected("torch", "forward", "x"),))
    with pytest.raises(InputError, match="unknown"):
        make_plan(backends=("numpy",), expect=(Expected("numpy", "forwards", "x"),))


def declared(made: Record, *expect: Expected) -> Record:
    made.plan = msgspec.structs.replace(made.plan, expect=expect)
    return made


def off_in(*tensors: str, label: str = "torch") -> Record:
    """A record with gradients of these beyond their limit, one batch after the other."""
    made = make.record()
    for tensor, m in ((t, m) for t in tensors for m in made.results[label].measurements):
        if (m.rung, m.tensor) == ("gradients", tensor):
            m.distance = 1e-2
    return made


@pytest.mark.parametrize(
    ("label", "tensor", "verdict"),
    [
        ("torch", "W1", "agree"),
        ("t*", "W?", "agree"),
        ("*", "*", "agree"),
        ("numpy", "*", "disagree"),
        ("torch", "b*", "disagree"),
    ],
)
def test_a_declared_difference_is_of_labels_and_tensors_by_patterns(label, tensor, verdict) -> None:
    made = declared(off_in("W1"), Expected(label, "gradients", "known", tensor))
    assert judge(made).verdict == verdict


def test_what_is_not_declared_counts_beside_what_is_and_is_named() -> None:
    made = declared(off_in("W1", "b2"), Expected("torch", "gradients", "known", "W1"))
    judged = judge(made)
    assert judged.verdict == "disagree"
    assert judged.first_divergence is not None
    assert judged.first_divergence.tensor == "b2"
    assert "b2 is off by" in judged.summary
    both = Expected("torch", "gradients", "known too", "b2")
    made = declared(made, *made.plan.expect, both)
    judged = judge(made)
    assert judged.verdict == "agree"
    assert "differs as declared: torch gradients (known; known too)" in judged.summary


def test_each_declared_difference_must_be_there() -> None:
    known = [Expected("torch", "gradients", f"of {name}", name) for name in ("W1", "b2")]
    made = declared(off_in("W1"), *known)
    judged = judge(made)
    assert judged.verdict == "disagree"
    assert judged.first_divergence is None
    said = "a difference of b2 was declared (of b2) and there is none: take the declaration back"
    assert f"torch, gradients: {said}" in judged.summary
    # Beside one that nobody declared both are told.
    made = declared(off_in("W2"), known[0])
    judged = judge(made)
    assert judged.first_divergence is not None
    assert judged.first_divergence.tensor == "W2"
    assert "and a difference of W1 was declared" in judged.summary
    # A label has the reasons of what it has.
    made = declared(off_in("W1"), *(Expected("*", "gradients", e.reason, e.tensor) for e in known))
    made.results["numpy"] = off_in("b2", label="numpy").results["numpy"]
    told = "torch gradients (of W1)", "numpy gradients (of b2)"
    assert all(each in judge(made).summary for each in told)
    # Of labels by a pattern one is enough; where all have it, all are as declared.
    made = declared(off_in("W1"), Expected("*", "gradients", "known"))
    assert judge(made).verdict == "agree"
    made = declared(make.record(), Expected("*", "gradients", "known"))
    assert judge(made).verdict == "disagree"


def test_patterns_are_parsed_and_what_no_plan_has_is_refused() -> None:
    found = parse_expectation("torch:compile:gradients:W*=its own")
    assert found == Expected("torch:compile", "gradients", "its own", "W*")
    assert parse_expectation("*:forward=x") == Expected("*", "forward", "x")
    with pytest.raises(InputError):
        parse_expectation("torch:gradients:=x")
    for known, said in (
        (Expected("n?mpy*x", "forward", "x"), "--expect 'n?mpy*x': unknown; choose from numpy"),
        (Expected("*", "gradients", "x", "V*"), "gradients: 'V*': unknown; choose from W1, b1"),
        (Expected("numpy", "loss", "x", "W1"), "loss: 'W1': unknown; choose from loss, step loss"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            make_plan(backends=("numpy",), expect=(known,))
    own = tuple(Expected("n*", "gradients", "x", tensor) for tensor in ("W1", "b?", "W?"))
    assert make_plan(backends=("numpy",), expect=own).expect == own


# -- A against A ---------------------------------------------------------------------------------


def test_a_backend_that_does_not_repeat_itself_is_named_and_does_not_disagree() -> None:
    made = make.record()
    same = Repeat(dtype="float32", steps=20, first_step=None, distances={"W1": 0.0})
    other = Repeat(dtype="float32", steps=20, first_step=3, distances={"W1": 1e-9})
    made.results["numpy"].repeats = [same]
    made.results["torch"].repeats = [same, other]
    judged = judge(made)
    assert judged.verdict == "agree"
    assert "not deterministic: torch" in judged.summary
    assert judged.labels["numpy"].reproducible is True
    assert judged.labels["torch"].reproducible is False
    document = to_json(made, judged, "x")["backends"]
    assert document["torch"]["reproducible"] is False
    assert document["torch"]["repeats"][1]["first_step"] == 3


def test_a_backend_that_was_not_repeated_is_not_called_reproducible() -> None:
    assert judge(make.record()).labels["numpy"].reproducible is None


# -- what a record may not hide ------------------------------------------------------------------


def test_a_float64_process_that_is_not_there_is_told_with_its_reason() -> None:
    made = make.record()
    made.results["torch"].processes[1].status = "skipped"
    made.results["torch"].processes[1].reason = "this device has no float64"
    judged = judge(made)
    assert judged.labels["torch"].findings["lockstep"].verdict == "not-possible"
    assert "not possible: torch lockstep" in judged.summary
    assert "this device has no float64" in judged.summary


def test_a_distance_below_zero_is_no_agreement() -> None:
    made = make.record()
    make.find(made, "torch", "update").distance = -5.0
    assert judge(made).verdict == "disagree"


def test_late_that_was_planned_and_not_measured_leaves_the_rung_open() -> None:
    made = with_trajectory()
    made.envelope = replicas()
    found = finding_of(made)
    assert (found.verdict, found.sentence) == ("inconclusive", "not measured: late")


def test_a_loss_beyond_all_measure_is_no_crash() -> None:
    made = with_seeds(SMALL, TINY)
    made.results["numpy"].training[0].epoch_losses[-1] = 1e301
    assert finding_of(made, "accuracy").verdict == "disagree"  # outside the sanity band
    made.dataset = make.dataset(sha256="other")
    assert finding_of(made, "accuracy").verdict == "inconclusive"


def test_why_a_rung_is_open_is_told_to_the_reader() -> None:
    made = make.record()
    lost = make.find(made, "torch", "update")
    made.results["torch"].measurements.remove(lost)
    told = unsettled.section(Run(made, judge(made))).lines
    assert any("update: not measured: W1 of step 0 in float32 (torch)" in line for line in told)


def test_the_largest_values_keep_strict_and_reduced_runs_apart() -> None:
    strict, reduced = make.record(("torch",)), make.record(("torch",))
    labels = {"torch": make.label("torch", precision="tf32")}
    reduced.plan = msgspec.structs.replace(reduced.plan, labels=labels)
    make.find(strict, "torch", "forward", case="step 0").distance = 4e-6
    make.find(reduced, "torch", "forward", case="step 0").distance = 1e-3
    for records in ([strict, reduced], [reduced, strict]):
        seen = largest.largest(records)
        assert seen["forward", "float32", "strict", "*"].measurement.distance == 4e-6
        assert seen["forward", "float32", "tf32", "*"].measurement.distance == 1e-3
        assert "0.80" in largest.render(records)


# -- other limits --------------------------------------------------------------------------------


def test_rows_of_a_limits_file_go_before_the_table(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('[[limit]]\nrung = "gradients"\nvalue = 1e-12\nreason = "mine"\n')
    made = make.record()
    make.find(made, "torch", "gradients").distance = 1e-9
    assert judge(made).verdict == "agree"
    judged = judge(made, read_limits(path))
    assert judged.verdict == "disagree"
    assert judged.first_divergence.limit == 1e-12
    assert judged.labels["torch"].findings["gradients"].first.why == "mine"


def test_a_limits_file_also_holds_trajectory_and_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(
        '[[limit]]\nrung = "trajectory"\nvalue = 1e-9\n'
        '[[limit]]\nrung = "accuracy"\ncase = "training loss"\nvalue = 1e-9\n'
    )
    assert finding_of(with_trajectory(), limits=read_limits(path)).verdict == "disagree"
    found = finding_of(with_seeds(SMALL, TINY), "accuracy", read_limits(path))
    assert found.verdict == "inconclusive"


ROW = '[[limit]]\nrung = "{rung}"\nvalue = {value}\n{name} = "{pattern}"\n'


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("label", "n*", True),
        ("label", "numpy", True),
        ("label", "jax*", False),
        ("tensor", "W?", True),
        ("tensor", "b*", False),
        ("precision", "strict", True),
        ("precision", "tf32", False),
    ],
)
def test_a_row_is_for_labels_and_tensors_by_patterns_and_must_be_used(
    tmp_path: Path, command, name: str, pattern: str, fits: bool
) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(ROW.format(rung="gradients", value=1e-12, name=name, pattern=pattern))
    made = make.record(("numpy",))
    made.results["numpy"].measurements = [
        m for m in made.results["numpy"].measurements if m.rung != "gradients" or m.tensor == "W1"
    ]
    make.find(made, "numpy", "gradients", tensor="W1").distance = 1e-9
    finding = finding_of(made, "gradients", read_limits(path))
    assert (finding.verdict == "disagree") == fits
    store.write(made, tmp_path)
    words = ("check", tmp_path, "--limits", path)
    if fits:
        assert command(*words, ends=1).err == ""
    else:
        said = f"gradients, {name} {pattern}: the limit of nothing in these runs"
        assert said in command(*words, ends=2).err


@pytest.mark.parametrize(
    ("rung", "name", "pattern", "fits"),
    [
        ("trajectory", "label", "numpy", True),
        ("trajectory", "label", "torch*", False),
        ("trajectory", "tensor", "another", False),
    ],
)
def test_so_is_one_of_the_trajectory(tmp_path: Path, rung, name, pattern, fits) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(ROW.format(rung=rung, value=1e-9, name=name, pattern=pattern))
    table = read_limits(path)
    assert (finding_of(with_trajectory(), limits=table).verdict == "disagree") == fits
    assert (unused([with_trajectory()], table) == []) == fits


def test_and_of_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    row = ROW.format(rung="accuracy", value=1e-9, name="case", pattern="training loss")
    for label, verdict in (("n*", "inconclusive"), ("t*", "agree")):
        path.write_text(f'{row}label = "{label}"\n')
        found = finding_of(with_seeds(SMALL, TINY), "accuracy", read_limits(path))
        assert found.verdict == verdict
    path.write_text(f'{row}label = "jax"\n')
    assert [r.label for r in unused([with_seeds(SMALL, TINY)], read_limits(path))] == ["jax"]


def test_a_row_behind_another_of_the_same_is_used_by_nothing(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    wide = ROW.format(rung="gradients", value=1e-3, name="label", pattern="*")
    path.write_text(wide + ROW.format(rung="gradients", value=1e-4, name="tensor", pattern="W1"))
    assert [row.tensor for row in unused([make.record()], read_limits(path))] == ["W1"]


@pytest.mark.parametrize(
    "text",
    [
        "limit = 3",
        "not toml",
        '[[limit]]\nrung = "gradient"\nvalue = 1e-3\n',
        '[[limit]]\nrung = "gradients"\nvalue = -1.0\n',
        '[[limit]]\nrung = "gradients"\nvalue = nan\n',
        '[[limit]]\nrung = "timing"\nvalue = 2.0\n',
        '[[limit]]\nrung = "accuracy"\nvalue = 0.1\n',
        '[[limit]]\nrung = "accuracy"\ncase = "training loss"\nvalue = 0\n',
        '[[limit]]\nrung = "gradients"\nvalue = 1e-3\ncolour = "red"\n',
    ],
)
def test_a_limits_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, text) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_limits(path)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError):
        read_limits(tmp_path / "absent.toml")


def test_a_verdict_under_other_limits_says_so() -> None:
    judged = judge(make.record(), LIMITS, "mine.toml")
    assert "OTHER LIMITS (mine.toml)" in judged.summary
    assert to_json(make.record(), judged, "x")["other_limits"] == "mine.toml"
    assert judge(make.record()).other_limits is None


# -- hints ---------------------------------------------------------------------------------------


def off(made: Record, rung: str = "gradients", **where: object) -> Measurement:
    """Put one measurement of torch over its limit."""
    found = make.find(made, "torch", rung, **where)
    found.distance = 0.5
    found.pattern = Pattern(factor=1.0, residual=0.5, elements=1.0, rows=1.0, columns=1.0)
    return found


def hint(made: Record, rung: str = "gradients") -> str:
    return judge(made).labels["torch"].findings[rung].hint or ""


def test_a_factor_that_nothing_explains_is_no_hint() -> None:
    made = make.record()
    for m in made.results["torch"].measurements:
        if m.rung == "gradients":
            m.distance = 255.0
            m.pattern = Pattern(factor=256.0, residual=1e-6, elements=1, rows=1, columns=1)
    assert "factor" not in hint(made)


def test_a_tensor_of_zeros_is_named() -> None:
    made = make.record()
    off(made).got_norm = 0.0
    assert "all zeros" in hint(made)


@pytest.mark.parametrize(("tensor", "verb"), [("losses", "are"), ("W1", "is")])
def test_a_sentence_says_is_of_one_and_are_of_several(tensor: str, verb: str) -> None:
    made = make.record()
    off(made, "lockstep", tensor=tensor)
    told = judge(made).labels["torch"].findings["lockstep"].sentence
    assert f": {tensor} {verb} off by 0.5, limit " in told


def test_one_tensor_of_several_and_one_column_of_it_are_named() -> None:
    made = make.record()
    found = off(made, tensor="b2")
    found.pattern = Pattern(factor=1.0, residual=0.5, elements=0.1, rows=1.0, columns=0.1)
    assert "only b2; W1, W2, b1 agree" in hint(made)
    assert "in 10% of the columns" in hint(made)


def test_only_a_made_batch_points_to_what_it_is_made_for() -> None:
    made = make.record()
    for dtype in ("float32", "float64"):
        off(made, case="corner", dtype=dtype)
    assert "only the made batch corner" in hint(made)
    assert "exactly 0" in hint(made)
    # Of an update alone nothing says that what was computed before it is to blame.
    made = make.record()
    for dtype in ("float32", "float64"):
        off(made, "update", case="corner", dtype=dtype)
    assert "only the made batch corner" in hint(made, "update")
    assert "exactly 0" not in hint(made, "update")


def test_only_short_batches_point_to_the_batch_size() -> None:
    made = make.record()
    made.cases[1].rows = 96
    off(made, case="step 10")
    assert "other sizes than 256" in hint(made)


def test_not_before_a_step_points_to_carried_state() -> None:
    made = make.record()
    off(made, "lockstep", step=234)
    assert "not before step 234" in hint(made, "lockstep")


def test_a_made_batch_is_none_of_another_size() -> None:
    """A confident batch of fewer samples says nothing of what is divided by the batch's size."""
    made = make.record()
    made.cases[2].rows = 96
    off(made, case="corner")
    off(made, case="step 0")
    made.cases[0].rows = 256
    assert "other sizes" not in hint(made)


@pytest.mark.parametrize("distance", [1.2e-4, 4e-4, 1.4e-3])
def test_a_size_names_no_rounding(distance: float) -> None:
    made = make.record()
    off(made).distance = distance
    assert "TF32" not in hint(made)
    assert "round" not in hint(made)


def test_what_is_off_in_float64_alone_is_told() -> None:
    made = make.record()
    off(made, dtype="float64").distance = 1e-7
    assert "in float64 only" in hint(made)


def explanation(**changes: object) -> Explanation:
    given = {"hypothesis": "eps-in-root", "sentence": "ε stands inside the root, in W1"}
    return Explanation(**(given | {"numbers": [], "left": 1e-15} | changes))


def explained(found: list[Explanation], **where: object) -> Record:
    """Torch's first divergence, with what explains it."""
    made = make.record()
    off(made, case="step 0")
    at = {"label": "torch", "dtype": "float64", "rung": "gradients", "case": "step 0"}
    made.explained = [Explained(**(at | where), found=found)]
    return made


def test_an_explanation_stands_with_its_divergence_in_every_place(tmp_path: Path) -> None:
    made = explained([explanation(), explanation(sentence="ε is 1e-3, in W1")])
    judged = judge(made)
    told = "ε stands inside the root, in W1; or ε is 1e-3, in W1"
    assert judged.labels["torch"].findings["gradients"].explained == told
    assert f"({told}; only W1" in judged.summary
    written = to_json(made, judged, "x")
    assert [one["hypothesis"] for one in written["first_divergence"]["explanation"]] == [
        "eps-in-root",
        "eps-in-root",
    ]
    assert len(written["backends"]["torch"]["rungs"]["gradients"]["explanation"]) == 2
    assert "explanation" not in written["backends"]["torch"]["rungs"]["forward"]
    assert any(f"Explanation: {told}." in line for line in words.explanations(judged))
    suite, _ = junit.render([shown.Run(made, judged, tmp_path)])
    assert told in next(line for line in suite.splitlines() if "<failure" in line)
    assert f"Explanation: {told}." in as_markdown(made, judged)
    assert told in pages.render(report(Run(made, judged), "page"))


def test_where_nothing_explains_that_is_told_and_where_nothing_was_sought_it_is_not() -> None:
    assert "no known convention explains it" in judge(explained([])).summary
    for place in ({"case": "step 10"}, {"rung": "update"}, {"label": "numpy"}):
        judged = judge(explained([explanation()], **place))
        assert judged.first_divergence.explanation is None
        assert "explains" not in judged.summary


def test_an_agreement_has_no_hint_and_a_hint_stands_in_the_summary(monkeypatch) -> None:
    made = make.record()
    assert hint(made) == ""
    off(made)
    assert "(only W1; W2, b1, b2 agree" in judge(made).summary
    assert json.loads(msgspec.json.encode(to_json(made, judge(made), "x")))
    finding = judge(made).labels["torch"].findings["forward"]
    assert find_hint(finding, "torch", made, LIMITS) is None
    # A net of two hundred tensors has them counted.
    monkeypatch.setattr("harness.verdict.hints.MOST_NAMED", 2)
    assert "(only W1; 3 others agree" in judge(made).summary
