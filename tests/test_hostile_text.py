"""Whatever texts a record holds, no verb prints one that steers a terminal, in no form."""

from __future__ import annotations

import json

import msgspec
import pytest

from harness.export import FORMATS
from harness.record import store
from harness.results import baseline
from harness.verdict.verdict import judge
from tests import make
from tests.conftest import run_here
from tests.test_report import HOSTILE, hostile

TEXT = "\x1b[2J\x9b31m\x07 " + HOSTILE["bidi"] + HOSTILE["newline"]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Two runs in results/: one in which a label and versions have the text, one full of it."""
    text = TEXT
    timed = make.timed(("numpy", "torch", text))
    timed.machine = {"processor": text, "system": "Linux 6.1"}
    for process in timed.results[text].processes:
        process.facts = {"python": text, f"version:{text}": text}
    for number, made in enumerate((timed, hostile(text))):
        folder = tmp_path / "results" / "runs" / f"20260101T00000{number}-abcdef"
        folder.mkdir(parents=True)
        store.write(made, folder)
    (folder.parent / text[:40].replace("\0", "")).mkdir()
    held = baseline.make(timed, judge(timed))
    held = msgspec.structs.replace(held, run=text, started=text)
    (tmp_path / "held.json").write_bytes(msgspec.json.encode(held))
    monkeypatch.chdir(tmp_path)
    for words in (("check", "latest", "latest~1"), ("report", "latest", "--without-images")):
        run_here(monkeypatch, *words)


VERBS = {
    "check": ("check", "latest", "latest~1"),
    "report": ("report", "latest", "--out", "pages", "--without-images"),
    "largest": ("report", "latest", "latest~1", "--largest", "page.md"),
    "explain": ("explain", "latest"),
    "explain a label": ("explain", "latest", "--label", "a\x9b31m\u202e"),
    "bundle": ("bundle", "latest"),
    "diff": ("diff", "latest~1", "latest"),
    "pair": ("diff", "latest~1", "--pair", "numpy=torch"),
    "history": ("history",),
    "labels": ("query", "SELECT * FROM runs JOIN labels ON id = run"),
    "versions": ("query", "SELECT * FROM versions"),
    "prune": ("prune", "--older-than", "1d", "--debris"),
    "save": ("baseline", "save", "latest~1"),
    "compared": ("baseline", "check", "latest~1", "--baseline", "held.json"),
    "judged": ("check", "latest~1", "--baseline", "held.json"),
    "gone": ("check", "nowhere\x9b31m\u202e"),
    "no such name": ("diff", "latest", "latest", "--label", "a\x9b31m=b\u202e"),
} | {
    name: ("export", name, "latest~1", *(("--out", "to") if made.target == "folder" else ()))
    for name, made in FORMATS.items()
    if made.target != "server"
}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_prints_what_steers_a_terminal(stored, verb, form, monkeypatch, capsys):
    words = [*VERBS[verb]]
    if form == "json":
        words += ["--json"]
        if verb in FORMATS and "--out" not in words:
            words += ["--out", "to"]
    capsys.readouterr()
    status = run_here(monkeypatch, *words)
    said = capsys.readouterr()
    for printed in (said.out, said.err):
        assert [c for c in printed if not c.isprintable() and c != "\n"] == []
    assert "mistake" not in said.err
    assert status in (0, 1, 2, 3)
    if form == "json" and said.out:
        json.loads(said.out)
