"""The pictures of a page hold what the record holds, point by point, and whatever it holds."""

from __future__ import annotations

import colorsys
import copy
import functools
import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.plan.profiles import TABLE
from harness.record.schema import Record, Replica, number
from harness.report import figure, operators, page, run_tables
from harness.report.figure import Plot
from harness.report.plots import PICTURES, axes, pictures
from harness.report.plots.scaling import multiples
from harness.report.run_tables import Run
from harness.results.scale import Grid
from harness.verdict.verdict import judge
from harness.workloads.reference.pieces import Polynomial
from tests import make, pages, test_scale
from tests.test_report import HOSTILE


@functools.cache
def _rich() -> Record:
    return pages.rich()


def rich() -> Record:
    """A record with something for every picture."""
    return copy.deepcopy(_rich())


def plots(made: Record) -> list[Plot]:
    """Every picture of a run, in the order of a page."""
    run = Run(made, judge(made))
    return [*(p for chapter in PICTURES for p in pictures(run, chapter)), *operators.curves(made)]


def drawn(made: Record | Grid) -> dict[str, Plot]:
    """Every picture of a record or grid, checked for what must hold of all of them."""
    if isinstance(made, Grid):
        found = [plot for threads in made.threads for plot in multiples(made, threads)]
    else:
        found = plots(made)
    check(found)
    return {plot.name: plot for plot in found}


def check(found: list[Plot]) -> None:
    """What must hold of the pictures of any record."""
    from plotly.graph_objects import Figure

    assert len({plot.name for plot in found}) == len(found)
    for plot in found:
        assert re.fullmatch("[a-z0-9-]+", plot.name), plot.name
        assert plot.title
        assert plot.caption.endswith((".", "”.", ")."))
        assert plot.traces
        assert 120 < plot.height < 6000
        assert plot.rows
        assert {len(row) for row in plot.rows} == {len(plot.header)}
        Figure(data=plot.traces, layout=plot.layout)  # refuses what plotly does not know
        for trace in plot.traces:
            places = [trace[k] for k in ("x", "y") if k in trace]
            assert len({len(of) for of in places}) <= 1, plot.name
        assert page.as_json({"traces": plot.traces, "layout": plot.layout})


def points(plot: Plot, **where: Any) -> list[int]:
    """How many points each trace has, of those whose fields are as given."""
    return [
        len(trace["y"] if "y" in trace else trace["x"])
        for trace in plot.traces
        if all(trace.get(field) == value for field, value in where.items())
    ]


def texts(value: Any) -> Iterator[str]:
    """Every text in traces or a layout, but those that are ours: templates and keys of groups."""
    if isinstance(value, dict):
        for key, of in value.items():
            if key not in ("hovertemplate", "texttemplate", "legendgroup"):
                yield from texts(of)
    elif isinstance(value, list | tuple):
        for of in value:
            yield from texts(of)
    elif isinstance(value, str):
        yield value


def test_every_picture_is_there_when_the_record_has_everything() -> None:
    assert list(drawn(rich())) == [
        "checkpoints", "lockstep-losses", "lockstep-parameters", "trajectory", "free-losses",
        "epoch-loss", "accuracy-gaps", "epoch-accuracy", "gradient-norms", "confusion-reference",
        "confusion-1", "step-series", "step-distribution", "ratios", "operators",
    ]  # fmt: skip


def test_points_and_lines_are_as_many_as_the_record_has() -> None:
    made = rich()
    found = drawn(made)
    labels = list(made.results)
    warm = made.plan.timing.warmup_rounds
    own = {n: [t for t in made.results[n].training if t.dtype == "float32"] for n in labels}
    double = {n: [t for t in made.results[n].training if t.dtype == "float64"] for n in labels}
    whole = [t for t in made.reference if t.whole]
    assert sum(points(found["lockstep-losses"])) == sum(
        len(t.losses) for n in labels for t in double[n]
    )
    assert sum(points(found["free-losses"])) == sum(len(t.losses) for n in labels for t in own[n])
    assert len(found["free-losses"].traces) == sum(len(own[n]) for n in labels)
    steps = {m.step for m in made.results["numpy"].measurements
             if m.rung == "lockstep" and m.tensor != "losses"}  # fmt: skip
    assert points(found["lockstep-parameters"]) == [len(steps)] * len(labels)
    teacher = {m.step for m in made.results["numpy"].measurements
               if m.rung == "forward" and m.step is not None}  # fmt: skip
    assert points(found["checkpoints"]) == [len(teacher)] * len(labels)
    for name, fields in (
        ("epoch-loss", ("epoch_losses", "test_loss")),
        ("epoch-accuracy", ("test_accuracy", "validation_accuracy", "training_accuracy")),
    ):
        for row, field in enumerate(fields):
            assert points(found[name], yaxis=f"y{row + 1}" if row else "y") == [
                len(getattr(t, field)) for of in (whole, *own.values()) for t in of
            ]
    arms = [made.results[n].rounds for n in labels] + [of.rounds for of in made.again.values()]
    assert sum(points(found["step-series"])) == sum(
        len(r.step_ns) + len(r.warmup_ns) for rounds in arms for r in rounds
    )
    steady = {n: sum(len(r.step_ns) for r in made.results[n].rounds if r.round >= warm)
              for n in labels}  # fmt: skip
    assert points(found["step-distribution"]) == [*steady.values()]
    for rounds, name in zip(arms, [*labels, "numpy, again"], strict=True):
        assert sum(points(found["step-series"], name=name)) == sum(
            len(r.step_ns) for r in rounds if r.round >= warm
        )
    assert [t["name"] for t in found["ratios"].traces] == ["torch", "jax", "numpy, A/A"]
    assert points(found["operators"]) == [17] * 2 * len(labels)


def test_values_are_drawn_where_the_record_has_them() -> None:
    made = rich()
    found = drawn(made)
    trace = next(t for t in found["free-losses"].traces if t["name"] == "torch")
    here, there = (np.array(of.training[0].losses if of else made.reference[0].losses)
                   for of in (made.results["torch"], None))  # fmt: skip
    assert trace["y"] == pytest.approx(np.abs(here - there) / there, rel=1e-6)
    assert (trace["x0"], trace["dx"]) == (1, 1)
    series = next(t for t in found["step-series"].traces if t["name"] == "jax")
    taken = [ns for r in made.results["jax"].rounds if r.round >= 1 for ns in r.step_ns]
    assert sorted(series["y"]) == pytest.approx(sorted(ns / 1e6 for ns in taken), rel=1e-6)
    assert list(series["x"]) == sorted(series["x"])
    share = next(t for t in found["checkpoints"].traces if t["name"] == "numpy")
    assert share["y"][0] == pytest.approx(1e-7 / 5e-6)


def test_a_skipped_label_is_no_part_of_any_picture() -> None:
    assert drawn(make.record(dataset=None, results={}, cases=[], ended="interrupted")) == {}
    made = make.record(("numpy", "torch"))
    make.skip(made, "torch")
    found = drawn(made)
    assert found
    names = {told for plot in found.values() for told in texts([plot.traces, plot.layout])}
    assert "numpy" in names
    assert "torch" not in names


@pytest.mark.parametrize("what", HOSTILE)
def test_a_text_of_a_record_is_shown_as_it_stands_and_cut(what: str) -> None:
    told = HOSTILE[what]
    made = rich()
    made.plan = msgspec.structs.replace(
        made.plan, labels={"numpy": made.plan.labels["numpy"], told: made.plan.labels["torch"]}
    )
    made.results = {"numpy": made.results["numpy"], told: made.results["torch"]}
    made.again = {}
    for measured in made.results[told].measurements:
        if measured.rung in ("gradients", "lockstep"):
            measured.tensor = told
    assert made.dataset is not None
    made.dataset.class_names = [told, *made.dataset.class_names[1:]]
    # A label that may not be ranked is named in words beside the pictures.
    for agrees in (True, False):
        if not agrees:
            make.find(made, told, "forward").distance = 1.0
        found = plots(made)
        for plot in found:
            for text in texts([plot.traces, plot.layout]):
                assert "<" not in text.replace("<br>", ""), text
                assert not re.search(r"&(?!amp;|lt;|gt;)", text)
                assert all(c.isprintable() for c in text)
                assert len(text) < 500
            ours = (plot.title, plot.finding, plot.caption)
            for text in (*ours, *(c for row in plot.rows for c in row)):
                assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
                assert len(text) < 2000


def test_losses_that_are_not_finite_are_counted_and_left_out() -> None:
    made = rich()
    trained = made.results["torch"].training[0]
    trained.losses[3:6] = ["nan", "inf", "-inf"]
    trained.epoch_losses[0] = "nan"
    trained.test_accuracy[1] = "nan"
    found = drawn(made)
    line = next(t for t in found["free-losses"].traces if t["name"] == "torch")
    assert len(line["y"]) == len(trained.losses)
    assert np.flatnonzero(np.isnan(line["y"])).tolist() == [3, 4, 5]
    assert "3 of 450 values are not finite and are left out" in found["free-losses"].caption
    line = next(t for t in found["epoch-loss"].traces if t["name"] == "torch")
    assert np.isnan(line["y"]).tolist() == [True] + [False] * 9
    assert "1 values are not finite" in found["epoch-accuracy"].caption


@pytest.mark.parametrize(
    ("distance", "problem"), [(None, "shape"), ("nan", None), ("inf", None), (-1.0, None)]
)
def test_what_cannot_be_measured_stands_at_the_edge_and_is_said(
    distance: float | None, problem: str | None
) -> None:
    made = rich()
    off = make.find(made, "torch", "gradients", dtype="float32")
    off.distance, off.problem = distance, problem
    found = drawn(made)["checkpoints"]
    assert "1 of 6 values could not be measured: at the upper edge." in found.caption
    torch = next(t for t in found.traces if t["name"] == "torch")
    assert torch["text"][0] == "gradients W1"
    assert torch["y"][0] == max(y for t in found.traces for y in t["y"])
    assert "could not be measured" not in drawn(rich())["checkpoints"].caption


def test_differences_of_zero_stand_at_a_floor_that_is_said() -> None:
    made = rich()
    trained = made.results["jax"].training[-1]
    trained.losses = list(made.reference[0].losses)
    plot = drawn(made)["lockstep-losses"]
    told = re.search(r"(\d+) of \d+ values are exactly 0, drawn at (\S+)\.", plot.caption)
    assert told is not None
    jax = next(t for t in plot.traces if t["name"] == "jax")
    assert list(jax["y"]) == pytest.approx([float(told[2])] * len(trained.losses))
    everything = np.concatenate([t["y"] for t in plot.traces])
    assert int(told[1]) == np.count_nonzero(
        np.isclose(everything, float(told[2]), rtol=1e-3, atol=0)
    )
    assert min(everything[everything > float(told[2]) * 1.01]) >= 10 * float(told[2]) * 0.999


def lines(plot: Plot, side: str) -> set[float]:
    """Where straight lines lie across a picture."""
    return {
        shape[f"{side}0"]
        for shape in plot.layout.get("shapes", [])
        if shape["type"] == "line" and shape[f"{side}0"] == shape[f"{side}1"]
    }


def test_limits_and_band_are_drawn() -> None:
    found = drawn(rich())
    assert lines(found["lockstep-losses"], "y") == {1e-12}
    assert lines(found["lockstep-parameters"], "y") == {1e-12}
    assert lines(found["checkpoints"], "y") == {1.0, 1 / 3}
    assert lines(found["ratios"], "x") == {1.0}
    band = next(s for s in found["ratios"].layout["shapes"] if s["type"] == "rect")
    assert (band["x0"], band["x1"]) == (1 / 1.03, 1.03)


def test_replicas_span_the_band_and_the_limit_is_the_furthest_times_its_factor() -> None:
    made = rich()
    plot = drawn(made)["trajectory"]
    chosen = made.plan.trajectory
    assert chosen is not None
    assert Counter(t["name"] for t in plot.traces) == Counter(["replicas", "limit", *made.results])
    by = {t["name"]: t for t in plot.traces}
    at = {n: [float(r.distance) for r in made.envelope if r.after == n] for n in (20, 50, 100)}
    assert list(by["limit"]["x"]) == [*at]
    assert by["limit"]["y"] == pytest.approx([1.5 * max(of) for of in at.values()], rel=1e-6)
    low, high = [min(of) for of in at.values()], [max(of) for of in at.values()]
    assert by["replicas"]["y"] == pytest.approx([*high, *low[::-1]], rel=1e-6)
    assert by["numpy"]["y"] == pytest.approx([1.02e-9 * n for n in at], rel=1e-6)


def test_both_regimes_of_the_trajectory_are_lines_of_their_own() -> None:
    made = rich()
    made.plan = msgspec.structs.replace(made.plan, trajectory=TABLE["full"].trajectory)
    made.envelope += [
        Replica(regime="late", replica=k, after=n, distance=1e-3 * (k + 1), tensors={})
        for n in (705, 940)
        for k in range(8)
    ]
    for results in made.results.values():
        results.measurements += [
            make.measurement("trajectory", case=f"late, after {n} steps", step=n, distance=2e-3)
            for n in (705, 940)
        ]
    plot = drawn(made)["trajectory"]
    assert points(plot, name="torch") == [3, 2]
    assert points(plot, name="limit") == [3, 2]
    assert [t["showlegend"] for t in plot.traces if t["name"] == "torch"] == [True, False]
    made.envelope[0].distance = "nan"  # then nobody knows the limit there
    assert points(drawn(made)["trajectory"], name="limit") == [2, 2]


def off_gradients(made: Record) -> None:
    make.find(made, "torch", "gradients").distance = 0.5


def void_clocks(made: Record) -> None:
    for r in made.results["torch"].rounds:
        r.step_ns = [ns // 4 for ns in r.step_ns]  # faster than its own matrix products


@pytest.mark.parametrize(
    ("harm", "why"),
    [(off_gradients, "NOT RANKED: do not agree"), (void_clocks, "NOT RANKED: the times are void")],
)
def test_a_label_that_may_not_be_ranked_has_no_time_and_is_named(harm: Any, why: str) -> None:
    made = rich()
    assert not any("Left out" in plot.caption for plot in plots(made))
    harm(made)
    run = Run(made, judge(made))
    found = pictures(run, "steps")
    assert len(found) == 3
    for plot in found:
        assert not [told for told in texts([plot.traces, plot.layout]) if "torch" in told]
        assert plot.caption.endswith(f"Left out: torch ({why}).")
        assert all(row[0] != "torch" for row in plot.rows)
    assert any("torch" in set(texts(plot.traces)) for plot in pictures(run, "agreement"))


def test_what_was_skipped_is_not_said_to_disagree() -> None:
    made = rich()
    make.skip(made, "torch")
    found = pictures(Run(made, judge(made)), "steps")
    assert found
    assert not any("Left out" in plot.caption for plot in found)


def test_an_accuracy_is_drawn_as_its_distance_from_the_reference_with_the_margin() -> None:
    made = rich()
    for training, values in (
        (made.reference[0], [0.80, 0.81]),
        (made.results["torch"].training[0], [0.79, 0.8125]),
    ):
        training.test_accuracy = [number(value) for value in values]
    plot = drawn(made)["accuracy-gaps"]
    trace = next(t for t in plot.traces if t["name"] == "torch")
    assert trace["y"].tolist() == pytest.approx([-1.0, 0.25], abs=1e-5)
    (row,) = (row for row in plot.rows if row[:2] == ["torch", "0"])
    assert row[2:] == ["2", "0.25", "-1"]
    # As it was judged; of a run that was not, as the workload has it.
    (margin,) = {o.margin for o in made.plan.workload.outcome if o.metric == "test accuracy"}
    band = plot.layout["shapes"][1]
    assert (band["y0"], band["y1"]) == (-100 * margin, 100 * margin)
    run = Run(made, judge(made))
    found = run.verdict.labels["torch"].findings
    assert found["forward"].evidence is not None
    found["accuracy"].limit = 0.02
    found["accuracy"].evidence = msgspec.structs.replace(
        found["forward"].evidence, tensor="test accuracy"
    )
    (plot,) = (p for p in pictures(run, "curves") if p.name == "accuracy-gaps")
    assert plot.layout["shapes"][1]["y1"] == 2.0
    assert "±2 points" in plot.caption


def test_a_difference_is_claimed_in_words_or_not() -> None:
    plot = drawn(rich())["ratios"]
    told = {trace["name"]: trace["text"][0] for trace in plot.traces}
    assert told["torch"].endswith(", claimed")
    assert told["numpy, A/A"].endswith(", not claimed")
    plot = drawn(make.timed(number=2))["ratios"]
    assert plot.traces[0]["text"][0].endswith(", too few sessions")
    assert plot.traces[0]["marker"]["symbol"].endswith("-open")
    assert "Hollow" in plot.caption


def test_of_more_than_2000_points_the_least_and_largest_of_each_stretch_are_drawn() -> None:
    made = rich()
    losses = np.random.default_rng(0).random(23_450)
    losses[777], losses[20_001] = 9.0, np.nan
    for training in (made.reference[0], made.results["torch"].training[0]):
        training.losses = [number(loss) for loss in losses.tolist()]
    made.results["torch"].training[0].losses[12_345] = 2.0  # against the reference's
    for r in made.results["torch"].rounds:
        r.step_ns *= 300
    found = drawn(made)
    for plot in found.values():
        assert all(len(t.get("y", t.get("x", ()))) <= 2000 for t in plot.traces if "mode" in t)
    (long,) = (t for t in found["free-losses"].traces if len(t["y"]) > 1000)
    assert np.all(np.diff(long["x"]) > 0)
    assert (long["x"][0], long["x"][-1]) == (1, 23_450)
    off = np.abs(2.0 - losses[12_345]) / losses[12_345]
    assert long["y"][np.flatnonzero(long["x"] == 12_346)] == pytest.approx([off], rel=1e-5)
    assert "Of more than 2000 points the least and largest" in found["free-losses"].caption
    assert "Of more than" not in drawn(rich())["free-losses"].caption
    row = next(r for r in found["free-losses"].rows if r[:2] == ["torch", "0"])
    assert row[2] == "23450"


def test_a_confusion_matrix_shows_counts_and_what_differs_from_the_reference() -> None:
    made = rich()
    mine = made.results["torch"].training[0].confusion
    found = drawn(made)
    heat = found["confusion-1"].traces[0]
    assert heat["z"].shape == (10, 10)
    assert heat["z"][2, 4] == 3
    assert np.count_nonzero(heat["z"]) == 2
    assert heat["text"][2][4] == f"{mine[2][4]}<br>+3"
    assert heat["text"][0][0] == "90"
    assert found["confusion-1"].finding == "2 of 100 cells differ from the reference's"
    assert found["confusion-1"].rows[2][5] == f"{mine[2][4]} (+3)"
    assert np.array_equal(found["confusion-reference"].traces[0]["z"],
                          made.reference[0].confusion)  # fmt: skip


def test_only_matrices_that_differ_are_drawn_and_on_one_scale() -> None:
    made = rich()
    assert [name for name in drawn(made) if "confusion" in name] == [
        "confusion-reference", "confusion-1"]  # fmt: skip
    (row, *_) = made.results["jax"].training[0].confusion
    row[0], row[1] = row[0] - 40, row[1] + 40
    found = drawn(made)
    scales = {(t["zmin"], t["zmax"]) for n in ("1", "2") for t in found[f"confusion-{n}"].traces}
    assert scales == {(-40, 40)}
    for name in ("torch", "jax"):
        judged = made.reference[0].confusion
        made.results[name].training[0].confusion = copy.deepcopy(judged)
    assert not [name for name in drawn(made) if "confusion" in name]


@pytest.mark.parametrize(
    "matrix", [[], [[]], [[1]], [[1, 2], [3]], [[0] * 30] * 30, [[1, 2, 3], [4, 5, 6]]]
)
def test_what_is_no_confusion_matrix_is_not_drawn_and_a_smaller_one_alone(
    matrix: list[list[int]],
) -> None:
    made = rich()
    made.results["torch"].training[0].confusion = matrix
    made.results["jax"].training[0].confusion = [[5, 1], [0, 7]]
    found = drawn(made)
    assert "confusion-1" not in found
    assert found["confusion-2"].traces[0]["text"] == [["5", "1"], ["", "7"]]
    assert not found["confusion-2"].finding


def test_twelve_labels_can_be_told_apart() -> None:
    names = ("numpy", *(f"torch:variant-{k}" for k in range(11)))
    found = drawn(make.timed(names))
    looks = [
        (t["line"]["color"], t["line"]["dash"], t["marker"]["symbol"])
        for t in found["epoch-loss"].traces
    ]
    assert len(set(looks)) == 12
    assert len(found["step-series"].layout) > 12  # an axis a label
    assert len({t["yaxis"] for t in found["step-series"].traces}) == 13


# ---- what was learnt -----------------------------------------------------------------------------


def test_accuracies_and_losses_have_a_panel_each_on_one_scale_and_a_name_once() -> None:
    made = rich()
    found = drawn(made)
    plot = found["epoch-accuracy"]
    axis_of = {"test": "yaxis", "validation": "yaxis2", "training": "yaxis3"}
    for row, (what, axis) in enumerate(axis_of.items()):
        assert plot.layout[axis]["title"]["text"] == f"{what} accuracy"
        assert plot.layout[axis]["matches"] == "y"
        told = getattr(made.results["torch"].training[0], f"{what}_accuracy")
        (first, *_) = (t for t in plot.traces if t["name"] == "torch"
                       and t["yaxis"] == axis.replace("axis", ""))  # fmt: skip
        assert first["y"] == pytest.approx([100 * value for value in told], rel=1e-6)
        assert first["showlegend"] == (row == 0)
    assert [found["epoch-loss"].layout[axis]["title"]["text"] for axis in ("yaxis", "yaxis2")] == [
        "training loss", "test loss"]  # fmt: skip
    assert ["torch", "0", "validation accuracy", "10", "70", "82"] in plot.rows
    for training in [t for r in made.results.values() for t in r.training] + made.reference:
        training.validation_accuracy = training.training_accuracy = training.test_loss = []
    for plot in map(drawn(made).get, ("epoch-loss", "epoch-accuracy")):
        assert plot is not None
        assert "yaxis2" not in plot.layout
        assert "domain" not in plot.layout["yaxis"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 10, 11, 12, 20, 30, 49, 246, 23_450])
def test_ticks_of_what_is_counted_are_whole_distinct_and_at_most_ten(count: int) -> None:
    apart = axes.whole("epoch", count)["dtick"]
    assert isinstance(apart, int)
    assert 1 <= count / apart <= 10 or apart == 1
    assert apart <= max(1, count / 2)


def test_every_axis_of_what_is_counted_has_whole_ticks() -> None:
    found = drawn(rich()) | drawn(pages.tiny("linear-regression", (2.0, 1.0)))
    counted = {"epoch", "round", "step", "training steps made"}
    seen = set()
    for plot in found.values():
        axis = plot.layout["xaxis"]
        title = axis.get("title", {}).get("text")
        if title in counted and axis.get("type") != "log":
            assert isinstance(axis["dtick"], int), plot.name
            seen.add(title)
    assert seen == counted


def test_what_would_be_a_dot_each_is_not_drawn() -> None:
    made = rich()
    assert "epoch-accuracy" in drawn(made)
    for training in [t for r in made.results.values() for t in r.training] + made.reference:
        for field in ("test_accuracy", "validation_accuracy", "training_accuracy"):
            setattr(training, field, getattr(training, field)[:1])
    made.envelope = [replica for replica in made.envelope if replica.after == 20]
    found = drawn(made)
    assert not {"epoch-accuracy", "trajectory"} & {*found}
    made.results["jax"].training[0].test_accuracy *= 2  # one line is a picture
    assert "epoch-accuracy" in drawn(made)


def test_a_time_below_its_own_floor_is_marked() -> None:
    made = rich()
    for results in made.results.values():
        for r in results.rounds:
            r.products_ns = [5 * ns // 2 for ns in r.products_ns]
    run = Run(made, judge(made))
    times = {row[0]: row for row in run_tables.times(run).texts}
    place = [*run_tables.STEP_TIMES].index("× floor")
    below = {name: float(row[place].split(",")[0]) < 1 for name, row in times.items()}
    assert {*below.values()} == {True, False}
    for name, row in times.items():
        assert row[place].endswith(", floor not steady") == below[name]


def test_of_a_single_epoch_every_step_is_drawn() -> None:
    found = drawn(pages.tiny("nielsen-neuron", (2.0, 1.0)))
    assert "epoch-loss" not in found
    plot = found["step-loss"]
    assert len(plot.traces) == 4
    for trace in plot.traces:
        assert (trace["x0"], trace["mode"]) == (1, "lines")
        assert trace["y"] == pytest.approx([8 / (1 + step) for step in range(50)], rel=1e-6)
    assert "nats" not in plot.title
    assert "nats" in drawn(rich())["epoch-loss"].title


def test_losses_that_fall_steeply_are_drawn_on_a_logarithmic_axis() -> None:
    made = rich()
    assert "type" not in drawn(made)["epoch-loss"].layout["yaxis"]
    made.results["torch"].training[0].epoch_losses[-2:] = [1e-9, 0.0]
    plot = drawn(made)["epoch-loss"]
    assert {plot.layout[axis]["type"] for axis in ("yaxis", "yaxis2")} == {"log"}
    assert "1 of 400 values are exactly 0, drawn at 1e-10." in plot.caption
    made.results["torch"].training[0].epoch_losses[-1] = -1.0  # which no such axis has
    assert "type" not in drawn(made)["epoch-loss"].layout["yaxis"]


def test_norms_of_gradients_are_a_panel_a_label_a_line_a_layer_from_before_training() -> None:
    made = rich()
    made.results["jax"].training[0].gradient_norms = {}
    plot = drawn(made)["gradient-norms"]
    panels = ("reference", "numpy", "torch")
    axis = ["yaxis", "yaxis2", "yaxis3"]
    assert [plot.layout[a]["title"]["text"] for a in axis] == [*panels]
    assert "yaxis4" not in plot.layout
    assert len({tuple(plot.layout[a]["range"]) for a in axis}) == 1
    assert {plot.layout[a]["type"] for a in axis} == {"log"}
    assert [(t["name"], t["yaxis"]) for t in plot.traces] == [
        (name, a.replace("axis", "")) for a in axis for name in ("b1", "b2")
    ]
    for trace in plot.traces:
        assert (trace["x0"], trace["dx"]) == (0, 1)
        place = make.PARAMETERS.index(trace["name"])
        assert trace["y"] == pytest.approx([0.2 / 10**place / (1 + i) for i in range(11)], rel=1e-6)
    assert [t["showlegend"] for t in plot.traces] == [True] * 2 + [False] * 4
    assert plot.rows[2] == ["numpy", "b1", "0.02", "0.01", "0.0018"]
    assert "the first 1000 training samples" in plot.caption


def test_every_number_of_a_tiny_model_is_drawn_over_steps_beside_the_references() -> None:
    made = pages.tiny("linear-regression", (2.0, 1.0), (2.5, 1.0), names=("numpy", "torch"))
    plot = drawn(made)["numbers"]
    assert [plot.layout[a]["title"]["text"] for a in ("yaxis", "yaxis2")] == ["w", "b"]
    ends = {(t["name"], t["yaxis"]): (t["x"][-1], t["y"][-1]) for t in plot.traces}
    assert ends == {
        ("reference", "y"): (50, 2), ("numpy", "y"): (50, 2), ("torch", "y"): (50, 2.5),
        ("reference", "y2"): (50, 1), ("numpy", "y2"): (50, 1), ("torch", "y2"): (50, 1),
    }  # fmt: skip
    assert plot.rows == [
        ["numpy", "0", "w", "0", "2", "2", "0"], ["torch", "0", "w", "0", "2.5", "2", "0.5"],
        ["numpy", "0", "b", "0", "1", "1", "0"], ["torch", "0", "b", "0", "1", "1", "0"],
    ]  # fmt: skip
    made.reference = []
    assert drawn(made)["numbers"].rows[1] == ["torch", "0", "w", "0", "2.5", "–", "–"]
    assert "numbers" not in drawn(rich())


def test_a_way_that_is_not_whole_is_not_drawn() -> None:
    for harm in (lambda t: t.path.pop("x"), lambda t: t.path["x"][3].pop(),
                 lambda t: t.path_steps.pop()):  # fmt: skip
        made = pages.tiny("himmelblau", (3.0, 2.0))
        harm(made.results["torch"].training[0])
        found = drawn(made)
        for name in ("numbers", "surface"):
            assert {t.get("name") for t in found[name].traces} >= {"numpy", "jax"}
            assert "torch" not in {t.get("name") for t in found[name].traces}


def himmelblau(u: Any, v: Any) -> Any:
    """As its text has it."""
    return (u**2 + v - 11) ** 2 + (u + v**2 - 7) ** 2


def test_a_function_of_two_variables_is_drawn_with_the_way_of_every_label() -> None:
    made = pages.tiny("himmelblau", (3.0, 2.0), (-3.0, 2.5), names=("numpy", "torch"))
    plot = drawn(made)["surface"]
    contours, *ways = plot.traces
    u, v = np.meshgrid(contours["x"], contours["y"])
    assert contours["z"] == pytest.approx(np.log10(himmelblau(u, v)), rel=1e-3)
    assert "logarithm" in plot.caption
    assert [t["name"] for t in ways] == ["reference", "numpy", "torch"]
    for trace in ways:
        assert contours["x"][0] < min(trace["x"]) <= max(trace["x"]) < contours["x"][-1]
        assert contours["y"][0] < min(trace["y"]) <= max(trace["y"]) < contours["y"][-1]
    assert (ways[2]["x"][-1], ways[2]["y"][-1]) == (-3, 2.5)
    rows = [row for row in plot.rows if row[0] == "torch"]
    assert [row[1] for row in rows] == [str(step) for step in range(0, 51, 5)]
    for _, _, *told in rows:
        at = [float(number) for number in told]
        assert at[2] == pytest.approx(himmelblau(*at[:2]), rel=1e-5)


def test_a_function_that_is_not_positive_has_its_own_values_at_the_contours() -> None:
    made = pages.tiny("himmelblau", (3.0, 2.0))
    net = made.plan.net
    assert net is not None
    lower = Polynomial((((1.0, (2, 0)), (1.0, (0, 2)), (-500.0, (0, 0))),))
    layers = (*net.layers[:2], lower)
    made.plan = msgspec.structs.replace(made.plan, net=msgspec.structs.replace(net, layers=layers))
    plot = drawn(made)["surface"]
    u, v = np.meshgrid(plot.traces[0]["x"], plot.traces[0]["y"])
    wanted = himmelblau(u, v) - 500
    assert plot.traces[0]["z"] == pytest.approx(wanted, rel=1e-3, abs=0.1)
    assert wanted.min() < 0
    assert "logarithm" not in plot.caption


def test_a_model_with_inputs_or_a_net_that_is_not_known_has_no_surface_and_no_line() -> None:
    assert not {"surface", "line"} & {*drawn(pages.tiny("nielsen-neuron", (1.0, 1.0)))}
    for workload in ("himmelblau", "linear-regression"):
        made = pages.tiny(workload, (3.0, 2.0))
        assert {"surface", "line"} & {*drawn(made)}
        made.plan = msgspec.structs.replace(made.plan, net=None)
        assert not {"surface", "line"} & {*drawn(made)}
        assert "numbers" in drawn(made)


def test_the_line_runs_through_the_points_of_the_last_steps() -> None:
    made = pages.tiny("linear-regression", (2.0, 3.0), (-1.0, 1.0), names=("numpy", "torch"))
    for training in (made.reference[0], *(of.training[0] for of in made.results.values())):
        training.seed = 7
    plot = drawn(made)["line"]
    points, *lines = plot.traces
    wanted = []
    for step in range(30, 50):  # as the text of the workload makes them
        random = np.random.default_rng([7, 4, step])
        x = random.random((4, 1)) * 5
        wanted.append(np.hstack([x, 2 * x + 3 + random.standard_normal((4, 1))]))
    x, y = np.concatenate(wanted).T
    assert points["x"] == pytest.approx(x, rel=1e-6)
    assert points["y"] == pytest.approx(y, rel=1e-6)
    assert "last 80 points that seed 7" in plot.caption
    for trace, (w, b) in zip(lines, [(2, 3), (2, 3), (-1, 1)], strict=True):
        assert trace["x"] == pytest.approx([x.min(), x.max()], rel=1e-6)
        assert trace["y"] == pytest.approx([w * x.min() + b, w * x.max() + b], rel=1e-5)
    off = math.sqrt(np.mean((y - (1 - x)) ** 2))
    assert plot.rows[2][:3] == ["torch", "-1", "1"]
    assert float(plot.rows[2][3]) == pytest.approx(off, rel=0.05)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_name_in_a_tiny_model_is_shown_as_it_stands(what: str) -> None:
    told = HOSTILE[what]
    made = pages.tiny("himmelblau", (3.0, 2.0), names=("numpy", told))
    (tensor, *_) = made.plan.workload.tensors
    named = msgspec.structs.replace(tensor, name=told)
    made.plan = msgspec.structs.replace(
        made.plan, workload=msgspec.structs.replace(made.plan.workload, tensors=(named,))
    )
    for training in (made.reference[0], *(of.training[0] for of in made.results.values())):
        training.path = {told: training.path["x"]}
    found = drawn(made)
    assert {"numbers", "surface"} <= {*found}
    for plot in found.values():
        for shown in texts([plot.traces, plot.layout]):
            assert "<" not in shown
            assert all(c.isprintable() for c in shown)
        told = (plot.title, plot.finding, plot.caption, *plot.header)
        for shown in (*told, *(c for row in plot.rows for c in row)):
            assert all(c.isprintable() for c in shown)
            assert len(shown) < 2000


def contrast(colour: str, other: str) -> float:
    """Of two colours, as WCAG 2 has it."""

    def luminance(of: str) -> float:
        parts = [int(of[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted(map(luminance, (colour, other)))
    return (light + 0.05) / (dark + 0.05)


def hue(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 360 * colorsys.rgb_to_hls(red, green, blue)[0]


def test_a_framework_has_one_hue_and_a_variant_its_lightness() -> None:
    every = [*figure.HUES.values(), *figure.OTHERS]
    for hues in every:
        assert len({*hues}) == 3
        assert max(map(hue, hues)) - min(map(hue, hues)) < 3
        for one in (*hues, figure.GREY):
            assert contrast(one, "#fcfcfa") >= 3
            assert contrast(one, "#15171a") >= 3
    firsts = sorted(hue(hues[0]) for hues in every)
    assert min(b - a for a, b in itertools.pairwise(firsts)) > 10
    for name, least, most in (("numpy", 200, 220), ("torch", 0, 20), ("jax", 110, 140),
                              ("tensorflow", 265, 285)):  # fmt: skip
        assert least < hue(figure.colour(name)) < most
    assert figure.colour("mine") == figure.colour("mine") in {of[0] for of in figure.OTHERS}
    assert figure.colour("") == figure.GREY


def test_colours_are_the_frameworks_on_every_page_wherever_its_label_stands() -> None:
    seen: dict[str, set[str]] = {}
    for names in (("numpy", "torch", "jax"), ("jax", "torch"), ("torch", "numpy", "jax")):
        found = [*drawn(make.timed(names)).values()]
        found += drawn(test_scale.grid(test_scale.records(names))).values()
        for trace in (t for plot in found for t in plot.traces if t.get("name") in names):
            at = trace["line"] if "lines" in trace["mode"] else trace["marker"]
            seen.setdefault(trace["name"], set()).add(at["color"])
    assert seen == {name: {figure.colour(name)} for name in ("numpy", "torch", "jax")}
    # And nothing else has one of theirs.
    theirs = {one for hues in (*figure.HUES.values(), *figure.OTHERS) for one in hues}
    for plot in drawn(rich()).values():
        for trace in plot.traces:
            if trace.get("name", "") not in ("numpy", "torch", "jax", "b1", "b2", "numpy, again",
                                             "numpy, A/A"):  # fmt: skip
                assert not theirs & {*texts(trace)}, (plot.name, trace.get("name"))


def test_styles_and_texts_of_a_picture() -> None:
    looks = [figure.style(place) for place in range(64)]
    assert len({(x["line"]["dash"], x["marker"]["symbol"]) for x in looks}) == 64
    assert figure.text("") == figure.text(" \n") == "–"
    assert figure.text("a<b>&'\"") == "a&lt;b&gt;&amp;'\""
    assert len(figure.text("x" * 10**6)) == figure.LONGEST_NAME
    assert axes.tick("tensorflow:graph") == "tensorflow:graph"
    assert axes.tick("torch:variant-number-3") == "torch:va…umber-3"
    assert axes.tick("torch:variant-number-3", 10) == "torch…er-3"


ODD = st.one_of(
    st.sampled_from(["nan", "inf", "-inf", 0.0, -0.0, -1.0, 5e-324, 1e308, -1e308, 1e-45, 1e39]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=25)
@given(st.lists(ODD, min_size=1, max_size=12), st.lists(ODD, min_size=1, max_size=12))
def test_whatever_numbers_are_stored_the_pictures_are_valid(
    here: list[Any], there: list[Any]
) -> None:
    made = make.record(("numpy",))
    made.plan = msgspec.structs.replace(made.plan, trajectory=TABLE["default"].trajectory)
    made.reference = [make.training(losses=there, epoch_losses=there, test_accuracy=here)]
    made.results["numpy"].training = [
        make.training(losses=here, epoch_losses=here, test_accuracy=there),
        make.training(losses=here, dtype="float64", whole=False),
    ]
    for measured, value in zip(made.results["numpy"].measurements, here * 40, strict=False):
        measured.distance = value
    made.envelope = [
        Replica(regime="start", replica=0, after=k, distance=value, tensors={})
        for k, value in enumerate(there)
    ]
    found = drawn(made)
    both = min(len(here), len(there))
    if both > 1:
        assert points(found["lockstep-losses"]) == points(found["free-losses"]) == [both]
    for plot in found.values():
        for axis in (plot.layout["xaxis"], plot.layout["yaxis"]):
            assert all(math.isfinite(end) for end in axis.get("range", []))


@settings(max_examples=25)
@given(st.lists(st.lists(ODD, min_size=2, max_size=2), min_size=1, max_size=4))
def test_whatever_numbers_are_learnt_the_pictures_are_valid(states: list[list[Any]]) -> None:
    for workload in ("himmelblau", "linear-regression"):
        made = pages.tiny(workload, (1.0, 1.0), names=("numpy",))
        trained = made.results["numpy"].training[0]
        trained.path_steps = [*range(len(states))]
        sizes = [math.prod(tensor.shape) for tensor in made.plan.workload.learnt]
        trained.path = {
            tensor.name: [state[place * size : (place + 1) * size] for state in states]
            for place, (tensor, size) in enumerate(
                zip(made.plan.workload.learnt, sizes, strict=True)
            )
        }
        trained.gradient_norms = {"x": [of for state in states for of in state]}
        assert {"surface", "line"} & {*drawn(made)}


@settings(max_examples=25)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=6), st.integers(0, 2**31))
def test_whatever_times_are_stored_the_pictures_are_valid(ns: list[int], large: int) -> None:
    made = make.timed(number=2)
    for results in (*made.results.values(), *made.again.values()):
        for r in results.rounds:
            r.step_ns = r.warmup_ns = ns
            r.session, r.round, r.place = r.session * large, r.round + large % 3, large
        for process in results.processes:
            process.import_ns, process.build_ns = ns[0], ns[-1]
            process.first_step_ns = {"256": ns[0], "": ns[-1]}
    drawn(made)


FINITE = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1), st.lists(st.sampled_from([math.nan, math.inf]), max_size=3))
def test_a_logarithmic_axis_keeps_every_value_inside_and_in_order(
    values: list[float], odd: list[float]
) -> None:
    of = np.array([*values, *odd])
    floor, edge = axes.bounds(of)
    placed = axes.placed(of, floor, edge)
    assert len(placed) == len(of)
    assert np.isnan(placed).sum() == len(odd)
    kept = placed[: len(values)].astype(np.float64)
    assert np.all(kept >= floor * 0.999)
    assert np.all(kept <= edge * 1.001)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(kept[order]) >= 0)
    positive = [v for v in values if v > 1e-290]
    if positive:
        assert floor <= min(positive) / 9.99
    beyond = axes.placed(of, floor, edge, at_edge=True)[len(values) :]
    assert beyond == pytest.approx([edge if v == math.inf else v for v in odd], nan_ok=True)


@given(st.lists(st.integers(1, 10**12), min_size=1))
def test_times_are_drawn_in_a_unit_that_reads(ns: list[int]) -> None:
    size, called = axes.unit(ns)
    middle = float(np.median(ns)) / size
    assert called in ("s", "ms", "µs", "ns")
    assert middle >= 1
    assert middle < 1000 or called == "s"


# ---- the grid ------------------------------------------------------------------------------------


def test_the_grid_draws_every_ranked_size_and_the_floor() -> None:
    """One picture a number of threads; what is not ranked is left out, and that is said."""
    made = [each for threads in (1, 2) for each in test_scale.records(threads=threads)]
    make.find(made[0], "jax", "forward").distance = 1.0
    grid = test_scale.grid(made)
    found = drawn(grid)
    assert list(found) == ["scaling-1", "scaling-2"]
    half = len(made) // 2
    for threads, jax in ((1, half - 1), (2, half)):
        plot = found[f"scaling-{threads}"]
        assert f"threads: {threads}" in plot.title
        assert points(plot, name="jax") == [jax]
        assert ("Not ranked and left out: 1, named below." in plot.caption) == (jax < half)
        assert [s["y0"] for s in plot.layout["shapes"]] == [1.0]
        torch = next(t for t in plot.traces if t["name"] == "torch")
        wanted = [f.multiple.value for f in grid.figures
                  if (f.label, f.threads) == ("torch", threads) and f.multiple]  # fmt: skip
        assert sorted(torch["y"]) == pytest.approx(sorted(wanted), rel=1e-6)


def test_a_hostile_label_of_the_grid_is_shown_as_it_stands() -> None:
    made = test_scale.records(("numpy", "torch:" + test_scale.HOSTILE))
    for plot in drawn(test_scale.grid(made)).values():
        for text in texts([plot.traces, plot.layout]):
            assert "<" not in text
            assert all(c.isprintable() for c in text)
