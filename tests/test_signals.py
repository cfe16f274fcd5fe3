"""Nothing is orphaned: the parent interrupted or killed while a worker (and its child) computes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.record.schema import INTERRUPTED
from harness.record.store import read
from tests.conftest import clean_environment, plant

# What the harness promises after the parent is stopped.
PROMISED_S = 2.0


def start(results: Path, small_data: Path) -> subprocess.Popen[bytes]:
    """A compare of NumPy whose worker starts a child in a training, and then computes forever."""
    words = [
        "compare",
        "--backend",
        "numpy",
        "--profile",
        "smoke",
        "--data-dir",
        str(small_data),
        "--results-dir",
        str(results),
        "--plant",
        f"numpy={plant('process.py', 'computes_with_a_child')}",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Whatever runs the tests may ignore it (nohup), and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def sessions_below(parent: int) -> set[int]:
    """Session ids of every descendant: asked of the system, not of the harness."""
    found = {parent}
    for child in psutil.Process(parent).children(recursive=True):
        try:
            found.add(os.getsid(child.pid))
        except ProcessLookupError:
            continue
    return found


def alive(sessions: set[int]) -> list[str]:
    """Processes, zombies excepted, that belong to one of these sessions."""
    found = []
    for process in psutil.process_iter(["status", "cmdline"]):
        try:
            mine = os.getsid(process.pid) in sessions
        except (ProcessLookupError, PermissionError):
            continue
        if mine and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"{process.pid} {process.info['cmdline']}")
    return found


def wait_until_computing(parent: int) -> set[int]:
    """Until a worker has its child and has burned time in its endless product since."""
    deadline = time.monotonic() + 120
    since: dict[int, float] = {}
    while time.monotonic() < deadline:
        workers = [
            p
            for p in psutil.Process(parent).children()
            if "harness.workers.guard" in " ".join(p.cmdline())
        ]
        for worker in (w for w in workers if w.children()):
            burned = worker.cpu_times().user
            # On a busy machine that takes its time.
            if burned - since.setdefault(worker.pid, burned) > 0.3:
                return sessions_below(parent)
        time.sleep(0.1)
    raise AssertionError("the worker never computed")


@pytest.mark.parametrize("stopped", [False, True], ids=["", "workers stopped"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_a_stopped_parent(tmp_path, small_data, number, stopped):
    parent, sessions = start(tmp_path, small_data), set()
    try:
        sessions = wait_until_computing(parent.pid)
        assert len(sessions) > 1
        for process in psutil.Process(parent.pid).children(recursive=True) if stopped else []:
            process.suspend()
        os.kill(parent.pid, number)
        sent = time.monotonic()
        code = parent.wait(30)
        time.sleep(max(0.0, sent + PROMISED_S - time.monotonic()))
        assert alive(sessions) == []
    finally:
        parent.kill()
        for line in alive(sessions):  # nor may they outlive the test
            os.kill(int(line.split()[0]), signal.SIGKILL)
    (folder,) = (tmp_path / "runs").iterdir()
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
        assert not (folder / "record.json").exists()
    else:
        assert code == 130
        record = read(folder)
        assert record.ended == INTERRUPTED
        assert record.results["numpy"].measurements


def test_two_signals_in_a_row_still_leave_a_whole_record(tmp_path, small_data):
    parent = start(tmp_path, small_data)
    try:
        wait_until_computing(parent.pid)
        os.kill(parent.pid, signal.SIGINT)
        time.sleep(0.01)
        os.kill(parent.pid, signal.SIGTERM)
        assert parent.wait(30) == 130
    finally:
        parent.kill()
    (folder,) = (tmp_path / "runs").iterdir()
    assert read(folder).ended == INTERRUPTED


SLOW = "from pathlib import Path; Path({reached!r}).touch(); import time; time.sleep(2)\n"
# A module of the interpreter's own start that is slow at the end; one of the command line's.
MOMENTS = {
    "first": ("typer.py", SLOW, 130),
    "last": ("sitecustomize.py", "import atexit\natexit.register(lambda: exec({slow!r}))\n", 0),
}


@pytest.mark.parametrize(("file", "source", "status"), MOMENTS.values(), ids=MOMENTS)
def test_ctrl_c_before_the_first_and_after_the_last_word_is_no_traceback(
    tmp_path, file, source, status
):
    reached = tmp_path / "reached"
    slow = SLOW.format(reached=str(reached))
    (tmp_path / file).write_text(source.format(reached=str(reached), slow=slow))
    env = clean_environment()
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    command = subprocess.Popen(
        [sys.executable, "-m", "harness", "list"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while not reached.exists():
        assert command.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    assert command.communicate(timeout=30)[1] == b""
    assert command.returncode == status
