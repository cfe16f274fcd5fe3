"""The scratch folder: what a killed run left is swept, what is somebody else's stays."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from filelock import FileLock

from harness.workers.scratch import PREFIX, scratch_folder
from tests.conftest import clean_environment, harness, needs

LEFT = f"{PREFIX}0123456789abcdef"


@pytest.fixture(autouse=True)
def base(tmp_path, monkeypatch):
    """The temporary directory, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def leave(base: Path, name: str) -> set[str]:
    """A folder with something in it, and a lock beside it."""
    (base / name).mkdir()
    (base / name / "kept").write_text("mine")
    (base / f"{name}.lock").touch()
    return {name, f"{name}.lock"}


def swept(base: Path) -> set[str]:
    """What lies there after a run."""
    with scratch_folder(0) as folder:
        assert folder.parent == base
    return {path.name for path in base.iterdir()}


def test_what_a_killed_run_left_is_swept(base):
    leave(base, LEFT)
    assert swept(base) == set()


@pytest.mark.parametrize(
    "name",
    [
        f"{PREFIX}notes",
        f"{PREFIX}0123456789abcdef-copy",
        f"{PREFIX}0123456789ABCDEF",
        f"{PREFIX}0123456789abcde",
        f"my-{LEFT}",
    ],
)
def test_a_folder_whose_whole_name_is_no_runs_stays(base, name):
    left = leave(base, name)
    assert swept(base) >= left
    assert (base / name / "kept").read_text() == "mine"


def test_neither_a_run_that_lives_nor_what_a_link_leads_to_is_swept(base):
    (base / "mine").mkdir()
    (base / "mine" / "kept").touch()
    leave(base, LEFT)
    (base / f"{PREFIX}{'1' * 16}").symlink_to(base / "mine")
    (base / f"{PREFIX}{'1' * 16}.lock").touch()
    (base / f"{PREFIX}{'2' * 16}.lock").symlink_to(base / "mine" / "kept")
    with FileLock(base / f"{LEFT}.lock"):
        assert {LEFT, f"{LEFT}.lock"} <= swept(base)
    assert (base / "mine" / "kept").exists()


LEAVES = """
import tempfile
from pathlib import Path
from backends.{name} import Backend as Real


class Backend(Real):
    def __init__(self, device, dtype, threads, variant, precision="strict"):
        super().__init__(device, dtype, threads, "{variant}", precision)
        tempfile.mkstemp(prefix="left-behind-")
"""


@pytest.mark.parametrize(
    ("name", "variant"),
    [("numpy", "buffered"), pytest.param("tensorflow", "graph", marks=needs("tensorflow"))],
)
def test_what_a_worker_leaves_in_its_temporary_folder_goes_with_the_run(
    base, name, variant, small_data
):
    """TensorFlow leaves its generated code there by itself."""
    (base / "mine.py").write_text(LEAVES.format(name=name, variant=variant))
    (base / "tmp").mkdir()
    words = ["golden", "write", "mine.py", "--after", "1", "--file", "made.safetensors"]
    done = harness(
        *words, "--data-dir", str(small_data), cwd=base, env={"TMPDIR": str(base / "tmp")}
    )
    assert done.returncode == 0, done.stderr
    assert list((base / "tmp").iterdir()) == []


def test_a_workload_that_is_described_as_the_harness_is_killed_leaves_nothing_for_ever(base):
    """Its scratch folder is a run's, and is swept as one."""
    (base / "slow.py").write_text("import time\ntime.sleep(3600)\n")
    (base / "tmp").mkdir()
    words = ["compare", "--workload", "slow.py:Slow", "--backend", "numpy"]
    running = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=base,
        env=clean_environment() | {"TMPDIR": str(base / "tmp")},
        stderr=subprocess.DEVNULL,
    )
    while not list((base / "tmp").rglob("*.stderr.txt")):
        assert running.poll() is None
    running.kill()
    running.wait()
    tempfile.tempdir = str(base / "tmp")
    late = time.monotonic() + 60  # its worker, caught before its own program runs, has the lock
    while swept(base / "tmp") and time.monotonic() < late:
        time.sleep(0.1)
    assert swept(base / "tmp") == set()
