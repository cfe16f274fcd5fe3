"""What a run's page shows first: same, fastest, trust; and where a run that fails went wrong."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from harness.interface import Array
from harness.record.schema import Explained, Explanation, KnownAnswer, Record, Worst
from harness.report import apart, fastest, page, trust, where
from harness.report.run import as_markdown, report
from harness.report.run_tables import Run
from harness.report.sections import HeatMap, Scatter, Section
from harness.results.kept import Tensors
from harness.verdict.numbers import share, with_limits
from harness.verdict.verdict import judge
from harness.workloads.reference.limits import DECIDING
from tests import make, pages

FULL = "harness compare --workload mlp-scratch --profile full"


def run_of(made: Record, folder: Path = Path("/nonexistent")) -> Run:
    return Run(made, judge(made), folder)


# ---- fastest -------------------------------------------------------------------------------------


def bars(made: Record) -> tuple[Section, dict[str, fastest.Bar]]:
    section = fastest.section(run_of(made))
    return section, {bar.text: bar for (bar,) in section.rows}


def test_labels_stand_in_the_order_of_their_steps_and_as_long_as_these() -> None:
    made = make.lasting(numpy=1000, jax=3000, torch=2000)
    section, found = bars(made)
    assert [*found] == ["numpy", "torch", "jax"]
    assert [bar.time for bar in found.values()] == ["1 ms", "2 ms", "3 ms"]
    assert [bar.ratio for bar in found.values()] == ["1.00×", "2.00×", "3.00×"]
    step, put, gather = found["jax"].spans
    assert step + put + gather == pytest.approx(100, abs=0.02)
    assert (put / step, gather / step) == (pytest.approx(20 / 3000, rel=0.02),
                                           pytest.approx(80 / 3000, rel=0.02))  # fmt: skip
    assert found["numpy"].spans[0] == pytest.approx(step / 3, rel=0.01)
    for bar in found.values():
        assert bar.low <= bar.spans[0] <= bar.high
    # The floor is what numpy's products take: here .7 of the first label's step.
    made = make.lasting(numpy=1000, torch=2000)
    assert bars(made)[1]["torch"].floor == pytest.approx(100 * 0.705 / 2.1, rel=0.01)
    assert section.title == "numpy is fastest, torch takes 2 times as long: 5 sessions"


@pytest.mark.parametrize(
    ("steps", "sessions", "title", "claimed"),
    [
        ({"numpy": 1000, "torch": 1150}, 5,
         "numpy is fastest, torch takes 15% longer: 5 sessions", [True, True]),
        ({"numpy": 1000, "torch": 1010}, 5,
         "No label is surely slower than numpy: 5 sessions", [True, False]),
        ({"numpy": 1000, "torch": 1010, "jax": 1300}, 5,
         "numpy and torch are level, jax takes 30% longer: 5 sessions", [True, False, True]),
        ({"numpy": 1000, "torch": 1150}, 1,
         "numpy takes least here, torch 15% longer: 1 session, no claim", [False, False]),
        ({"numpy": 1000}, 5, "A step of numpy takes 1 ms", [True]),
        ({"numpy": 5, "torch": 10}, 1, "numpy takes least here: 1 session, no claim",
         [False, False]),
    ],
)  # fmt: skip
def test_the_title_is_the_finding_and_what_is_not_claimed_is_hatched(
    steps, sessions, title, claimed
):
    made = make.lasting(**steps)
    if sessions < 5:
        for results in (*made.results.values(), *made.again.values()):
            results.rounds = [r for r in results.rounds if r.session < sessions]
            results.processes = [p for p in results.processes if p.session < sessions]
        timing = msgspec.structs.replace(made.plan.timing, sessions=sessions)
        made.plan = msgspec.structs.replace(made.plan, timing=timing)
    section, found = bars(made)
    assert section.title == title
    assert [bar.claimed for bar in found.values()] == claimed
    for bar in found.values():
        assert ("nothing claimed" in bar.spoken) == (not bar.claimed)


def test_it_is_said_where_picking_and_putting_the_batch_changes_the_order() -> None:
    made = make.lasting(numpy=1000, torch=1100)
    assert bars(made)[0].note == ""
    for r in made.results["numpy"].rounds:
        r.put_ns = [200_000] * 3
    told = (
        "With its batch put and picked the order is another: torch (1.2 ms) before numpy (1.28 ms)."
    )
    assert bars(made)[0].note == told


def test_a_label_that_does_not_agree_has_no_bar_and_is_named() -> None:
    made = make.lasting(numpy=1000, torch=1500)
    make.find(made, "torch", "gradients").distance = 0.125
    section, found = bars(made)
    assert [*found] == ["numpy"]
    assert section.note == "torch (NOT RANKED: do not agree)."
    make.find(made, "numpy", "gradients").distance = 0.125
    assert bars(made)[0].title == ""
    made = make.record()
    for results in made.results.values():
        results.rounds = []
    assert not fastest.section(run_of(made))


# ---- trust ---------------------------------------------------------------------------------------


def chips(made: Record) -> dict[str, tuple[str, str]]:
    """What each says, without its mark: its tone and its command."""
    rows = trust.section(run_of(made)).rows
    return {
        chip.text[2:]: (chip.tone, row[0])
        for row in rows
        for chip in row[1:]
        if chip.text[1] == " "
    }


def test_what_is_settled_has_no_command_and_what_is_open_the_one_that_settles_it() -> None:
    made = make.timed(number=1)
    made.plan = msgspec.structs.replace(made.plan, steps=None)
    made.reference = [make.training(dtype="float64", losses=[1.0] * 2350)]
    made.known_answers = [KnownAnswer(name="x", want="1", got="1")]
    found = chips(made)
    assert found["known answers: 1 of 1"] == ("agree", "")
    assert found["accuracy: 1 seed of 5"] == ("inconclusive", FULL)
    assert found["timing: 1 session of 5"] == ("inconclusive", FULL)
    assert found["lockstep: the first 235 of 2350 steps"] == ("inconclusive", FULL)
    assert found["clocks agree: 2 of 2"] == found["no impossible times: 2 of 2"] == ("agree", "")
    made.known_answers[0].got = "2"
    assert chips(made)["known answers: 0 of 1"] == ("disagree", "")


def test_lockstep_over_all_steps_is_settled_and_the_first_of_them_are_not() -> None:
    made = make.record()
    made.plan = msgspec.structs.replace(made.plan, steps=None)
    made.reference = [make.training(dtype="float64", losses=[1.0] * 235)]
    assert chips(made)["lockstep: all 235 steps"] == ("agree", "")
    made.plan = msgspec.structs.replace(made.plan, steps=235)  # of ten epochs
    assert chips(made)["lockstep: the first 235 steps"] == ("inconclusive", FULL)


def test_the_control_arm_and_the_sessions_count_once_there_are_enough() -> None:
    made = make.timed()
    assert chips(made)["control arm (numpy twice, 0.999) claims nothing"] == ("agree", "")
    assert chips(made)["5 sessions"] == ("agree", "")
    made.again["numpy"].rounds = make.sessions(1_200_000)
    assert chips(made)["control arm (numpy twice, 0.833) claims a difference"] == ("disagree", "")


def test_repeats_planted_faults_and_the_machine_are_told() -> None:
    made = pages.rich()
    found = chips(made)
    assert found["3 of 3 repeat themselves bit for bit"] == ("agree", "")
    assert found["5 seeds"] == ("agree", "")
    assert not [text for text in found if "planted" in text or "machine" in text]
    made.results["torch"].repeats[0].distances = {"W1": 1e-9}
    made.plan = msgspec.structs.replace(
        made.plan, labels=made.plan.labels | {"torch": make.label("torch", plant="f.py:lr")}
    )
    made.machine["processors"] = "2"
    for results in made.results.values():
        for r in results.rounds:
            r.load = 1.5
    found = chips(made)
    assert found["not deterministic: torch"] == ("inconclusive", "")
    assert found["planted faults caught: 0 of 1"] == ("disagree", "")
    assert found["machine not busy (load 1.5)"] == ("agree", "")
    make.find(made, "torch", "gradients").distance = 0.125
    for r in made.results["torch"].rounds:
        r.load = 9.0
    found = chips(made)
    assert found["planted faults caught: 1 of 1"] == ("agree", "")
    assert any(text.startswith("machine busy") for text in found)
    assert [c for t, (_, c) in found.items() if "busy" in t] == ["harness doctor"]


def test_a_command_of_a_hostile_record_is_safe_to_paste() -> None:
    made = make.timed(number=1)
    workload = msgspec.structs.replace(made.plan.workload, name="x; rm -rf ~ #\n$(id)")
    made.plan = msgspec.structs.replace(made.plan, workload=workload, steps=None)
    (command,) = {command for _, command in chips(made).values() if "compare" in command}
    assert command == "harness compare --workload 'x; rm -rf ~ # $(id)' --profile full"
    make.find(made, "torch", "gradients").distance = 0.125
    made.run = "`id`"
    found = where.section(run_of(made)).inside[0]
    rows = [row for inner in found.inside[0].inside[0].inside for row in inner.rows]
    assert ["harness explain '`id`'"] in rows


# ---- where ---------------------------------------------------------------------------------------


def lanes(made: Record, name: str = "torch") -> dict[str, where.Lane]:
    sections = where.section(run_of(made)).inside
    (of,) = (s for s in sections if s.title.startswith(f"{name}: "))
    there = of.inside[0].inside[0].inside[0]
    assert there.look == "map"
    return {("" if not lane.inner else "  ") + lane.text: lane for (lane,) in there.rows[1:]}


def cells(lane: where.Lane) -> dict[int, str]:
    """By column, the look of its cell, read from what is drawn."""
    found = {}
    for look, path in lane.paths.items():
        starts = re.findall(r"M([\d.]+) (\d+)h([\d.]+)v(\d+)h-[\d.]+z", path)
        assert "".join(f"M{x} {y}h{w}v{h}h-{w}z" for x, y, w, h in starts) == path
        for x, y, _, high in starts:
            assert int(y) + int(high) == 100
            assert (int(high) == 100) == (look not in where.HEIGHTS)
            found[int(float(x))] = look
    return found


def test_a_run_that_agrees_has_no_map() -> None:
    assert not where.section(run_of(pages.rich()))


def test_the_map_has_a_cell_for_each_batch_and_says_which_are_off() -> None:
    made = pages.rich()
    for dtype in ("float32", "float64"):
        make.find(made, "torch", "update", dtype=dtype, step=10, tensor="b1").distance = 0.04
    make.find(made, "torch", "lockstep", step=234, tensor="W2").distance = 1e-3
    for m in made.results["torch"].measurements:
        if m.tensor == "losses":  # told so by a run
            m.case = f"to step {m.step}"
    found = lanes(made)
    assert [*found] == ["inputs", "forward", "loss", "gradients", "update",
                        "  W1", "  b1", "  W2", "  b2", "lockstep"]  # fmt: skip
    for rung in DECIDING:
        lane, drawn = found[rung], cells(found[rung])
        limited = [(m, limit) for m, limit in with_limits(rung, "torch", made, ()) if limit is None]
        assert limited  # measurements there are; which are off is asked of the table below
        off = {m.case for m, limit in with_limits(rung, "torch", made, where.LIMITS)
               if limit is not None and share(m, limit) > 1}  # fmt: skip
        red = [look for look in drawn.values() if look not in where.HEIGHTS]
        assert len(red) == len(off), rung
        assert lane.tone == {"update": "disagree", "lockstep": "follows"}.get(rung, "agree")
    # Step 0, step 10, then the made batch and ten epochs' evaluations of five seeds.
    assert cells(found["  b1"]) == {0: "within", 1: "far", 2: "within"}
    assert found["  b1"].first == pytest.approx((100 / found["update"].count,) * 2, abs=0.001)
    assert found["update"].first == found["  b1"].first
    assert [name for name, lane in found.items() if lane.first] == ["update", "  b1"]
    make.find(made, "torch", "update", step=10, tensor="W1").distance = 0.04
    assert [name for name, lane in lanes(made).items() if lane.first] == ["update", "  W1"]
    assert found["update"].told == found["  b1"].told == "4000× over"
    assert cells(found["lockstep"]) == {0: "within", 1: "follows"}
    assert found["lockstep"].told == "follows"


def test_a_layer_in_the_middle_has_a_lane_of_its_own() -> None:
    made = make.record()
    trace = made.plan.workload.trace
    made.results["torch"].measurements += [
        make.measurement(
            "forward", tensor=f"{name}, own error", step=0, case="step 0", distance=distance
        )
        for name, distance in zip(reversed(trace), (0.0, 0.5), strict=False)
    ]
    found = lanes(made)
    inner = {name.strip(): lane.tone for name, lane in found.items() if lane.inner}
    before, last = trace[-2:]
    # In the order of the layers; what goes by one name in two ways is told apart.
    assert [*inner.items()] == [(before, "disagree"), (f"{last}, own error", "agree"),
                                (last, "agree")]  # fmt: skip
    assert where.section(run_of(made)).inside[0].title.startswith("torch: forward, step 0, ")


def test_of_very_many_tensors_those_around_the_first_that_is_off_have_lanes() -> None:
    names = {f"t{i}": [] for i in range(40)}
    assert [*where._near(names, "t0")] == [f"t{i}" for i in range(12)]
    assert [*where._near(names, "t20")] == [f"t{i}" for i in range(16, 28)]
    assert [*where._near(names, "t39")] == [f"t{i}" for i in range(28, 40)]
    assert where._near({"alone": []}, "alone") == {}


def test_every_label_that_is_off_has_a_map_and_those_after_the_first_are_folded() -> None:
    made = pages.rich()
    make.find(made, "jax", "update").distance = 0.5
    make.find(made, "torch", "gradients").distance = 0.5
    sections = where.section(run_of(made)).inside
    assert [s.title.partition(":")[0] for s in sections] == ["torch", "jax"]
    assert [s.folded for s in sections] == [False, True]


def test_a_lane_says_what_is_first_off_as_every_report_does() -> None:
    made = pages.rich()
    for step, dtype, distance in (
        (10, "float32", 0.5),
        (0, "float64", 1e-3),
        (0, "float32", 2e-3),
    ):
        make.find(made, "torch", "update", dtype=dtype, step=step, tensor="b1").distance = distance
    finding = judge(made).labels["torch"].findings["update"]
    told = where._times(finding.value / finding.limit)
    found = lanes(made)
    assert found["update"].told == found["  b1"].told == told == "200× over"
    assert cells(found["  b1"])[0] == "well-over"  # the label's own dtype, where that is off
    assert cells(found["  b1"])[1] == "far"
    make.find(made, "torch", "update", dtype="float32", step=0, tensor="b1").distance = 0.0
    assert cells(lanes(made)["  b1"])[0] == "far"  # float64's alone is not hidden


def test_a_lane_counts_elements_where_there_is_no_limit_and_names_what_has_no_distance() -> None:
    made = pages.rich()
    off = make.find(made, "torch", "inputs", dtype="float32", step=0, tensor="y")
    off.distance = 6.0
    assert lanes(made)["  y"].told == lanes(made)["inputs"].told == "6 elements"
    off.distance, off.problem = None, "shape (3,)"
    assert lanes(made)["  y"].told == "not to be compared"


def test_evaluations_stand_last_and_products_have_a_lane_only_where_they_round() -> None:
    made = pages.rich()
    make.find(made, "torch", "forward", dtype="float32", step=10).distance = 0.5
    make.find(made, "torch", "forward", case="evaluation, seed 0, epoch 0").step = 0
    found = lanes(made)
    cases = where._columns(made, "torch", ["forward", "update"])
    assert [case for case in cases if case.startswith("evaluation")] == cases[-50:]
    assert cases[:4] == ["step 0", "step 10", "corner", "precision"]
    begin = [("step 0", 0), ("made", 2), ("evaluated", 4)]
    assert where._axis(made, "torch").marks == [
        (pytest.approx(100 * place / 54, abs=0.001), kind) for kind, place in begin
    ]
    assert found["forward"].first == pytest.approx((100 / len(cases),) * 2, abs=0.001)
    assert not [name for name in found if "product" in name]
    make.find(made, "torch", "forward", tensor="product, left operand").distance = 9.0
    assert "  product, left operand" in lanes(made)


def test_of_many_labels_the_tensors_of_the_first_ones_are_read(monkeypatch) -> None:
    names = ("numpy", *(f"torch:{i}" for i in range(5)))
    made = make.record(names)
    for name in names[1:]:
        make.find(made, name, "gradients").distance = 0.5
    asked = []
    monkeypatch.setattr(
        apart, "section", lambda run, own: asked.append(own.first_divergence.label) or Section()
    )
    sections = where.section(run_of(made)).inside
    assert asked == ["torch:0", "torch:1", "torch:2"]
    notes = [of.inside[0].inside[1].note for of in sections]
    assert [bool(note) for note in notes] == [False] * 3 + [True] * 2
    assert "first 3 labels" in notes[-1]


def test_a_page_folds_the_times_of_a_run_that_fails_and_tells_its_sentence_short() -> None:
    made = make.timed()
    labels = made.plan.labels | {"torch": make.label("torch", plant="f.py:lr")}
    made.plan = msgspec.structs.replace(made.plan, labels=labels)
    (open_,) = (s for s in report(run_of(made), "page").sections if s.id == "fastest")
    assert [inner.folded for inner in open_.inside] == [False]
    off = make.find(made, "torch", "gradients")
    off.distance, off.worst = 0.125, Worst(index=[1, 2], got=-0.25, want=0.5, in_rms=1.0)
    run = run_of(made)
    (folded,) = (s for s in report(run, "page").sections if s.id == "fastest")
    assert [inner.folded for inner in folded.inside] == [True]
    whole, told = run.verdict.summary, report(run, "page").sentence
    assert "limit 1e-5; worst at [1, 2]: got -0.25, expected 0.5 (" in whole
    assert whole.endswith("; FAULT PLANTED in torch (f.py:lr)")
    assert "is off by 0.12, limit 1e-5 (" in told
    assert "PLANTED" not in told
    assert report(run, "markdown").sentence == whole


def test_markdown_says_below_the_verdict_what_to_do_next(tmp_path) -> None:
    made = pages.diverging(tmp_path)
    text = as_markdown(made, judge(made))
    command = f"Next: harness bundle {made.run} writes what shows it without the harness."
    assert text.index(command) < text.index("## The ladder")
    made.kept = []
    assert "Next:" not in as_markdown(made, judge(made))


def test_a_sentences_numbers_are_not_broken_at_their_hyphen() -> None:
    told = page.unbroken(
        "W1 is off by 1e-5, <b>, a well-known x-axis, got -0.25 in 20261127-50c44b"
    )
    whole = re.findall("<span class=whole>(.*?)</span>", told)
    assert whole == ["1e-5,", "-0.25", "20261127-50c44b"]
    assert "&lt;b&gt;" in told
    assert len(page.unbroken("1e-5 " * 10_000)) < 40_000


def test_what_speaks_for_an_explanation_stands_beside_it(tmp_path) -> None:
    made = pages.diverging(tmp_path)

    def known() -> list[str]:
        there = where.section(run_of(made, tmp_path)).inside[0].inside[0].inside[0]
        (section,) = (s for s in there.inside if s.look == "chips")
        return [getattr(cell, "text", cell) for row in section.rows for cell in row if cell]

    hint = judge(made).labels["torch"].findings["gradients"].hint
    commands = [f"harness bundle {made.run}", f"harness explain {made.run}"]
    assert known() == [*hint.split("; "), *commands]
    at = {"label": "torch", "dtype": "float32", "rung": "gradients", "case": "step 0"}
    made.explained = [Explained(**at, found=[])]
    assert known()[0] == "? no known convention explains it"
    one = Explanation(hypothesis="a", sentence="a sum for a mean", numbers=[], left=2e-8)
    made.explained = [Explained(**at, found=[one])]
    assert known()[:2] == ["✓ a sum for a mean", "✓ leaves 2e-8, as correct code does"]
    assert known()[-1] == commands[0]  # what explains it is there
    made.explained = [Explained(**at, found=[one, one])]
    assert "? 2 conventions fit alike" in known()
    made.kept = []
    assert not [told for told in known() if "bundle" in told]


# ---- the tensor ----------------------------------------------------------------------------------


def dots(heat: HeatMap) -> Array:
    """The picture as a browser reads it, (rows, columns, 4)."""
    data = base64.b64decode(heat.source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)))


@given(
    arrays.arrays(
        "f8",
        arrays.array_shapes(min_dims=1, max_dims=4, max_side=300).filter(
            lambda shape: math.prod(shape) < 3000
        ),
        elements=st.sampled_from([0.0, 0.0, 1e-9, -1e-3, 0.5, -2.0, math.nan, math.inf]),
    )
)
@settings(max_examples=30)
def test_a_dot_is_the_largest_difference_of_its_part(difference) -> None:
    heat = apart.heat(difference, "W1")
    flat = difference.reshape(-1, difference.shape[-1])
    picture = dots(heat)
    assert picture.shape[:2] == heat.shape
    down, over = (math.ceil(n / apart.MOST_DOTS) for n in flat.shape)
    parts = {
        (row, column): flat[row * down : (row + 1) * down, column * over : (column + 1) * over]
        for row in range(heat.shape[0])
        for column in range(heat.shape[1])
    }
    sizes = {at: np.max(np.abs(part)) if np.isfinite(part).all() else math.inf
             for at, part in parts.items()}  # fmt: skip
    largest = max((size for size in sizes.values() if size < math.inf), default=0.0)
    for at, size in sizes.items():
        *colour, alpha = map(int, picture[at])
        if size == math.inf:
            assert (*colour, alpha) == (*apart.UNDEFINED, 255)
        elif size == 0:
            assert alpha == 0
        else:
            looks = {apart.ABOVE if v > 0 else apart.BELOW
                     for v in parts[at].ravel() if abs(v) == size}  # fmt: skip
            assert tuple(colour) in looks
            assert alpha == 255 if size == largest else apart.PALEST <= alpha < 255
    left, top = heat.worst
    worst = int(top / 100 * heat.shape[0]), int(left / 100 * heat.shape[1])
    assert sizes[worst] == max(sizes.values())


@given(st.floats(0.5, 2), st.integers(0, 2**31), st.integers(2, 5000), st.floats(1e-12, 1e12))
def test_the_factor_that_fits_is_that_of_least_squares(factor, seed, size, unit) -> None:
    want = np.random.default_rng(seed).normal(size=size) * unit
    got = want * factor
    (found,) = apart.scatter(got, want, "value") if np.any(got != want) else (None,)
    if found is None:
        return
    assert len(re.findall("M", found.points)) <= apart.MOST_POINTS + 1
    slope = np.polyfit(want, got, 1)[0] if size > 2 else factor
    told = re.search(r"got = ([\d.e+-]+) × expected", found.caption)
    if abs(factor - 1) > 1e-6:
        assert float(told[1]) == pytest.approx(slope, rel=1e-3)
    for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)h0", found.points):
        assert 0 <= float(x) <= 100
        assert 0 <= float(y) <= 100


def test_what_is_no_factor_says_so_and_what_is_the_same_has_no_picture() -> None:
    want = np.arange(-50.0, 51)
    got = want.copy()
    got[3] += 1
    (found,) = apart.scatter(got, want, "value")
    assert "no one factor" in found.caption
    assert apart.scatter(want, want, "value") == []
    assert apart.scatter(want * math.nan, want, "value") == []


def test_the_pictures_are_of_the_kept_tensors(tmp_path) -> None:
    made = pages.diverging(tmp_path)
    run = run_of(made, tmp_path)
    section = apart.section(run, run.verdict)
    heat, scatter = section.pictures
    assert isinstance(heat, HeatMap)
    assert isinstance(scatter, Scatter)
    # Of 784 x 256 the element [245, 254] is in the dot [35, 127] of seven rows and two columns.
    assert heat.shape == (112, 128)
    assert heat.worst == (pytest.approx(100 * 127.5 / 128), pytest.approx(100 * 35.5 / 112))
    assert "W1, step 0, float32: 784 × 256, a dot the largest of 7 × 2" in heat.caption
    assert dots(heat)[35, 127].tolist() == [*apart.ABOVE, 255]
    made.kept = []
    assert apart.section(run_of(made, tmp_path), run.verdict).note.startswith(
        "No picture of it: no tensors were kept"
    )


@pytest.mark.parametrize(
    ("shape", "told"),
    [((7,), "W1: 7."), ((3, 7), "W1: 3 × 7."), ((2, 3, 7), "W1: 2 × 3 × 7 as 6 rows.")],
)
def test_a_heat_map_says_how_the_tensor_lies(shape, told) -> None:
    assert apart.heat(np.ones(shape), "W1").caption.startswith(told)


def test_what_is_judged_less_its_rows_mean_is_drawn_so() -> None:
    want = np.array([[1.0, 2.0, 6.0]])
    found = SimpleNamespace(
        kind="centred", key="outputs", at=SimpleNamespace(tensor="logits", rung="forward")
    )
    tensors = Tensors({}, {"outputs": want}, {"outputs": want + 1000})
    got, wanted, what = apart._pair(found, tensors)
    assert got.tolist() == wanted.tolist() == [[-2.0, -1.0, 3.0]]
    assert what == "value less its row's mean"


def test_a_drawing_stands_whole_in_the_page_and_nothing_else_passes_for_one(tmp_path) -> None:
    run = run_of(pages.diverging(tmp_path), tmp_path)
    _, scatter = apart.section(run, run.verdict).pictures
    assert isinstance(scatter, Scatter)
    assert len(scatter.points) > page.LONGEST_TEXT
    assert f' d="{scatter.points}"' in page.render(report(run, "page"))
    assert page.path("M0 1h2v-3.5z") == "M0 1h2v-3.5z"
    assert page.path('M0 1"/><script>') == page.path("M0\n1") == ""


def test_an_updates_pictures_are_of_the_change(tmp_path) -> None:
    from harness.tensors import load_tensors, save_tensors

    made = pages.diverging(tmp_path)
    file = str(tmp_path / "tensors" / "kept.safetensors")
    tensors = load_tensors(file)
    shapes = {t.name: t.shape for t in made.plan.workload.tensors}
    random = np.random.default_rng(1)
    for name, shape in shapes.items():
        change = random.normal(size=shape) * 1e-3
        tensors[f"want.change.{name}"] = change
        new = tensors[f"given.{name}"].astype(np.float64) - 1.25 * change
        tensors[f"got.new.{name}"] = new.astype(np.float32)
    save_tensors(file, tensors)
    make.find(made, "torch", "gradients", dtype="float32", step=0, tensor="W1").distance = 1e-9
    make.find(made, "torch", "update", dtype="float32", step=0, tensor="W1").distance = 0.25
    made.kept = [msgspec.structs.replace(made.kept[0], rung="update")]
    run = run_of(made, tmp_path)
    _, scatter = apart.section(run, run.verdict).pictures
    assert isinstance(scatter, Scatter)
    assert scatter.caption.startswith("Of each change.")
    assert "got = 1.25 × expected" in scatter.caption
