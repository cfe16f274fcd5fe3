"""Trends hold what the stored verdicts hold, and compare only runs that can be compared."""

from __future__ import annotations

import copy
import io
import json
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.report import history as report
from harness.report import page as pages
from harness.report.figure import text
from harness.report.plots import trends
from harness.report.terminal import show
from harness.results import history, store
from tests import make
from tests.pages import Page
from tests.test_report import HOSTILE
from tests.test_store import NAME, put, told


@pytest.fixture(scope="module")
def document():
    """verdict.json of a run in five sessions: numpy, torch."""
    return told(make.timed())


def changed(document: dict, **fields: Any) -> dict:
    return copy.deepcopy(document) | fields


def entry(document: dict, **fields: Any) -> dict:
    """The document with other fields of torch."""
    made = copy.deepcopy(document)
    made["backends"]["torch"] |= fields
    return made


def trace(results: Path, **words: Any) -> history.History:
    return history.trace(store.find(results), **words)


def of(found: history.History, label: str) -> history.Trend:
    (trend,) = [t for t in found.trends if t.name == label]
    return trend


def terminal(found: history.History, width: int = 100) -> str:
    out = io.StringIO()
    show(report.report(found, "terminal"), Console(file=out, width=width))
    return out.getvalue()


def as_page(found: history.History) -> str:
    return pages.render(report.report(found, "page"))


# ---- the figures


def test_a_point_holds_what_the_verdict_holds(tmp_path, document):
    for number in range(3):
        put(tmp_path, document, number)
    found = trace(tmp_path)
    assert found.runs == 3
    assert [t.name for t in found.trends] == ["numpy", "torch"]
    trend = of(found, "torch")
    stored = document["backends"]["torch"]
    assert trend.unit == "floor"
    assert trend.setting.machine == document["machine"]
    assert [p.run for p in trend.points] == [NAME.format(n) for n in range(3)]
    assert trend.points[1].started == "2026-01-02T03:04:01+00:00"
    for point in trend.points:
        assert point.time == stored["step_time"]["floor_ratio"]
        assert point.interval == stored["step_time"]["floor_ci95"]
        assert point.step_ns == stored["step_time"]["median_ns"]
        assert point.test_accuracy == stored["test_accuracy"]["0"][-1]
        assert point.verdict == "agree"
        assert point.changed == {}
        assert point.shares == {
            name: 0.0 if rung["limit"] == 0 else rung["value"] / rung["limit"]
            for name, rung in stored["rungs"].items()
            if rung["value"] is not None and rung["limit"] is not None
        }


def test_the_worst_share_is_that_of_the_rung_nearest_its_limit(tmp_path, document):
    made = copy.deepcopy(document)
    made["backends"]["torch"]["rungs"]["loss"] |= {"value": 4e-6, "limit": 5e-6}
    made["backends"]["torch"]["rungs"]["timing"] |= {"value": 3.9, "limit": 4.0}
    put(tmp_path, made)
    (point,) = of(trace(tmp_path), "torch").points
    assert (point.worst, point.share) == ("loss", 4e-6 / 5e-6)
    made["backends"]["torch"]["rungs"]["update"] |= {"value": "nan", "limit": 1e-5}
    put(tmp_path, made, 1)
    assert of(trace(tmp_path), "torch").points[1].worst == "update"


@pytest.mark.parametrize("why", ["disagrees", "failed", "void", "inconclusive"])
def test_a_label_that_may_not_be_ranked_has_no_time(tmp_path, document, why):
    put(tmp_path, document, 0)
    made = copy.deepcopy(document)
    torch = made["backends"]["torch"]
    if why == "disagrees":
        torch["rungs"]["update"] |= {"verdict": "disagree", "value": 1.0, "reason": "W1 is off"}
    elif why == "failed":
        torch |= {"status": "failed", "reason": "died of SIGSEGV"}
    elif why == "void":
        torch["rungs"]["timing"]["parts"][0] |= {"name": "clocks", "verdict": "disagree"}
    else:
        torch["rungs"]["lockstep"] |= {"verdict": "inconclusive"}
    put(tmp_path, made, 1)
    found = trace(tmp_path)
    clean, bad = of(found, "torch").points
    assert clean.time is not None
    assert (bad.time, bad.interval) == (None, None)
    assert [p.time is not None for p in of(found, "numpy").points] == [True, True]
    word = {"disagrees": "disagree", "failed": "failed", "void": "agree"}.get(why, "inconclusive")
    assert bad.verdict == word
    if why in ("disagrees", "failed"):
        assert bad.reason == {"disagrees": "W1 is off", "failed": "died of SIGSEGV"}[why]
    (floors,) = trends.floors("s", found.trends)
    drawn = next(t for t in floors.traces if t["name"] == "torch")
    assert [bool(v == v) for v in drawn["y"]] == [True, False]


def test_a_label_that_did_not_finish_is_a_cross_and_has_no_line_and_no_versions(tmp_path, document):
    put(tmp_path, document, 0)
    made = copy.deepcopy(document)
    # Killed after the inputs: an early end is no better than any whole run.
    torch = made["backends"]["torch"]
    torch |= {"status": "failed", "reason": "died of SIGKILL", "versions": {}, "python": None}
    torch["rungs"] = {"forward": torch["rungs"]["forward"] | {"value": 1e-30, "limit": 1.0}}
    put(tmp_path, made, 1)
    put(tmp_path, document, 2)
    trend = of(trace(tmp_path), "torch")
    dead = trend.points[1]
    assert (dead.verdict, dead.reason) == ("failed", "died of SIGKILL")
    assert (dead.share, dead.shares, dead.test_accuracy) == (None, {}, None)
    assert [point.changed for point in trend.points] == [{}, {}, {}]
    held = trace(tmp_path).trends
    for draw, axis in (
        (trends.floors, "y2 domain"), (trends.shares, "paper"), (trends.accuracies, "paper")
    ):  # fmt: skip
        (plot,) = draw("s", held)
        drawn = next(t for t in plot.traces if t["name"] == "torch")
        assert [bool(v == v) for v in drawn["y"]] == [True, False, True]
        (cross,) = (of for of in plot.layout["annotations"] if of["text"] == trends.CROSS)
        assert (cross["y"], cross["yref"]) == (0, axis)
        assert cross["x"] == drawn["x"][1]
        assert cross["hovertext"] == f"{dead.run}<br>torch: died of SIGKILL"
        assert "✗ on the axis: did not finish." in plot.caption
        assert plot.rows[-1][1] == "2"


def test_steps_have_a_row_a_label_and_those_of_one_framework_one_scale(tmp_path, document):
    def timed(name: str, floor: float) -> dict[str, Any]:
        of = document["backends"][name]
        return of | {"step_time": of["step_time"] | {"floor_ratio": floor, "floor_ci95": None}}

    for day, factor in enumerate((1.0, 1.1)):
        labels = {
            "numpy": timed("numpy", 1.3 * factor),
            "torch": timed("torch", 1.5 * factor),
            "torch:eager": timed("torch", 9.0 * factor) | {"variant": "other"},
        }
        put(tmp_path, document | {"backends": labels}, day)
    (plot,) = trends.floors("s", trace(tmp_path).trends)
    rows = {t["name"]: t["yaxis"] for t in plot.traces}
    assert [*rows.values()] == ["y", "y2", "y3"]
    ranges = [plot.layout[axis]["range"] for axis in ("yaxis", "yaxis2", "yaxis3")]
    assert ranges[1] == ranges[2] != ranges[0]
    assert ranges[1][0] < 1.5 < 9.9 < ranges[1][1]
    assert ranges[0][1] < 2
    named = {of["yref"].partition(" ")[0]: of["text"] for of in plot.layout["annotations"]}
    assert {axis: name for name, axis in rows.items()} == named


def test_a_label_that_never_finished_has_its_cross_and_no_row(tmp_path, document):
    dead = copy.deepcopy(document)
    dead["backends"]["torch"] |= {"status": "failed", "reason": "died"}
    other = copy.deepcopy(document)
    other["backends"]["jax"] = other["backends"]["torch"]
    other["backends"]["torch"] = dead["backends"]["torch"]
    for day in range(2):
        put(tmp_path, other, day)
    (plot,) = trends.floors("s", trace(tmp_path).trends)
    assert [trace["name"] for trace in plot.traces] == ["numpy", "jax"]
    crosses = [of["yref"] for of in plot.layout["annotations"] if of["text"] == trends.CROSS]
    assert crosses == ["paper", "paper"]


def test_a_declared_difference_is_no_disagreement(tmp_path, document):
    made = copy.deepcopy(document)
    declared = {"verdict": "disagree", "value": 1.0, "expected": "its own relu"}
    made["backends"]["torch"]["rungs"]["forward"] |= declared
    put(tmp_path, made)
    (point,) = of(trace(tmp_path), "torch").points
    assert (point.verdict, point.time is not None) == ("agree", True)


def test_off_the_cpu_times_are_nanoseconds(tmp_path, document):
    times = document["backends"]["torch"]["step_time"] | {"floor_ratio": None, "floor_ci95": None}
    put(tmp_path, entry(document, device="cuda", step_time=times))
    found = trace(tmp_path)
    trend = of(found, "torch")
    assert trend.unit == "ns"
    assert trend.points[0].time == times["median_ns"]
    assert trend.points[0].interval == times["ci95_ns"]
    assert not trends.floors("s", found.trends)  # a dot each is no picture
    put(tmp_path, entry(document, device="cuda", step_time=times), 1)
    found = trace(tmp_path)
    plots = [*trends.floors("s", found.trends), *trends.steps("s", found.trends)]
    assert [[t["name"] for t in plot.traces] for plot in plots] == [["numpy"], ["torch"]]


# ---- what is comparable


@pytest.mark.parametrize(
    "fields",
    [
        {"machine": "other-8-processors-01234567"},
        {"threads": 7},
        {"profile": "smoke"},
        {"workload": "another"},
        {"dataset": {"synthetic": True}},
        {"dataset": {"name": "mine"}},
    ],
    ids=str,
)
def test_runs_that_cannot_be_compared_stand_apart(tmp_path, document, fields):
    if "dataset" in fields:
        fields = {"dataset": document["dataset"] | fields["dataset"]}
    put(tmp_path, document, 0)
    put(tmp_path, changed(document, **fields), 1)
    found = trace(tmp_path)
    assert sorted(len(t.points) for t in found.trends) == [1, 1, 1, 1]
    assert len(report.by_setting(found)) == 2


@pytest.mark.parametrize("field", ["backend", "variant", "device", "dtype", "precision"])
def test_a_label_of_another_configuration_is_another_trend(tmp_path, document, field):
    put(tmp_path, document, 0)
    put(tmp_path, entry(document, **{field: "other"}), 1)
    found = trace(tmp_path)
    assert sorted(len(t.points) for t in found.trends) == [1, 1, 2]
    assert len({*trends.names(found.trends)}) == 3


def test_the_same_configuration_under_another_label_is_the_same_trend(tmp_path, document):
    made = copy.deepcopy(document)
    made["backends"]["torch:eager"] = made["backends"].pop("torch")
    put(tmp_path, document, 0)
    put(tmp_path, made, 1)
    assert [p.label for p in of(trace(tmp_path), "torch:eager").points] == ["torch", "torch:eager"]


def test_planted_runs_are_left_out_and_counted(tmp_path, document):
    made = make.timed()
    made.plan.labels["torch"] = make.label("torch", plant="faults.py:lr_off")
    put(tmp_path, document, 0)
    put(tmp_path, told(made), 1)
    found = trace(tmp_path)
    assert found.planted == [NAME.format(1)]
    assert [len(t.points) for t in found.trends] == [1, 1]
    assert "1 run with a planted fault left out" in terminal(found)


def test_synthetic_data_are_said_loudly(tmp_path):
    made = make.timed()
    made.dataset = make.dataset(name="synthetic", synthetic=True, sha256="other")
    put(tmp_path, told(made))
    found = trace(tmp_path)
    assert "SYNTHETIC" in terminal(found)
    assert "SYNTHETIC" in as_page(found)


def test_a_run_that_was_skipped_there_is_no_point(tmp_path):
    made = make.timed()
    make.skip(made, "torch")
    put(tmp_path, told(made))
    assert [t.name for t in trace(tmp_path).trends] == ["numpy"]


def test_what_changed_between_neighbours_is_marked(tmp_path, document):
    put(tmp_path, entry(document, versions={"torch": "2.12", "old": "1"}), 0)
    put(tmp_path, entry(document, versions={"torch": "2.13", "new": "1"}), 1)
    put(tmp_path, entry(document, versions={"torch": "2.13", "new": "1"}), 2)
    later = entry(document, versions={"torch": "2.13", "new": "1"}, python="3.14.0")
    put(tmp_path, changed(later, harness_version="9", other_limits="mine.toml"), 3)
    found = trace(tmp_path)
    points = of(found, "torch").points
    python = document["backends"]["torch"]["python"]
    harness = document["harness_version"]
    assert [p.changed for p in points] == [
        {},
        {"torch": ["2.12", "2.13"], "old": ["1", None], "new": [None, "1"]},
        {},
        {
            "python": [python, "3.14.0"],
            "harness": [harness, "9"],
            "limits": [None, "mine.toml"],
        },
    ]
    assert "torch 2.12 → 2.13" in terminal(found)
    (plot,) = trends.floors("s", found.trends)
    marks = [t for t in plot.traces if t["name"] == "versions changed"]
    assert [mark["showlegend"] for mark in marks] == [True, False]
    # In the row of each: the last of NumPy, whose harness changed, and two points of torch.
    told = {mark["yaxis"]: mark["text"] for mark in marks}
    assert told == {
        "y": [text(trends.changed(of(found, "numpy").points[3]))],
        "y2": [text(trends.changed(p)) for p in (points[1], points[3])],
    }


# ---- what is asked for


def test_labels_machines_and_times_can_be_chosen(tmp_path, document):
    put(tmp_path, document, 10)
    put(tmp_path, changed(document, machine="other-machine"), 20)
    made = copy.deepcopy(document)
    made["backends"]["torch:compiled"] = made["backends"]["torch"] | {"variant": "compiled"}
    put(tmp_path, made, 30)
    assert {t.name for t in trace(tmp_path, labels=("torch",)).trends} == {
        "torch",
        "torch:compiled",
    }
    assert {t.name for t in trace(tmp_path, labels=("torch:compiled",)).trends} == {
        "torch:compiled"
    }
    assert trace(tmp_path, machine="other").runs == 1
    since = datetime(2026, 1, 2, 3, 4, 15, tzinfo=UTC)
    assert trace(tmp_path, since=since).runs == 2
    assert trace(tmp_path, since=since + timedelta(days=1)).trends == []
    assert trace(tmp_path, labels=("nothing",)).trends == []


def test_json_holds_every_point_or_the_last(tmp_path, document, command):
    for number in range(12):
        put(tmp_path, document, number)
    where = ("--results-dir", str(tmp_path))
    found = json.loads(command("history", "--json", *where).out)
    assert [len(t["points"]) for t in found["trends"]] == [12, 12]
    assert found["runs"] == 12
    assert found["trends"][0]["backend"] == "numpy"
    found = json.loads(command("history", "--json", "--last", "2", *where).out)
    assert [p["run"] for p in found["trends"][0]["points"]] == [NAME.format(10), NAME.format(11)]
    text = command("history", *where).out
    assert NAME.format(2) in text
    assert NAME.format(1) not in text
    assert "(2 older; --last shows more)" in text
    assert (
        json.loads(command("history", "--since", "2026-01-02T03:04:11Z", "--json", *where).out)[
            "runs"
        ]
        == 1
    )
    assert json.loads(command("history", "--since", "1h", "--json", *where).out)["runs"] == 0
    for wrong in ("yesterday", "2026-13-01"):
        said = command("history", "--since", wrong, *where, ends=2).err
        assert said.count("\n") == 1
        assert "as 36h, 90d or 12w; or a date, as 2026-11-21" in said


def test_numbers_that_are_not_finite_are_texts_in_json(tmp_path, document, command):
    made = copy.deepcopy(document)
    made["backends"]["torch"]["rungs"]["loss"] |= {"value": "inf", "verdict": "disagree"}
    made["backends"]["torch"]["test_accuracy"]["0"][-1] = "nan"
    put(tmp_path, made)
    text = command("history", "--json", "--results-dir", tmp_path).out
    assert "NaN" not in text
    assert "Infinity" not in text
    point = json.loads(text)["trends"][1]["points"][0]
    assert (point["shares"]["loss"], point["test_accuracy"]) == ("inf", "nan")


# ---- the page


def page(found: history.History) -> Page:
    return Page(as_page(found))


def decoded(values: Any) -> int:
    """How many values a series of plotly's holds."""
    if isinstance(values, dict):
        size = {"f4": 4, "f8": 8, "i1": 1, "i2": 2, "i4": 4}[values["dtype"]]
        return len(values["bdata"].rstrip("=")) * 3 // 4 // size
    return len(values)


def test_every_point_of_a_trend_is_in_the_page(tmp_path, document):
    for number in range(7):
        put(tmp_path, document, number)
    plots = [*page(trace(tmp_path)).data().values()]
    assert len(plots) == 3  # times, shares, accuracy
    for plot in plots:
        assert [t["name"] for t in plot["traces"]] == ["numpy", "torch"]
        for drawn in plot["traces"]:
            assert decoded(drawn["x"]) == decoded(drawn["y"]) == len(drawn["text"]) == 7
    assert "error_y" in plots[0]["traces"][0]


def test_a_page_of_nothing_says_so(tmp_path):
    (tmp_path / "runs").mkdir()
    assert "No stored run" in as_page(trace(tmp_path))
    assert "No stored run" in terminal(trace(tmp_path))


@pytest.mark.parametrize("what", HOSTILE)
def test_no_text_of_a_run_steers_a_terminal_or_a_page(tmp_path, document, what):
    text = HOSTILE[what]
    put(tmp_path / "clean", document, 0)
    put(tmp_path / "clean", entry(document, versions={"a": "1"}), 1)
    clean = page(trace(tmp_path / "clean"))
    for number in range(2):
        made = changed(document, machine=text, processor=text, profile=text, workload=text)
        made["harness_version"] = f"{text}{number}"
        made["dataset"] |= {"name": text}
        made["backends"][text] = made["backends"].pop("torch") | {
            "variant": text,
            "versions": {text: f"{text}{number}"},
        }
        rungs = made["backends"][text]["rungs"]
        rungs[text] = rungs["loss"] | {"reason": text}
        put(tmp_path / "bad", made, name=re.sub("[/\0]", "", text)[:40] + str(number))
    found = trace(tmp_path / "bad")
    bad = page(found)
    # The same tags, whatever the texts are: none of them is one.
    tags, harmless = ({tag for tag, _ in of.tags} for of in (bad, clean))
    assert tags <= harmless | {"p", "ul", "li", "strong"}
    assert len(bad.all("script")) == len(clean.all("script"))
    for drawn in bad.data().values():
        for plot in drawn["traces"]:  # plotly would read tags in them
            assert not re.search(r"[<>]", plot["name"] + "".join(plot["text"]))
    rendered = as_page(found)
    assert "<img" not in rendered.split("</style>")[1].split("<script")[1].split("</script>")[1]
    for shown in (terminal(found),):
        assert not [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl")]


def test_a_page_goes_to_the_file_that_is_named_and_nowhere_else(tmp_path, document, command):
    put(tmp_path / "results", document)
    words = ("--page", str(tmp_path / "h.html"), "--results-dir", str(tmp_path / "results"))
    command("history", *words)
    assert (tmp_path / "h.html").read_text().startswith("<!doctype html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.html", "results"]
    assert (
        "cannot write"
        in command("history", "--page", str(tmp_path / "no" / "h.html"), *words[2:], ends=2).err
    )


def test_long_trends_are_drawn_as_far_as_there_is_room(tmp_path, document, monkeypatch):
    monkeypatch.setattr(report, "MOST_DRAWN", 4)
    for number in range(6):
        put(tmp_path, document, number)
    found = trace(tmp_path)
    rendered = page(found)
    for plot in rendered.data().values():
        for drawn in plot["traces"]:
            assert drawn["text"] == [NAME.format(n) for n in range(2, 6)]
    assert "Pictures show the newest 4 runs of a trend." in as_page(found)
