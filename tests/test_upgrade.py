"""Two versions of one framework: told apart wherever labels stand, and what the upgrade moved.

On made records: jax@0.9 beside jax, both timed in the same rounds of one run.
"""

from __future__ import annotations

import json
import math
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.bundle.readme import _pip
from harness.record import store
from harness.report import diff as pages
from harness.report import files
from harness.results import diff, history
from harness.results import store as runs
from harness.verdict.timings import control
from harness.verdict.verdict import judge
from tests import make
from tests.test_diff import as_markdown, as_page, copied, every, on_terminal, timing
from tests.test_diff_page import parsed, stored
from tests.test_store import put, told

OLD, NEW = "jax@0.9", "jax"
PAIR = {OLD: NEW}
VERSIONS = {
    OLD: {"version:jax": "0.9.2", "version:jaxlib": "0.9.2", "version:flax": "0.12.6"},
    NEW: {"version:jax": "0.10.2", "version:jaxlib": "0.10.2", "version:flax": "0.12.8"},
}
# Sessions do not repeat to the bit: some per cent, other ones for each label.
NOISE = {OLD: (1.0, 1.02, 0.99, 1.01, 0.98), NEW: (1.01, 1.0, 0.98, 1.02, 1.0)}


def upgrade(*, number=5, change=None):
    """A run of NumPy and two versions of JAX, in five sessions (or `number`)."""
    made = make.timed(("numpy", OLD, NEW), number=number)
    made.again["numpy"].rounds = make.sessions(1_000_500, number=number)
    for name, versions in VERSIONS.items():
        made.results[name].rounds = make.sessions(1_500_000, number=number)
        for r in made.results[name].rounds:
            scale(r, NOISE[name][r.session % 5])
        for process in made.results[name].processes:
            process.facts = {"python": "3.11.2", "device": "cpu", "threads": "2", **versions}
    if change is not None:
        change(made)
    return made


def scale(r, factor):
    r.step_ns = [round(ns * factor) for ns in r.step_ns]
    r.burst_ns = [round(ns * factor) for ns in r.burst_ns]


def slower(made, factor=1.2):
    for r in made.results[NEW].rounds:
        scale(r, factor)


def other_numbers(made):
    found = make.find(made, NEW, "gradients", step=10, tensor="b1")
    found.digest, found.distance = "fedcba9876543210", 3e-7


def disagrees(made):
    make.find(made, NEW, "gradients", step=10).distance = 0.125


def log_ratios(made):
    """Of each session the median over its rounds of log(step now / step then)."""
    found = []
    for session in sorted({r.session for r in made.results[NEW].rounds}):
        now, then = (
            [
                statistics.median(r.step_ns)
                for r in made.results[name].rounds
                if r.session == session and r.round >= made.plan.timing.warmup_rounds
            ]
            for name in (NEW, OLD)
        )
        found.append(statistics.median(math.log(a / b) for a, b in zip(now, then, strict=True)))
    return found


def between(made, other=None, only=None):
    return diff.compare(made, made if other is None else other, only=only or PAIR)


# ---- what moved


def test_the_versions_are_named_as_what_changed_and_nothing_else():
    found = between(upgrade())
    told_ = [(c.what, c.then, c.now) for c in found.environment]
    assert told_ == [
        ("jax", "0.9.2", "0.10.2"),
        ("jaxlib", "0.9.2", "0.10.2"),
        ("flax", "0.12.6", "0.12.8"),
    ]
    assert found.summary.startswith(
        "jax@0.9 → jax (jax 0.9.2 → 0.10.2, jaxlib 0.9.2 → 0.10.2, flax 0.12.6 → 0.12.8): "
    )
    assert found.summary.endswith("; nothing else around the labels changed")
    assert "because" not in found.summary
    assert (found.verdict, diff.exit_status(found), found.moves) == ("same", 0, [])
    assert "results and 1 trainings are the same, bit for bit)" in found.summary
    assert found.one_run

    def more(made):
        for process in made.results[NEW].processes:
            process.facts = process.facts | {"python": "3.12.1", "threads": "1"}

    found = between(upgrade(change=more))
    # The interpreter's version is one as well, after the packages'.
    assert "flax 0.12.6 → 0.12.8, python 3.11.2 → 3.12.1): " in found.summary
    assert found.summary.endswith("; between the labels also threads 2 → 1 changed")


def test_numbers_that_moved_are_named_by_rung_and_speed_is_not_blamed():
    found = between(upgrade(change=other_numbers))
    assert (found.verdict, diff.exit_status(found)) == ("moved", 0)
    assert "numbers moved in gradients (1 of 24 results), and every rung is judged as before; " in (
        found.summary
    )
    (moved,) = found.moves
    assert "gradients: 1 of 24 results not the same bits though given the same numbers" in (
        moved.text
    )
    assert found.labels[0].speed.outcome not in ("slower", "faster")


def test_a_rung_that_disagrees_since_the_upgrade_is_worse():
    found = between(upgrade(change=disagrees))
    assert (found.verdict, diff.exit_status(found)) == ("worse", 1)
    assert "gradients was agree, is disagree" in found.summary
    # Its times are then compared with nothing.
    assert "speed is not comparable (now: its numbers do not agree)" in found.summary
    assert between(upgrade(change=disagrees), only={NEW: OLD}).verdict == "better"


def test_speed_that_moved_is_claimed_with_the_interval_that_scipy_gives():
    made = upgrade(change=slower)
    found = between(made)
    assert (found.verdict, diff.exit_status(found)) == ("worse", 1)
    speed = found.labels[0].speed
    assert (speed.outcome, speed.paired, speed.unit) == ("slower", True, "ns")
    logs = log_ratios(made)
    low, high = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    value = math.exp(statistics.mean(logs))
    assert (speed.change.low, speed.change.value, speed.change.high) == pytest.approx(
        (math.exp(low), value, math.exp(high))
    )
    assert f"its step is slower, × {value:.3f} [{math.exp(low):.3f}, {math.exp(high):.3f}] (" in (
        found.summary
    )
    assert "no number moved" in found.summary
    back = between(made, only={NEW: OLD})
    assert (back.verdict, back.labels[0].speed.outcome) == ("better", "faster")
    assert back.labels[0].speed.change.value * value == pytest.approx(1)


def test_what_the_machine_did_between_sessions_is_in_both_labels_and_cancels():
    def drifts(made):
        slower(made, 1.06)
        for results in (*made.results.values(), *made.again.values()):
            for r in results.rounds:
                scale(r, 1 + 0.03 * r.session)
                r.products_ns = [round(ns * (1 + 0.03 * r.session)) for ns in r.products_ns]
                r.drain_ns = [0, 0]

    speed = between(upgrade(change=drifts)).labels[0].speed
    assert speed.outcome == "slower"
    # Of two runs with the same times 6 % is no claim: a machine changes by more from day to day.
    made = upgrade(change=drifts)
    other = msgspec.structs.replace(copied(made), run="20260102T000000-abcdef")
    between_runs = between(made, other)
    assert not between_runs.one_run
    assert between_runs.labels[0].speed.outcome not in ("slower", "faster")
    assert not between_runs.labels[0].speed.paired


@settings(max_examples=25, deadline=None)
@given(st.floats(0.8, 1.25), st.floats(0, 0.05), st.integers(1, 6))
def test_a_claim_is_what_the_rule_of_every_report_claims(factor, spread, number):
    def change(made):
        for r in made.results[NEW].rounds:
            scale(r, factor * (1 + spread * (r.session % 3 - 1)))

    made = upgrade(number=number, change=change)
    speed = between(made).labels[0].speed
    logs = log_ratios(made)
    if number < 5:
        assert (speed.outcome, speed.claim) == ("inconclusive", False)
        assert speed.reason.startswith("indicative, no claim: ")
        return
    half = stats.t.ppf(0.975, number - 1) * statistics.stdev(logs) / math.sqrt(number)
    mean = statistics.mean(logs)
    least = math.log(1.03)
    claimed = abs(mean) > least and abs(mean) > half
    assert (speed.outcome in ("slower", "faster")) == claimed
    within = abs(mean) + half <= least
    assert (speed.outcome == "same") == (within and not claimed)


def test_where_a_framework_differs_from_itself_nothing_is_claimed():
    def shaky(made):
        slower(made)
        for r in made.again["numpy"].rounds:
            scale(r, 1.2)

    speed = between(upgrade(change=shaky)).labels[0].speed
    assert (speed.outcome, speed.claim) == ("inconclusive", False)
    assert "nothing is claimed: two processes of numpy differ" in speed.reason


def test_where_threads_were_kept_waiting_nothing_is_claimed():
    def starved(made):
        slower(made)
        for r in made.results[NEW].rounds:
            r.cpu_ns //= 2

    found = between(upgrade(change=starved))
    speed = found.labels[0].speed
    assert (speed.outcome, speed.claim, found.verdict) == ("inconclusive", False, "same")
    assert speed.reason.endswith("nothing is claimed: jax: 0.83 of 2 threads were at work")
    assert "nothing is claimed of speed, × 1.2" in found.summary


def test_labels_that_share_no_round_are_not_compared():
    def apart(made):
        made.results[NEW].rounds = [r for r in made.results[NEW].rounds if r.session < 2]
        made.results[OLD].rounds = [r for r in made.results[OLD].rounds if r.session >= 2]

    speed = between(upgrade(change=apart)).labels[0].speed
    assert (speed.outcome, speed.reason) == (
        "not comparable",
        "the two labels share no round",
    )


@pytest.mark.parametrize("least", [-0.5, math.inf])
def test_a_plan_whose_least_difference_is_none_is_told(least):
    def alone(made):
        made.again = {}

    speed = between(upgrade(change=every(timing(least=least), alone))).labels[0].speed
    assert speed.reason.startswith("the plan's least difference ")


def test_a_version_that_failed_is_said_and_not_compared():
    found = between(upgrade(change=lambda made: make.fail(made, NEW)))
    assert found.verdict == "worse"
    assert "): was ok, is failed; speed is not comparable (now: failed)" in found.summary
    # One that never started tells no version, so none is gone.
    found = between(upgrade(change=lambda made: make.skip(made, NEW, "jax not installed")))
    assert found.environment == []


def test_labels_that_are_not_paired_are_left_out():
    made = upgrade(change=lambda made: make.fail(made, "numpy"))
    found = between(made)
    assert [label.labels for label in found.labels] == [[OLD, NEW]]
    assert (found.only_then, found.only_now) == ([], [])
    assert not [move for move in found.moves if "numpy" in move.text]


def test_several_pairs_have_a_sentence_each():
    made = upgrade(change=slower)
    later = copied(made)
    later.run = "20260102T000000-abcdef"
    found = between(made, later, {OLD: NEW, NEW: OLD})
    sentences = [label.told for label in found.labels]
    assert [s.partition(" (")[0] for s in sentences] == ["jax@0.9 → jax", "jax → jax@0.9"]
    page, marked = parsed(as_page(found)).text, as_markdown(found)
    for sentence in sentences:
        assert sentence in on_terminal(found)
        assert sentence in page
        assert sentence in marked.replace("\\", "")
    assert pages.sentences(between(made)) == []  # one stands in the summary


def test_every_form_names_the_versions_and_the_interval():
    found = between(upgrade(change=slower))
    interval = f"{diff.ratio(found.labels[0].speed.change)}"
    document = json.loads(msgspec.json.encode(found))
    assert document["one_run"] is True
    assert document["environment"][0] == {
        "where": "jax@0.9 → jax",
        "what": "jax",
        "then": "0.9.2",
        "now": "0.10.2",
        "version": True,
    }
    page = parsed(as_page(found)).text
    for text in (on_terminal(found), as_markdown(found).replace("\\", ""), page):
        assert "0.10.2" in text
        assert interval in text
        assert "in the same rounds" in text
        assert "jax@0.9 → jax" in text
    assert "jax@0.9 → jax of run 20260101T000000-abcdef" in page
    # What is said of two runs is not said of one.
    assert "second run" not in page
    assert "multiple of the floor" not in page
    assert "both are run" not in " ".join(found.cautions)


def test_cautions_are_of_the_one_run():
    def synthetic(made):
        made.dataset = make.dataset(name="synthetic", synthetic=True)
        made.ended = "interrupted"

    assert between(upgrade(change=synthetic)).cautions == [
        "the run is not finished: interrupted",
        "SYNTHETIC data in the run",
    ]


# ---- the command


def test_the_command_takes_one_run_or_the_same_twice(tmp_path, command):
    made = stored(upgrade(change=slower), tmp_path / "a")
    told_ = []
    for words in ([made], [made, made], [made, str(tmp_path / "a" / "record.json")]):
        said = command("diff", *words, "--pair", "jax@0.9=jax", "--json", ends=1)
        told_.append(json.loads(said.out))
    assert told_[0]["one_run"]
    assert told_[0]["summary"] == told_[1]["summary"] == told_[2]["summary"]
    out = command("diff", made, "--pair", "jax=jax@0.9").out
    assert "BETTER: jax → jax@0.9 (jax 0.10.2 → 0.9.2" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a second run, or say with --pair"),
        (["--pair", "jax"], "--pair 'jax': expected NAME=VALUE, every name once"),
        (["--pair", "=jax"], "expected NAME=VALUE"),
        (["--pair", "jax="], "expected NAME=VALUE"),
        (["--pair", "jax=jax"], "--pair jax=jax: a label of one run is the same as itself"),
        (["--pair", "torch=jax"], "--pair: the first run has no 'torch', but numpy, jax@0.9, jax"),
        (["--pair", "jax=torch"], "--pair: the second run has no 'torch'"),
        (["--pair", "jax=numpy", "--pair", "jax=jax@0.9"], "every name once"),
        (["--pair", "jax=numpy", "--pair", "jax@0.9=numpy"], "label of the second run once"),
        (["--pair", "jax=jax@0.9", "--label", "jax=jax"], "--label and --pair: choose one"),
    ],
)
def test_what_is_no_pair_of_labels_is_refused_in_one_line(words, said, tmp_path, command):
    made = stored(upgrade(), tmp_path / "a")
    assert said in command("diff", made, *words, ends=2).err


# ---- labels with @ elsewhere


def test_two_versions_are_two_trends_whatever_they_are_called(tmp_path):
    made = upgrade()
    document = told(made)
    document["backends"]["old"] = document["backends"].pop(OLD)
    put(tmp_path, told(made), 0)
    put(tmp_path, told(made), 1)
    put(tmp_path, document, 2)
    trends = history.trace(runs.find(tmp_path)).trends
    assert {(t.configuration.words()[0], len(t.points)) for t in trends} == {
        ("numpy", 3),
        ("jax", 3),
        ("jax@0.9", 2),
        ("old (jax)", 1),
    }
    assert all(point.changed == {} for trend in trends for point in trend.points)
    # Asked for the backend, all of its versions come.
    assert len(history.trace(runs.find(tmp_path), labels=("jax",)).trends) == 3


def test_a_variant_of_a_version_belongs_to_that_version(tmp_path):
    made = upgrade()
    document = told(made)
    for name, label in ((OLD, "jax@0.9:eager"), (NEW, "jax:eager")):
        document["backends"][label] = document["backends"].pop(name)
    put(tmp_path, told(made), 0)
    put(tmp_path, document, 1)
    assert [len(t.points) for t in history.trace(runs.find(tmp_path)).trends] == [2, 2, 2]


def test_a_run_with_versions_is_written_and_read_in_every_form(tmp_path):
    made = upgrade(change=slower)
    judged = judge(made)
    store.write(made, tmp_path)
    assert store.read(tmp_path) == made
    for file in files.write(made, judged, tmp_path, with_images=False):
        text = file.read_text(encoding="utf-8")
        assert OLD in text
        ids = [a["id"] for _, a in parsed(text).tags if "id" in a]
        assert len(ids) == len(set(ids))


def test_of_several_numpys_the_one_of_that_name_is_the_control_arm():
    for names, arm in (
        (("numpy@1.26", "numpy"), "numpy"),
        (("numpy", "numpy@1.26"), "numpy"),
        (("numpy@1.26", "numpy@2.0", "torch"), "numpy@1.26"),
        (("torch",), None),
    ):
        assert control(make.timed(names)) == arm


def test_a_bundle_asks_for_the_versions_of_the_label_that_failed():
    made = upgrade()
    assert any("jax==0.9.2" in line for line in _pip(made, OLD))
    assert any("jax==0.10.2" in line for line in _pip(made, NEW))
    # Of another framework's failure, those of the first.
    assert any("jax==0.9.2" in line for line in _pip(made, "numpy"))
