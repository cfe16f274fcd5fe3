"""What a verb needs at its end is asked for at its start; a run is found where runs are stored."""

from __future__ import annotations

import json
import subprocess

import msgspec
import pytest

from harness.files import write_document
from harness.record import store
from harness.record.facts import describe_machine
from harness.results import baseline
from harness.verdict.verdict import judge
from tests import make
from tests.test_diff import CLEAN, disagrees, every, other_digest, planted, slower, upgraded


@pytest.fixture(scope="module")
def here():
    """A baseline of this machine."""
    timed = make.timed()
    timed.machine = describe_machine()
    return baseline.make(timed, judge(timed))


@pytest.fixture
def place(tmp_path, here, small_data, monkeypatch):
    """A working folder with baselines, and a folder and a file where files are to be written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASHION_MNIST_DIR", str(small_data))
    write_document(tmp_path / "here.json", here)
    there = msgspec.structs.replace(here, machine=here.machine | {"processor": "another"})
    write_document(tmp_path / "there.json", there)
    (tmp_path / "cut.json").write_text('{"schema": 1, ')
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "file").write_text("")

    def started(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    # That the machine is busy is said once work begins: it would be another line.
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 99.0, 99.0))
    return tmp_path


EARLY = {
    "no baseline": (("baseline", "check"), "there is no baseline results/baselines/"),
    "no such baseline": (("baseline", "check", "--baseline", "gone.json"), "there is no baseline"),
    "a cut baseline": (("baseline", "check", "--baseline", "cut.json"), "not a whole baseline"),
    "another machine's": (
        ("baseline", "check", "--baseline", "there.json"),
        "the baseline is of another machine: processor was 'another'",
    ),
    "few sessions to check": (
        ("baseline", "check", "--baseline", "here.json", "--sessions", "4"),
        "4 timing sessions, and a baseline needs 5: measure with --sessions 5",
    ),
    "few sessions to save": (("baseline", "save", "--sessions", "1"), "1 timing session, and"),
    "no file to save": (("baseline", "save", "--baseline", "folder"), "no file can be written"),
    "no folder to save": (
        ("baseline", "save", "--baseline", "file/x.json"),
        "no file can be written",
    ),
    "no results to save": (("baseline", "save", "--results-dir", "file"), "not a directory"),
    "compare, no baseline": (("compare", "--baseline", "gone.json"), "there is no baseline"),
    "compare, another machine": (
        ("compare", "--sessions", "5", "--baseline", "there.json"),
        "of another machine",
    ),
    "compare, few sessions": (
        ("compare", "--profile", "smoke", "--sessions", "1", "--baseline", "here.json"),
        "1 timing session, and",
    ),
    "compare, no reference": (
        ("compare", "--reference", "/gone.safetensors"),
        "unknown; choose from",
    ),
    "compare, no results": (("compare", "--results-dir", "file/x"), "not a directory"),
    "run, no results": (("run", "--results-dir", "file"), "not a directory"),
    "scale, no page": (("scale", "--page", "gone/page.md"), "no file can be written there"),
    "scale, a folder": (("scale", "--page", "folder.md"), "no file can be written there"),
    "scale, no results": (("scale", "--results-dir", "file"), "not a directory"),
    "golden, no place": (("golden", "write", "--file", "gone/g"), "no file can be written there"),
    "golden, a folder": (("golden", "write", "--file", "folder"), "no file can be written there"),
    "golden, no file": (("golden", "check", "numpy", "--file", "gone"), "No such file"),
    "certify, no place": (("certify", "numpy", "--out", "gone/c"), "no file can be written there"),
    "certify, a folder": (("certify", "numpy", "--out", "folder"), "no file can be written there"),
    "certify, no results": (("certify", "numpy", "--results-dir", "file"), "not a directory"),
}


@pytest.mark.parametrize("what", EARLY)
def test_what_is_needed_at_the_end_is_refused_before_anything_is_measured(place, what, command):
    words, said = EARLY[what]
    before = sorted(place.rglob("*"))
    assert said in command(*words, ends=2).err
    assert sorted(place.rglob("*")) == before


def test_a_baseline_that_is_there_lets_the_measuring_begin(place, command):
    """The check above can fail: with a baseline of this machine a worker is started."""
    words = ("baseline", "check", "--baseline", "here.json", "--backend", "numpy")
    assert "a process was started" in command(*words, ends=2).err


@pytest.mark.parametrize(
    "words",
    [
        ("check", "latest"),
        ("report", "latest", "--without-images"),
        ("report", "latest~1", "latest", "--largest", "page.md"),
        ("diff", "latest~1", "latest"),
        ("export", "csv", "latest"),
        ("baseline", "save", "latest"),
        ("baseline", "check", "latest", "latest~1", "--baseline", "held.json"),
        ("explain", "latest"),
        ("bundle", "latest"),
        ("scale", "latest"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_stored_run_is_found_in_the_folder_that_is_named(words, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        folder = tmp_path / "mine" / "runs" / f"20260101T00000{number}-abcdef"
        folder.mkdir(parents=True)
        store.write(CLEAN, folder)
    write_document(tmp_path / "held.json", baseline.make(CLEAN, judge(CLEAN)))
    # Of explain, bundle and scale the run is found, and then holds nothing for them.
    ends, said = {
        "explain": (2, "nothing to explain: agree"),
        "bundle": (2, "nothing to reproduce: agree"),
        "scale": (2, "there are 0 stored runs in mine/scale"),
    }.get(words[0], (0, ""))
    assert said in command(*words, "--results-dir", "mine", ends=ends).err
    assert "there are 0 stored runs in results/" in command(*words, ends=2).err


@pytest.mark.parametrize(
    ("change", "worse", "moved"),
    [
        (upgraded, 0, 0),
        (other_digest, 0, 1),
        (disagrees, 1, 1),
        (every(slower, other_digest), 1, 1),
    ],
)
def test_diff_ends_with_1_from_where_it_is_told_to(change, worse, moved, tmp_path, command):
    runs = [tmp_path / "a", tmp_path / "b"]
    for folder, made in zip(runs, (CLEAN, planted(change)), strict=True):
        folder.mkdir()
        store.write(made, folder)
    command("diff", *runs, ends=worse)
    command("diff", *runs, "--fail-on", "worse", ends=worse)
    said = command("diff", *runs, "--fail-on", "moved", "--json", ends=moved)
    assert bool(json.loads(said.out)["moves"]) == bool(moved)
    # What became better has moved too.
    command("diff", *reversed(runs), "--fail-on", "moved", ends=moved)
    assert "--fail-on" in command("diff", *runs, "--fail-on", "better", ends=2).err
