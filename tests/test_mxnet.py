"""MXNet, under an interpreter of its own (`nox -s mxnet`): beside another, and what is its alone.

What every backend is asked is in test_backend.py. Everything goes through a worker.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from harness.tensors import load_tensors, save_tensors
from harness.workers.launch import WorkerUnavailable
from harness.workers.pool import open_worker
from harness.workloads.reference.limits import DECIDING
from tests.conftest import carry_out, harness, plant
from tests.make import make_plan


@pytest.fixture(scope="module")
def python(request):
    found = request.config.getoption("--only-python")
    if request.config.getoption("--only-backend") != "mxnet" or not found:
        pytest.skip("MXNet has an environment of its own: nox -s mxnet")
    return found


@pytest.fixture
def start(python, tmp_path):
    """A worker of one thread, started; `environment` is its own."""
    workers = []

    def start(**environment):
        plan = make_plan(backends=("mxnet",), pythons={"mxnet": python})
        label = plan.labels["mxnet"]
        label.environment.update(environment)
        words = {"name": "mxnet", "run": "run", "dtype": "float32", "threads": 1}
        folders = {"logs": tmp_path, "scratch": tmp_path}
        workers.append(open_worker(label, workload=plan.workload, **words, **folders))
        workers[-1].answer()
        return workers[-1]

    yield start
    for worker in workers:
        worker.end(grace_s=1)


@pytest.fixture(scope="module")
def both(python, small_data, tmp_path_factory):
    """MXNet under its interpreter and NumPy under the harness's own, in one run."""
    words = {"profile": "smoke", "data_dir": str(small_data), "threads": 1}
    plan = make_plan(backends=("numpy", "mxnet"), pythons={"mxnet": python}, **words)
    return carry_out(plan, tmp_path_factory.mktemp("both"))


def test_two_interpreters_give_one_verdict(both, python):
    assert both.json["verdict"] == "agree"
    assert all(both.rung("mxnet", rung) == "agree" for rung in DECIDING)
    assert both.json["backends"]["mxnet"]["versions"] == {"mxnet": "1.9.1"}
    labels = both.record.plan.labels
    assert [labels[name].python for name in ("numpy", "mxnet")] == [sys.executable, python]


def test_mxnet_keeps_lockstep(both):
    measured = both.record.results["mxnet"].measurements
    found = max(m.distance for m in measured if m.rung == "lockstep")
    print(f"lockstep: {found:.2g}")
    assert 0 < found <= 1e-12 / 3


def test_the_trajectory_tells_gluons_own_loss_from_the_models(both, python, small_data, tmp_path):
    """Why the model's loss goes round oneDNN's log_softmax: no other rung minds."""
    words = {"profile": "smoke", "data_dir": str(small_data), "threads": 1}
    fault = {"mxnet": plant("mxnet_loss.py", "gluon_loss")}
    plan = make_plan(backends=("mxnet",), pythons={"mxnet": python}, plants=fault, **words)
    planted = carry_out(plan, tmp_path)
    assert both.rung("mxnet", "trajectory") == "agree"
    assert planted.rung("mxnet", "trajectory") == "disagree"
    assert all(planted.rung("mxnet", rung) == "agree" for rung in DECIDING)
    assert planted.exit_status == 1


@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0), ("relu/scratch", 1)])
def test_the_books_relu_has_derivative_1_at_0_and_mxnets_own_has_0(start, tmp_path, name, at_zero):
    worker, x = start(), np.array([-1, -0.0, 0, 1], np.float32)
    save_tensors(str(tmp_path / "in"), {"0": x})
    files = {"arguments": str(tmp_path / "in"), "out": str(tmp_path / "out")}
    worker.call("op", 60, name=name, **files)
    assert load_tensors(str(tmp_path / "out"))["1"].tolist() == [0, at_zero, at_zero, 1]


def test_a_process_that_would_compute_with_other_threads_is_refused(start):
    with pytest.raises(WorkerUnavailable, match="mxnet has 1 threads only where OMP_NUM_THREADS"):
        start(OMP_NUM_THREADS="2")


def test_mxnet_is_certified(python, tmp_path):
    done = harness("certify", "mxnet", "--python", python, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
