"""How far a session is: phases counted, in plain words; a rate and a time left that tell."""

from __future__ import annotations

import os
import re
import sys

import pytest

from harness import progress
from harness.record.schema import FINISHED
from harness.report import run_tables
from harness.report.run import as_markdown
from harness.report.run_tables import Run
from harness.run import session
from harness.verdict.verdict import judge
from tests import make
from tests.conftest import Silent, run_here
from tests.test_report import terminal


class Counting(Silent):
    """Every phase with its total, and the furthest that it came."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[list] = []

    def phase(self, name: str, total: int) -> None:
        self.phases.append([name, total, 0])

    def advance(self, done: int) -> None:
        assert done >= self.phases[-1][2], self.phases[-1]
        self.phases[-1][2] = done


@pytest.mark.parametrize("words", [{}, {"seeds": "0,1", "sessions": 2, "operators": True}])
def test_every_phase_of_a_run_is_counted_and_said_in_plain_words(small_data, tmp_path, words):
    given = {"profile": "smoke", "data_dir": str(small_data), "threads": 1, "rounds": 2}
    plan = make.make_plan(**given, backends=("numpy",), **words)
    seen = Counting()
    record, _ = session.run(plan, tmp_path, seen)
    assert record.ended == FINISHED
    assert len(seen.phases) == session.phases(plan)
    for name, total, done in seen.phases:
        assert total > 0
        assert done <= total
        assert not re.search("teacher|lockstep|envelope|judge", name)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "load", lambda: 0.0)
    return now


@pytest.mark.parametrize(
    ("done", "total", "seconds", "told"),
    [
        (1, 4, 60.0, "1 of 4, 60 s each, about 3 min left"),
        (3, 9, 12.0, "3 of 9, 4 s each, about 24 s left"),
        (999, 1000, 10.0, "999 of 1000, 100 a second, about 1 s left"),
        (5000, 10_000, 20.0, "5000 of 10000, 250 a second, about 20 s left"),
        (9, 9, 20.0, "9 of 9, 2.2 s each"),
    ],
)
def test_a_rate_and_a_time_left_are_not_0_while_work_goes_on(
    clock, capsys, done, total, seconds, told
):
    shown = progress.make_progress(9)
    shown.phase("first", 1)
    shown.phase("timing steps", total)
    clock[0] += seconds
    shown.advance(done)
    first, second, line = capsys.readouterr().err.splitlines()
    assert first == "[  0.0 s] 1 of 9: first"
    assert second == "[  0.0 s] 2 of 9: timing steps"
    assert line.partition("] ")[2] == f"timing steps: {told}"


def test_a_terminal_shows_the_same_beside_a_bar(clock, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    shown = progress.make_progress(9)
    shown.phase("timing [steps]", 9)
    clock[0] += 12.0
    shown.advance(3)
    shown._progress.refresh()
    text = capsys.readouterr().err
    shown.close()
    assert "1 of 9: timing [steps]" in text
    assert "3 of 9, 4 s each, about 24 s left" in text


@pytest.mark.parametrize(("tasks", "busy"), [(50.3, True), (0.4, False)])
def test_a_machine_that_is_loaded_at_the_start_is_told(monkeypatch, capsys, tasks, busy):
    monkeypatch.setattr(os, "getloadavg", lambda: (tasks, 1.0, 1.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    shown = progress.make_progress()
    assert capsys.readouterr().err == ""  # what is refused is refused in one line
    shown.phase("inputs", 1)
    shown.phase("timing", 1)
    *told, _, _ = capsys.readouterr().err.splitlines()
    words = "harness: this machine is busy (load 50 on 2 processors): times will"
    assert [line.startswith(words) for line in told] == [True] * busy


def test_a_time_that_suffered_says_so_beside_it():
    made = make.timed(("numpy", "torch"))
    made.machine["processors"] = "2"
    for name, load in (("numpy", 1.5), ("torch", 50.4)):
        for r in made.results[name].rounds:
            r.load = load
    told = "machine was busy (load 50)"
    for text in (terminal(made), as_markdown(made, judge(made))):
        assert text.count(told) == 1
    numpy, torch = run_tables.times(Run(made, judge(made))).texts
    assert told in torch[2]
    assert "busy" not in numpy[2]


def test_a_stderr_that_cannot_be_written_stops_nothing(monkeypatch, tmp_path):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        shown = progress.PlainProgress(3)
        shown.phase("training", 3)
        shown.note("a note")
        assert run_here(monkeypatch, "check", tmp_path / "none") == 2
