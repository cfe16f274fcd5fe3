"""Stopped at random moments: nothing half is taken for whole, and nothing of a run is left over.

A run is hit at a moment drawn by lot: in its first second, in its last, or between; it, its
workers, or both; by SIGINT, SIGTERM or SIGKILL; perhaps with its workers stopped (SIGSTOP) before.
`--kill-points 50` tries so many moments, in place of the few of the usual suite.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from harness.record import store
from harness.results import store as stored
from harness.workers.scratch import scratch_folder
from tests.conftest import clean_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")

SEED, FEW = 13, 2
# What the harness promises after it was hit; and how long a run may take on a busy machine.
PROMISED_S, PATIENCE_S = 3.0, 240.0
STATUSES = {0, 3, 130, *(-number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL))}


class Moment(NamedTuple):
    """When, as a place in a stretch of the run; whom; with what; and whether stopped before.

    The last second begins when the record is being stored: its length is no matter of the clock.
    """

    stretch: str
    place: float
    whom: str
    number: signal.Signals
    stopped: bool

    def __str__(self) -> str:
        how = f"{self.number.name}, workers stopped" if self.stopped else self.number.name
        return f"{self.stretch} {self.place:.2f}: {self.whom}, {how}"


def moments(count: int) -> list[Moment]:
    """So many moments, the same each time: every stretch, victim and signal in turn, shuffled."""
    lot = random.Random(SEED)
    drawn = []
    for place in range(count):
        whom = ("parent", "workers", "both")[place % 3]
        number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[place // 3 % 3]
        # A worker that is stopped hears of no other signal, and its run waits for it.
        stopped = lot.random() < 0.5 and (whom != "workers" or number == signal.SIGKILL)
        stretch = lot.choice(("first second", "between", "last second"))
        drawn.append(Moment(stretch, lot.random(), whom, number, stopped))
    lot.shuffle(drawn)
    return drawn


class Ground:
    """A place for runs, one after the other; what belongs to one is found by a mark of its own."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.results, self.scratch = folder / "results", folder / "scratch"
        self.scratch.mkdir()
        self._words = ["compare", "--backend", "numpy", "--profile", "smoke", "--threads", "1"]
        self._words += ["--data-dir", str(data), "--results-dir", str(self.results)]
        self._mark = f"KILL_POINT={os.getpid()}-{folder.name}"
        self._before: set[Path] = set()

    def start(self) -> subprocess.Popen[str]:
        self._before = {*self.results.glob("runs/*")}
        name, _, value = self._mark.partition("=")
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *self._words],
            env=clean_environment() | {"TMPDIR": str(self.scratch), name: value},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait(self, parent: subprocess.Popen[str], seconds: float, *, storing: bool = False) -> None:
        """So long, once the record is being stored where it says so, or until the run is over."""
        while storing and parent.poll() is None:
            new = {*self.results.glob("runs/*")} - self._before
            if any(list(folder.glob("*steps.parquet*")) for folder in new):
                break
            time.sleep(0.01)
        with contextlib.suppress(subprocess.TimeoutExpired):
            parent.wait(seconds)

    def alive(self) -> list[psutil.Process]:
        """Live processes of this ground: asked of the system, not of the harness."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                environ = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                if self._mark.encode() in environ and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def hit(self, moment: Moment, parent: subprocess.Popen[str]) -> None:
        workers = [process for process in self.alive() if process.pid != parent.pid]
        for worker in workers if moment.stopped else []:
            # One with a single thread has just been made, and does not watch its parent yet.
            with contextlib.suppress(psutil.Error):
                if worker.num_threads() > 1:
                    worker.suspend()
        victims = [] if moment.whom == "workers" else [parent.pid]
        victims += [] if moment.whom == "parent" else [worker.pid for worker in workers]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, moment.number)

    def wrong(self, times: tuple[float, float], moment: Moment) -> list[str]:
        """What is not as promised after a run that was hit then; times: as of the fixture."""
        until_stored_s, storing_s = times
        parent = self.start()
        try:
            if moment.stretch == "last second":
                self.wait(parent, moment.place * storing_s, storing=True)
            elif moment.stretch == "between":
                self.wait(parent, 1.0 + moment.place * (until_stored_s - 1.0))
            else:
                self.wait(parent, moment.place)
            self.hit(moment, parent)
            said = parent.communicate(timeout=PATIENCE_S)[1]
            if moment.whom != "workers":
                time.sleep(PROMISED_S)
            left = self.alive()
        finally:
            parent.kill()
            for process in self.alive():
                process.kill()
        wrong = [f"orphan {process.pid}" for process in left]
        if parent.returncode not in STATUSES:
            wrong.append(f"status {parent.returncode}")
        # Before the first line of ours is reached, the interpreter tells of its own.
        if "Traceback" in said and f"{os.sep}harness{os.sep}" in said:
            wrong.append(said)
        wrong += self.half()
        with scratch_folder(0):  # as the next run begins
            pass
        wrong += [f"left in the scratch folder: {path.name}" for path in self.scratch.iterdir()]
        return wrong

    def half(self) -> list[str]:
        """Runs that are taken for whole and are not."""
        runs = self.results / "runs"
        named = [] if not runs.exists() else [p for p in runs.iterdir() if p.name[0] != "."]
        for folder in named:
            store.read(folder)
        found = stored.find(self.results).runs if named else []
        wrong = [] if len(found) == len(named) else ["the store finds other runs"]
        return wrong + [f"half a verdict of {run.id}" for run in found if half_judged(run.folder)]


def half_judged(folder: str) -> bool:
    file = Path(folder) / "verdict.json"
    return file.exists() and not file.read_text().rstrip().endswith("}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        chosen = moments(metafunc.config.getoption("--kill-points") or FEW)
        metafunc.parametrize("moment", chosen, ids=str)


@pytest.fixture(scope="module")
def ground(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), small_data)


@pytest.fixture(scope="module")
def times(ground: Ground) -> tuple[float, float]:
    """Seconds that a run takes that nobody hits: until it stores its record, and from then on."""
    started = time.monotonic()
    parent = ground.start()
    ground.wait(parent, 0.0, storing=True)
    begun = time.monotonic()
    said = parent.communicate(timeout=PATIENCE_S)[1]
    assert parent.returncode == 0, said
    return begun - started, time.monotonic() - begun


def test_whenever_a_run_is_hit_nothing_half_and_nobody_is_left(
    ground: Ground, times: tuple[float, float], moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(ground.scratch))
    assert ground.wrong(times, moment) == []


def test_the_moments_are_the_same_each_time_and_of_every_kind() -> None:
    drawn = moments(50)
    assert drawn == moments(50)
    assert {m.stretch for m in drawn} == {"first second", "between", "last second"}
    assert len({(m.whom, m.number) for m in drawn}) == 9
    assert sum(m.stopped for m in drawn) > 10
