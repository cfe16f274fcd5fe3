"""What moved between two runs: found, named with its figure, mirrored, and never made up."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
import statistics

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from harness.errors import InputError
from harness.plan.model import Expected
from harness.plan.profiles import TABLE
from harness.record import schema
from harness.report import diff as report
from harness.report import markdown, page, terminal
from harness.results import diff
from tests import make

MACHINE = {
    "system": "Linux 6.1",
    "architecture": "x86_64",
    "processor": "Some Processor @ 3 GHz",
    "processors": "2",
    "python": "3.11.7",
    "numpy": "2.4.6",
}


def clean(names=("numpy", "torch"), **words):
    """Five sessions of every label, on a machine with a name; a reference that was trained."""
    made = make.timed(names, **words)
    made.machine = dict(MACHINE)
    made.reference = [make.training(dtype="float64", step_ns=[])]
    return made


def copied(made):
    return msgspec.convert(msgspec.to_builtins(made), schema.Record)


CLEAN = clean()


def planted(change, of=CLEAN):
    """A copy of a record with one change made to it."""
    made = copied(of)
    change(made)
    return made


def moved_texts(found):
    return [move.text for move in found.moves]


def rung_of(found, label, rung):
    (of,) = [each for each in found.labels if each.labels[1] == label]
    return next(each for each in of.rungs if each.rung == rung)


# Changes to a record, each of one kind; a change of a record that holds nothing of it is none.


def other_digest(made, label="torch"):
    make.find(made, label, "gradients", step=10).digest = "fedcba9876543210"


def other_inputs(made, label="torch", **fields):
    found = make.find(made, label, "inputs", step=10, tensor="W1")
    found.digest, found.distance = "fedcba9876543210", fields.get("distance", 0.0)


def disagrees(made, label="torch"):
    make.find(made, label, "gradients", step=10).distance = 0.125


def slower(made, label="torch", factor=1.3):
    for r in made.results[label].rounds:
        r.step_ns = [round(ns * factor) for ns in r.step_ns]
        r.burst_ns = [round(ns * factor) for ns in r.burst_ns]


def faster(made, label="torch"):
    slower(made, label, 1 / 1.3)


def fails(made, label="torch"):
    make.fail(made, label)


def skipped(made, label="torch"):
    if label in made.plan.labels:
        make.skip(made, label)


def upgraded(made, label="torch", version="2.13.0"):
    for process in made.results[label].processes:
        process.facts = process.facts | {"version:torch": version}


def another_machine(made):
    made.machine = made.machine | {"processor": "Another Processor"}


def other_kernel(made):
    made.machine = made.machine | {"system": "Linux 7.1"}


def other_data(made):
    made.dataset = make.dataset(sha256="0" * 64, synthetic=True, name="synthetic")


def no_data(made):
    made.dataset = None


def other_threads(made):
    planned(threads=1)(made)


def other_seed(made):
    planned(seeds=(7,))(made)
    for results in made.results.values():
        for training in results.training:
            training.seed = 7


def result(rung, label="torch", step=10, **fields):
    """A change of one result."""

    def change(made):
        measured = make.find(made, label, rung, step=step)
        for name, value in fields.items():
            setattr(measured, name, value)

    return change


def planned(**fields):
    """A change of the plan."""

    def change(made):
        made.plan = msgspec.structs.replace(made.plan, **fields)

    return change


def timing(**fields):
    """A change of how steps are timed."""

    def change(made):
        planned(timing=msgspec.structs.replace(made.plan.timing, **fields))(made)

    return change


def every(*changes):
    """All of these changes."""

    def change(made):
        for each in changes:
            each(made)

    return change


def churned(differ):
    """A change of how many test images are classified differently."""

    def change(made):
        made.results["torch"].churn = [
            schema.Churn(seed=0, samples=100, differ=differ, only_here=0, only_reference=0)
        ]

    return change


def learns_otherwise(made, label="torch"):
    for training in made.results[label].training:
        training.losses = [training.losses[0], 0.75]
        training.test_accuracy = [*training.test_accuracy[:-1], 0.83]


def diverges(made, label="torch"):
    for training in made.results[label].training:
        training.losses = [training.losses[0], "nan"]


def interrupted(made):
    made.ended = "interrupted"


def stopped(made):
    made.ended = "out of disk"


def wrong_answer(made):
    made.known_answers[0].got = "2"


def nothing_measured(made, label="torch"):
    made.results[label].measurements = []
    made.results[label].training = []
    made.results[label].rounds = []


def not_finite(made, label="torch"):
    found = make.find(made, label, "forward")
    found.distance, found.problem, found.digest = None, "NaN only in what was got", "0" * 16


def fewer_sessions(made):
    for results in [*made.results.values(), *made.again.values()]:
        results.rounds = [r for r in results.rounds if r.session < 2]


def gone(made, label="torch"):
    del made.results[label]
    labels = {name: each for name, each in made.plan.labels.items() if name != label}
    made.plan = msgspec.structs.replace(made.plan, labels=labels)


def twice_the_same_place(made, label="torch"):
    made.results[label].measurements.append(make.measurement(digest="1" * 16))


CHANGES = (
    other_digest, other_inputs, disagrees, slower, faster, fails, skipped, upgraded,
    another_machine, other_kernel, other_data, no_data, other_threads, other_seed,
    learns_otherwise, diverges, interrupted, stopped, wrong_answer, nothing_measured, not_finite,
    fewer_sessions, gone, twice_the_same_place,
)  # fmt: skip


SEVERAL = st.lists(st.sampled_from(CHANGES), max_size=3, unique=True)


def changed(changes):
    """A made record with these changes."""
    made = copied(CLEAN)
    for change in changes:
        # Another change may have taken away what this one is about.
        with contextlib.suppress(StopIteration, KeyError):
            change(made)
    return made


SOME = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SOME
@given(SEVERAL)
def test_a_run_is_the_same_as_itself(changes):
    made = changed(changes)
    found = diff.compare(made, copied(made))
    assert found.moves == []
    assert found.environment == []
    assert found.summary.endswith("; nothing around the runs changed")
    assert found.only_then == found.only_now == []
    # Where nothing at all was measured of a label, nothing is claimed of it.
    measured = any(r.measurements or r.training or r.rounds for r in made.results.values())
    assert found.verdict == ("same" if measured else "not comparable")
    for label in found.labels:
        assert label.speed.outcome in ("same", "inconclusive", "not comparable")
        assert all(training.identical for training in label.trainings)
        for rung in label.rungs:
            assert (rung.moved, rung.only_then, rung.only_now, rung.judge_moved) == (0, 0, 0, 0)
            assert rung.largest is None
            assert rung.then == rung.now


OPPOSITE = {"worse": "better", "better": "worse", "moved": "moved"}
SPEED = {"slower": "faster", "faster": "slower"}


@SOME
@given(SEVERAL, SEVERAL)
def test_the_other_way_round_everything_is_mirrored(then, now):
    one, other = changed(then), changed(now)
    there, back = diff.compare(one, other), diff.compare(other, one)
    directions = [sorted(move.direction for move in each.moves) for each in (there, back)]
    assert sorted(map(OPPOSITE.__getitem__, directions[0])) == directions[1]
    if there.verdict in ("same", "not comparable"):
        assert back.verdict == there.verdict
    elif not {"worse", "better"} <= set(directions[0]):  # with both, worse either way
        assert back.verdict == OPPOSITE[there.verdict]
    else:
        assert there.verdict == back.verdict == "worse"
    assert (there.only_then, there.only_now) == (back.only_now, back.only_then)
    mirrored = sorted((c.where, c.what, c.now or "", c.then or "") for c in there.environment)
    assert mirrored == sorted(
        (c.where, c.what, c.then or "", c.now or "") for c in back.environment
    )
    pairs = zip(
        sorted(there.labels, key=lambda label: label.name),
        sorted(back.labels, key=lambda label: label.name),
        strict=True,
    )
    for one, other in pairs:
        assert one.status == other.status[::-1]
        assert SPEED.get(one.speed.outcome, one.speed.outcome) == other.speed.outcome
        if one.speed.change and other.speed.change:
            assert one.speed.change.value * other.speed.change.value == pytest.approx(1)
        for here, there_ in zip(one.rungs, other.rungs, strict=True):
            assert (here.then, here.now) == (there_.now, there_.then)
            assert (here.identical, here.moved) == (there_.identical, there_.moved)
            assert (here.only_then, here.only_now) == (there_.only_now, there_.only_then)
            assert here.given_other == there_.given_other


@SOME
@given(SEVERAL, SEVERAL)
def test_every_form_of_it_is_written_and_says_the_word(then, now):
    found = diff.compare(changed(then), changed(now))
    assert found.verdict.upper() in on_terminal(found)
    assert as_markdown(found).startswith(f"# {report.MARKS[found.verdict]} {found.verdict}: ")
    assert json.loads(msgspec.json.encode(found))["verdict"] == found.verdict


def as_markdown(found):
    return markdown.render(report.report(found, "markdown"))


def as_page(found):
    return page.render(report.report(found, "page"))


def on_terminal(found, width=200):
    out = io.StringIO()
    terminal.show(report.report(found, "terminal"), Console(file=out, width=width))
    return out.getvalue()


def test_only_a_new_version_is_named_and_blamed_for_nothing():
    found = diff.compare(planted(lambda made: upgraded(made, version="2.12.1")), planted(upgraded))
    assert found.verdict == "same"
    assert [(c.where, c.what, c.then, c.now) for c in found.environment] == [
        ("torch", "torch", "2.12.1", "2.13.0")
    ]
    assert "between the runs only torch 2.12.1 → 2.13.0 changed" in found.summary
    assert "because" not in found.summary


def test_where_things_lie_is_no_change():
    def moved_house(made):
        made.dataset = make.dataset(source="elsewhere", class_names=["coat"])
        label = make.label("torch", python="/elsewhere/python", asked_for=False)
        made.plan.labels["torch"] = label
        made.plan = msgspec.structs.replace(made.plan, data_dir="/elsewhere")

    assert diff.compare(CLEAN, planted(moved_house)).environment == []


def test_a_fact_that_is_not_the_same_in_both_processes_stands_with_its_dtype():
    def reset(made):
        made.results["torch"].processes[1].facts = {"python": "3.12.0", "version:numpy": "2.4.6"}
        # Of sessions that were only timed, nothing is told.
        made.results["torch"].processes[-1].facts = {"python": "3.13.0"}

    found = diff.compare(CLEAN, planted(reset))
    assert [(c.where, c.what, c.then, c.now) for c in found.environment] == [
        ("torch", "python (float64)", None, "3.12.0")
    ]


def test_many_changes_are_counted_and_the_first_named():
    now = planted(upgraded)
    for change in (other_kernel, other_threads, other_seed, other_data):
        change(now)
    assert re.search(
        r"between the runs \d+ things changed \(torch, ", diff.compare(CLEAN, now).summary
    )


GRADIENTS = len([m for m in CLEAN.results["torch"].measurements if m.rung == "gradients"])
TRAINING = "training in float32, seed 0: "


def reference_by(change):
    """A change of the reference's own training."""

    def moved(made):
        made.reference[0].losses = [1.0, 0.5 + change]

    return moved


def shaky(made):
    other_digest(made)
    repeat = schema.Repeat(dtype="float32", steps=5, first_step=2, distances={"W1": 1e-7})
    made.results["torch"].repeats = [repeat]


# A change, the word, the kinds of the moves in their order, and how the first is told.
MOVES = {
    "other bits": (
        other_digest, "moved", ["results"],
        (f"torch, gradients: 1 of {GRADIENTS} results not the same bits though given the same "
        "numbers; first W1 of step 10 in float32, distance 0, now 0"),
    ),
    "bits that do not repeat": (
        shaky, "moved", ["results"],
        (f"torch, gradients: 1 of {GRADIENTS} results not the same bits though given the same "
        "numbers (it is not deterministic); first W1"),
    ),
    "other bits of other numbers": (every(other_inputs, other_digest), "same", [], ""),
    "the judge": (
        result("gradients", distance=1e-9), "moved", ["judge"],
        (f"torch, gradients: 1 of {GRADIENTS} results the same bits at another distance from the "
        "reference; furthest W1 of step 10 in float32, distance 0, now 1e-9"),
    ),
    "the judge's last bits": (result("gradients", distance=1e-13), "same", [], ""),
    "another judge": (
        every(planned(reference="torch:float64"), result("gradients", distance=1e-9)),
        "same", [], "",
    ),
    "no number any more": (
        every(not_finite, result("forward", digest="0" * 16, distance=1.0)),
        "worse", ["verdict", "results"], "torch, forward: agreed (0",
    ),
    "disagrees": (
        every(disagrees, lambda made: other_digest(made, "numpy")), "worse",
        ["verdict", "results", "judge"], "torch, gradients: agreed (0",
    ),
    "declared": (
        every(disagrees, planned(expect=(Expected("torch", "gradients", "known"),))),
        "moved", ["verdict", "judge"], "torch, gradients: agreed (0",
    ),
    "failed": (fails, "worse", ["label"], "torch: was ok, is failed (died of SIGSEGV)"),
    # What it did not come to measure is told once, not rung by rung.
    "failed early": (every(fails, nothing_measured), "worse", ["label"], "torch: was ok, is f"),
    "skipped": (skipped, "moved", ["label"], "torch: was ok, is skipped (torch not installed)"),
    "void": (stopped, "worse", ["run"], "the second run is void: out of disk"),
    "known answers": (wrong_answer, "worse", ["run"], "the second run is void: known answers of"),
    "learns": (
        learns_otherwise, "moved", ["training"],
        (f"torch, {TRAINING}losses differ from step 1 on, by 0.5 at most (relative, first 2); last "
        "epoch's loss 0.380000, now 0.380000; test accuracy 83.50%, now 83.00%"),
    ),
    "diverges": (
        diverges, "worse", ["verdict", "training"], "torch, accuracy: inconclusive",
    ),
    "the reference learns": (
        reference_by(1e-6), "moved", ["training"],
        "harness/float64, training in float64, seed 0: losses differ",
    ),
    "the reference's last bits": (reference_by(1e-15), "same", [], ""),
    "below the factor": (lambda made: slower(made, factor=1.05), "same", [], ""),
    "a record's place held twice": (twice_the_same_place, "same", [], ""),
    "a label less": (gone, "moved", ["label"], "torch: in the first run only"),
    "another workload": (
        planned(
            workload=msgspec.structs.replace(
                CLEAN.plan.workload,
                optimiser=msgspec.structs.replace(CLEAN.plan.workload.optimiser, lr=0.2),
            )
        ),
        "not comparable", [], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MOVES)
def test_what_moved_is_named_with_its_figure_and_the_worse_comes_first(what):
    change, word, kinds, told = MOVES[what]
    found = diff.compare(CLEAN, planted(change))
    assert (found.verdict, [move.kind for move in found.moves]) == (word, kinds)
    assert diff.exit_status(found) == {"worse": 1, "not comparable": 2}.get(word, 0)
    assert "".join(moved_texts(found)[:1]).startswith(told)
    assert found.summary.startswith(told)
    assert diff.compare(planted(change), CLEAN).verdict == OPPOSITE.get(word, word)


def test_counts_and_largest_movement_of_a_rung():
    change = every(
        result("forward", step=0, digest="0" * 16, distance=1e-7),
        result("forward", digest="0" * 16, distance=3e-7),
        other_digest,
        twice_the_same_place,
    )
    found = diff.compare(CLEAN, planted(change))
    forward, gradients = (rung_of(found, "torch", name) for name in ("forward", "gradients"))
    assert (forward.largest.case, forward.largest.distances) == ("step 10", [0.0, 3e-7])
    assert forward.first.case == "step 0"
    # The place that the record holds twice is another result.
    assert (gradients.moved, gradients.identical, gradients.only_now) == (1, GRADIENTS - 1, 1)
    assert rung_of(found, "numpy", "gradients").identical == GRADIENTS
    found = diff.compare(CLEAN, planted(every(other_inputs, other_digest)))
    rungs = [rung_of(found, "torch", name) for name in ("inputs", "gradients")]
    assert [(rung.moved, rung.given_other) for rung in rungs] == [(0, 1), (0, 1)]
    change = every(not_finite, result("forward", digest="0" * 16, distance=1.0))
    forward = rung_of(diff.compare(CLEAN, planted(change)), "torch", "forward")
    assert forward.largest.distances == [0.0, None]


@pytest.mark.parametrize(
    ("change", "caution"),
    [
        (other_data, "other data (fashion-mnist "),
        (other_data, "SYNTHETIC data in the second run"),
        (other_seed, "seeds 0, now 7: compared is what both have"),
        (planned(reference="torch:float64"), "judged against harness/float64, now against torch"),
        (planned(profile="smoke"), "profile default, now smoke"),
        (every(other_inputs, other_digest), "results not given the same numbers in both runs"),
        (shaky, "not deterministic in the second run: torch"),
        (interrupted, "the second run is not finished: interrupted"),
    ],
)
def test_what_cannot_be_compared_is_said(change, caution):
    found = diff.compare(CLEAN, planted(change))
    assert [c for c in found.cautions if c.startswith(caution)]
    assert bool(found.labels[0].trainings) == (change not in (other_data, other_seed))


def test_what_was_not_measured_in_both_is_not_comparable():
    now = clean(("numpy", "jax"))
    found = diff.compare(CLEAN, now)
    assert (found.only_then, found.only_now) == (["torch"], ["jax"])
    assert "jax: in the second run only" in moved_texts(found)
    found = diff.compare(clean(("numpy",)), clean(("jax",)))
    assert found.summary.startswith("no label is in both runs")
    now = planted(every(skipped, lambda made: skipped(made, "numpy")))
    assert diff.compare(now, now).summary.startswith("nothing was measured in both runs")
    found = diff.compare(CLEAN, planted(MOVES["another workload"][0]))
    assert found.summary.startswith("the runs train different workloads; between the runs only")
    assert "workload.optimiser.lr 0.1 → 0.2" in found.summary


@pytest.mark.parametrize(
    ("change", "rung"),
    [
        (lambda made: other_inputs(made, distance=3.0), "inputs"),  # they did not come back
        (result("gradients", shape=[256, 784]), "gradients"),  # the shape is part of a result
    ],
)
def test_what_is_not_the_same_result_has_moved(change, rung):
    assert rung_of(diff.compare(CLEAN, planted(change)), "torch", rung).moved == 1


@pytest.mark.parametrize("rung", ["lockstep", "trajectory"])
def test_free_running_results_are_compared_from_the_same_start_only(rung):
    def with_digest(digest):
        def change(made):
            planned(trajectory=TABLE["default"].trajectory)(made)
            made.results["torch"].measurements.append(
                make.measurement("trajectory", case="start, after 20 steps", tensor="all", step=19)
            )
            make.find(made, "torch", rung).digest = digest

        return planted(change)

    shorter = planned(trajectory=TABLE["smoke"].trajectory)
    then = with_digest("1" * 16)
    assert rung_of(diff.compare(then, with_digest("0" * 16)), "torch", rung).moved == 1
    for change in (other_data, other_seed, shorter):
        now = with_digest("0" * 16)
        change(now)
        found = rung_of(diff.compare(then, now), "torch", rung)
        # The start's length is nothing to lockstep.
        assert found.given_other == (0 if (rung, change) == ("lockstep", shorter) else 1)


def test_the_same_losses_with_other_figures_have_moved():
    def accuracy(made):
        made.results["torch"].training[0].test_accuracy[0] = 0.71

    of_churn = [planted(churned(differ)) for differ in (3, 4)]
    for then, now in ((CLEAN, planted(accuracy)), of_churn):
        found = diff.compare(then, now)
        (told,) = moved_texts(found)
        assert told.startswith("torch, training in float32, seed 0: the same losses, other figures")
    assert "churn 3, now 4" in told
    assert diff.compare(of_churn[0], of_churn[0]).verdict == "same"


def test_churn_is_of_the_trainings_in_the_labels_own_dtype():
    # Of a short schedule the float64 lockstep is a whole training too, with no churn of its own.
    def twin(made):
        made.results["torch"].training.insert(0, make.training(dtype="float64"))

    found = diff.compare(*(planted(every(twin, churned(differ))) for differ in (3, 4)))
    trainings = {training.dtype: training for training in found.labels[1].trainings}
    assert trainings["float32"].churn == [3, 4]
    assert trainings["float64"].churn == [None, None]
    assert trainings["float64"].identical
    assert len(found.moves) == 1


def test_trainings_of_another_length_are_compared_as_far_as_both_go():
    def longer(made):
        (training,) = made.results["torch"].training
        training.rows, training.losses = [256, 256, 96], [1.0, 0.25, 0.125]

    (training,) = diff.compare(CLEAN, planted(longer)).labels[1].trainings
    # The second batch has 256 samples in one and 96 in the other.
    assert (training.steps, training.first_step, training.alike) == (1, None, False)
    assert training.identical

    def other_start(made):
        longer(made)
        made.results["torch"].training[0].losses[0] = 2.0

    (told,) = moved_texts(diff.compare(CLEAN, planted(other_start)))
    # What they came to after so many other steps is not set side by side.
    assert told.endswith("losses differ from step 0 on, by 1 at most (relative, first 1)")


def test_a_training_cut_short_is_compared_with_a_whole_one_where_there_is_no_other():
    def cut(made):
        made.results["torch"].training[0].whole = False

    def both(made):
        short = make.training(whole=False, losses=[3.0, 2.0])
        made.results["torch"].training.insert(0, short)

    assert len(diff.compare(CLEAN, planted(cut)).labels[1].trainings) == 1
    (training,) = diff.compare(CLEAN, planted(both)).labels[1].trainings
    assert training.identical


def test_slower_is_worse_with_the_interval_that_scipy_gives():
    now = planted(slower)
    found = diff.compare(CLEAN, now)
    assert (found.verdict, found.labels[1].speed.outcome) == ("worse", "slower")
    assert found.labels[0].speed.outcome == "same"

    def floors(made):
        """Log of step over the control arm's products: the medians, round by round."""
        logs = []
        for session in range(5):
            steps, products = (
                {r.round: statistics.median(getattr(r, field)) for r in made.results[label].rounds
                 if r.session == session and r.round >= 1}
                for label, field in (("torch", "step_ns"), ("numpy", "products_ns"))
            )  # fmt: skip
            logs.append(statistics.median(math.log(steps[i] / products[i]) for i in steps))
        return logs

    before, after = floors(CLEAN), floors(now)
    low, high = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    change = found.labels[1].speed.change
    assert (change.low, change.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert f"× {change.value:.3f} [{math.exp(low):.3f}, {math.exp(high):.3f}]" in found.summary
    assert diff.compare(CLEAN, planted(faster)).verdict == "better"


def test_too_few_sessions_are_indicative_and_claim_nothing():
    found = diff.compare(CLEAN, planted(every(slower, fewer_sessions)))
    speed = found.labels[1].speed
    assert (speed.outcome, speed.claim) == ("inconclusive", False)
    assert speed.reason == "indicative, no claim: 5 and 2 sessions, and a claim needs 5 in each run"
    assert speed.change.value == pytest.approx(1.3, rel=0.01)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (timing(factor=math.inf), "the plan's factor inf"),
        (planned(labels=CLEAN.plan.labels | {"torch": make.label("torch", variant="compile")}),
         "variant was eager, is compile"),
        (skipped, "now: skipped"),
        (another_machine, "another machine: processor was 'Some Processor @ 3 GHz', is 'Another"),
        (other_threads, "threads were 2, are 1"),
        (disagrees, "now: its numbers do not agree"),
        (fails, "now: failed"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_compared_are_not_ranked(change, why):
    speed = diff.compare(CLEAN, planted(every(slower, change))).labels[1].speed
    assert speed.outcome == "not comparable"
    assert speed.reason.startswith(why)
    assert speed.change is None


def test_a_step_of_less_than_20_us_is_compared_with_nothing():
    long, short = make.lasting(numpy=25, torch=25), make.lasting(numpy=25, torch=19)
    why = "a step of torch takes less than 20 µs: its time is told, no multiple of it"
    for then, now, only, when in (
        (long, short, None, "now"),
        (short, long, None, "then"),
        (short, short, {"numpy": "torch"}, "now"),  # within a run
    ):
        speed = diff.compare(then, now, only=only).labels[-1].speed
        assert (speed.outcome, speed.reason) == ("not comparable", f"{when}: {why}")
        assert speed.change is None
    for only in (None, {"numpy": "torch"}):
        assert diff.compare(long, long, only=only).labels[-1].speed.change is not None


def test_the_larger_of_two_factors_counts_whichever_run_is_first():
    now, then = planted(slower), planted(timing(factor=1.5))
    for pair in ((then, now), (now, then)):
        assert diff.compare(*pair).labels[1].speed.outcome == "same"
    assert diff.compare(CLEAN, now).labels[1].speed.outcome == "slower"


def test_a_label_may_have_another_name():
    now = clean(("numpy", "torch"))
    for arm in (now.results, now.again):
        if "torch" in arm:
            arm["torch@2"] = arm.pop("torch")
    for process in now.results["torch@2"].processes:
        process.label = "torch@2"
    labels = {"numpy": now.plan.labels["numpy"], "torch@2": now.plan.labels["torch"]}
    now.plan = msgspec.structs.replace(now.plan, labels=labels)
    found = diff.compare(CLEAN, now, {"torch": "torch@2"})
    assert [label.name for label in found.labels] == ["numpy", "torch → torch@2"]
    assert (found.verdict, found.only_then, found.only_now) == ("same", [], [])
    # Without the name they are two labels, of one run each.
    assert diff.compare(CLEAN, now).only_now == ["torch@2"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"jax": "torch"}, "the first run has no 'jax', but numpy, torch"),
        ({"torch": "jax"}, "the second run has no 'jax'"),
        ({"torch": "numpy", "numpy": "numpy"}, "every label of the second run once"),
    ],
)
def test_a_name_that_a_run_does_not_have_is_refused(names, said):
    with pytest.raises(InputError, match=said):
        diff.compare(CLEAN, CLEAN, names)


def test_a_label_taken_by_name_is_not_compared_twice():
    found = diff.compare(CLEAN, CLEAN, {"torch": "numpy"})
    assert [label.labels for label in found.labels] == [["torch", "numpy"]]
    assert (found.only_then, found.only_now) == (["numpy"], ["torch"])


def test_cautions_are_said_first_everywhere():
    now = planted(another_machine)
    now.plan.labels["torch"] = make.label("torch", plant="lr.py:wrong")
    found = diff.compare(CLEAN, now)
    for text in (on_terminal(found), as_markdown(found), as_page(found)):
        for said in ("times are not compared: another machine", "FAULT PLANTED in the second run"):
            assert 0 <= text.find(said) < text.lower().index("lockstep")
