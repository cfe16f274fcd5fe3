"""Plug-ins that misbehave beside one that behaves: contained, named, and the other unharmed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.plan.model import Timeouts, Timing
from harness.record.store import read
from harness.report import words
from harness.report.run import as_markdown
from harness.run import state, timing
from harness.text import LONGEST_FACT, MOST_FACTS, plain, plain_facts
from harness.workers import launch
from harness.workers.launch import WorkerFailed
from harness.workers.pool import open_worker
from tests.conftest import Outcome, carry_out, clean_environment
from tests.make import make_plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
FOLDER = Path(__file__).parent / "misbehaving"
# As little as takes a label through every command but the last rounds.
QUICK = {
    "timing": Timing(sessions=1, rounds=1, warmup_rounds=0, steps=2, products=1, warmup_steps=1),
    "trajectory": None,
    "small_sizes": (),
    "steps": 4,
    "checkpoints": (0,),
}

# What a plug-in does as it is imported, and the reason that its label has then.
AT_IMPORT = {
    "raises": ("raise RuntimeError('not today')", "start: RuntimeError: not today"),
    "exits": ("import sys; sys.exit('goodbye')", "start: SystemExit: goodbye"),
    "interrupts": ("raise KeyboardInterrupt", "start: KeyboardInterrupt"),
    "is_gone": ("import os; os._exit(0)", "start: process ended by exit status 0"),
    "is_no_python": ("class Backend(:\n", "start: SyntaxError: invalid syntax"),
    "is_killed": ("import os; os.kill(os.getpid(), 9)", "start: process ended by SIGKILL"),
    "recurses": ("def f(): f()\nf()", "start: RecursionError"),
}
# Changes its process and shouts, and is a good backend all the same.
SHOUTS = """
import os, sys, ctypes
os.environ.clear()
print("x" * 3_000_000)
ctypes.CDLL(None).puts(b"from below")
os.write(2, b"\\x1b[2J" * 10_000)
sys.path.append({folder!r})
from well import Backend
"""
ANSWERS = {
    "AnotherRun": "answered for run '20200101T000000-abcdef', command 3",
    "AnotherCommand": "command 10 instead of run",
    "Twice": "command 3 instead of run",
    "NotANumber": "unreadable answer (JSON is malformed",
    "OfText": "unreadable answer (Expected `int`, got `str`",
    "Deep": "unreadable answer (maximum recursion depth",
    "AList": "unreadable answer (Expected `object`, got `array`",
    "Nothing": "an answer with nothing in it",
    "Unknown": "unreadable answer (Object contains unknown field `verdict`",
    "Shouts": "all",
    "FourGigabytes": "unreadable answer (it announces 4294967295 bytes)",
    "CutOff": "unreadable answer (less comes of it than it announces)",
    "EveryDescriptor": "unreadable answer (it announces 543976545 bytes)",
    "Unprepared": "command 2 instead of run",
    "Forks": "instead of run",
    "Objects": "SafetensorError",
    "Texts": "SafetensorError",
    "Vast": "out of memory: ",
    "Large": "more than 2147 MB",
    "APipe": "OSError: not a file",
    "WordyLoss": "could not convert string to float: 'about two'",
    "LotsOfMemory": "unusable answer: ValidationError: Expected `int | null`, got `str`",
    "NoFacts": "start: TypeError: unsupported operand",
}
OTHER_SHAPES = ("Scalar", "Empty", "Whole")
CHILDREN = {
    "InItsGroup": "in its group",
    "InASession": "in a session",
    "WithoutAName": "without a name",
    "Daemon": "a daemon",
}
MANNERS = {
    "ClosesAll": "Bad file descriptor",
    "Quits": "SystemExit: that is enough",
    "Unsayable": "NoWordsError",
    "Misnames": "trace shows z9, and may show z1, h1, logits",
}


TOKEN = f"misbehaving-{os.getpid()}"


def alive() -> list[str]:
    """Live processes that these plug-ins have started: asked of the system."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        mine = f"MISBEHAVING={TOKEN}".encode() in environ and int(pid) != os.getpid()
        if (mine or TOKEN.encode() in words) and state not in "ZX":
            found.append(f"{pid} {words!r}")
    return found


def of_file(file: str, *names: str) -> dict[str, str]:
    """By label, what `--backend` takes for these classes of a file."""
    return {name: f"{FOLDER / file}:{name}" for name in names}


def beside_numpy(labels: dict[str, str], data: Path, results: Path, **changes: Any) -> Outcome:
    """A run of NumPy and these plug-ins, float64 only: one process each."""
    plan = make_plan(
        profile="smoke",
        backends=("numpy", *(f"{name}={spec}" for name, spec in labels.items())),
        dtype="float64",
        threads=1,
        data_dir=str(data),
        timeout_s=240.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "WHOLE_S", 1.0)
        patch.setattr(launch, "GRACE_S", 0.5)
        patch.setattr(launch, "LEFT_S", 0.6)
        patch.setattr(timing, "ROOF_SIZE", 64)
        patch.setattr(timing, "ROOF_COPY_BYTES", 2**20)
        patch.setattr(state, "probes", lambda *_: [])
        return carry_out(msgspec.structs.replace(plan, **QUICK), results)


def assert_numpy_is_whole(outcome: Outcome, status: str = "ok") -> None:
    entry = outcome.json["backends"]["numpy"]
    assert entry["status"] == status
    assert entry["rungs"]["lockstep"]["verdict"] == "agree"
    assert entry["rungs"]["update"]["verdict"] == "agree"
    assert entry["step_time"]["steps"] > 0
    assert entry["test_accuracy"]["0"]


@pytest.fixture(scope="module", autouse=True)
def whose() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MISBEHAVING", TOKEN)
        yield
    assert alive() == []


@pytest.fixture(scope="module")
def crowd(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """All that may share a run: whatever they do, it is done to themselves."""
    folder = tmp_path_factory.mktemp("crowd")
    labels = {}
    shouts = SHOUTS.format(folder=str(FOLDER))
    for name, (source, _) in (AT_IMPORT | {"shouts": (shouts, "")}).items():
        (folder / f"{name}.py").write_text(source)
        labels[name] = str(folder / f"{name}.py")
    labels |= of_file("answers.py", *ANSWERS, *OTHER_SHAPES, "Facts")
    labels |= of_file("children.py", *CHILDREN, "Honest", "DaemonThatDied", "Many")
    labels |= of_file("manners.py", *MANNERS, "Stubborn", "Clutters")
    return beside_numpy(labels, small_data, folder / "results")


def entry(outcome: Outcome, label: str) -> dict[str, Any]:
    found: dict[str, Any] = outcome.json["backends"][label]
    return found


def test_the_one_that_behaves_is_whole_and_nothing_is_left(crowd: Outcome) -> None:
    assert_numpy_is_whole(crowd)
    assert alive() == []
    assert (crowd.json["verdict"], crowd.exit_status) == ("failed", 3)
    assert msgspec.to_builtins(read(crowd.folder)) == msgspec.to_builtins(crowd.record)
    assert {*os.listdir(crowd.folder)} >= {"record.json", "steps.parquet", "logs"}
    assert os.listdir(crowd.folder.parent) == [crowd.record.run]


REASONS = {name: reason for name, (_, reason) in AT_IMPORT.items()} | ANSWERS | MANNERS


@pytest.mark.parametrize("label", REASONS)
def test_it_is_failed_with_the_reason_in_one_line(crowd: Outcome, label: str) -> None:
    found = entry(crowd, label)
    assert found["status"] == "failed"
    assert REASONS[label] in found["reason"]
    assert found["reason"].isprintable()
    assert len(found["reason"]) <= 1500


@pytest.mark.parametrize("label", OTHER_SHAPES)
def test_tensors_of_another_shape_or_kind_disagree(crowd: Outcome, label: str) -> None:
    assert crowd.rung(label, "forward") == "disagree"
    finding = crowd.verdict.labels[label].findings["forward"]
    assert finding.first is not None
    assert ("shape" if label != "Whole" else "dtype int8") in str(finding.first.problem)


@pytest.mark.parametrize("label", ["shouts", "Facts", "Stubborn", "Clutters", "Honest"])
def test_what_harms_nobody_agrees(crowd: Outcome, label: str) -> None:
    found = entry(crowd, label)
    assert (found["status"], found["reason"], found["left_behind"]) == ("ok", None, [])
    assert {found["rungs"][rung]["verdict"] for rung in ("inputs", "lockstep")} == {"agree"}
    assert found["step_time"]["steps"] > 0


def test_facts_are_bounded_and_cleaned(crowd: Outcome) -> None:
    (process,) = crowd.record.results["Facts"].processes
    assert process.facts["version:numpy"]
    assert int(process.facts["facts left out"]) > 19_000
    assert len(process.facts) <= MOST_FACTS
    assert all(map(str.isprintable, (*process.facts, *process.facts.values())))
    assert max(map(len, process.facts.values())) == LONGEST_FACT


def test_what_is_printed_is_kept_in_its_own_log(crowd: Outcome) -> None:
    (process,) = crowd.record.results["shouts"].processes
    assert process.stdout_bytes > 3_000_000
    log = crowd.folder / "logs" / "shouts-float64.stdout.txt"
    assert log.stat().st_size == process.stdout_bytes
    assert b"from below" in log.read_bytes()


@pytest.mark.parametrize("label", CHILDREN)
def test_a_child_that_outlives_its_worker_is_ended_and_named(crowd: Outcome, label: str) -> None:
    found = entry(crowd, label)
    assert (found["status"], found["rungs"]["lockstep"]["verdict"]) == ("ok", "agree")
    (left,) = found["left_behind"]
    assert CHILDREN[label] in left["command"]
    assert left["cpu_ns"] < 10**9
    (told,) = (line for line in words.warnings(crowd.record) if f"by {label}," in line)
    assert told.startswith("LEFT BEHIND")
    assert CHILDREN[label] in told
    for shown in (as_markdown(crowd.record, crowd.verdict), crowd.json["summary"]):
        assert label in shown


def test_children_of_children_are_ended_and_so_are_those_of_a_worker_that_died(
    crowd: Outcome,
) -> None:
    assert len(entry(crowd, "Many")["left_behind"]) == 4
    died = entry(crowd, "DaemonThatDied")
    assert "process ended by exit status 9" in died["reason"]
    assert "of a dead one" in died["left_behind"][0]["command"]


@pytest.fixture(scope="module")
def disturbed(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Beside one that computes while others are timed."""
    return beside_numpy(
        of_file("children.py", "Computes"), small_data, tmp_path_factory.mktemp("disturbed")
    )


def test_no_time_is_sure_beside_a_process_that_computes(disturbed: Outcome) -> None:
    (left,) = entry(disturbed, "Computes")["left_behind"]
    assert left["cpu_ns"] > 10**9 / 2
    for label in ("numpy", "Computes"):
        timed = disturbed.verdict.labels[label].findings["timing"]
        assert timed.verdict != "agree"
        (part,) = (part for part in timed.parts if part.name == "beside")
        assert part.verdict == "inconclusive"
        assert "while True: pass" in part.sentence
        assert part.sentence.endswith("left behind by Computes")


# -- one worker --------------------------------------------------------------------------------


def test_a_dependency_that_is_missing_is_not_available_and_nothing_is_stored(
    small_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "needs.py").write_text("import frobnicate\n")
    with pytest.raises(InputError, match=r"--backend needs: not available: .*frobnicate"):
        beside_numpy({"needs": str(tmp_path / "needs.py")}, small_data, tmp_path / "results")
    assert os.listdir(tmp_path / "results" / "runs") == []


def test_an_import_that_hangs_is_ended_at_its_time_limit(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(3600)\n")
    plan = make_plan(profile="smoke", backends=(str(tmp_path / "hangs.py"),), threads=1)
    plan = msgspec.structs.replace(plan, timeouts=Timeouts(start_s=1.0))
    words = {"name": "hangs", "run": "run", "logs": tmp_path, "scratch": tmp_path}
    worker = open_worker(plan, "hangs", "float64", **words)
    with pytest.raises(WorkerFailed, match="start: no answer within 1 s"):
        worker.answer()
    assert worker.end(grace_s=0) == []


KILLED = """
import sys, time
from pathlib import Path
from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.workers.pool import open_worker

spec, folder = sys.argv[1], Path(sys.argv[2])
plan = make_plan(Choices(profile="smoke", backends=(spec,), threads=1))
(name,) = plan.labels
worker = open_worker(plan, name, "float64", name=name, run="run", logs=folder, scratch=folder)
worker.answer()
print("started", flush=True)
time.sleep(3600)
"""


def test_what_it_started_is_ended_when_the_harness_itself_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, f"{FOLDER / 'children.py'}:WithoutAName", str(tmp_path)]
    environment = clean_environment() | {"MISBEHAVING": TOKEN}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        assert len(alive()) == 3
        parent.kill()
    deadline = time.monotonic() + 10
    while alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive() == []


@given(st.dictionaries(st.one_of(st.text(), st.integers(), st.binary()), st.text(), max_size=250))
def test_any_facts_are_text_that_can_be_stored(told: dict[Any, str]) -> None:
    found = plain_facts(told)
    assert len(found) <= MOST_FACTS
    assert plain_facts(found) == found
    for text in (*found, *found.values()):
        assert text.isprintable()
        assert len(text.encode()) <= 4 * LONGEST_FACT


def test_plain_facts_stay_as_they_are() -> None:
    facts = {"version:numpy": "2.4.6", "device": "cpu"}
    assert plain_facts(facts) == facts


@given(st.text(), st.integers(1, 50))
def test_plain_text_is_its_own_plain_text(text: str, most: int) -> None:
    once = plain(text, most)
    assert len(once) <= most
    assert plain(once, most) == once
