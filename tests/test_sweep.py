"""Many runs as one grid: each cell is done once, however a sweep ends; one table has them all."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends import BACKENDS
from harness.errors import InputError
from harness.plan.choices import Choices
from harness.record import store
from harness.record.schema import FINISHED, INTERRUPTED
from harness.report import matrix
from harness.run import cell, checkpoint, identity, sweep
from harness.verdict.finding import Evidence, Finding
from harness.verdict.operators import OperatorVerdict
from harness.verdict.verdict import LabelVerdict, Verdict
from harness.workloads.reference.limits import DECIDING
from tests import make
from tests.conftest import Silent, clean_environment, harness, numbers, plant, run_here

WORDS = ("--profile", "smoke", "--backend", "numpy", "--workload", "nielsen-neuron")
SEEDS = ("--seeds", "0,1")


def table(results: Path) -> dict[str, Any]:
    """The last sweep's."""
    return json.loads(max((results / "sweeps").glob("*.json"), key=os.path.getmtime).read_text())


def runs(results: Path) -> list[Path]:
    """Every run of every cell, hidden ones too."""
    return [*(results / "sweeps" / "cells").glob("*/runs/*")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("swept")
    return folder, harness("sweep", *WORDS, *SEEDS, cwd=folder)


def test_a_cell_is_a_run_of_one_label_at_one_seed(swept) -> None:
    folder, done = swept
    assert done.returncode == 0, done.stderr
    assert "1 of 1 workloads agree" in done.stdout
    records = [store.read(run) for run in runs(folder / "results")]
    assert sorted(record.plan.seeds for record in records) == [(0,), (1,)]
    for record in records:
        assert [*record.results] == ["numpy"]
        assert record.ended == FINISHED
        assert record.plan.threads == 1
        assert not record.results["numpy"].rounds
    of = table(folder / "results")["nielsen-neuron"]["labels"]["numpy"]
    assert of["word"] == "agree"
    assert [*of["records"]] == ["0", "1"]
    for run in of["records"].values():
        assert {"record.json", "verdict.json", "report.html"} <= {*os.listdir(run)}
    page = max((folder / "results" / "sweeps").glob("*.html")).read_text()
    run = Path(of["records"]["0"])
    assert f'<a href="cells/{run.parent.parent.name}/runs/{run.name}/report.html">' in page


def test_what_is_done_is_not_done_again_and_more_is_only_more(swept) -> None:
    folder, _ = swept
    before = {run: run.stat().st_mtime_ns for run in runs(folder / "results")}
    listed = harness("sweep", *WORDS, "--seeds", "0-2", "--dry-run", "--json", cwd=folder)
    document = json.loads(listed.stdout)
    assert [each["done"] for each in document["cells"]] == [True, True, False]
    assert document["seconds_left"] > 0
    again = harness("sweep", *WORDS, *SEEDS, cwd=folder)
    assert "2 cells, 2 of them done before" in again.stderr
    assert {run: run.stat().st_mtime_ns for run in runs(folder / "results")} == before


def keys(tmp_path: Path, **words: Any) -> list[str]:
    chosen = Choices(**{"profile": "smoke", "backends": ("numpy",), "seeds": "0"} | words)
    grid = sweep.make(chosen, ["nielsen-neuron"], tmp_path, Silent())
    return [each.folder.name for each in grid.cells]


def test_whatever_decides_the_numbers_is_in_the_key(tmp_path: Path, monkeypatch) -> None:
    (first,) = keys(tmp_path)
    assert keys(tmp_path) == [first]
    fault = tmp_path / "fault.py"
    fault.write_text("def same(backend):\n    return backend\n")
    planted = {"plants": {"numpy": f"{fault}:same"}}
    others = [
        *keys(tmp_path, dtype="float64"),
        *keys(tmp_path, seeds="1"),
        *keys(tmp_path, variants={"numpy": "plain"}),
        *keys(tmp_path, profile="default"),
        *keys(tmp_path, **planted),
    ]
    fault.write_text("def same(backend):\n    return backend  # another\n")
    others += keys(tmp_path, **planted)
    monkeypatch.setattr(identity, "_versions", lambda backend, python: {"numpy": "0"})
    others += keys(tmp_path)
    monkeypatch.setattr(identity, "own_digest", lambda: "another harness")
    others += keys(tmp_path)
    monkeypatch.setattr(sweep._Keys, "_dataset", lambda keys, plan: make.dataset(sha256="f" * 64))
    others += keys(tmp_path)
    assert len({first, *others}) == 1 + len(others)


# With --kill-points N: every framework, on the real data where they are.
MANY = ("linear-regression", "nielsen-neuron", "himmelblau", "diabetes", "softmax-regression")
MANY += ("mlp-scratch",)


def test_killed_at_any_moment_it_goes_on_and_ends_with_every_cell_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By SIGKILL, the sweep alone or its cells with it; `--kill-points N`: so many times.

    The numbers are those of a sweep that nobody killed, bit for bit.
    """
    asked = request.config.getoption("--kill-points")
    words, env, kills, latest_s, cells = (*WORDS, *SEEDS), clean_environment(), 4, 5.0, 2
    if asked:
        words = ("--profile", "smoke", "--workload", ",".join(MANY), *SEEDS)
        kills, latest_s, cells = asked, 30.0, len(MANY) * len(BACKENDS) * 2
        data = ("HARNESS_DATA_DIR", "FASHION_MNIST_DIR")
        env |= {name: os.environ[name] for name in data if name in os.environ}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    cut.mkdir()
    whole.mkdir()
    lot, killed = random.Random(os.getpid()), 0
    while killed < kills and len(done_in(cut)) < cells:
        killed += killed_once(words, cut, env, lot.uniform(0.2, latest_s), alone=killed % 2 == 0)
        print(f"{killed} killed, {len(done_in(cut))} of {cells} cells done", flush=True)
    assert killed == kills or not asked
    for folder in (cut, whole):
        done = harness("sweep", *words, cwd=folder, env=env, timeout=3600)
        print(f"{folder.name}: {done.stderr}\n{done.stdout}", flush=True)
        assert done.returncode == 0
        assert len(done_in(folder)) == len(runs(folder / "results")) == cells
    found, wanted = (
        {key: store.read(run) for key, run in done_in(at).items()} for at in (cut, whole)
    )
    print(f"{sum(bool(r.went_on) for r in found.values())} cells went on", flush=True)
    for key, record in found.items():
        assert numbers(record) == numbers(wanted[key])
    assert not [*cut.rglob(checkpoint.FOLDER)]


def killed_once(
    words: tuple[str, ...], folder: Path, env: dict[str, str], after_s: float, *, alone: bool
) -> bool:
    """Whether a sweep still ran after so long; it is killed, `alone` or with all its processes."""
    running = subprocess.Popen(
        [sys.executable, "-m", "harness", "sweep", *words, "--jobs", "2"],
        cwd=folder,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        running.wait(after_s)
    except subprocess.TimeoutExpired:
        (os.kill if alone else os.killpg)(running.pid, signal.SIGKILL)
        running.wait()
        return True
    return False


def done_in(folder: Path) -> dict[str, Path]:
    """The run of each cell that is done, by its key."""
    cells = (folder / "results" / "sweeps" / "cells").glob("*")
    return {each.name: run for each in cells if (run := cell.finished(each)) is not None}


DAMAGES = {
    "an empty record": lambda run: (run / "record.json").write_bytes(b""),
    "no record": lambda run: (run / "record.json").unlink(),
    "no samples": lambda run: (run / "steps.parquet").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cell_is_measured_anew_and_nothing_else_is_touched(
    swept, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(swept[0] / "results", tmp_path / "results")
    (run, other) = done_in(tmp_path).values()
    before = {file: file.stat().st_mtime_ns for file in other.iterdir()}
    DAMAGES[damage](run)
    listed = harness("sweep", *WORDS, *SEEDS, "--dry-run", "--json", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    told = {each["key"]: each["done"] for each in json.loads(listed.stdout)["cells"]}
    assert told == {run.parents[1].name: False, other.parents[1].name: True}
    done = harness("sweep", *WORDS, *SEEDS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "measured anew" in line]
    assert run.name in line
    assert "2 cells, 1 of them done before" in done.stderr
    assert len(done_in(tmp_path)) == len(runs(tmp_path / "results")) == 2
    assert not run.exists()
    assert {file: file.stat().st_mtime_ns for file in other.iterdir()} == before


def test_a_run_that_still_cannot_be_read_is_a_failed_cell_beside_the_others(
    swept, tmp_path: Path, monkeypatch, capsys
) -> None:
    shutil.copytree(swept[0] / "results", tmp_path / "results")
    run, _ = done_in(tmp_path).values()
    (run / "record.json").write_bytes(b"")
    monkeypatch.setattr(sweep, "run", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "sweep", *WORDS, *SEEDS) == 3
    assert "✗ nielsen-neuron, numpy: failed: record " in capsys.readouterr().out
    of = table(tmp_path / "results")["nielsen-neuron"]
    assert (of["verdict"], of["labels"]["numpy"]["word"]) == ("failed", "failed")
    assert len(of["labels"]["numpy"]["records"]) == 1


def test_a_cell_that_was_cut_off_and_did_not_end_is_a_failed_one(
    swept, tmp_path: Path, monkeypatch, capsys
) -> None:
    shutil.copytree(swept[0] / "results", tmp_path / "results")
    run, _ = done_in(tmp_path).values()
    record = json.loads((run / "record.json").read_text())
    (run / "record.json").write_text(json.dumps(record | {"ended": INTERRUPTED}))
    (run.parents[1] / cell.DONE).unlink()
    monkeypatch.setattr(sweep, "run", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "sweep", *WORDS, *SEEDS) == 3
    assert "numpy: failed: interrupted" in capsys.readouterr().out


def test_a_file_in_the_place_of_a_folder_is_told_in_a_line(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = Path("results/sweeps/cells")
    cells.parent.mkdir(parents=True)
    cells.touch()
    for words in ((), ("--dry-run",)):
        assert run_here(monkeypatch, "sweep", *WORDS, *words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("cells is not a directory")
    cells.unlink()
    cells.mkdir()
    assert run_here(monkeypatch, "sweep", *WORDS, "--dry-run", "--json") == 0
    (only,) = json.loads(capsys.readouterr().out)["cells"]
    (cells / only["key"]).touch()
    assert run_here(monkeypatch, "sweep", *WORDS) == 3
    assert "nielsen-neuron, numpy, seed 0: cannot make" in capsys.readouterr().err


def test_a_cells_folder_stands_for_the_run_in_it(swept, monkeypatch, capsys) -> None:
    folder, _ = swept
    (run, _) = done_in(folder).values()
    monkeypatch.chdir(folder)
    assert run_here(monkeypatch, "report", run.parents[1]) == 0
    assert run.name in capsys.readouterr().out


def test_half_a_folder_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "20260101T000000-aaaaaa"
    run.mkdir(parents=True)
    assert cell.finished(tmp_path) is cell.stored(tmp_path) is None
    (tmp_path / "done").write_text(run.name)
    assert cell.finished(tmp_path) is cell.stored(tmp_path) is None
    (run / "record.json").touch()
    assert (cell.finished(tmp_path), cell.stored(tmp_path)) == (None, run)
    (run / "record.json").unlink()
    store.write(make.record(("numpy",), run=run.name), run)
    assert cell.finished(tmp_path) == cell.stored(tmp_path) == run
    (tmp_path / "done").unlink()
    assert cell.finished(tmp_path) is None
    assert cell.stored(tmp_path) == run
    run.rename(run.with_name(f".{run.name}"))
    assert cell.stored(tmp_path) is None


DIES = """
import os
from backends.numpy import Backend as Numpy


class Dies(Numpy):
    def trainer(self, workload):
        with open({file!r}, "a") as file:
            file.write("once more\\n")
        os._exit(7)
"""


def test_a_cell_that_fails_is_tried_twice_and_told_and_the_others_are_there(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(DIES.format(file=str(tmp_path / "tried")))
    words = (*WORDS, "--backend", "dies=dies.py:Dies", "--variant", "dies=plain", "--seeds", "0")
    done = harness("sweep", *words, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "dies, seed 0: " in line]
    assert re.search(r"seed 0: dies: .*process ended by exit status 7.*; tried 2 times$", line)
    # A float32 and a float64 process each time.
    assert (tmp_path / "tried").read_text().count("once more") == 2 * sweep.TRIES
    of = table(tmp_path / "results")["nielsen-neuron"]["labels"]
    assert (of["numpy"]["word"], of["dies"]["word"]) == ("agree", "failed")
    assert "dies" in of["dies"]["reason"] or "ended" in of["dies"]["reason"]
    listed = harness("sweep", *words, "--dry-run", "--json", cwd=tmp_path)
    assert [each["done"] for each in json.loads(listed.stdout)["cells"]] == [True, False]


def test_a_process_that_a_signal_ends_is_told_so(tmp_path: Path, monkeypatch) -> None:
    """Its last line is one of progress, which is no reason."""
    code = "import os; print('[ 7.7 s] training', flush=True); os.kill(os.getpid(), 9)"
    popen = subprocess.Popen

    def killed(words: list[str], **given: Any) -> subprocess.Popen[bytes]:
        return popen([words[0], "-c", code], **given)

    monkeypatch.setattr(subprocess, "Popen", killed)
    with sweep.Local() as place:
        assert place.carry_out(tmp_path, 1) == "ended by SIGKILL"
    assert cell.said(tmp_path) == "ended by SIGKILL"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_interrupted_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "sweep", *WORDS, "--seeds", "0-9", "--jobs", "1"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while not done_in(tmp_path) and running.poll() is None:
            time.sleep(0.1)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    count = len(done_in(tmp_path))
    assert 1 <= count < 10
    last = f"harness: interrupted: {count} of 10 cells done; the same words go on with it"
    assert said.splitlines()[-1] == last


def accept(*rows: dict[str, str]) -> str:
    return "\n".join(
        "\n".join(["[[accept]]", *(f"{name} = {json.dumps(text)}" for name, text in row.items())])
        for row in rows
    )


def test_a_difference_is_accepted_wherever_it_shows_and_missed_once_gone(tmp_path: Path) -> None:
    fault = f"other={plant('numbers.py', 'lr_one_per_mille')}"
    words = (*WORDS, "--backend", "other=numpy", "--plant", fault, "--seeds", "0")
    done = harness("sweep", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "nielsen-neuron, other, seed 0: disagree: " in done.stdout
    assert "FAULT PLANTED on purpose: other: " in done.stdout
    (page,) = (tmp_path / "results" / "sweeps").glob("*.html")
    assert "FAULT PLANTED on purpose: other: " in page.read_text()
    file = tmp_path / "accept.toml"
    why = {"label": "ot*", "reason": "it is meant to learn faster"}
    rows = [{"rung": rung} | why for rung in ("update", "lockstep", "trajectory")]
    file.write_text(accept(*rows))
    done = harness("sweep", *words, "--accept", "accept.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "≠ nielsen-neuron, other, seed 0: accepted: it is meant to learn faster" in done.stdout
    moved = done.stdout.partition("moved: nielsen-neuron, other: disagree: update")[2]
    assert " → accepted: update" in moved
    # What follows from it must be accepted too: another fault might hide there.
    file.write_text(accept(*rows[:1]))
    done = harness("sweep", *words, "--accept", "accept.toml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    of = json.loads(done.stdout)["nielsen-neuron"]["labels"]["other"]
    assert (of["word"], of["first_divergence"].partition(",")[0]) == ("disagree", "lockstep")
    assert "moved: nielsen-neuron, other: accepted: update" in done.stderr
    file.write_text(accept(*rows, {"tensor": "another"} | why))
    done = harness("sweep", *words, "--accept", "accept.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 1 workloads agree; 1 accepted difference gone" in done.stdout
    assert "accepted, and gone: *, ot*, *, another" in done.stdout
    done = harness("sweep", *words, "--accept", "accept.toml", "--json", cwd=tmp_path)
    assert (done.returncode, "accepted, and gone: *, ot*" in done.stderr) == (1, True)


ROW = {"workload": "diabetes", "label": "torch:compile", "rung": "update", "tensor": "W1"}


@pytest.mark.parametrize("field", ROW)
def test_each_word_of_an_accepted_difference_decides(field: str) -> None:
    def takes(**other: str) -> bool:
        one = matrix.Difference("update", "W1", "", "")
        return matrix.Accepted("why", **ROW | other).takes("diabetes", "torch:compile", one)

    assert takes()
    assert takes(**{field: ROW[field][:2] + "*"})
    assert not takes(**{field: "other"})


def at(tensor: str) -> Evidence:
    return Evidence(where="step 0", step=0, tensor=tensor, got=1.0, distance=1.0, why="")


def told(rung: str, *tensors: str, **words: Any) -> Finding:
    off = {name: at(name) for name in tensors}
    first = next(iter(off.values()), None)
    return Finding(rung=rung, verdict="disagree", sentence=rung, first=first, off=off, **words)


@pytest.mark.parametrize(
    ("findings", "accepted", "word"),
    [
        ([told("gradients", "b")], [{"tensor": "b"}], "accepted"),
        ([told("gradients", "b", "w")], [{"tensor": "b"}], "disagree"),
        ([told("gradients", "b"), told("update", "w")], [{"rung": "gradients"}], "disagree"),
        ([told("gradients", "b"), told("update", "w")], [{"tensor": "[bw]"}], "accepted"),
        ([told("trajectory", "all")], [], "disagree"),
        ([told("accuracy")], [], "disagree"),
        ([told("accuracy")], [{"rung": "accuracy"}], "accepted"),
        ([told("update", "w", expected="as meant")], [], "agree"),
    ],
)
def test_whatever_counts_in_a_run_counts_in_its_cell_unless_each_is_accepted(
    findings: list[Finding], accepted: list[dict[str, str]], word: str
) -> None:
    known = [matrix.Accepted("why", **one) for one in accepted]
    row = row_of({finding.rung: finding for finding in findings})
    assert matrix.answer(row, "numpy", known).word == word
    assert matrix.words([row], known or [matrix.Accepted("none", label="none")]) == [
        "disagree" if word == "disagree" else "agree"
    ]


def row_of(findings: dict[str, Finding], timed: matrix.Run | None = None) -> matrix.Row:
    rungs = {rung: Finding(rung=rung, verdict="agree", sentence="") for rung in DECIDING} | findings
    label = LabelVerdict(status="ok", reason=None, findings=rungs)
    verdict = Verdict(verdict="agree", summary="", labels={"numpy": label}, first_divergence=None)
    run = matrix.Run(make.record(("numpy",)), verdict, "one")
    return matrix.Row("w", {"numpy": [run]}, timed)


def test_the_numbers_of_the_run_that_is_timed_count_too() -> None:
    off = row_of({"update": told("update", "w")}).runs["numpy"][0]._replace(folder="timed")
    assert matrix.answer(row_of({}), "numpy").word == "agree"
    assert matrix.answer(row_of({}, timed=off), "numpy").word == "disagree"


def test_an_operator_that_is_off_counts_too() -> None:
    row = row_of({})
    judged = row.runs["numpy"][0].verdict.labels["numpy"]
    judged.operators = {"softmax": OperatorVerdict(verdict="disagree", sentence="softmax is off")}
    answer = matrix.answer(row, "numpy")
    assert (answer.word, answer.says, answer.reason) == (
        *("disagree", "operator softmax"),
        "softmax is off",
    )


def test_the_table_says_with_what_its_runs_were_made_and_what_must_be_said_loudly() -> None:
    made = make.record(("numpy",), dataset=make.dataset(synthetic=True))
    plan = msgspec.structs.replace(made.plan, seeds=(2, 10))
    other = make.record(("numpy",), plan=plan)
    verdict = row_of({}).runs["numpy"][0].verdict
    rows = [
        matrix.Row(name, {"numpy": [matrix.Run(record, verdict, name)]})
        for name, record in (("one", made), ("two", other))
    ]
    report = matrix.report(rows)
    assert [line.partition(":")[0] for line in report.warnings] == ["one"]
    assert "SYNTHETIC DATA" in report.warnings[0]
    said = "\n".join(report.headline)
    for text in (f"profile {plan.profile}", "2, 10", "dtype float32", "device cpu", made.started):
        assert text in said
    assert made.harness_version in said
    assert report.title.endswith("2 of 2 workloads agree")


@pytest.mark.parametrize(("words", "most"), [((), 2), (("--jobs", "1"), 1), (("--jobs", "7"), 4)])
def test_so_many_cells_are_carried_out_at_a_time(tmp_path, monkeypatch, words, most) -> None:
    """Four cells of one thread each on two processors."""
    at_once, largest, lock = 0, [0], threading.Lock()

    def carry_out(place, folder, processors):
        nonlocal at_once
        with lock:
            at_once += 1
            largest.append(at_once)
        time.sleep(0.3)
        with lock:
            at_once -= 1
        return "not done"

    monkeypatch.setattr(sweep.Local, "processors", 2)
    monkeypatch.setattr(sweep.Local, "carry_out", carry_out)
    monkeypatch.setattr(sweep, "TRIES", 1)
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "sweep", *WORDS, "--seeds", "0-3", *words) == 3
    assert max(largest) == most


def test_times_are_of_all_labels_together_and_stand_in_the_cells(tmp_path: Path) -> None:
    words = (*WORDS, "--backend", "other=numpy", "--variant", "other=plain", "--seeds", "0")
    done = harness("sweep", *words, "--sessions", "1", "--rounds", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    of = table(tmp_path / "results")["nielsen-neuron"]["labels"]
    assert [*of] == ["numpy", "other"]
    assert all(each["step_ns"] > 0 for each in of.values())
    timed = [store.read(run) for run in runs(tmp_path / "results")]
    assert sorted(len(record.results) for record in timed) == [1, 1, 2]
    # A time alone, or the slower one's over the other's where a step takes long enough.
    assert re.search(r"\d (µs|ms)|\d×", done.stdout), done.stdout


def test_a_file_gives_words_and_the_command_line_goes_before_it(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        'profile = "smoke"\nworkload = ["nielsen-neuron", "linear-regression"]\n'
        'backend = ["numpy"]\nseeds = [3, 4]\nthreads = 1\n'
    )
    done = harness("sweep", "grid.toml", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    cells = [each["cell"] for each in json.loads(done.stdout)["cells"]]
    assert cells == [
        f"{name}, numpy, seed {seed}"
        for name in ("nielsen-neuron", "linear-regression")
        for seed in (3, 4)
    ]
    done = harness("sweep", "grid.toml", "--seeds", "5", "--dry-run", "--json", cwd=tmp_path)
    assert len(json.loads(done.stdout)["cells"]) == 2


def listed(tmp_path: Path, monkeypatch, capsys, text: str, *words: str) -> list[str]:
    """The keys of the cells of a file and words."""
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(text)
    assert run_here(monkeypatch, "sweep", "grid.toml", *words, "--dry-run", "--json") == 0
    return [each["key"] for each in json.loads(capsys.readouterr().out)["cells"]]


@pytest.mark.parametrize(
    ("text", "words", "plainly"),
    [
        ('dtype = "float64"', ("--dtype", "float32"), {"dtype": "float32"}),
        ('dtype = "float64"', (), {"dtype": "float64"}),
        ('profile = "smoke"', ("--profile", "default"), {"profile": "default", "seeds": "0"}),
    ],
)
def test_a_word_of_the_command_line_goes_before_the_files_also_where_it_is_the_default(
    tmp_path, monkeypatch, capsys, text, words, plainly
) -> None:
    text += '\nworkload = "nielsen-neuron"\nbackend = "numpy"\nseeds = 0'
    text += "" if "profile" in text else '\nprofile = "smoke"'
    assert listed(tmp_path, monkeypatch, capsys, text, *words) == keys(tmp_path, **plainly)


@pytest.mark.parametrize(
    "text",
    [
        'backend = "numpy"\nvariant = "numpy=plain"',
        'backend = ["numpy"]\nvariant = ["numpy=plain"]\nall-variants = false',
        'backend = ["numpy"]\nvariant = ["numpy=plain"]\nall_variants = false',
    ],
)
def test_one_text_stands_for_a_list_of_it_and_names_have_either_line(
    tmp_path, monkeypatch, capsys, text
) -> None:
    text += '\nworkload = "nielsen-neuron"\nprofile = "smoke"\nseeds = [0]'
    wanted = keys(tmp_path, variants={"numpy": "plain"})
    assert listed(tmp_path, monkeypatch, capsys, text) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("works = 1", "works: unknown"),
        ("jobs = 2", "jobs: unknown; choose from profile"),
        ("threads = 'two'", "threads: Expected"),
        ("threads = 0", "--threads 0: choose from 1"),
        ("all-variants = true\nall_variants = true", "all_variants: once with - and once with _"),
        ("workload = ''", "--workload ''"),
        ("workload = []", "workload: an empty list"),
        ("backend = []", "backend: an empty list"),
        ("seeds = true", "seeds: Expected"),
        ("seeds = ", "grid.toml"),
        ("profile = 'huge'", "--profile 'huge': unknown"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, monkeypatch, capsys, text, said) -> None:
    monkeypatch.chdir(tmp_path)
    Path("grid.toml").write_text(text)
    assert run_here(monkeypatch, "sweep", "grid.toml") == 2
    assert said in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[accept]]\nlabel = 'jax'", "reason"),
        ("[[accept]]\nreason = ' '", "needs a reason"),
        ("[[accept]]\nreason = 'x'\nwhere = 'y'", "where"),
        ("accepted = 1", "accepted"),
    ],
)
def test_an_accepted_difference_needs_a_reason_and_known_words(
    tmp_path, monkeypatch, capsys, text, said
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("accept.toml").write_text(text)
    assert run_here(monkeypatch, "sweep", *WORDS, "--accept", "accept.toml") == 2
    assert said in capsys.readouterr().err


def test_a_table_of_another_kind_is_not_compared_with(tmp_path: Path, capsys) -> None:
    from harness.cli.sweep import _moved

    assert _moved(tmp_path, {}) == []
    (tmp_path / "a.json").write_text('{"x": 1}')
    assert _moved(tmp_path, {}) == []
    assert "not a table of a sweep" in capsys.readouterr().err


def test_what_does_not_hold_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "sweep", *WORDS, "--jobs", "0") == 2
    assert "--jobs 0: choose from 1 to 1000" in capsys.readouterr().err
    for verb in ("sweep", "compare"):
        for wrong in (("--threads", "0"), ("--workload", "")):
            assert run_here(monkeypatch, verb, *WORDS, *wrong) == 2
            assert f"{wrong[0]} {wrong[1] or repr('')}" in capsys.readouterr().err
    for words in ((), ("--dry-run",)):
        assert run_here(monkeypatch, "sweep", *WORDS, "--on", "mars", *words) == 2
        assert "--on mars: choose from local" in capsys.readouterr().err
    assert not Path("results").exists()
    with pytest.raises(InputError, match="no such"):
        sweep.make(Choices(rooms="gone"), ["diabetes"], tmp_path, Silent())


def test_the_worst_of_several_seeds_is_told(monkeypatch) -> None:
    said = iter(("agree", "inconclusive", "disagree", "agree"))
    monkeypatch.setattr(matrix, "_of_run", lambda *of: matrix.Answer(next(said)))
    run: Any = None
    assert matrix.answer(matrix.Row("one", {"numpy": (run,) * 4}), "numpy").word == "disagree"


def test_a_cell_without_a_run_says_why() -> None:
    row = matrix.Row("one", {"numpy": ()}, reasons={"numpy": "killed"}, skipped={"jax": "no jax"})
    assert matrix.words([row]) == ["failed"]
    report = matrix.report([row])
    assert [*report.sections[0].header] == ["workload", "numpy", "jax", "judged"]
    assert report.sections[1].lines == ["✗ one, numpy: failed: killed"]
    assert report.sections[3].lines == ["not run: jax: no jax"]
