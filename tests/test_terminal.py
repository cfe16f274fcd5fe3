"""What a terminal shows of a run, in 72 and 80 columns, whatever the labels are called.

Every label and every number is whole, on one line: nothing is folded inside a word.
"""

from __future__ import annotations

import io
import re
from copy import deepcopy
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.record.schema import Record
from harness.report import terminal, words
from harness.report.brief import EXPECTED, FOLLOWS, WIDEST
from harness.report.run import MOST_LABELS, summary
from harness.report.terminal import print_table, show
from harness.verdict.verdict import Verdict, judge
from harness.workloads.reference.limits import RUNGS
from tests import pages

WIDTHS, LABELS = (72, 80), (1, 4, 7, 10, 30)
NAMES = st.from_regex(r"[a-z]{5,10}:[a-z]{4,6}(-[0-9]\.[0-9]{1,2})?", fullmatch=True)


def _with(names: list[str]) -> Record:
    """A record whose labels are these: those of a rich one, again and again."""
    made = pages.rich()
    kinds = {name: pages.NAMES[place % len(pages.NAMES)] for place, name in enumerate(names)}
    labels = {name: made.plan.labels[kind] for name, kind in kinds.items()}
    made.plan = msgspec.structs.replace(made.plan, labels=labels, skipped={})
    made.results = {name: deepcopy(made.results[kind]) for name, kind in kinds.items()}
    made.roofs, made.differing, made.again = [], [], {}
    return made


def _shown(record: Record, width: int) -> list[str]:
    out = io.StringIO()
    show(summary(record, judge(record), Path()), Console(file=out, width=width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("many", LABELS)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_label_and_number_is_whole(data: st.DataObject, many: int, width: int) -> None:
    names = data.draw(st.lists(NAMES, min_size=many, max_size=many, unique=True))
    lines = _shown(_with(names), width)
    first = next(i for i, line in enumerate(lines) if "The ladder" in line or " in fw " in line)
    last = next(i for i, line in enumerate(lines) if line.startswith("? ") or "batches:" in line)
    table = lines[first:last]
    assert {*names} <= {word for line in table for word in line.split()}
    assert all(len(line) <= width for line in table), max(table, key=len)
    # Of a number that is folded a part stands alone on the next line.
    assert not [line for line in table if re.fullmatch(r" *[\d.e-]*e-\d?|.*\de-", line.rstrip())]


def test_more_labels_than_a_table_has_room_for_get_a_line_each() -> None:
    names = [f"torch:{word}" for word in ("one", "two", "three", "four", "five", "sixteen-letters")]
    record = _with(names)
    lines, judged = _shown(record, 72), judge(record)
    assert len(names) > MOST_LABELS
    header = next(line for line in lines if " in fw " in line)
    assert header.split() == [*words.SHORT.values(), "headroom", "step", "×", "best"]
    for name, of in judged.labels.items():
        at = next(i for i, line in enumerate(lines) if line.split()[:1] == [name])
        # A name that is longer than its column has a line to itself.
        told = lines[at].split()[1:] if len(name) <= WIDEST else lines[at + 1].split()
        following = words.following(of)
        for rung, mark in zip(RUNGS, told, strict=False):
            found = of.findings.get(rung)
            wanted = "–" if found is None else words.MARKS[found.verdict]
            assert mark == (FOLLOWS if rung in following else wanted), (name, rung)
    assert not [line for line in lines if line.startswith("Step time")]
    # The verdict is last but for where the record is.
    assert lines[-2].startswith(words.MARKS[judged.verdict])


def test_a_label_that_did_not_run_says_why_and_what_follows_is_marked_so() -> None:
    names = ["numpy", "torch", "jax", "tensorflow", "last"]
    record = _with(names)
    record.results["last"].processes[0].status = "failed"
    record.results["last"].processes[0].reason = "it was killed"
    for measured in record.results["torch"].measurements:
        if measured.rung in ("forward", "loss"):
            measured.distance = 1.0
    lines = _shown(record, 72)
    assert any(re.match(r"last +failed: it was killed", line) for line in lines)
    marks = next(line for line in lines if line.startswith("torch ")).split()[1:]
    assert marks[:3] == ["✓", "✗", FOLLOWS]
    assert any(f"{FOLLOWS} follows from the ✗" in line for line in lines)


def test_many_labels_operators_are_told_in_a_line_and_what_does_not_agree_in_full() -> None:
    names = ["numpy", "torch", "jax", "tensorflow", "fifth"]
    record = _with(names)
    judged = judge(record)
    off, told = ("jax", "relu"), "of 0 it gives 7"
    for name in names:
        for of in judged.labels[name].operators.values():
            of.verdict, of.sentence, of.differs, of.gone = "agree", "", [], []
    judged.labels[off[0]].operators = {off[1]: deepcopy(judged.labels["numpy"].operators["relu"])}
    judged.labels[off[0]].operators[off[1]].verdict = "disagree"
    judged.labels[off[0]].operators[off[1]].sentence = told
    out = io.StringIO()
    show(summary(record, judged, Path()), Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    at = lines.index(f"✗ jax, relu: {told}")
    said = "✓ single operators of numpy, torch, tensorflow, fifth: every one agrees"
    assert lines[at - 1] == said
    for label in judged.labels.values():
        label.operators = {}
    out = io.StringIO()
    show(summary(record, judged, Path()), Console(file=out, width=80))
    assert "operators" not in out.getvalue()


def test_headroom_and_the_time_over_the_best_are_those_of_the_verdict() -> None:
    record = _with(["numpy", "torch", "jax", "tensorflow", "fifth"])
    judged: Verdict = judge(record)
    lines = _shown(record, 80)
    for name, of in judged.labels.items():
        line = next(line for line in lines if line.split()[:1] == [name])
        if of.step_time is not None:
            assert words.duration(of.step_time.median_ns) in line
        shares = [
            found.value / found.limit
            for rung, found in of.findings.items()
            if rung != "timing" and found.limit and isinstance(found.value, float)
        ]
        assert ("×" in line) == bool(shares and 0 < max(shares) <= 1), line


def test_a_table_that_does_not_fit_is_several_with_the_first_column_in_each() -> None:
    out = io.StringIO()
    header = ["name", *(f"column-{i}-that-is-wide" for i in range(6))]
    rows = [[f"row{i}", *(1000.0 + j for j in range(6))] for i in range(3)]
    print_table(Console(file=out, width=72), header, rows, "A title")
    lines = out.getvalue().splitlines()
    assert sum("A title" in line for line in lines) == 1
    for name in header[1:]:
        assert sum(name in line.split() for line in lines) == 1
    tables = sum("name" in line.split() for line in lines)
    assert tables > 1
    assert sum("row1" in line.split() for line in lines) == tables
    assert max(map(len, lines)) <= 72


def test_what_was_declared_beforehand_has_a_mark_of_its_own() -> None:
    record = _with(["numpy", "torch", "jax", "tensorflow", "fifth"])
    judged = judge(record)
    judged.labels["torch"].findings["forward"].expected = "a known difference"
    out = io.StringIO()
    show(summary(record, judged, Path()), Console(file=out, width=72))
    line = next(one for one in out.getvalue().splitlines() if one.split()[:1] == ["torch"])
    assert line.split()[2] == EXPECTED
    assert f"{EXPECTED} as declared" in out.getvalue()


def test_a_word_that_is_longer_than_any_name_is_folded_and_its_table_stays_one(monkeypatch) -> None:
    path = "/".join(["folder"] * 14)

    def tables() -> list[str]:
        out = io.StringIO()
        print_table(Console(file=out, width=72), ("name", "path", "n"), [["a", path, 7]])
        return out.getvalue().splitlines()

    lines = tables()
    assert ["name", "path", "n"] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 72
    monkeypatch.setattr(terminal, "LONGEST", 1000)
    assert ["name", "n"] in [line.split() for line in tables()]
