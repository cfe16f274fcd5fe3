"""MXNet certified, beside NumPy, and what is its alone: `MXNET_PYTHON=PATH python -m pytest`.

These tests run where the harness is installed, and call it as its users do; MXNet runs under the
interpreter that MXNET_PYTHON names. Without data at hand the harness makes its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = os.path.abspath(os.environ.get("MXNET_PYTHON", ""))
GLUON_LOSS = f"{Path(__file__).with_name('gluon_loss.py')}:gluon_loss"
DECIDING = ("inputs", "forward", "loss", "gradients", "update", "lockstep")
PROJECT = Path(__file__).parent.parent.parent.parent

pytestmark = pytest.mark.skipif(
    "MXNET_PYTHON" not in os.environ, reason="MXNET_PYTHON names no interpreter: nox -s mxnet"
)


def harness(folder, *words):
    """A command of the harness: its exit status and its JSON document."""
    command = [sys.executable, "-m", "harness", *words, "--json"]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def compare(folder, *words):
    options = ("--profile", "smoke", "--threads", "1", "--python", f"mxnet={PYTHON}")
    return harness(folder, "compare", *options, "--backend", "mxnet", *words)


def mxnet(script, **environment):
    """What a few lines print that use the backend alone, under MXNet's interpreter."""
    variables = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        [PYTHON, "-c", f"import numpy as np\nfrom mxnet_backend import Backend\n{script}"],
        env=os.environ | variables,
        text=True,
        capture_output=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def beside_numpy(tmp_path_factory):
    """MXNet under its interpreter and NumPy under the harness's own, in one run."""
    return compare(tmp_path_factory.mktemp("beside"), "--backend", "numpy")


def test_mxnet_is_certified(tmp_path):
    """Every check of the conformance kit, in float32 and in float64."""
    status, certificate = harness(tmp_path, "certify", "mxnet", "--python", PYTHON)
    failed = [r for r in certificate["results"] if r["status"] not in ("passed", "not-possible")]
    assert (status, certificate["verdict"], failed) == (0, "certified", [])


def test_two_interpreters_give_one_verdict(beside_numpy):
    status, verdict = beside_numpy
    assert (status, verdict["verdict"]) == (0, "agree")
    rungs = verdict["backends"]["mxnet"]["rungs"]
    assert {rungs[rung]["verdict"] for rung in DECIDING} == {"agree"}
    assert verdict["backends"]["mxnet"]["versions"] == {"mxnet": "1.9.1"}


def test_mxnet_keeps_lockstep(beside_numpy):
    lockstep = beside_numpy[1]["backends"]["mxnet"]["rungs"]["lockstep"]
    assert 0 < lockstep["value"] <= 1e-12 / 3


def test_the_trajectory_tells_gluons_own_loss_from_the_models(beside_numpy, tmp_path):
    """Why the model's loss goes round oneDNN's log_softmax: no other rung minds."""
    assert beside_numpy[1]["backends"]["mxnet"]["rungs"]["trajectory"]["verdict"] == "agree"
    status, planted = compare(tmp_path, "--plant", f"mxnet={GLUON_LOSS}")
    rungs = planted["backends"]["mxnet"]["rungs"]
    assert (status, rungs["trajectory"]["verdict"]) == (1, "disagree")
    assert {rungs[rung]["verdict"] for rung in DECIDING} == {"agree"}


@pytest.mark.parametrize(("name", "at_zero"), [("relu", 0), ("relu/scratch", 1)])
def test_the_books_relu_has_derivative_1_at_0_and_mxnets_own_has_0(name, at_zero):
    script = f"""
x = np.array([-1, -0.0, 0, 1], np.float32)
print(Backend("cpu", "float32", 1, "default").op("{name}", x)[1].tolist())
"""
    assert mxnet(script) == str([0.0, float(at_zero), float(at_zero), 1.0])


def test_a_process_that_would_compute_with_other_threads_is_refused():
    said = mxnet('Backend("cpu", "float32", 1, "default")', OMP_NUM_THREADS="2")
    assert said.endswith("Unavailable: mxnet has 1 threads only where OMP_NUM_THREADS says so")
