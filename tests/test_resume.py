"""A run that is cut off goes on where it was: its record is that of one that was not, bit for bit.

In every framework with `--kill-points N`, at so many random steps of each; NumPy and torch always.
"""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from filelock import FileLock

from harness import files
from harness.errors import InputError
from harness.plan.make import missing
from harness.record import store
from harness.record.schema import INTERRUPTED, Record
from harness.report.run import as_markdown
from harness.run import cell, checkpoint, identity, learning, session
from harness.run.memo import Memo
from harness.verdict.verdict import judge
from tests import make
from tests.conftest import harness, numbers, plant, run_here

CUT = plant("cut.py", "off")
# On a busy machine the one round that is timed here may say anything; the numbers are looked at.
WELL = (0, 1)


class Case(NamedTuple):
    """What is trained, by whom."""

    backend: str
    variant: str
    workload: str

    def __str__(self) -> str:
        return "-".join(self)

    def words(self, data: Path) -> list[str]:
        return [
            *("compare", "--workload", self.workload, "--backend", self.backend),
            *("--variant", f"{self.backend}={self.variant}", "--plant", f"{self.backend}={CUT}"),
            *("--seeds", "0,1", "--threads", "1", "--sessions", "1", "--rounds", "1"),
            *("--data-dir", str(data)),
            *(() if self.workload == "nielsen-neuron" else ("--size", "hidden=8")),
        ]


ALWAYS = [
    Case("numpy", "plain", "nielsen-neuron"),
    Case("numpy", "buffered", "mlp-scratch"),
    Case("torch", "eager", "mlp-concise"),
]
BY_HAND = [
    Case(backend, variant, workload)
    for backend, variants in {
        "numpy": ("buffered", "plain"),
        "torch": ("eager", "compile"),
        "jax": ("jit", "scan"),
        "tensorflow": ("xla", "graph", "eager"),
    }.items()
    for variant in variants
    for workload in ("nielsen-neuron", "mlp-scratch", "mlp-concise")
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--kill-points")
        metafunc.parametrize("case", BY_HAND if asked else ALWAYS, ids=str)


def runs(folder: Path) -> list[Path]:
    """Every run there, hidden ones too."""
    return sorted((folder / "results" / "runs").glob("*"))


def cut_at(folder: Path, *steps: int) -> dict[str, str]:
    """Have the planted fault kill after so many steps, one time after the other."""
    file = folder / "results" / "cut_at"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(map(str, steps)))
    return {"CUT_AT": str(file)}


def test_cut_off_at_any_step_it_ends_with_the_same_record(
    case: Case, small_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if reason := missing(case.backend):
        pytest.skip(f"{case.backend}: {reason}")
    whole = tmp_path / "whole"
    whole.mkdir()
    done = harness(*case.words(small_data), cwd=whole, env=cut_at(whole))
    assert done.returncode in WELL, done.stderr
    wanted = store.read(runs(whole)[0])
    assert wanted.went_on == []
    steps = len(wanted.results[case.backend].training[-1].losses)
    lot = random.Random(f"{case} {request.config.getoption('--kill-points')}")
    for time_ in range(request.config.getoption("--kill-points") or 1):
        cut = tmp_path / f"cut-{time_}"
        cut.mkdir()
        # Two seeds: steps of both, and a second kill after the first.
        first = lot.randrange(1, 2 * steps)
        again = request.config.getoption("--kill-points") or case.backend == "numpy"
        asked = (first, lot.randrange(1, 2 * steps - first + 1)) if again else (first,)
        env = cut_at(cut, *asked)
        ended = harness(*case.words(small_data), cwd=cut, env=env).returncode
        kills = 0
        while ended == -signal.SIGKILL:
            kills += 1
            assert len(runs(cut)) == 1
            done = harness("compare", "--resume", "latest", cwd=cut, env=env)
            ended = done.returncode
        assert ended in WELL, done.stderr
        assert kills >= 1, asked
        (run,) = runs(cut)
        found = store.read(run)
        assert not (run / checkpoint.FOLDER).exists()
        assert len(found.went_on) == kills
        assert numbers(found) == numbers(wanted), asked
        # Where a training is in parts is told, and nothing is claimed of its times.
        trained = found.results[case.backend].training
        assert all(0 < at <= steps for of in trained for at in of.went_on)
        assert found.results[case.backend].processes[0].peak_rss_bytes is None


WORDS = (
    "--profile",
    "smoke",
    "--workload",
    "linear-regression",
    "--backend",
    "numpy",
    "--backend",
    "other=numpy",
)
WORDS += ("--variant", "other=plain", "--threads", "1", "--sessions", "1", "--rounds", "1")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run that Ctrl-C stopped: its ladder is done, and one training."""
    folder = tmp_path_factory.mktemp("interrupted")
    taken = 0

    def stop(state: Any, *of: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken > 1:
            raise KeyboardInterrupt
        return trained(state, *of)

    trained = learning.train_worker
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "train_worker", stop)
        assert run_here(patch, "compare", *WORDS, "--results-dir", folder) == 130
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        assert run_here(patch, "compare", *WORDS, "--results-dir", folder) in WELL
    (run,) = (folder / "runs").iterdir()
    return store.read(run)


@pytest.fixture
def left(interrupted: Path, tmp_path: Path) -> Path:
    """The same in a folder of the test's own; the run."""
    shutil.copytree(interrupted, tmp_path / "results")
    (run,) = (tmp_path / "results" / "runs").iterdir()
    return run


def resumed(monkeypatch: pytest.MonkeyPatch, left: Path, name: object = "latest") -> Record:
    """The run that goes on from `left`."""
    results = left.parent.parent
    assert run_here(monkeypatch, "compare", "--resume", name, "--results-dir", results) in WELL
    (run,) = {*left.parent.iterdir()} - {left}
    assert not (run / checkpoint.FOLDER).exists()
    return store.read(run)


@pytest.mark.parametrize("form", ["latest", "name", "path"])
def test_an_interrupted_run_goes_on_and_stays_as_it_was(
    left: Path, uninterrupted: Record, monkeypatch, form: str
) -> None:
    before = (left / "record.json").read_bytes()
    monkeypatch.setattr(session, "measure_numbers", never)  # that is done
    session.measure_numbers.__name__ = "measure_numbers"
    named: dict[str, object] = {"latest": "latest", "name": left.name, "path": left}
    found = resumed(monkeypatch, left, named[form])
    assert numbers(found) == numbers(uninterrupted)
    assert found.went_on == [left.name]
    assert [t.went_on for of in found.results.values() for t in of.training] == [[], [], [], []]
    assert (left / "record.json").read_bytes() == before
    assert store.read(left).ended == INTERRUPTED
    assert not (left / checkpoint.FOLDER).exists()


def never(*_: object) -> None:
    raise AssertionError("it is done already")


def test_ctrl_c_says_how_to_go_on(interrupted: Path, monkeypatch, capsys) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "measure_numbers", stop)
    assert run_here(monkeypatch, "compare", *WORDS, "--results-dir", interrupted / "x") == 130
    (run,) = (interrupted / "x" / "runs").iterdir()
    assert f"go on where it was with: harness compare --resume {run}" in capsys.readouterr().err
    shutil.rmtree(interrupted / "x")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("plan", "another plan;"),
        ("_versions", "another version of a package;"),
        ("own_digest", "another version of the harness;"),
        ("_files_of", "another version of your own files;"),
        ("describe_dataset", "another data set;"),
        ("host_key", "another machine;"),
    ],
)
def test_where_anything_that_decides_is_another_it_is_refused_in_a_line(
    left: Path, command, monkeypatch, tmp_path: Path, changed: str, said: str
) -> None:
    own, of = tmp_path / "own.py", identity.of
    own.touch()
    changes: dict[str, Any] = {
        "_versions": (identity, lambda *_: {"numpy": "0"}),
        "own_digest": (identity, lambda: "another"),
        "_files_of": (identity, lambda _: iter((own,))),
        "describe_dataset": (session, lambda _: make.dataset(sha256="f" * 64)),
        "host_key": (checkpoint, lambda _: {"processor": "another"}),
    }
    if changed == "plan":
        replaced = msgspec.structs.replace
        monkeypatch.setattr(
            *(identity, "of"), lambda plan, data: of(replaced(plan, screen_margin=3.0), data)
        )
    else:
        monkeypatch.setattr(changes[changed][0], changed, changes[changed][1])
    told = command("compare", "--resume", "latest", "--results-dir", left.parents[1], ends=2)
    assert said in told.err
    assert left.name in told.err
    assert [*left.parent.iterdir()] == [left]
    assert (left / checkpoint.FOLDER).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "latest", "--seeds", "3"), "leave out --seeds"),
        (("--resume", "latest", "--like", "latest"), "choose one"),
        (("--resume", "gone"), "nothing to go on from"),
    ],
)
def test_what_does_not_go_together_is_refused(left: Path, command, words, said) -> None:
    told = command("compare", *words, "--results-dir", left.parents[1], ends=2)
    assert said in told.err


def test_where_nothing_was_cut_off_or_it_is_at_work_it_is_refused(
    left: Path, command, tmp_path: Path
) -> None:
    words = ("compare", "--resume", "latest", "--results-dir")
    assert "no run was cut off" in command(*words, tmp_path / "none", ends=2).err
    with FileLock(left / checkpoint.FOLDER / checkpoint.LOCK):
        assert "still at work" in command(*words, left.parents[1], ends=2).err
    (left / checkpoint.FOLDER / checkpoint.IDENTITY).write_text('{"runs": [')
    assert "damaged" in command(*words, left.parents[1], ends=2).err


def test_a_damaged_checkpoint_is_not_believed(
    left: Path, uninterrupted: Record, monkeypatch, capsys
) -> None:
    (held,) = (left / checkpoint.FOLDER).glob(f"{checkpoint.RECORD}-*")
    text = held.read_text()
    assert '"phases":["measure_numbers","single_operators"]' in text
    held.write_text(text.replace('"rung":"loss"', '"rung":"1oss"', 1))
    assert numbers(resumed(monkeypatch, left)) == numbers(uninterrupted)
    assert "the checkpoint is damaged: what it held is measured anew" in capsys.readouterr().err


def test_a_process_that_had_failed_has_failed(left: Path, monkeypatch) -> None:
    (held,) = (left / checkpoint.FOLDER).glob(f"{checkpoint.RECORD}-*")
    finished = msgspec.json.decode(held.read_bytes(), type=checkpoint.Finished)
    process = finished.results["other"].processes[0]
    process.status, process.reason = "failed", "died of SIGSEGV"
    files.write_sealed(held.parent, checkpoint.RECORD, msgspec.json.encode(finished))
    results = left.parents[1]
    assert run_here(monkeypatch, "compare", "--resume", "latest", "--results-dir", results) == 3
    (run,) = {*left.parent.iterdir()} - {left}
    found = store.read(run).results["other"].processes[0]
    assert (found.status, found.reason) == ("failed", "died of SIGSEGV")


def test_a_run_that_cannot_be_stored_is_not_lost(left: Path, monkeypatch, capsys) -> None:
    def full(*_: object) -> None:
        raise InputError("cannot write: no space left")

    results = left.parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "find_envelope", full)
        assert run_here(patch, "compare", "--resume", "latest", "--results-dir", results) == 2
    assert "no space left" in capsys.readouterr().err
    hidden = {*left.parent.iterdir()} - {left}
    assert [run.name[0] for run in hidden] == ["."]
    assert run_here(monkeypatch, "compare", "--resume", "latest", "--results-dir", results) in WELL
    (run,) = {*left.parent.iterdir()} - {left}
    assert store.read(run).went_on == [left.name, *(of.name[1:] for of in hidden)]


def test_of_a_run_in_parts_no_epoch_is_timed() -> None:
    made = make.timed()
    times = {"step_ns": [10, 10], "gather_ns": [1, 1], "put_ns": [1, 1], "epoch_ns": [30]}
    made.results["numpy"].training = [make.training(**times, eval_ns=[5])]
    judged = judge(made).labels["numpy"].step_time
    assert judged is not None
    assert judged.epoch_ns is not None
    assert judged.eval_ns is not None
    assert judged.loop_overhead is not None
    made.went_on = ["20260101T000000-aaaaaa"]
    judged = judge(made).labels["numpy"].step_time
    assert judged is not None
    assert (judged.epoch_ns, judged.eval_ns, judged.loop_overhead) == (None, None, None)
    made.results["numpy"].training[0].went_on = [48, 96]
    told = as_markdown(made, judge(made))
    assert (
        "numpy, seed 0: cut off, and gone on with, after step 48 and 96: no epoch is timed" in told
    )
    made.results["numpy"].training[0].went_on = []
    assert "cut off" not in as_markdown(made, judge(made))


def test_a_cell_that_was_cut_off_goes_on_and_one_run_stays(left: Path, monkeypatch) -> None:
    folder = left.parents[1]
    of = checkpoint.read(left)
    (folder / cell.PLAN).write_bytes(msgspec.json.encode(of.identity.plan))
    (folder / cell.RUNS / "half").mkdir()
    monkeypatch.setattr(session, "measure_numbers", never)
    session.measure_numbers.__name__ = "measure_numbers"
    assert cell.carry_out(folder, Memo()) == 0
    (run,) = (folder / cell.RUNS).iterdir()
    assert cell.finished(folder) == run
    assert store.read(run).went_on == [left.name]


def test_a_cell_that_cannot_go_on_begins_anew(left: Path, monkeypatch) -> None:
    folder = left.parents[1]
    (folder / cell.PLAN).write_bytes(msgspec.json.encode(checkpoint.read(left).identity.plan))
    monkeypatch.setattr(checkpoint, "host_key", lambda _: {"processor": "another"})
    assert cell.carry_out(folder, Memo()) == 0
    (run,) = (folder / cell.RUNS).iterdir()
    assert cell.finished(folder) == run
    assert store.read(run).went_on == []
