"""What the judge has computed is laid out again, bit for bit, and never for anything else."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from harness.errors import InputError
from harness.plan.model import Plan
from harness.record.schema import Record
from harness.run import cell, golden, memo, scale, session, several, sweep
from harness.run.judging import train_judge, train_reference
from harness.run.learning import find_envelope
from harness.run.memo import Memo
from harness.run.session import check_answers
from harness.run.state import State
from harness.workers.pool import Key
from harness.workloads import NETS
from harness.workloads.reference.composed import Composed
from tests.conftest import Silent, run_here
from tests.make import make_plan

NAMES = ("state-3", "series")
MODEL = """
from harness.workloads.declare import declare, normal
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Relu

MINE = declare(
    "mine", Dense("W1", "b1", 3, 5), Relu(), Dense("W2", "b2", 5, 2),
    loss=SoftmaxCrossEntropy(), optimiser=sgd(lr=0.1), init=normal(0.3),
    x=(3,), data="{data}", batch_size=8, epochs=2, model="mlp-scratch",
)
"""


class Counted:
    """Fills a folder, with what it is told to, and counts how often."""

    def __init__(self, text: bytes = b"numbers") -> None:
        self.times, self.text = 0, text

    def __call__(self, out: Path) -> None:
        self.times += 1
        out.mkdir()
        for name in NAMES:
            (out / name).write_bytes(self.text + name.encode())


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """What lies in a fresh folder afterwards."""

    def asked(kept: Memo, made: Counted, what: object = "a") -> dict[str, bytes]:
        out = tmp_path / os.urandom(8).hex()
        kept.lay_out(what, NAMES, out, made)
        return {file.name: file.read_bytes() for file in out.iterdir()}

    return asked


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_what_was_made_once_is_laid_out_again(ask, tmp_path: Path) -> None:
    made, kept = Counted(), Memo(tmp_path / "kept")
    first = ask(kept, made)
    assert first == {name: b"numbers" + name.encode() for name in NAMES}
    assert ask(kept, made) == ask(Memo(tmp_path / "kept"), made) == first
    assert made.times == 1
    assert ask(kept, made, what="b") == first
    assert made.times == 2


def test_without_a_folder_nothing_is_kept(ask) -> None:
    made = Counted()
    assert ask(Memo(), made) == ask(Memo(), made)
    assert made.times == 2


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def grown(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def anothers(file: Path) -> None:
    """Whole, but what another name holds."""
    file.write_bytes((file.parent / "series").read_bytes())


def gone(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def all_gone(file: Path) -> None:
    for each in file.parent.iterdir():
        each.unlink()


def no_folder(file: Path) -> None:
    all_gone(file)
    file.parent.rmdir()
    file.parent.write_text("")


@pytest.mark.parametrize(
    "damage",
    [cut, emptied, flipped, grown, anothers, gone, a_folder, a_pipe, all_gone, no_folder],
)
def test_what_is_damaged_is_made_again_and_then_whole(ask, tmp_path: Path, damage) -> None:
    made, kept = Counted(), Memo(tmp_path / "kept")
    first = ask(kept, made)
    (entry,) = entries(tmp_path / "kept")
    damage(entry / "state-3")
    assert ask(kept, made) == first
    assert made.times == 2
    assert ask(kept, made) == first
    assert made.times == 2


def test_what_another_question_gave_is_not_believed(ask, tmp_path: Path) -> None:
    """A whole result under a key that is not its own, as a careless copy would leave it."""
    kept = Memo(tmp_path / "kept")
    ask(kept, Counted(b"of a"), what="a")
    (a,) = entries(tmp_path / "kept")
    right = ask(kept, Counted(b"of b"), what="b")
    b = next(each for each in entries(tmp_path / "kept") if each != a)
    for name in NAMES:
        (b / name).write_bytes((a / name).read_bytes())
    assert ask(kept, Counted(b"of b"), what="b") == right


def test_a_cache_that_cannot_be_written_is_none(ask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made, kept = Counted(), Memo(tmp_path / "file" / "kept")
    assert ask(kept, made) == ask(kept, made)
    assert made.times == 2


def test_what_breaks_off_while_it_is_kept_leaves_nothing(ask, tmp_path: Path, monkeypatch) -> None:
    made, kept = Counted(), Memo(tmp_path / "kept")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("no")))
        ask(kept, made)
    assert entries(tmp_path / "kept") == []
    ask(kept, made)
    ask(kept, made)
    assert made.times == 2


def test_all_together_stay_below_the_bound_and_the_oldest_goes_first(ask, tmp_path: Path) -> None:
    made, kept = Counted(b"x" * 1000), Memo(tmp_path / "kept", most=9000)
    # What a process that was killed has left counts, and goes like any other.
    left = tmp_path / "kept" / ".left"
    left.mkdir(parents=True)
    (left / "state-3").write_bytes(b"x" * 3000)
    os.utime(left, (0, 0))
    (tmp_path / "kept" / "a-file").write_text("not ours")
    for what in range(3):
        ask(kept, made, what=what)
    assert not left.exists()
    for at, each in enumerate(sorted(entries(tmp_path / "kept"), key=os.path.getmtime)):
        os.utime(each, (at, at))
    ask(kept, made, what=0)  # asked for: the newest now
    ask(kept, made, what=3)
    ask(kept, made, what=4)
    assert made.times == 5
    ask(kept, made, what=0)
    assert made.times == 5
    ask(kept, made, what=1)
    assert made.times == 6
    held = [each for each in entries(tmp_path / "kept") if each.is_dir()]
    assert sum(file.stat().st_size for each in held for file in each.iterdir()) <= 9000


def test_what_is_too_large_is_not_kept(ask, tmp_path: Path) -> None:
    made, kept = Counted(b"x" * 1000), Memo(tmp_path / "kept", most=1000)
    ask(kept, made)
    ask(kept, made)
    assert made.times == 2
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("own_digest", lambda: "another harness"),
        ("processor", lambda: "another processor"),
        ("threadpool_info", lambda: [{"user_api": "blas", "num_threads": 77}]),
        ("np", SimpleNamespace(__version__="0")),
    ],
)
def test_another_harness_or_machine_asks_something_else(
    ask, tmp_path: Path, monkeypatch, name: str, says: Any
) -> None:
    made = Counted()
    ask(Memo(tmp_path / "kept"), made)
    monkeypatch.setattr(memo, name, says)
    ask(Memo(tmp_path / "kept"), made)
    assert made.times == 2


def test_loops_that_are_switched_off_ask_something_else(ask, tmp_path: Path, monkeypatch) -> None:
    made = Counted()
    ask(Memo(tmp_path / "kept"), made)
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512F")
    ask(Memo(tmp_path / "kept"), made)
    assert made.times == 2


def test_every_file_of_the_harness_is_in_its_digest(tmp_path: Path, monkeypatch) -> None:
    assert {"memo.py", "pieces.py", "canonical.py"} <= {file.name for file in memo.own_files()}
    file = tmp_path / "own.py"
    seen = set()
    for text in ("a = 1\n", "a = 2\n"):
        file.write_text(text)
        seen.add(memo.digest_of([file]))
    assert len(seen) == 2


# ---- the judge's own numbers

Judged = tuple[dict[str, bytes], Any]


def judged(plan: Plan, kept: Memo) -> Judged:
    """What the judge leaves of a plan: every file, and what the record has of it."""
    with session.unstored(plan, Silent()) as (state, dataset):
        state.memo = kept
        state.inputs = check_answers(state.record, dataset, state.scratch)
        state.start_reference()
        state.pool.processes = {Key("numpy", "float32"): SimpleNamespace()}  # type: ignore[dict-item]
        train_judge(state)
        train_reference(state)
        find_envelope(state)
        files = [file for of in state.scratch.glob("judge-*") for file in of.iterdir()]
        assert files
        assert state.record.envelope
        found = {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}
        return found, msgspec.to_builtins((state.record.reference, state.record.envelope))


class Own:
    """A user's own workload and data, which can be changed."""

    def __init__(self, folder: Path) -> None:
        self.model, self.data = folder / "mine.py", folder / "mine.npz"
        rng = np.random.default_rng(0)
        self.arrays = {
            "train_x": rng.standard_normal((48, 3)).astype(np.float32),
            "train_y": np.arange(48) % 2,
            "test_x": rng.standard_normal((16, 3)).astype(np.float32),
            "test_y": np.arange(16) % 2,
        }
        self.text = MODEL.format(data=self.data)
        self.words: dict[str, Any] = {"seeds": "0,1", "profile": "default"}
        self.fields: dict[str, Any] = {}
        # So few units stand near no kink; and two replicas show as much as eight.
        self.start = {"start_steps": 4, "start_after": (4,), "replicas": 2, "late_from": 1}

    def plan(self) -> Plan:
        self.model.write_text(self.text)
        np.savez(self.data, **self.arrays)
        plan = make_plan(f"{self.model}:MINE", backends=("numpy",), **self.words)
        assert plan.trajectory is not None
        start = msgspec.structs.replace(plan.trajectory, **self.start)
        return msgspec.structs.replace(plan, trajectory=start, **self.fields)


def other_rate(own: Own) -> None:
    own.text = own.text.replace("lr=0.1", "lr=0.2")


def other_layer(own: Own) -> None:
    own.text = own.text.replace("Relu()", "Tanh()").replace("import Dense, Relu", "import *")
    own.text = own.text.replace("from harness.workloads.reference.pieces import *", PIECES)


PIECES = "from harness.workloads.reference.pieces import Dense, Tanh"


def other_start(own: Own) -> None:
    own.text = own.text.replace("normal(0.3)", "normal(0.31)")


def other_batches(own: Own) -> None:
    own.text = own.text.replace("batch_size=8", "batch_size=12")


def other_seeds(own: Own) -> None:
    own.words["seeds"] = "2,1"


def fewer_steps(own: Own) -> None:
    own.fields["steps"] = 5


def other_checkpoints(own: Own) -> None:
    own.fields["checkpoints"] = (0, 3)


def a_shorter_start(own: Own) -> None:
    own.start |= {"start_steps": 3, "start_after": (3,)}


def a_clearer_start(own: Own) -> None:
    own.start["clearance"] = 0.05


def looked_at_sooner(own: Own) -> None:
    own.start["start_after"] = (2, 4)


def more_replicas(own: Own) -> None:
    own.start["replicas"] = 3


def other_sample(own: Own) -> None:
    own.arrays["train_x"][0, 0] += 1


def other_target(own: Own) -> None:
    own.arrays["train_y"][0] = 1


def other_test_sample(own: Own) -> None:
    own.arrays["test_x"][0, 0] += 1


def other_split(own: Own) -> None:
    own.text = own.text.replace("epochs=2", "epochs=2, validation=8")


CHANGES = [other_rate, other_layer, other_start, other_batches, other_seeds, fewer_steps]
CHANGES += [other_checkpoints, a_shorter_start, a_clearer_start, looked_at_sooner, more_replicas]
CHANGES += [other_sample, other_target, other_test_sample, other_split]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Judged]:
    """A cache that knows a user's own workload; what the judge says of it without one."""
    folder = tmp_path_factory.mktemp("known")
    plan, kept = Own(folder).plan(), Memo(folder / "kept")
    plain = judged(plan, Memo())
    assert judged(plan, kept) == judged(plan, kept) == plain
    return folder, plain


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_user_changes_is_judged_as_without_a_cache(known, change) -> None:
    folder, plain = known
    own = Own(folder)
    change(own)
    plan, kept = own.plan(), Memo(folder / "kept")
    before = len(entries(folder / "kept"))
    without = judged(plan, Memo())
    assert without != plain
    assert judged(plan, kept) == without
    assert len(entries(folder / "kept")) > before
    assert judged(plan, kept) == without


def test_what_is_kept_is_what_is_read(known, monkeypatch) -> None:
    """A judge that would train again fails here."""
    folder, plain = known
    plan, kept = Own(folder).plan(), Memo(folder / "kept")

    def again(*_: object) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patched:
        patched.setattr("harness.run.judge.ReferenceJudge.train", again)
        patched.setattr("harness.run.learning.train_replica", again)
        assert judged(plan, kept) == plain
        with pytest.raises(AssertionError, match="trained again"):
            judged(plan, Memo())


def told(record: Record) -> Any:
    """A record but for names, times, and what processes say of themselves."""

    def less(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if not k.endswith("_ns") and k not in OF_A_RUN}
            return {name: less(each) for name, each in kept.items()}
        return [*map(less, value)] if isinstance(value, list) else value

    return less(msgspec.to_builtins(record))


OF_A_RUN = ("run", "started", "seconds", "processes", "rounds", "roofs", "samples")


def test_a_record_is_the_same_cold_warm_and_without_a_cache(small_data, tmp_path: Path) -> None:
    plan = make_plan(profile="smoke", data_dir=str(small_data), backends=("numpy",), threads=1)
    kept = Memo(tmp_path / "kept")
    records = [
        session.run(plan, tmp_path / "results", Silent(), each)[0] for each in (Memo(), kept, kept)
    ]
    assert len(entries(tmp_path / "kept")) == 3
    without, cold, warm = map(told, records)
    assert without == cold == warm
    assert without["envelope"]


# ---- whose judge


def test_only_the_harness_judging_by_plain_data_is_remembered() -> None:
    plan, kept = make_plan(profile="smoke", backends=("numpy",)), Memo(Path("kept"))
    own = Composed(NETS["mlp-scratch"])
    by_label = msgspec.structs.replace(plan, reference="numpy:float64")

    def of(reference: object = own, plan: Plan = plan, golden: object = None) -> Path | None:
        state = SimpleNamespace(reference=reference, plan=plan, golden=golden, memo=kept)
        return State.remembered.fget(state).folder  # type: ignore[attr-defined]

    assert of() == kept.folder
    assert of(reference=object()) is None
    assert of(plan=by_label) is None
    assert of(golden=object()) is None


def test_a_golden_file_is_always_trained_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Memo, "lay_out", None)
    plan = golden.plan_for(None, workload="nielsen-neuron")
    assert golden.make(plan, own=True, after=[1], progress=Silent()).losses.size == 1


# ---- --no-cache


@pytest.mark.parametrize(
    "words",
    [
        ("compare",),
        ("run",),
        ("compare", "--workload", "nielsen-neuron,linear-regression"),
        ("baseline", "save"),
        ("scale", "--widths", "8", "--batches", "32"),
    ],
    ids=" ".join,
)
def test_every_verb_that_judges_can_do_without_a_cache(
    monkeypatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    asked: list[Memo] = []

    def stop(*given: Any) -> Any:
        asked.append(next(one for one in given if isinstance(one, Memo)))
        raise InputError("asked")

    for module in (session, scale, several):
        monkeypatch.setattr(module, "run", stop)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    words = (*words, "--backend", "numpy")
    assert run_here(monkeypatch, *words) == 2
    assert run_here(monkeypatch, *words, "--no-cache") == 2
    with_one, without = asked
    assert with_one.folder == tmp_path / "home" / "framework-harness" / "judge"
    assert without.folder is None


def test_a_sweep_tells_its_cells(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    told: list[list[str]] = []

    class Started:
        stdin = io.BytesIO()
        returncode = 1

        def __init__(self, words: list[str], **_: Any) -> None:
            told.append(words[3:])

        def wait(self) -> None: ...

    monkeypatch.setattr(sweep.subprocess, "Popen", Started)
    words = ("sweep", "--workload", "nielsen-neuron", "--backend", "numpy", "--seeds", "0")
    for more in ((), ("--no-cache",)):
        assert run_here(monkeypatch, *words, *more) == 3
    assert [each[1:] for each in told] == [[], [], ["--no-cache"], ["--no-cache"]]
    given: list[Memo] = []
    monkeypatch.setattr(cell, "carry_out", lambda folder, kept: given.append(kept) or 0)
    for more in ([], ["--no-cache"]):
        monkeypatch.setattr("sys.argv", ["cell", str(tmp_path), *more])
        monkeypatch.setattr(cell.threading, "Thread", lambda **_: SimpleNamespace(start=bool))
        assert cell.main() == 0
    assert [kept.folder is None for kept in given] == [False, True]
