"""Reports land where they are asked for: in a step summary, between markers, from a named run."""

from __future__ import annotations

import json
import os
import re
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.files import MOST_BY_HAND
from harness.record import store
from harness.report import excerpt, files, markdown
from harness.report.excerpt import BEGIN, END
from harness.report.run import as_markdown
from harness.report.sections import Report, Section
from harness.verdict.verdict import judge
from tests import make, test_scale
from tests.conftest import run_here
from tests.test_report import HOSTILE, hostile

ONE = f"# Mine\n\nbefore\n{BEGIN}\nold\n{END}\nafter\n"


def stored(name: str, results: Path, **changes: object) -> Path:
    folder = results / "runs" / name
    folder.mkdir(parents=True)
    store.write(make.record(run=name, **changes), folder)
    return folder


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    made = excerpt.put(ONE, "new", "README.md")
    assert made == f"# Mine\n\nbefore\n{BEGIN}\n\nnew\n{END}\nafter\n"
    assert excerpt.put(made, "new", "README.md") == made


@pytest.mark.parametrize(
    "text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_a_file_without_both_markers_once_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"x\.md: needs one line"):
        excerpt.put(text, "new", "x.md")


@pytest.mark.parametrize("what", HOSTILE)
def test_no_record_can_break_out_of_the_markers(what: str) -> None:
    made = hostile(f"{HOSTILE[what]} {END} {BEGIN}")
    text = excerpt.put(ONE, excerpt.excerpt(made, judge(made)), "x.md")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.endswith(f"\n{END}\nafter\n")
    assert "<script" not in text


def test_the_excerpt_has_every_label_and_rung_and_what_was_run() -> None:
    made = make.record()
    told = excerpt.excerpt(made, judge(made))
    rows = [line.split("|")[1].strip() for line in told.splitlines() if line.startswith("|")]
    for rung in ("inputs", "lockstep", "timing", "step", "sessions"):
        assert rung in rows
    assert "| numpy | torch |" in told
    assert made.run in told
    assert "numpy 2.4.6" in told


@given(st.lists(st.text(alphabet="ab#é\n ", max_size=30), max_size=6), st.integers(0, 600))
def test_a_report_is_cut_at_a_section_and_says_what_is_missing(
    bodies: list[str], most: int
) -> None:
    sections = [Section(f"s{i}", lines=[body], folded=i % 2 == 1) for i, body in enumerate(bodies)]
    shown = Report("head", sections=sections)
    text = markdown.render(shown)
    cut = markdown.fitted(shown, most)
    assert len(cut.encode()) <= most
    kept = re.findall(r"^(?:## |<details><summary>)(s\d)", cut, flags=re.MULTILINE)
    assert cut.count("<details>") == cut.count("</details>")
    missing = [f"s{i}" for i in range(len(bodies))][len(kept) :]
    assert kept == [f"s{i}" for i in range(len(kept))]
    if len(text.encode()) <= most:
        assert cut == text
    elif cut:
        assert f"Left out for want of room: {'; '.join(missing)}." in cut


def test_the_step_summary_is_the_markdown_report_and_stays_in_its_bounds(tmp_path: Path) -> None:
    made = make.record()
    file = tmp_path / "summary.md"
    for times in (1, 2):
        files.append_summary(made, judge(made), str(file))
        assert file.read_text() == as_markdown(made, judge(made)) * times
    file.write_text("x" * (files.SUMMARY_BYTES - 10))
    files.append_summary(made, judge(made), str(file))
    assert file.stat().st_size == files.SUMMARY_BYTES - 10
    long = make.record(machine={f"fact {i}": "y" * 2000 for i in range(1000)})
    file.unlink()
    files.append_summary(long, judge(long), str(file))
    assert 1000 < file.stat().st_size <= files.SUMMARY_BYTES
    assert "Left out for want of room: Environment." in file.read_text()


def test_report_writes_the_step_summary_where_one_is_named(tmp_path, monkeypatch, capsys) -> None:
    folder = stored("20260101T000000-aaaaaa", tmp_path)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert run_here(monkeypatch, "report", str(folder)) == 0
    assert summary.read_text() == (folder / "report.md").read_text()
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "no" / "folder", tmp_path / "pipe", tmp_path):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
        assert run_here(monkeypatch, "report", str(folder)) == 0
        assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse", "large", "folder", "long name"])
def test_into_what_is_no_page_is_refused_in_one_line(tmp_path: Path, command, kind: str) -> None:
    folder = stored("20260102T030405-abcdef", tmp_path / "results")
    file = tmp_path / ("x" * 300 if kind == "long name" else "README.md")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file = Path("/dev/zero")
    elif kind in ("sparse", "large"):
        with file.open("wb") as stream:
            stream.truncate(64 * 10**9 if kind == "sparse" else MOST_BY_HAND + 1)
    elif kind == "folder":
        file.mkdir()
    said = command("report", folder, "--into", file, ends=2)
    assert said.err.startswith(f"harness: Markdown {file}: ")


def test_the_command_puts_the_tables_into_a_file(tmp_path, monkeypatch, capsys) -> None:
    folder = stored("20260101T000000-aaaaaa", tmp_path)
    page = tmp_path / "README.md"
    page.write_text(ONE)
    assert run_here(monkeypatch, "report", str(folder), "--into", str(page)) == 0
    assert "20260101T000000-aaaaaa" in page.read_text()
    assert "before" in page.read_text()
    for bad in (tmp_path / "nowhere.md", tmp_path, folder / "steps.parquet"):
        assert run_here(monkeypatch, "report", str(folder), "--into", str(bad)) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert run_here(monkeypatch, "report", str(folder), str(folder), "--into", str(page)) == 2


def test_whatever_a_report_writes_elsewhere_is_told_in_one_document(
    tmp_path, monkeypatch, capsys
) -> None:
    folder = stored("20260101T000000-aaaaaa", tmp_path)
    page, to, most = tmp_path / "README.md", tmp_path / "out", tmp_path / "largest.md"
    page.write_text(ONE)
    for option, target, files_made in (
        ("--into", page, [page]),
        ("--largest", most, [most]),
        ("--out", to, [to / "report.md", to / "report.html", to / "card.svg"]),
    ):
        words = ["report", str(folder), option, str(target)]
        assert run_here(monkeypatch, *words, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {"written": [str(file) for file in files_made if file.exists()]}
        assert run_here(monkeypatch, *words) == 0
        assert capsys.readouterr().out.split() == told["written"]
    both = ["report", str(folder), "--into", str(page), "--out", str(to)]
    assert run_here(monkeypatch, *both) == 2
    assert "choose one" in capsys.readouterr().err


def test_a_run_of_scale_says_which_verb_shows_it(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "runs").mkdir()
    assert run_here(monkeypatch, "report", str(tmp_path)) == 2
    assert f"show it with: harness scale {tmp_path}" in capsys.readouterr().err


def test_a_run_of_scale_may_be_named_too(tmp_path, monkeypatch, capsys) -> None:
    folder = tmp_path / "results" / "scale" / "20260105T000000-eeeeee"
    (folder / "runs" / "64x32-2").mkdir(parents=True)
    store.write(test_scale.size(64, 32), folder / "runs" / "64x32-2")
    stored("20260106T000000-ffffff", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    for word in ("latest", folder.name):
        assert run_here(monkeypatch, "scale", word) == 0
        assert f"record: results/scale/{folder.name}" in capsys.readouterr().out


def test_an_error_is_one_line_that_cannot_steer_the_terminal(monkeypatch, capsys) -> None:
    assert run_here(monkeypatch, "report", "no\nsuch\x1b[31mrun") == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "\x1b" not in told


def test_the_reports_of_a_run_can_be_written_elsewhere(tmp_path, monkeypatch, capsys) -> None:
    folder = stored("20260101T000000-aaaaaa", tmp_path)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    to = tmp_path / "reports" / "full"
    assert run_here(monkeypatch, "report", str(folder), "--out", str(to)) == 0
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert {p.name for p in to.iterdir()} >= {"report.md", "report.html"}
    page = (to / "report.html").read_text()
    assert 'href="./record.json"' not in page
    assert run_here(monkeypatch, "report", str(folder)) == 0
    assert 'href="./record.json"' in (folder / "report.html").read_text()
    assert (to / "report.md").read_text() == (folder / "report.md").read_text()
    capsys.readouterr()
    for words in (["report", str(folder), str(folder), "--out", str(to)],
                  ["report", str(folder), "--out", str(folder / "record.json" / "x")]):  # fmt: skip
        assert run_here(monkeypatch, *words) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_run_may_be_named_as_latest_or_by_its_name(tmp_path, monkeypatch, capsys) -> None:
    for name in ("20260101T000000-aaaaaa", "20260103T000000-cccccc", "20260102T000000-bbbbbb"):
        stored(name, tmp_path / "results")
    stored("the first one, kept", tmp_path / "results")  # not named by its time: before all others
    (tmp_path / "results" / "runs" / "20260104T000000-dddddd").mkdir()  # never finished
    monkeypatch.chdir(tmp_path)
    for word, name in (
        ("latest", "20260103T000000-cccccc"),
        ("latest~1", "20260102T000000-bbbbbb"),
        ("latest~2", "20260101T000000-aaaaaa"),
        ("latest~3", "the first one, kept"),
        ("20260102T000000-bbbbbb", "20260102T000000-bbbbbb"),
    ):
        assert run_here(monkeypatch, "check", word) == 0
        assert f"record: results/runs/{name}\n" in capsys.readouterr().out
    for word in ("latest~4", "latest~", "latest~x", "20260104T000000-dddddd", "nobody"):
        assert run_here(monkeypatch, "check", word) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    (tmp_path / "latest").mkdir()  # a folder of that name goes first
    assert run_here(monkeypatch, "check", "latest") == 2


def test_a_report_that_finds_the_disk_full_ends_in_one_line(tmp_path, monkeypatch, capsys) -> None:
    folder = stored("20260101T000000-aaaaaa", tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        status = run_here(monkeypatch, "report", str(folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["record.json", "steps.parquet"]
