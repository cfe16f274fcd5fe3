"""What all tests share: small data, one way to run a plan, one way to call the command line.

Tests import no framework: they reach one through a worker only.
"""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from harness import cli
from harness.data import synthetic
from harness.plan.make import missing
from harness.plan.model import Plan
from harness.record.schema import Record
from harness.run import memo, session
from harness.verdict import verdict
from harness.workers import launch
from tests.faults.explained import Explanations
from tests.faults.report import Report
from tests.make import idx_bytes, make_plan

# As a worker's: two files side by side then compute as its workers do, with the same kernels of
# BLAS. Of one process (-n 0) NumPy is loaded by now, as the variables had it.
for _name in [name for name in os.environ if launch.REMOVED.fullmatch(name)]:
    del os.environ[_name]

# Half of hypothesis' own number: the whole suite is to stay under twenty minutes on two cores. No
# deadline: how long an example takes says what else the machine does.
settings.register_profile("harness", max_examples=50, deadline=None)
settings.load_profile("harness")

# The files of tests that take longest, the longest first.
LONGEST = (
    "test_rooms",
    "test_backend",
    "test_docs",
    "test_faults",
    "test_conformance",
    "test_variants",
    "test_real_data",
    "test_certify",
    "test_agreement",
    "test_operators",
    "test_processes",
    "test_tutorial",
    "test_compare",
    "test_keras_example",
    "test_bundle",
    "test_bad_input",
    "test_browser",
    "test_scale",
    "test_crash",
    "test_doctor",
    "test_misbehaving",
    "test_generic_faults",
    "test_pieces",
    "test_benchmarks",
    "test_sessions",
)

FAULTS = Path(__file__).parent / "faults"
Found = TypeVar("Found", Report, Explanations)
# Six thousand samples: 23 full batches and a short one of 112, and a pool for the probe batches.
SMALL = (6000, 1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-commands", action="store_true", help="run the long commands of the docs too"
    )
    parser.addoption("--kill-points", type=int, help="how many random moments to stop a run at")
    parser.addoption("--only-backend", help="test this backend alone, built in or not")
    parser.addoption("--only-python", help="the interpreter of that backend")
    parser.addoption("--full-run", help="a stored run of the full profile on the real data")
    parser.addoption("--faults-report", help="where to write what the fault suite found (Markdown)")
    parser.addoption(
        "--explanations-report", help="where to write what every planted convention is named (same)"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that of two that run side by side neither is left over long."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@pytest.fixture(scope="session", autouse=True)
def a_processor_of_its_own() -> None:
    """Beside another pytest (xdist) each has one processor: threads that share one wait and wait.

    A training with two threads took five times as long so.
    """
    place = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if place and PROCESSORS:
        os.sched_setaffinity(0, {PROCESSORS[int(place) % len(PROCESSORS)]})


@contextmanager
def kept_to(processors: Collection[int]) -> Iterator[None]:
    """This process, and what it starts, on these processors only; where there are any to choose."""
    if not processors:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def all_processors() -> AbstractContextManager[None]:
    """Also beside another pytest: for what several threads must not change."""
    return kept_to(PROCESSORS)


def one_processor() -> AbstractContextManager[None]:
    """Workers with one thread each: two wait for each other where others compute too."""
    return kept_to(PROCESSORS and {max(os.sched_getaffinity(0))})


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The judge computes with one thread: two wait for each other where others compute too."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the judge computes for the command line is kept with the tests, not with the user."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def written_at_the_end(
    request: pytest.FixtureRequest, found: Found, option: str
) -> Iterator[Found]:
    """What tests add to, as a Markdown file at the end where the option names one."""
    yield found
    if path := request.config.getoption(option):
        found.write(Path(path))


@pytest.fixture(scope="session")
def report(request):
    """What each planted fault adds to."""
    yield from written_at_the_end(request, Report(), "--faults-report")


@pytest.fixture(scope="session")
def explanations(request):
    """What each planted convention adds to."""
    yield from written_at_the_end(request, Explanations(), "--explanations-report")


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four idx files of a small data set."""
    folder = tmp_path_factory.mktemp("small-data")
    train_x, train_y, test_x, test_y = synthetic.make()
    for name, array in (
        ("train-images-idx3", train_x[: SMALL[0]]),
        ("train-labels-idx1", train_y[: SMALL[0]]),
        ("t10k-images-idx3", test_x[: SMALL[1]]),
        ("t10k-labels-idx1", test_y[: SMALL[1]]),
    ):
        write_gz(folder / f"{name}-ubyte.gz", idx_bytes(array))
    return folder


def write_gz(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, compresslevel=1))


class Silent:
    """Progress that is kept, not shown."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, name: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


class Outcome(msgspec.Struct):
    """A run and its verdict."""

    record: Record
    folder: Path
    verdict: verdict.Verdict

    @property
    def json(self) -> dict:
        return verdict.to_json(self.record, self.verdict, str(self.folder))

    @property
    def exit_status(self) -> int:
        return verdict.exit_status(self.record, self.verdict)

    def rung(self, label: str, rung: str) -> str:
        return self.verdict.labels[label].findings[rung].verdict


@pytest.fixture
def run_plan(small_data: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """Run a smoke plan on small data: keyword arguments of `make_plan`, `change` for the rest."""

    def run(change: dict | None = None, **words: object) -> Outcome:
        given = {"profile": "smoke", "data_dir": str(small_data), "timeout_s": 240.0}
        given |= {"threads": 1} | words
        plan = msgspec.structs.replace(make_plan(**given), **(change or {}))
        return carry_out(plan, tmp_path / "results")

    return run


def carry_out(plan: Plan, results: Path) -> Outcome:
    """Run a plan; what the judge has computed for a test before it does not compute again."""
    record, folder = session.run(plan, results, Silent(), memo.of_user())
    return Outcome(record, folder, verdict.judge(record))


def numbers(record: Record) -> Any:
    """All of a record but names, times, processes and the machine."""
    kept: dict[str, Any] = msgspec.to_builtins(record)
    of_the_moment = ("run", "started", "seconds", "machine", "roofs", "again", "samples", "went_on")
    for name in of_the_moment:
        del kept[name]
    for results in kept["results"].values():
        del results["processes"], results["rounds"]
    for trained in [kept["reference"], *(of["training"] for of in kept["results"].values())]:
        for training in trained:
            for name in [n for n in training if n.endswith("_ns") or n == "went_on"]:
                del training[name]
    return kept


def plant(file: str, function: str) -> str:
    """A fault as a plan names it."""
    return f"{FAULTS / file}:{function}"


def harness(
    *words: str, cwd: Path, env: dict | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=cwd,
        env=clean_environment() | (env or {}),
        text=True,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def refused_here(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `harness`, in this process: for words that are refused before a worker is started.

    Another interpreter takes the better part of a second until it has read them.
    """
    said = [io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2)]
    with (
        pytest.MonkeyPatch.context() as patched,
        redirect_stdout(said[0]),
        redirect_stderr(said[1]),
    ):
        for name in {*os.environ} - {*clean_environment()}:
            patched.delenv(name)
        patched.setenv("COLUMNS", "200")
        patched.chdir(cwd)
        status = run_here(patched, *words)
    out, err = (stream.buffer.getvalue().decode() for stream in said)
    return subprocess.CompletedProcess(words, status, out, err)


def run_here(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """The exit status of the command line with these words, in this process."""
    monkeypatch.setattr("sys.argv", ["harness", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    status = ended.value.code
    assert isinstance(status, int)
    return status


@pytest.fixture
def command(monkeypatch, capsys):
    """The command line in this process: what these words print, once they `ends` with a status."""

    def run(*words: object, ends: int = 0):
        capsys.readouterr()
        assert run_here(monkeypatch, *words) == ends, capsys.readouterr().err
        said = capsys.readouterr()
        if ends == 2:
            assert (said.out, said.err.count("\n")) == ("", 1)
        return said

    return run


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """AssertionError where it takes longer: an OSError would be taken for what is tested."""

    def late(*_: object) -> None:
        raise AssertionError(f"it takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def clean_environment() -> dict[str, str]:
    """This environment with the project importable and no data set named."""
    root = str(Path(__file__).parent.parent)
    named = ("FASHION_MNIST_DIR", "HARNESS_DATA_DIR")
    kept = {k: v for k, v in os.environ.items() if k not in named}
    return kept | {"PYTHONPATH": root, "COLUMNS": "200", "OPENBLAS_NUM_THREADS": "1"}


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where one of these backends cannot run."""
    reasons = [f"{name}: {reason}" for name in names if (reason := missing(name))]
    return pytest.mark.skipif(bool(reasons), reason="; ".join(reasons) or "all there")


def real_data() -> pytest.MarkDecorator:
    """Skip where the real data are not at hand."""
    here = os.environ.get("FASHION_MNIST_DIR")
    return pytest.mark.skipif(not here, reason="FASHION_MNIST_DIR is not set")
