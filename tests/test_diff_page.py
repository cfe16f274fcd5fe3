"""The page, Markdown and command of a comparison: every figure is there, and nothing is obeyed."""

from __future__ import annotations

import functools
import json
import re

import pytest

from harness.record import store
from harness.report import diff as report
from harness.results import diff
from tests import make
from tests.pages import Page
from tests.test_diff import (
    CLEAN,
    as_markdown,
    as_page,
    disagrees,
    on_terminal,
    other_digest,
    planted,
    slower,
    upgraded,
)
from tests.test_report import HOSTILE, hostile

parsed = Page
UNCHANGED = "Nothing around the runs changed."


@functools.cache
def harmless():
    """The tags of a page of two records without anything odd in them."""
    return {tag for tag, _ in parsed(as_page(diff.compare(CLEAN, planted(disagrees)))).tags}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_text_is_shown_as_it_stands_and_obeyed_nowhere(what):
    text = HOSTILE[what]
    then, now = make.record(("numpy", "torch", text)), hostile(text)
    for found in (diff.compare(then, now), diff.compare(now, then)):
        told = on_terminal(found)
        assert not [c for c in told if not c.isprintable() and c != "\n"]
        marked = as_markdown(found)
        assert "<" not in marked
        assert not re.search(r"(?<!\\)[`\[]", marked)
        head, _, sentence, *_ = marked.split("\n")
        assert head.startswith("# ")
        assert all(row.startswith(("|", "#", ">")) or row in ("", UNCHANGED, sentence)
                   for row in marked.split("\n"))  # fmt: skip
        page = parsed(as_page(found))
        assert {tag for tag, _ in page.tags} <= harmless()
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert len(scripts) == 2


def test_the_page_shows_every_figure_of_its_tables():
    found = diff.compare(CLEAN, planted(slower))
    text = parsed(as_page(found)).text
    for section in (report.rungs(found), report.speeds(found), report.environment(found)):
        assert all(len(row) == len(section.header) for row in section.rows)
        assert all(cell in text for row in section.texts for cell in row)


def test_where_nothing_moved_a_sentence_and_the_ratios_say_it_and_all_else_is_folded():
    found = diff.compare(CLEAN, planted(upgraded))
    assert found.verdict == "same"
    made = report.report(found, "page")
    assert [section.id for section in made.sections] == ["speed", "compared"]
    assert not any(made.top)
    assert all(section.folded for section in made.sections[1].inside)
    (plot,) = made.sections[0].pictures
    timed = [label for label in found.labels if label.speed.change is not None]
    assert [row[0] for row in plot.rows] == [label.name for label in timed]
    band = plot.layout["shapes"][1]
    assert timed[0].speed.factor == CLEAN.plan.timing.factor
    assert band["x1"] == 1 / band["x0"] == timed[0].speed.factor
    for trace, label in zip(plot.traces, timed, strict=True):
        change = label.speed.change
        ends = trace["x"][0] + trace["error_x"]["array"][0], trace["error_x"]["arrayminus"][0]
        assert ends == pytest.approx((change.high, change.value - change.low), rel=1e-6)
    # All that was compared is there, as of any other pair.
    text = parsed(as_page(found)).text
    for section in (report.rungs(found), report.speeds(found), report.environment(found)):
        assert all(cell in text for row in section.texts for cell in row)
    other = report.report(diff.compare(CLEAN, planted(slower)), "page")
    assert other.sections[0].id == "moved"


def test_the_same_runs_give_the_same_files():
    found, again = (diff.compare(CLEAN, planted(slower)) for _ in range(2))
    assert as_page(found) == as_page(again)
    assert as_markdown(found) == as_markdown(again)


def stored(made, folder):
    folder.mkdir()
    store.write(made, folder)
    return str(folder)


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [(upgraded, 0, "same"), (other_digest, 0, "moved"), (disagrees, 1, "worse")],
)
def test_the_command_says_it_and_ends_with_its_status(change, status, word, tmp_path, command):
    pair = [stored(CLEAN, tmp_path / "a"), stored(planted(change), tmp_path / "b")]
    assert word.upper() in command("diff", *pair, ends=status).out
    page, text = tmp_path / "diff.html", tmp_path / "diff.md"
    words = ("diff", *pair, "--json", "--page", page, "--markdown", text)
    document = json.loads(command(*words, ends=status).out)
    assert (document["verdict"], document["schema"]) == (word, 1)
    assert document["then"]["record"] == pair[0]
    assert text.read_text().startswith(f"# {report.MARKS[word]} {word}: ")
    assert page.read_text().startswith("<!doctype html>")


def test_the_command_refuses_what_is_no_pair_of_runs(tmp_path, command):
    one = stored(CLEAN, tmp_path / "a")
    for words, said in (
        ([one, str(tmp_path / "none")], "No such file"),
        ([one, one, "--label", "torch"], "expected NAME=VALUE"),
        ([one, one, "--label", "torch=x"], "the second run has no 'x'"),
        ([one, one, "--page", str(tmp_path)], "cannot write"),
        ([one, one, "--markdown", str(tmp_path / "none" / "x.md")], "cannot write"),
    ):
        assert said in command("diff", *words, ends=2).err
