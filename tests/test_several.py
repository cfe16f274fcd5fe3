"""`compare` with several workloads: a run each, in workers that live on, and one table."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli.several import names
from harness.errors import InputError
from harness.record import store
from harness.report import matrix
from harness.report.words import MARKS
from harness.verdict.timing_stats import ratio
from harness.workloads import GROUPS, WORKLOADS
from tests import make
from tests.conftest import harness, plant

TWO = ("nielsen-neuron", "linear-regression")
SMOKE = ("--profile", "smoke", "--threads", "1")


def test_names_are_a_list_or_a_group() -> None:
    assert names("nielsen-neuron,linear-regression") == [*TWO]
    assert names("all") == [*WORKLOADS]
    assert names("cifar-net,all-small") == ["cifar-net", *GROUPS["all-small"]]
    assert "cifar-net" not in GROUPS["all-small"]
    assert names("mlp-scratch") == names(None) == names("file.py:NAME") == []
    for wrong in ("all,mlp-scratch", "diabetes,", "diabetes,diabetes"):
        with pytest.raises(InputError, match="each once"):
            names(wrong)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    folder = tmp_path_factory.mktemp("several")
    fault = f"other={plant('numbers.py', 'lr_one_per_mille')}"
    words = ("--backend", "numpy", "--backend", "other=numpy", "--plant", fault)
    done = harness("compare", "--workload", ",".join(TWO), *SMOKE, *words, cwd=folder)
    return folder, done.returncode, done.stdout


def test_each_has_a_run_of_its_own_and_the_table_has_both(both: tuple[Path, int, str]) -> None:
    folder, status, said = both
    assert status == 1
    records = [store.read(run) for run in sorted((folder / "results" / "runs").iterdir())]
    assert [record.plan.workload.name for record in records] == [*TWO]
    for run in (folder / "results" / "runs").iterdir():
        verdict = json.loads((run / "verdict.json").read_text())
        assert verdict["first_divergence"]["label"] == "other"
        assert (run / "report.html").exists()
    for name in TWO:
        assert name in said
    assert "0 of 2 workloads agree" in said
    (table,) = (folder / "results" / "several").glob("*.json")
    document = json.loads(table.read_text())
    assert [*document] == [*TWO]
    labels = document["nielsen-neuron"]["labels"]
    assert labels["numpy"]["agrees"]
    assert labels["other"]["first_divergence"].startswith("update, step 0: ")
    for ending in ("md", "html"):
        text = table.with_suffix(f".{ending}").read_text()
        assert f"{MARKS['disagree']} update, step 0" in text


def test_workers_live_on_from_one_workload_to_the_next(both: tuple[Path, int, str]) -> None:
    records = [store.read(run) for run in sorted((both[0] / "results" / "runs").iterdir())]
    first, second = (record.results["numpy"].processes for record in records)
    assert [p.import_ns for p in first] == [p.import_ns for p in second]
    assert [p.facts for p in first] == [p.facts for p in second]
    # Timed are those that are asked for, not the float64 processes beside them.
    for record in records:
        assert len(record.results["numpy"].rounds) == 1 + record.plan.timing.rounds


DIES = """
import os
from backends.numpy import Backend as Numpy


class Dies(Numpy):
    def trainer(self, workload):
        if workload.name == "linear-regression":
            os._exit(7)
        return super().trainer(workload)
"""


def test_a_worker_that_is_lost_in_one_workload_is_started_anew_for_the_next(
    tmp_path: Path,
) -> None:
    (tmp_path / "dies.py").write_text(DIES)
    asked = ",".join((TWO[0], TWO[1], "nielsen-neuron-cross-entropy"))
    words = (
        "--backend",
        "numpy",
        "--backend",
        "dies=dies.py:Dies",
        "--variant",
        "dies=plain",
        "--json",
    )
    done = harness("compare", "--workload", asked, *SMOKE, *words, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    of = [row["labels"]["dies"]["status"] for row in document.values()]
    assert of == ["ok", "failed", "ok"]
    assert [row["labels"]["numpy"]["agrees"] for row in document.values()] == [True] * 3


def test_what_cannot_be_run_is_a_row_with_its_reason() -> None:
    row = matrix.Row("other", {}, reasons={"": "too few samples"})
    report = matrix.report([row])
    assert report.word == "failed"
    assert report.sections[1].lines == ["✗ other: too few samples."]
    assert matrix.document([row])["other"]["summary"] == "too few samples"


@pytest.mark.parametrize(("short", "told"), [(False, "2.00×"), (True, "60 µs")])
def test_a_step_is_told_as_a_multiple_where_all_are_long_enough(
    monkeypatch: pytest.MonkeyPatch, short: bool, told: str
) -> None:
    labels = {
        name: SimpleNamespace(
            status="ok",
            agrees=True,
            findings={},
            operators={},
            step_time=SimpleNamespace(median_ns=ns),
        )
        for name, ns in (("numpy", 30_000), ("torch", 60_000))
    }
    verdict: Any = SimpleNamespace(labels=labels, verdict="agree", summary="")
    monkeypatch.setattr(matrix, "too_short", lambda record, label: short and label == "numpy")
    twice = ratio([math.log(2)])
    monkeypatch.setattr(matrix, "versus", lambda record, label, other: twice)
    run = matrix.Run(make.record(("numpy", "torch")), verdict, "/results/runs/a b")
    row = matrix.Row("one", dict.fromkeys(labels, (run,)), run)
    cell = matrix._cell(row, "torch", matrix.answer(row, "torch"), Path("/results/several"))
    assert (cell.text, cell.link) == (f"{MARKS['agree']} {told}", "../runs/a%20b/report.html")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--size", "hidden=0"), "choose from 1 to 16384"),
        (("--size", "width=3"), "expected hidden=N"),
        (("--size", "hidden=10", "--workload", "diabetes"), "diabetes has no width to choose"),
        (("--workload", "diabetes,all"), "each once"),
    ],
)
def test_words_that_cannot_be_used_end_in_one_line(tmp_path: Path, words, said) -> None:
    done = harness("compare", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_size_is_carried_out(tmp_path: Path) -> None:
    words = ("--workload", "nielsen-network", "--size", "hidden=7", "--backend", "numpy")
    dataset = ("--dataset", "synthetic")
    done = harness("run", *words, *dataset, *SMOKE, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plan = store.read(tmp_path / json.loads(done.stdout)["record"]).plan
    assert plan.workload.sizes == {"num_hiddens": 7}
    assert plan.workload.trained[0].shape == (784, 7)
    # And once more, by the run itself.
    done = harness("compare", "--like", "latest", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert store.read(Path(json.loads(done.stdout)["record"])).plan == plan
    done = harness("compare", "--like", "latest", "--threads", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "--like latest: does just what that run did; leave out --threads" in done.stderr
    # Also one that names its default: that run may have done something else.
    done = harness("compare", "--like", "latest", "--profile", "default", cwd=tmp_path)
    assert done.returncode == 2
    assert "--like latest: does just what that run did; leave out --profile" in done.stderr
