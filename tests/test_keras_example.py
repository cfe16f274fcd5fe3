"""examples/keras-backend as its users have it: installed, listed, certified and compared.

Its package goes to a folder on the path of the commands started here; this environment stays as it
is. `nox -s keras` does the same in an environment of its own, whole and on all three engines.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment, harness, needs

ROOT = Path(__file__).parent.parent
NAMES = ("keras-torch", "keras-jax", "keras-tensorflow")
# One of each kind that a batch or two decide; all of them take a minute.
CHECKS = (
    *("bad-states-refused", "dtype-kept", "state-round-trip", "set-state-is-whole"),
    *("confident", "lockstep", "clean-end"),
)

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("keras", "hatchling", "pip")),
    reason="keras, hatchling or pip is not installed (they are in the extra `test`)",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The package, built and installed from a copy; the variables of who uses it.

    The user's own settings of Keras name another engine and dtype than any that is tested.
    """
    folder = tmp_path_factory.mktemp("keras-backend")
    source = shutil.copytree(ROOT / "examples" / "keras-backend", folder / "source")
    words = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir")
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *words, "--target", str(target), str(source)],
        check=True,
        timeout=120,
    )
    settings = folder / "home" / ".keras" / "keras.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"floatx": "float16", "backend": "tensorflow"}))
    path = os.pathsep.join([str(ROOT), str(target)])
    return {"PYTHONPATH": path, "HOME": str(folder / "home")}


def test_it_is_listed_and_described_without_importing_keras_or_an_engine(installed, tmp_path):
    poison = tmp_path / "poison"
    poison.mkdir()
    for name in ("keras", "keras_backend", "torch", "jax", "tensorflow"):
        (poison / f"{name}.py").write_text("raise SystemExit('imported')\n")
    first = {"PYTHONPATH": os.pathsep.join([str(poison), installed["PYTHONPATH"]])}
    told = harness("list", "--json", cwd=tmp_path, env=first)
    assert told.returncode == 0, told.stderr
    backends = json.loads(told.stdout)["backends"]
    assert set(NAMES) < set(backends)
    for name in NAMES:
        assert "keras-backend 0.1.0" in str(backends[name])
    # The poison does work: where the package is imported, in its worker, it shows.
    told = harness("certify", "keras-torch", "--check", "facts", cwd=tmp_path, env=first)
    assert told.returncode != 0
    assert "imported" in told.stdout + told.stderr


@needs("jax")
def test_it_conforms_on_jax_in_both_dtypes(installed, tmp_path):
    named = [word for check in CHECKS for word in ("--check", check)]
    told = harness("certify", "keras-jax", *named, "--json", cwd=tmp_path, env=installed)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["verdict"] == "holds"
    status = {(r["check"], r["dtype"]): r["status"] for r in found["results"]}
    assert set(status.values()) == {"passed"}
    assert set(status) == {
        *((check, "float64") for check in CHECKS),
        *((check, "float32") for check in CHECKS if check != "lockstep"),
    }
    facts = [process["facts"] for process in found["processes"]]
    assert [f["floatx"] for f in facts] == ["float32", "float64"]
    assert all({"version:keras", "version:jax"} < set(f) for f in facts)


@needs("torch")
def test_on_torch_it_agrees_beside_torch_itself_and_says_why_float64_is_not_judged(
    installed, small_data, tmp_path
):
    words = ("--profile", "smoke", "--threads", "1", "--data-dir", str(small_data), "--json")
    names = ("--backend", "keras-torch", "--backend", "torch")
    told = harness("compare", *words, *names, cwd=tmp_path, env=installed)
    assert told.returncode == 0, told.stderr
    verdict = json.loads(told.stdout)
    assert verdict["verdict"] == "agree"
    rungs = verdict["backends"]["keras-torch"]["rungs"]
    for rung in ("inputs", "forward", "loss", "gradients", "update"):
        assert rungs[rung]["verdict"] == "agree", rung
    # Goes with keras-team/keras#23704: a Keras that multiplies in float64 is judged in it.
    assert rungs["lockstep"]["verdict"] == "not-possible"
    assert verdict["backends"]["torch"]["rungs"]["lockstep"]["verdict"] == "agree"
    home = Path(installed["HOME"]) / ".keras"
    assert [path.name for path in home.iterdir()] == ["keras.json"]
    assert json.loads((home / "keras.json").read_text())["floatx"] == "float16"


@needs("torch")
def test_one_process_has_one_engine_and_refuses_what_it_does_not_know(installed, tmp_path):
    script = """
import keras_backend as kb
from harness.interface import Unavailable
def refused(kind, make, *words):
    try:
        make(*words)
    except kind as error:
        print(f"{kind.__name__}: {error}")
refused(ValueError, kb.KerasTorch, "cpu", "float32", 1, "compile")
refused(ValueError, kb.KerasTorch, "cpu", "float32", 0, "default")
refused(Unavailable, kb.KerasTorch, "cuda", "float32", 1, "default")
refused(Unavailable, kb.KerasTorch, "cpu", "float32", 1, "default", "tf32")
kb.KerasTorch("cpu", "float32", 1, "default")
refused(Unavailable, kb.KerasJax, "cpu", "float32", 1, "default")
"""
    words = [sys.executable, "-c", script]
    env = clean_environment() | installed
    told = subprocess.run(words, env=env, cwd=tmp_path, text=True, capture_output=True, check=False)
    lines = told.stdout.splitlines()
    assert len(lines) == 5, told.stderr
    assert lines[0] == "ValueError: keras-torch: unknown variant 'compile'; known: default"
    assert "threads must be at least 1" in lines[1]
    assert lines[2] == lines[3]
    assert "already has Keras on torch" in lines[4]
