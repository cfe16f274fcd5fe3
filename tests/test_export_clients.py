"""What TensorBoard and a real MLflow server hold of a run is what the record holds.

TensorBoard's own reader opens the event files, in a process that has no framework; the MLflow
server (sqlite) is started here where `mlflow` is installed (`nox -s exports`), and asked over HTTP.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.export import Exported, export
from harness.export.shown import Run
from harness.record import store
from harness.record.schema import Record
from harness.verdict.timings import session_medians, step_medians
from harness.verdict.verdict import judge, to_json
from tests import make
from tests.conftest import clean_environment, harness
from tests.test_export import disagreeing, void
from tests.test_report import HOSTILE, hostile

# Reads every series below a folder with TensorBoard's own reader. With its stub of TensorFlow
# ("notf") it imports none, though one be installed.
READER = """
import json, sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = {}
for folder in sys.argv[1:]:
    read = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    tags = read.Tags()
    found[folder] = {
        "scalars": {t: [[e.step, repr(e.value)] for e in read.Scalars(t)] for t in tags["scalars"]},
        "texts": [read.Tensors(t)[0].tensor_proto.string_val[0].decode() for t in tags["tensors"]],
        "wall": read.FirstEventTimestamp(),
    }
assert not {"torch", "tensorflow"} & set(sys.modules)
print(json.dumps(found))
"""


def tensorboard(made: Record, out: Path) -> Exported:
    return export("tensorboard", [Run(made, judge(made), Path("runs/x"))], out)


def read_events(*files: str) -> list[dict[str, Any]]:
    """What TensorBoard reads in the folders of these files."""
    folders = [str(Path(file).parent) for file in files]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READER, *folders],
        text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return [found[folder] for folder in folders]


def as_float32(value: object) -> str:
    """A number as TensorBoard keeps it."""
    with np.errstate(over="ignore"):
        return repr(float(np.float32(value)))  # type: ignore[arg-type]


def test_tensorboard_reads_the_records_numbers(tmp_path):
    made = disagreeing()
    made.results["jax"].training.append(
        make.training(seed=3, losses=["nan", 0.1, "inf"], epoch_losses=["-inf"], test_accuracy=[])
    )
    off = made.results["jax"].training.append  # a training cut short is not one to compare
    off(make.training(seed=4, whole=False))
    make.evaluated(made.results["jax"])
    done = tensorboard(made, tmp_path)
    assert [left.what for left in done.left_out] == ["the times of torch"]
    verdict = judge(made)
    for name, found in zip(made.results, read_events(*done.written), strict=True):
        want: dict[str, list[list[Any]]] = {}
        for rung, finding in verdict.labels[name].findings.items():
            if finding.value is not None:
                want[f"rung/{rung}"] = [[0, finding.value]]
            if finding.limit is not None:
                want[f"limit/{rung}"] = [[0, finding.limit]]
        results = made.results[name]
        for training in results.training:
            if training.whole:
                for tag, first, values in (
                    ("step_loss", 0, training.losses),
                    ("train_loss", 1, training.epoch_losses),
                    ("test_accuracy", 1, training.test_accuracy),
                ):
                    if values:
                        series = [[i, value] for i, value in enumerate(values, start=first)]
                        want[f"{tag}/seed {training.seed}"] = series
        for m in results.measurements:
            if m.step is not None:
                dtype = "" if m.dtype == "float32" else " float64"
                want.setdefault(f"distance/{m.rung}{dtype}/{m.tensor}", []).append(
                    [m.step, m.distance]
                )
        if name != "torch":
            for (session, number), ns in step_medians(made, results).items():
                series = want.setdefault(f"step_time_ms/session {session}", [])
                series.append([number, ns / 1e6])
        assert found["scalars"] == {
            tag: [[step, as_float32(value)] for step, value in series]
            for tag, series in want.items()
        }
        assert "disagree" in found["texts"][0]


def test_the_same_run_is_written_to_the_same_file_with_the_same_bytes(tmp_path):
    first = tensorboard(make.record(), tmp_path)
    bytes_before = [Path(file).read_bytes() for file in first.written]
    assert tensorboard(make.record(), tmp_path).written == first.written
    assert [Path(file).read_bytes() for file in first.written] == bytes_before
    assert sorted(str(p) for p in tmp_path.rglob("*") if p.is_file()) == sorted(first.written)


def test_times_that_are_void_reach_no_event_file(tmp_path):
    done = tensorboard(void(), tmp_path)
    found = dict(zip(("numpy", "torch", "jax"), read_events(*done.written), strict=True))
    has_times = {n: any("step_time" in tag for tag in one["scalars"]) for n, one in found.items()}
    assert has_times == {"numpy": True, "torch": False, "jax": True}


def test_hostile_records_stay_inside_the_folder_and_can_be_read(tmp_path):
    out = tmp_path / "out"
    records = [hostile(text) for text in HOSTILE.values()]
    odd = make.record(("../../x", "..", "", "a/b", "/etc", "a\0b"), run="../../../run", started="?")
    for m in odd.results["a/b"].measurements[:3]:
        m.step, m.distance = 10**40, 1e300
    records.append(odd)
    written = [file for made in records for file in tensorboard(made, out).written]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(str(path) for path in files) == sorted(written)
    assert all(path.is_relative_to(out) for path in files)
    for found in read_events(*written):
        assert all(tag.isprintable() for tag in found["scalars"])
        assert len(found["texts"]) == 1


def fake(folder: Path, name: str, source: str) -> None:
    """A package that is found before the real one."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)


def run_export(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(cwd / "fakes"), clean_environment()["PYTHONPATH"]))
    return harness("export", *words, cwd=cwd, env={"PYTHONPATH": path, **env})


def test_writing_events_imports_no_framework_though_one_is_there(tmp_path):
    store.write(make.record(), tmp_path)
    (tmp_path / "fakes").mkdir()
    for name in ("torch", "tensorflow", "jax"):
        source = f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})"
        fake(tmp_path / "fakes", name, source)
    done = run_export("tensorboard", ".", "--out", "events", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["written"]) == 2
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("name", "package", "words"),
    [
        ("tensorboard", "tensorboardX", ("--out", "events")),
        ("mlflow", "mlflow", ("--tracking-uri", "http://127.0.0.1:1")),
    ],
)
def test_a_missing_client_library_is_named_with_the_command_that_installs_it(
    name, package, words, tmp_path
):
    store.write(make.record(), tmp_path)
    (tmp_path / "fakes").mkdir()
    fake(tmp_path / "fakes", package, f"raise ModuleNotFoundError('No module named {package}')")
    done = run_export(name, ".", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"python -m pip install 'framework-harness[{name}]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "events").exists()


# --- MLflow ---

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None or importlib.util.find_spec("alembic") is None,
    reason="no MLflow server is installed here: nox -s exports has one",
)


class Server:
    """A tracking server, asked over HTTP."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def ask(self, what: str, **given: Any) -> dict[str, Any]:
        """POST to the REST API; GET where nothing but the path is given."""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{what}",
            data=json.dumps(given).encode() if given else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def runs(self, run: str, view: str = "ACTIVE_ONLY") -> list[dict[str, Any]]:
        """Every MLflow run of a stored run: its id, info, tags, params, and metrics' keys."""
        experiments = self.ask("experiments/search", max_results=10)["experiments"]
        ids = [e["experiment_id"] for e in experiments if e["name"] == "framework-harness"]
        words = {"experiment_ids": ids, "max_results": 1000, "run_view_type": view}
        return [
            {
                "id": one["info"]["run_id"],
                "info": one["info"],
                "tags": {tag["key"]: tag["value"] for tag in one["data"]["tags"]},
                "params": {p["key"]: p["value"] for p in one["data"].get("params", [])},
                "metrics": {m["key"] for m in one["data"].get("metrics", [])},
            }
            for one in (self.ask("runs/search", **words).get("runs", []) if ids else [])
            if {"key": "harness.run", "value": run} in one["data"]["tags"]
        ]

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Every point of a metric: step and value."""
        key = urllib.parse.quote(key, safe="")
        found = self.ask(f"metrics/get-history?run_id={run_id}&metric_key={key}")["metrics"]
        return sorted((int(m.get("step", 0)), float(m["value"])) for m in found)

    def artifact(self, run: dict[str, Any], path: str) -> str:
        with urllib.request.urlopen(
            f"{self.uri}/get-artifact?run_id={run['id']}&path={path}", timeout=60
        ) as answer:
            return str(answer.read().decode())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server on a free port of the loopback, its data in sqlite."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--serve-artifacts",
             "--artifacts-destination", str(folder / "artifacts"), "--workers", "1",
             "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            cwd=folder, stdout=log, stderr=log, start_new_session=True,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        )  # fmt: skip
    found = Server(f"http://127.0.0.1:{port}")
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"{found.uri}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        else:
            pytest.fail((folder / "log").read_text())
        yield found
    finally:
        # The server, its workers and its job runner; there is nothing to save.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def log(made: Record, server: Server, folder: Path) -> tuple[dict[str, Any], str]:
    """`harness export mlflow`: its JSON document and stderr."""
    store.write(made, folder)
    done = harness("export", "mlflow", ".", "--tracking-uri", server.uri, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@needs_mlflow
def test_mlflow_holds_the_records_numbers_once(server, tmp_path):
    made = disagreeing()
    made.run = "numbers"
    made.results["jax"].training.append(
        make.training(seed=3, epoch_losses=["nan", 0.5, "inf"], test_accuracy=[0.25])
    )
    told, stderr = log(made, server, tmp_path)
    assert {left["what"] for left in told["left_out"]} == {
        "the times of torch", "train_loss/seed 3 of jax"
    }  # fmt: skip
    assert "left out: train_loss/seed 3 of jax (MLflow has no infinity)" in stderr

    runs = server.runs("numbers")
    verdict = judge(made)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run["tags"]]
    assert told["written"] == [
        f"{server.uri}/#/experiments/{parent['info']['experiment_id']}/runs/{parent['id']}"
    ]
    assert parent["tags"]["harness.verdict"] == "disagree"
    assert parent["tags"]["harness.summary"] == verdict.summary
    document = json.loads(server.artifact(parent, "verdict.json"))
    assert document == to_json(made, verdict, str(tmp_path.resolve()))
    assert server.artifact(parent, "report.md").startswith("# ✗ disagree")

    children = {run["tags"]["harness.label"]: run for run in runs if run is not parent}
    assert set(children) == {"numpy", "torch", "jax"}
    for name, child in children.items():
        assert child["tags"]["mlflow.parentRunId"] == parent["id"]
        assert child["info"]["run_name"] == name
        assert child["params"]["backend"] == made.plan.labels[name].backend
        assert child["params"]["lr"] == str(made.plan.workload.optimiser.lr)
        assert child["params"]["version.numpy"] == "2.4.6"
        check_metrics(server, child, made, name)

    again, stderr = log(made, server, tmp_path)
    assert again["written"] == []
    assert f"already there as {parent['id']}" in stderr
    assert len(server.runs("numbers", "ALL")) == len(runs)


def check_metrics(server: Server, child: dict[str, Any], made: Record, name: str) -> None:
    """Every metric of a child is the record's, and there is no other."""
    want: dict[str, list[tuple[int, float]]] = {}
    label, results = judge(made).labels[name], made.results[name]
    for rung, finding in label.findings.items():
        for what, value in (("value", finding.value), ("limit", finding.limit)):
            if value is not None:
                want[f"rung/{rung}/{what}"] = [(0, float(value))]
    for training in results.training:
        for key, values in (
            ("train_loss", training.epoch_losses),
            ("test_accuracy", training.test_accuracy),
        ):
            want[f"{key}/seed {training.seed}"] = [
                (epoch, float(value)) for epoch, value in enumerate(values, start=1)
                if value != "inf"
            ]  # fmt: skip
    if name != "torch":
        medians = session_medians(made, results)
        want["step_time/session_median_ns"] = [(i, float(ns)) for i, ns in enumerate(medians)]
        logs = [math.log(ns) for ns in medians]
        middle = math.exp(statistics.fmean(logs))
        ((_, median_ns),) = server.history(child["id"], "step_time/median_ns")
        assert median_ns == round(middle)
    for key, series in want.items():
        found = server.history(child["id"], key)
        assert str(found) == str(series), (name, key)
    others = {key for key in child["metrics"] if key not in want}
    if name == "torch":
        assert others == set()
    else:
        assert {f"step_time/{f}" for f in ("median_ns", "floor_ratio", "put_median_ns")} <= others
        assert all(key.startswith("step_time/") for key in others)


@needs_mlflow
def test_what_an_export_that_broke_off_left_is_replaced(server, tmp_path):
    made = make.record(run="broken")
    experiments = server.ask("experiments/search", max_results=10)["experiments"]
    names = {e["name"]: e["experiment_id"] for e in experiments}
    experiment = (
        names.get("framework-harness")
        or server.ask("experiments/create", name="framework-harness")["experiment_id"]
    )
    key = {"key": "harness.key", "value": hashlib.sha256(b"broken").hexdigest()}
    tags = [key, {"key": "harness.run", "value": "broken"}]
    half = server.ask("runs/create", experiment_id=experiment, tags=tags)["run"]["info"]["run_id"]
    child = {"key": "mlflow.parentRunId", "value": half}
    server.ask("runs/create", experiment_id=experiment, tags=[child, tags[1]])
    assert len(server.runs("broken")) == 2
    told, _ = log(made, server, tmp_path)
    assert len(told["written"]) == 1
    assert len(server.runs("broken")) == 1 + 2
    assert half not in {run["id"] for run in server.runs("broken")}


@needs_mlflow
def test_hostile_records_and_failed_labels_reach_the_server(server, tmp_path):
    for number, what in enumerate(("html", "newline", "control", "long")):
        made = hostile(HOSTILE[what])
        made.started = HOSTILE[what]
        folder = tmp_path / str(number)
        folder.mkdir()
        store.write(made, folder)
    made = make.record(dataset=None, results={}, ended="interrupted", run="' OR tags.x = '")
    folder = tmp_path / "empty"
    folder.mkdir()
    store.write(made, folder)
    folders = sorted(p.name for p in tmp_path.iterdir())
    done = harness(
        "export", "mlflow", *folders, "--tracking-uri", server.uri, "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["written"]) == len(folders)
    parents = server.runs("' OR tags.x = '")
    assert len([run for run in parents if "mlflow.parentRunId" not in run["tags"]]) == 1
    failed = [run for run in server.runs(HOSTILE["html"]) if run["info"]["status"] == "FAILED"]
    assert {run["tags"].get("harness.label", "parent") for run in failed} == {"parent", "torch"}


@needs_mlflow
def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path):
    store.write(make.record(), tmp_path)
    uri = "http://somebody:secret@127.0.0.1:1"
    done = harness(
        "export", "mlflow", ".", "--tracking-uri", uri,
        cwd=tmp_path, env={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "mlflow at http://127.0.0.1:1" in done.stderr
    assert "secret" not in done.stderr


def test_mlflow_without_a_server_named_is_refused(tmp_path):
    store.write(make.record(), tmp_path)
    done = harness("export", "mlflow", ".", cwd=tmp_path, env={"MLFLOW_TRACKING_URI": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert "--tracking-uri" in done.stderr
    assert done.stderr.count("\n") == 1
