"""Whatever is written has the permissions that the user's umask leaves, neither more nor fewer."""

from __future__ import annotations

import os
import stat

import pytest

from harness.record import store
from tests import make
from tests.conftest import plant, run_here

# Neither what a temporary file has (600) nor what most users get (644).
MASK = 0o027
RUN = "run --backend numpy --profile smoke --data-dir DATA --results-dir OUT/results"
# By verb: its words, with RECORD, a stored run, and OUT, a folder of its own.
VERBS = {
    "check": "check RECORD",
    "report": "report RECORD --without-images",
    "report --out": "report RECORD --out OUT/report --without-images",
    "report --largest": "report RECORD --largest OUT/largest.md",
    "diff": "diff RECORD RECORD --markdown OUT/diff.md --page OUT/diff.html",
    "history": "history --results-dir RESULTS --page OUT/history.html",
    "baseline": "baseline save RECORD --baseline OUT/baselines/machine.json",
    "export": "export junit RECORD --out OUT/junit.xml",
    "new-backend": "new-backend mine --out OUT/mine",
    "golden": "golden write --file OUT/golden.safetensors --after 1 --data-dir DATA",
    "bundle": f"{RUN} --plant numpy=FAULT ; bundle latest --out OUT/bundle",
}


@pytest.mark.parametrize("verb", VERBS)
def test_all_that_a_verb_writes_respects_the_umask(verb, small_data, tmp_path, monkeypatch):
    out, results = tmp_path / "out", tmp_path / "results"
    folder = results / "runs" / "20260101T000000-abcdef"
    places = {"RESULTS": results, "RECORD": folder, "OUT": out, "DATA": small_data}
    places["FAULT"] = plant("numbers.py", "leaky_relu")
    words = VERBS[verb]
    for name, path in places.items():
        words = words.replace(name, str(path))
    before = os.umask(MASK)
    try:
        out.mkdir()
        monkeypatch.chdir(out)
        folder.mkdir(parents=True)
        store.write(make.timed(("numpy",)), folder)
        for command in words.split(" ; "):
            assert run_here(monkeypatch, *command.split()) in (0, 1)
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): (path.is_dir(), stat.S_IMODE(path.stat().st_mode))
        for path in tmp_path.rglob("*")
    }
    assert len(modes) > 5
    wrong = {
        name: oct(mode)
        for name, (folder, mode) in modes.items()
        if mode != (0o777 if folder else 0o666) & ~MASK
    }
    assert not wrong
