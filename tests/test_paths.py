"""Every verb that is given a path, and every kind of path or file that cannot be meant.

One line on stderr, exit 2, nothing on stdout, in no time: nothing is waited for, nothing read
without end. Pipes, devices and holes of 64 GB are made here; nobody reads them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.record import store
from harness.verdict.verdict import judge, to_json
from harness.workers.launch import Worker
from tests import make
from tests.conftest import run_here, within

NOBODY = 65534
# A verb that has not refused by then waits, or reads without end.
MOST_S = 20


def hole(path: Path) -> None:
    """64 GB that take no room."""
    with open(path, "wb") as file:
        file.truncate(64 * 10**9)


# By kind: what makes it at a path, and the path to give for it.
Made = Callable[[Path], Any]
FILES: dict[str, Made] = {
    "a pipe": os.mkfifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a hole of 64 GB": hole,
    "bytes that are no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "tables without end": lambda path: path.write_text("a" + ".a" * 5000 + " = 1\n"),
    "lists without end": lambda path: path.write_text("a = " + "[" * 100_000),
    "a link to itself": lambda path: path.symlink_to(path),
    "an empty folder": lambda path: path.mkdir(),
}
TEXTS = ("bytes that are no text", "tables without end", "lists without end")
PLACES = {
    "nothing": "{}",
    "a name of 300 letters": "{}" + "x" * 300,
    "a path below a file": "{}/file/below/x",
    "a path in somebody else's folder": "{}/locked/below/x",
}
# What is read: a stored run, or any file; RUN is a good one.
INPUTS = {
    "check": "check BAD",
    "check --limits": "check RUN --limits BAD",
    "check --baseline": "check RUN --baseline BAD",
    "report": "report BAD",
    "report --into": "report RUN --into BAD",
    "explain": "explain BAD",
    "bundle": "bundle BAD",
    "export": "export csv BAD",
    "diff A": "diff BAD RUN",
    "diff B": "diff RUN BAD",
    "scale": "scale BAD",
    "sweep": "sweep BAD",
    "sweep --accept": "sweep --backend numpy --accept BAD",
    "history": "history --results-dir BAD",
    "query": "query SELECT --results-dir BAD",
    "prune": "prune --keep 1 --results-dir BAD",
    "baseline save": "baseline save BAD",
    "baseline check": "baseline check BAD",
    "baseline check --baseline": "baseline check RUN --baseline BAD",
    "compare --baseline": "compare --backend numpy --baseline BAD",
    "compare --like": "compare --like BAD",
    "compare --resume": "compare --resume BAD",
    "compare --reference": "compare --backend numpy --reference BAD",
    "compare --data-dir": "compare --backend numpy --profile smoke --data-dir BAD",
    "compare --plant": "compare --backend numpy --plant numpy=BAD.py:f",
    "compare --python": "compare --backend numpy --python numpy=BAD",
    "compare --backend": "compare --backend BAD.py:Own",
    "compare --workload": "compare --workload BAD.py:Own",
    "golden write --data-dir": "golden write --file g --data-dir BAD",
    "golden check": "golden check numpy --file BAD",
    "certify": "certify BAD.py:Own",
    "certify --python": "certify numpy --python BAD",
    "data": "data --data-dir BAD",
}
# What is written, before anything is measured.
OUTPUTS = {
    "report --largest": "report RUN --largest BAD",
    "report --out": "report RUN --out BAD",
    "bundle --out": "bundle RUN --out BAD",
    "export --out": "export csv RUN --out BAD",
    "diff --markdown": "diff RUN RUN --markdown BAD",
    "diff --page": "diff RUN RUN --page BAD",
    "history --page": "history --results-dir results --page BAD",
    "scale --page": "scale --page BAD",
    "baseline save --baseline": "baseline save --baseline BAD",
    "golden write": "golden write --file BAD",
    "certify --out": "certify numpy --out BAD",
    "certify --results-dir": "certify numpy --results-dir BAD",
    "compare --results-dir": "compare --backend numpy --profile smoke --results-dir BAD",
    "scale --results-dir": "scale --backend numpy --results-dir BAD",
    "sweep --results-dir": "sweep --backend numpy --results-dir BAD",
    "doctor": "doctor --quick --results-dir BAD",
    "new-backend": "new-backend mine --out BAD",
}
# Every verb that reads the settings; of harness.toml only what is there is read.
SETTINGS = {
    verb: verb
    for verb in (
        *("list", "compare", "run", "scale", "sweep", "baseline save", "certify numpy"),
        "golden write --file g",
    )
}


@contextlib.contextmanager
def as_somebody_else(folder: Path) -> Iterator[None]:
    """As a user to whom a locked folder is closed: root may read everything."""
    folder.chmod(0)
    if os.geteuid() != 0:
        yield
        return
    for above in folder.parents:
        if not above.stat().st_mode & 0o1:
            above.chmod(above.stat().st_mode | 0o55)
    os.seteuid(NOBODY)
    try:
        if os.access(folder, os.R_OK, effective_ids=True):
            pytest.skip("this system closes no folder to anybody")
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    """Run a verb in a fresh folder with a good run in it, and see it refuse its words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 99.0))  # said once work begins
    # Whatever is measured, it is too late then to refuse.
    monkeypatch.setattr(Worker, "__init__", lambda *_, **__: pytest.fail("a worker was started"))
    good = tmp_path / "results" / "runs" / "20260101T000000-abcdef"
    good.mkdir(parents=True)
    record = make.record(run=good.name)
    store.write(record, good)
    document = to_json(record, judge(record), str(good))
    (good / "verdict.json").write_text(json.dumps(document))
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "below").mkdir()

    def run(words: str, bad: str) -> None:
        before = sorted(tmp_path.rglob("*"))
        filled = [w.replace("BAD", bad).replace("RUN", str(good)) for w in words.split()]
        somebody = as_somebody_else(tmp_path / "locked")
        with within(MOST_S), somebody if "locked" in bad else contextlib.nullcontext():
            status = run_here(monkeypatch, *filled)
        told = capsys.readouterr()
        assert status == 2, told.err
        (line,) = told.err.splitlines()
        assert line.startswith("harness: ")
        assert told.out == ""
        (tmp_path / "locked").chmod(0o700)
        assert sorted(tmp_path.rglob("*")) == before

    return run


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("verb", INPUTS)
def test_what_is_no_file_of_the_kind_that_is_read_is_refused(
    verb: str, kind: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    if ".py" in INPUTS[verb] and kind in TEXTS:
        pytest.skip("of what is in a file of Python its worker tells")
    FILES[kind](tmp_path / ("bad.py" if "BAD.py" in INPUTS[verb] else "bad"))
    refused(INPUTS[verb], str(tmp_path / "bad"))


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("verb", INPUTS)
def test_a_place_that_cannot_be_read_is_refused(
    verb: str, kind: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    place = tmp_path / "nowhere" if kind == "nothing" else tmp_path
    refused(INPUTS[verb], PLACES[kind].format(f"{place}/" if "300" in kind else place))


@pytest.mark.parametrize("kind", [*PLACES][1:])
@pytest.mark.parametrize("verb", OUTPUTS)
def test_a_place_where_nothing_can_be_written_is_refused(
    verb: str, kind: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    refused(OUTPUTS[verb], PLACES[kind].format(f"{tmp_path}/" if "300" in kind else tmp_path))


@pytest.mark.parametrize("kind", ["a pipe", "an endless device"])
@pytest.mark.parametrize("verb", OUTPUTS)
def test_a_pipe_or_device_is_not_written_to(
    verb: str, kind: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    FILES[kind](tmp_path / "bad")
    refused(OUTPUTS[verb], str(tmp_path / "bad"))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("verb", SETTINGS)
def test_settings_that_are_no_file_are_refused(
    verb: str, kind: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    FILES[kind](tmp_path / "harness.toml")
    refused(SETTINGS[verb], "")


@pytest.mark.parametrize("verb", ["compare", "check latest", "list", "doctor --quick"])
def test_a_working_folder_that_is_gone_is_told(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    status, told = run_here(monkeypatch, *verb.split()), capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert status == 2
    assert "go to one that is there" in told
    assert len(told.splitlines()) == 1
