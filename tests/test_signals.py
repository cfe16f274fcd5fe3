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

from harness.record import INTERRUPTED, read
from tests.conftest import clean_environment, plant

# What the harness promises after the parent is stopped.
PROMISED_S = 2.0


def start(results: Path, small_data: Path, fault: str) -> subprocess.Popen[bytes]:
    """A compare of the NumPy backend whose worker computes forever in its twentieth step."""
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
        f"numpy={plant('process.py', fault)}",
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


def wait_until_computing(parent: int, child_wanted: bool) -> set[int]:
    """Until a worker burns time in its endless product, with a child of its own where wanted."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        workers = [
            p for p in psutil.Process(parent).children() if "harness.guard" in " ".join(p.cmdline())
        ]
        for worker in workers:
            before = worker.cpu_times().user
            time.sleep(0.5)
            busy = worker.cpu_times().user - before > 0.3
            runs = read_log(worker)
            if busy and runs and (not child_wanted or worker.children()):
                return sessions_below(parent)
    raise AssertionError("the worker never computed")


def read_log(worker: psutil.Process) -> bool:
    """Whether the process is past its start: it has lived for two seconds."""
    return time.time() - worker.create_time() > 2.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_outlives_a_stopped_parent(tmp_path, small_data, number):
    parent = start(tmp_path, small_data, "computes_with_a_child")
    try:
        sessions = wait_until_computing(parent.pid, child_wanted=True)
        assert len(sessions) > 1
        os.kill(parent.pid, number)
        sent = time.monotonic()
        code = parent.wait(30)
        time.sleep(max(0.0, sent + PROMISED_S - time.monotonic()))
        assert alive(sessions) == []
    finally:
        parent.kill()
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
    parent = start(tmp_path, small_data, "computes_forever")
    try:
        wait_until_computing(parent.pid, child_wanted=False)
        os.kill(parent.pid, signal.SIGINT)
        time.sleep(0.01)
        os.kill(parent.pid, signal.SIGTERM)
        assert parent.wait(30) == 130
    finally:
        parent.kill()
    (folder,) = (tmp_path / "runs").iterdir()
    assert read(folder).ended == INTERRUPTED
