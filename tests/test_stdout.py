"""Every verb with every kind of stdout: results are stored, the status is the documented one."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from typer.main import get_command

from harness import cli
from harness.cli.output import PLAIN
from harness.record import store
from tests import make, pages, test_scale
from tests.conftest import clean_environment
from tests.test_store import NAME

RUN, GOOD = f"results/runs/{NAME.format(1)}", f"results/runs/{NAME.format(2)}"
MEASURED = ["--backend", "numpy", "--threads", "1"]
DATA = ["--data-dir", "../../data"]
SQL = "SELECT id, '✓ Größe 日本' AS mark FROM runs"
# By verb. Each leaves the words of the next something to read.
VERBS = {
    "": ["--help"],
    "compare": ["compare", *MEASURED],
    "run": ["run", *MEASURED],
    "check": ["check", RUN],
    "report": ["report", RUN],
    "report json": ["report", RUN, "--json"],
    "explain": ["explain", RUN],
    "bundle": ["bundle", RUN],
    "export": ["export", "junit", RUN],
    "diff": ["diff", RUN, GOOD, "--page", "diff.html", "--markdown", "diff.md"],
    "history": ["history", "--page", "history.html"],
    "query": ["query", SQL],
    "query csv": ["query", SQL, "--csv"],
    "scale": ["scale", "--widths", "64", "--batches", "32", "--page", "page.md"],
    "sweep": ["sweep", "--dry-run", *MEASURED],
    "certify": ["certify", "numpy", "--check", "facts"],
    "baseline save": ["baseline", "save", *MEASURED, GOOD, "--baseline", "baseline.json"],
    "baseline check": ["baseline", "check", *MEASURED, GOOD, "--baseline", "baseline.json"],
    "golden write": ["golden", "write", "--file", "x.golden", "--after", "1", *DATA],
    "golden check": ["golden", "check", "numpy", "--file", "x.golden", *DATA],
    "same": ["same", "a=functions.py:f", "b=functions.py:g", "--like", "x=float32[4]"],
    "list": ["list"],
    "doctor": ["doctor", "--quick", *MEASURED],
    "data": ["data", *DATA],
    "new-backend": ["new-backend", "mine"],
    "prune": ["prune", "--keep", "1", "--yes"],
}
KINDS = ("utf-8", "latin-1", "ascii", "closed", "full")
# Texts that are for another program are in UTF-8, whatever the terminal speaks.
FOR_PROGRAMS = ("export", "query csv")


class Told(NamedTuple):
    """How a verb ended, and what is there after it."""

    status: int
    out: bytes
    err: str
    files: dict[str, int]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """Two stored runs, one of which diverges, a grid, and small data."""
    folder = tmp_path_factory.mktemp("stdout") / "work"
    (folder.parent / "data").symlink_to(small_data)
    made, good = pages.diverging(folder / RUN), make.timed()
    good.plan = msgspec.structs.replace(good.plan, workload=made.plan.workload)
    for number, (each, place) in enumerate(((made, RUN), (good, GOOD)), 1):
        each.run, each.machine = NAME.format(number), {"processor": "Größe 日本 ✓"}
        (folder / place).mkdir(parents=True, exist_ok=True)
        store.write(each, folder / place)
    for each in test_scale.records(("numpy",), (64, 256), (32,)):
        place = folder / "results/scale/grid/runs" / each.run
        place.mkdir(parents=True)
        store.write(each, place)
    (folder / "functions.py").write_text("def f(x):\n    return x\n\ng = f\n")
    return folder


@pytest.fixture(scope="module")
def told(work: Path) -> dict[str, dict[str, Told]]:
    """By kind of stdout, what became of every verb."""
    for kind in KINDS:
        shutil.copytree(work, work.parent / kind / "work")
    done = subprocess.run(
        [sys.executable, "-m", "tests.stdouts", str(work.parent), *KINDS],
        input=json.dumps(VERBS),
        cwd=Path(__file__).parent.parent,
        # As a notebook sets it, where there is no such module.
        env=clean_environment() | {"MPLBACKEND": "module://no_such.backend_inline"},
        text=True,
        capture_output=True,
        timeout=600,
        check=True,
    )
    return {
        kind: {
            name: Told(status, base64.b64decode(out), *rest)
            for name, (status, out, *rest) in verbs.items()
        }
        for kind, verbs in json.loads(done.stdout).items()
    }


def commands(command, *names: str):
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *names, name)
    if not hasattr(command, "commands"):
        yield " ".join(names)


def test_every_verb_is_asked():
    assert {*commands(get_command(cli.app))} < {*VERBS}


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "utf-8"])
def test_no_stdout_loses_a_result_or_ends_in_a_traceback(told, kind, name):
    clean, told = told["utf-8"][name], told[kind][name]
    assert clean.status in (0, 1)
    assert "Traceback" not in clean.err + told.err
    # What is stored lies there, whole, before anything is printed.
    assert told.files.keys() == clean.files.keys()
    assert all(size or not clean.files[file] for file, size in told.files.items())
    if kind in ("closed", "full"):
        assert told.status == 3
        *lines, last = told.err.splitlines()
        assert last.startswith("harness: cannot write to standard output: ")
        assert len(lines) == len(clean.err.splitlines())
        return
    assert told.status == clean.status
    if name in FOR_PROGRAMS:
        assert "✗" in told.out.decode() or "Größe" in told.out.decode()
        return
    out = told.out.decode(kind)
    assert len(out.splitlines()) == len(clean.out.decode().splitlines())
    # A question mark says "not decided" in a table: no mark becomes one, letters only.
    text = clean.out.decode()
    letters = text.encode(kind, "ignore").decode(kind)
    lost = sum(c.isalpha() and c not in letters and c not in PLAIN for c in text)
    assert out.count("?") == text.count("?") + lost


def test_a_run_is_stored_and_judged_before_a_word_is_printed(told):
    for kind in ("closed", "full"):
        files = told[kind]["compare"].files
        for name in ("verdict.json", "report.md", "report.html"):
            assert files[f"{RUN}/{name}"] > 500


def test_a_shell_that_closed_every_stream_gets_its_files(work):
    """No file of the harness comes to lie on a number that is a stream's."""
    command = f'exec "{sys.executable}" -m harness report {RUN} <&- >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", command], cwd=work, env=os.environ | clean_environment(), check=False
    )
    assert done.returncode == 3
    assert (work / RUN / "report.html").stat().st_size > 10_000
