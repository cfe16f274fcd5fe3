"""End to end: the command line on small data, and its contract; all four: tests/test_docs.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from harness import cli
from harness.record.store import read
from harness.workloads import WORKLOADS
from tests.conftest import clean_environment, harness, needs, plant, run_here

ALL = ("numpy", "torch", "jax", "tensorflow")
BOTH = ("numpy", "torch")
RUNGS = {
    "inputs",
    "forward",
    "loss",
    "gradients",
    "update",
    "lockstep",
    "trajectory",
    "accuracy",
    "timing",
}


@pytest.fixture(scope="module")
def compared(small_data, tmp_path_factory):
    """One compare of two in the smoke profile; its scratch folder is to lie in an empty folder."""
    folder = tmp_path_factory.mktemp("compared")
    words = ["compare", "--profile", "smoke", "--data-dir", str(small_data), "--json"]
    words += [word for name in BOTH for word in ("--backend", name)]
    (folder / "tmp").mkdir()
    return harness(*words, cwd=folder, env={"TMPDIR": str(folder / "tmp")}), folder


@pytest.fixture(scope="module")
def ran(small_data, tmp_path_factory):
    """One run of NumPy, not judged."""
    folder = tmp_path_factory.mktemp("ran")
    words = ["--profile", "smoke", "--backend", "numpy", "--data-dir", str(small_data)]
    return harness("run", *words, "--json", cwd=folder), folder


@needs(*BOTH)
def test_they_agree_and_the_status_says_so(compared):
    done, _ = compared
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["verdict"] == "agree"
    assert "2 of 2 backends" in verdict["summary"]
    assert set(verdict["backends"]) == set(BOTH)
    for entry in verdict["backends"].values():
        assert set(entry["rungs"]) == RUNGS
        assert entry["rungs"]["lockstep"]["value"] <= 1e-12
        assert entry["step_time"]["floor_ratio"] > 0


@needs(*BOTH)
def test_the_run_leaves_record_verdict_and_report(compared):
    done, folder = compared
    verdict = json.loads(done.stdout)
    run = folder / verdict["record"]
    assert json.loads((run / "verdict.json").read_text()) == verdict
    assert (run / "report.md").read_text().startswith("# ✓ agree")
    assert (run / "record.json").stat().st_size < 5_000_000
    assert sorted(p.name for p in (run / "logs").iterdir())[0] == "numpy-float32.stderr.txt"


@needs(*BOTH)
def test_check_computes_the_same_verdict_again(compared):
    done, folder = compared
    run = folder / json.loads(done.stdout)["record"]
    before = (run / "verdict.json").read_bytes()
    (run / "verdict.json").unlink()
    relative = json.loads(done.stdout)["record"]
    again = harness("check", relative, "--json", cwd=folder)
    assert again.returncode == 0
    assert (run / "verdict.json").read_bytes() == before
    assert json.loads(again.stdout) == json.loads(done.stdout)


@needs(*BOTH)
def test_check_turns_when_one_stored_measurement_is_past_its_limit(compared, tmp_path):
    done, folder = compared
    run = tmp_path / "copy"
    shutil.copytree(folder / json.loads(done.stdout)["record"], run)
    document = json.loads((run / "record.json").read_text())
    measurement = next(
        m
        for m in document["results"]["torch"]["measurements"]
        if m["rung"] == "gradients" and m["dtype"] == "float32" and m["step"] == 10
    )
    measurement["distance"] = 2e-5
    (run / "record.json").write_text(json.dumps(document))
    again = harness("check", str(run), "--json", cwd=tmp_path)
    assert again.returncode == 1
    first = json.loads(again.stdout)["first_divergence"]
    assert (first["label"], first["rung"], first["step"]) == ("torch", "gradients", 10)
    assert first["tensor"] == measurement["tensor"]


@needs(*BOTH)
def test_report_prints_and_writes_the_verdict_of_a_stored_run(compared):
    done, folder = compared
    relative = json.loads(done.stdout)["record"]
    (folder / relative / "report.md").unlink()
    told = harness("report", relative, cwd=folder)
    assert told.returncode == 0
    assert "AGREE" in told.stdout
    assert all(name in told.stdout for name in BOTH)
    assert "lockstep" in (folder / relative / "report.md").read_text()


def test_a_planted_learning_rate_ends_with_1_and_names_everything(small_data, tmp_path):
    fault = f"other={plant('numbers.py', 'lr_one_per_mille')}"
    words = ["compare", "--profile", "smoke", "--data-dir", str(small_data), "--plant", fault]
    words += ["--backend", "numpy", "--backend", "other=numpy"]
    done = harness(*words, "--json", cwd=tmp_path)
    assert done.returncode == 1
    verdict = json.loads(done.stdout)
    first = verdict["first_divergence"]
    assert (first["label"], first["rung"], first["step"]) == ("other", "update", 0)
    assert first["tensor"] in ("W1", "b1", "W2", "b2")
    assert isinstance(first["index"], list)
    assert first["distance"] > 3 * first["limit"]
    assert "other disagrees" in verdict["summary"]
    assert "numpy agree" in verdict["summary"]


def test_without_data_it_says_synthetic_loudly_and_gives_up_the_download_within_5_s(tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "FASHION_MNIST_DIR": ""}
    before = time.monotonic()
    described = harness("data", "--json", cwd=tmp_path, env=env)
    assert time.monotonic() - before < 8  # 5 s for the network, the rest for making the data
    facts = json.loads(described.stdout)
    if not facts["synthetic"]:
        pytest.skip("the network is there: Fashion-MNIST was downloaded")
    assert "SYNTHETIC" in described.stderr
    words = ["compare", "--profile", "smoke", "--backend", "numpy"]
    done = harness(*words, cwd=tmp_path, env=env)
    assert done.returncode == 0
    assert "SYNTHETIC" in done.stderr
    assert "SYNTHETIC" in done.stdout
    run = next((tmp_path / "results" / "runs").iterdir())
    assert json.loads((run / "verdict.json").read_text())["dataset"]["synthetic"] is True
    assert "SYNTHETIC" in (run / "report.md").read_text()
    demanded = harness("data", "--dataset", "fashion-mnist", cwd=tmp_path, env=env)
    assert demanded.returncode == 2
    assert len(demanded.stderr.strip().splitlines()) == 1


def test_two_runs_started_together_both_finish_with_whole_records(tmp_path):
    """On one results directory and one empty cache, within 50 ms of each other."""
    words = ["compare", "--profile", "smoke", "--backend", "numpy"]
    env = clean_environment() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=300)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    runs = sorted((tmp_path / "results" / "runs").iterdir())
    assert len(runs) == 2
    assert {read(run).run for run in runs} == {run.name for run in runs}


def test_run_stores_a_record_and_judges_nothing(ran, tmp_path):
    done, folder = ran
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["ended"] == "finished"
    assert not (folder / told["record"] / "verdict.json").exists()
    shutil.copytree(folder / told["record"], tmp_path / "copy")
    assert harness("check", "copy", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("verb", ["list", "check"])
def test_a_reader_that_goes_away_changes_no_exit_status(verb, ran):
    done, folder = ran
    more = [json.loads(done.stdout)["record"]] if verb == "check" else []
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "harness", verb, *more],
        cwd=folder,
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_list_names_what_is_there_and_how_to_get_what_is_not(tmp_path):
    found = json.loads(harness("list", "--json", cwd=tmp_path).stdout)
    assert set(found["backends"]) == set(ALL)
    assert found["backends"]["numpy"]["available"] is True
    assert found["backends"]["numpy"]["devices"] == {"cpu": None}
    for entry in found["backends"].values():
        assert entry["available"] or "pip install" in entry["missing"]
    assert list(found["workloads"]) == list(WORKLOADS)
    assert "numpy" in harness("list", cwd=tmp_path).stdout


@needs(*BOTH)
def test_no_scratch_folder_is_left_behind(compared):
    done, folder = compared
    assert done.returncode == 0
    assert list((folder / "tmp").iterdir()) == []


VERBS = [(command.name or command.callback.__name__,) for command in cli.app.registered_commands]
VERBS += [("baseline", "save"), ("baseline", "check"), ("golden", "write"), ("golden", "check")]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_working_folder_that_is_gone_is_said_in_one_line(verb, tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert run_here(patch, *verb) == 2
    said = capsys.readouterr().err
    assert said.startswith("harness: the working folder: No such file or directory; ")
    assert len(said.splitlines()) == 1
