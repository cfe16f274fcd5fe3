"""Disk full, or killed, or a power cut, at any moment of writing: nothing half is taken for whole.

The writing is struck in processes of their own (`tests/crash_jobs.py`), which fork and kill.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment
from tests.crash import positions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")


def start(job: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.crash_jobs", job, str(folder)],
        env=clean_environment() | {"TMPDIR": str(folder.parent)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, complaints = process.communicate(timeout=600)
    assert process.returncode == 0, complaints
    assert complaints == ""
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture(scope="module")
def done() -> Iterator[Callable[[str], dict[str, Any]]]:
    """What a job found. All of them are started at once."""
    jobs = ("bytes", "calls", "mistakes", "power")
    # In memory where there is such a place: ten thousand files come and go.
    memory = "/dev/shm"
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    started = {job: start(job, folder / job) for job in jobs}
    known: dict[str, dict[str, Any]] = {}

    def get(job: str) -> dict[str, Any]:
        if job not in known:
            known[job] = answer(started[job])
        return known[job]

    yield get
    for process in started.values():
        process.kill()
        process.communicate()
    shutil.rmtree(folder)


def wrong(found: dict[str, Any]) -> list[str]:
    return [line for trials in found.values() for line in trials["wrong"]]


def points(found: dict[str, Any]) -> int:
    return sum(trials["points"] for trials in found.values())


def test_whatever_call_fails_or_is_the_last_nothing_half_is_taken_for_whole(done: Any) -> None:
    found = done("calls")
    assert wrong(found) == []
    # 529 of them: a file's mode is what the umask leaves, so nothing is changed after it is made.
    assert points(found) == sum(5 * trials["calls"] + 1 for trials in found.values()) >= 515
    # Every error was told, but where one is of no account or is told by the record itself.
    told = sum(trials["errors"].get("InputError", 0) for trials in found.values())
    assert told >= 3.5 * sum(trials["calls"] for trials in found.values())


def test_no_call_that_changes_the_disk_escapes_the_count(done: Any) -> None:
    for name, trials in done("calls").items():
        counted, otherwise = trials["counted"], trials["counted otherwise"]
        # DuckDB writes the samples; or, where that is not what is struck, one call in its place.
        by_others = otherwise["os"].pop("pwrite", 2 if name == "run" else 0)
        assert otherwise == counted | {"writes": counted["writes"] + by_others}, name


def test_whatever_byte_is_the_last_that_fits_nothing_half_is_taken_for_whole(done: Any) -> None:
    found = done("bytes")
    assert wrong(found) == []
    assert {name for trials in found.values() for name in trials["files"]} >= {
        "0-0-float32.safetensors",
        "steps.parquet",
        "record.json",
        "verdict.json",
        "report.md",
        "report.html",
        "machine.json",
    }
    # Each once as a write that fails, and once as a process that is killed.
    assert all(n >= 120 for trials in found.values() for n in trials["files"].values())


def test_whatever_a_power_cut_takes_nothing_half_is_taken_for_whole(done: Any) -> None:
    found = done("power")
    assert wrong(found) == []
    assert points(found) >= 60


def test_every_mistake_in_the_writing_is_seen(done: Any) -> None:
    """Those that `tests/crash_jobs.py` plants."""
    assert len(done("mistakes")) == 8
    assert [mistake for mistake, seen in done("mistakes").items() if not seen] == []


# -- the machinery itself --------------------------------------------------------------------


def test_sizes_are_spread_over_a_file_and_hold_its_first_and_last_byte() -> None:
    for size in (100, 5000, 80_000, 1_000_000):
        found = positions(size, 62)
        assert 60 <= len(found) <= 64
        assert {0, 1, size - 2, size - 1} <= set(found)
        assert max(b - a for a, b in pairwise(found)) < size / 12
    assert positions(3, 62) == [0, 1, 2]
    assert {4095, 4096, 4097} <= set(positions(80_000, 62))
