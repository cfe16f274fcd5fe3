"""A stored float64 training: written, read strictly, and a backend alone held to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from harness.errors import HarnessError, InputError
from harness.plan.model import Timing
from harness.results.golden import Checked, summary
from harness.run import golden, golden_file
from harness.run.golden_file import KEY, Golden
from harness.workloads import SIZED, WORKLOADS
from harness.workloads.reference.limits import DECIDING
from tests.conftest import Silent, harness, needs

COMMITTED = Path(__file__).parent / "golden.safetensors"
FAULTY = """
import msgspec
import numpy as np
import os
from backends.numpy import Backend as NumPy


class Faulty(NumPy):
    def __init__(self, device, dtype, threads, variant, precision="strict"):
        super().__init__(device, dtype, threads, "buffered", precision)

    def trainer(self, workload):
        return self.changed(super().trainer(workload))

    def changed(self, trainer):
        step, self.taken = trainer.step, 0

        def counted(batch):
            self.taken += 1
            return self.step(trainer, step, batch)

        trainer.step = counted
        return trainer


class Rate(Faulty):
    def trainer(self, workload):
        optimiser = workload.optimiser
        wrong = msgspec.structs.replace(optimiser, lr=optimiser.lr * (1 + 1e-9))
        return NumPy.trainer(self, msgspec.structs.replace(workload, optimiser=wrong))


class Late(Faulty):
    def step(self, trainer, step, batch):
        return step(batch) if self.taken != 8 else trainer.loss_and_grads(batch)[0]


class NotFinite(Faulty):
    def step(self, trainer, step, batch):
        loss = step(batch)
        trainer.net.W2[3, 4] = np.nan
        return loss


class Dies(Faulty):
    def step(self, trainer, step, batch):
        os._exit(7)


class Shapeless(Faulty):
    def changed(self, trainer):
        get = trainer.get_state
        trainer.get_state = lambda: get() | {"b2": np.zeros((10, 1))}
        return trainer


class Elsewhere(Faulty):
    def __init__(self, *words):
        from harness.interface import Unavailable
        raise Unavailable("not on this machine")
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    file = tmp_path_factory.mktemp("faulty") / "faulty.py"
    file.write_text(FAULTY)
    return str(file)


def plan(spec: str | None, data: Path, **words: Any) -> Any:
    return golden.plan_for(spec, threads=1, data_dir=data, **words)


def make(spec: str | None, data: Path, after: list[int] | None = None, **words: Any) -> Golden:
    made = plan(spec, data, **words)
    return golden.make(made, own=spec is None, after=after, progress=Silent())


def check(found: Golden, spec: str, data: Path, **words: Any) -> Checked:
    return golden.check(found, plan(spec, data, seed=found.header.seed, **words), Silent())


@pytest.fixture(scope="module")
def made(small_data):
    """Of the harness's own reference, the small data's first epoch."""
    return make(None, small_data)


@pytest.fixture(scope="module")
def file(small_data, tmp_path_factory):
    """As small as such a file can be."""
    path = tmp_path_factory.mktemp("golden") / "one.safetensors"
    golden_file.write(make(None, small_data, [1]), path)
    return path


# -- written and held to -------------------------------------------------------------------------


def test_what_the_reference_stored_is_what_numpy_computes(made, small_data):
    assert made.header.after == [1, 10, 24]
    assert made.header.writer.label == "harness/float64"
    found = check(made, "numpy", small_data)
    assert found.first is None
    assert found.first_loss is None
    tensors = {(steps, m.tensor) for steps, m in found.measured}
    assert tensors == {(n, t) for n in (1, 10, 24) for t in ("W1", "b1", "W2", "b2", "losses")}
    assert all(m.distance < 1e-13 for _, m in found.measured)


def test_a_backend_may_be_what_others_are_held_to(small_data, tmp_path):
    path = tmp_path / "g.safetensors"
    golden_file.write(make("mine=numpy", small_data, [3], seed=4), path)
    stored = golden_file.read(path)
    assert stored.header.writer.label == "mine:float64"
    assert stored.header.writer.backend == "numpy"
    assert "numpy" in stored.header.writer.versions
    found = check(stored, "numpy", small_data)
    assert {m.distance for _, m in found.measured} == {0.0}  # the very same backend


def test_a_learning_rate_wrong_by_a_billionth_is_seen_after_one_step(made, faulty, small_data):
    found = check(made, f"{faulty}:Rate", small_data)
    assert found.first is not None
    # Biases are nothing but updates: there the whole error shows.
    off = {m.tensor: m.distance for steps, m in found.measured if steps == 1}
    assert off["b1"] == pytest.approx(1e-9, rel=1e-4)
    assert (found.first.step, found.first_loss) == (0, 1)


def test_the_step_where_it_went_wrong_is_told(made, faulty, small_data):
    found = check(made, f"{faulty}:Late", small_data)
    # The eighth step updates nothing: after one step all is well, and the ninth loss is another.
    assert {m.distance < 1e-13 for steps, m in found.measured if steps == 1} == {True}
    assert found.first is not None
    assert (found.first.step, found.first.tensor, found.first_loss) == (9, "W1", 8)
    element = tuple(found.first.index)
    assert found.first.expected == made.states[10]["W1"][element]
    assert found.first.got != found.first.expected
    assert "the first loss that differs is that of step 8" in summary(found)


def test_parameters_of_a_wrong_shape_disagree_and_are_no_crash(made, faulty, small_data):
    found = check(made, f"{faulty}:Shapeless", small_data)
    assert found.first is not None
    assert found.first.tensor == "b2"
    assert "shape (10, 1)" in summary(found)


def test_other_data_and_other_shared_code_are_not_the_backends_fault(made, small_data):
    header = made.header
    other = msgspec.structs.replace(header.data, sha256="0" * 64)
    changed = made._replace(header=msgspec.structs.replace(header, data=other))
    with pytest.raises(InputError, match="was made with fashion-mnist"):
        check(changed, "numpy", small_data)
    moved = msgspec.structs.replace(header, shared=header.shared | {"W1": "0" * 64})
    with pytest.raises(HarnessError, match="W1: made here, not what") as caught:
        check(made._replace(header=moved), "numpy", small_data)
    assert caught.value.exit_status == 3


@pytest.mark.parametrize(
    ("name", "said", "status"),
    [
        ("NotFinite", "1/W2 is not finite: nothing can be held to that", 3),
        ("Shapeless", r"1/b2 is float64 \(10, 1\), not float64 \(10,\)", 3),
        ("Dies", "faulty failed: train: process ended by exit status 7", 3),
        ("Elsewhere", "not available: Unavailable: not on this machine", 2),
    ],
)
def test_what_nothing_can_be_held_to_is_not_written(name, said, status, faulty, small_data):
    with pytest.raises(HarnessError, match=said) as caught:
        make(f"{faulty}:{name}", small_data, [1])
    assert caught.value.exit_status == status


def test_steps_beyond_the_schedule_are_refused(small_data):
    with pytest.raises(InputError, match="after 241 steps: the schedule has 240"):
        make(None, small_data, [241])


# -- the reference of a whole run ----------------------------------------------------------------


@pytest.fixture
def judged_by(run_plan, tmp_path):
    """A run of NumPy that a golden file judges."""

    def run(stored: Golden, **words: Any) -> Any:
        path = tmp_path / "judge.safetensors"
        golden_file.write(stored, path)
        change = {"timing": Timing(sessions=1, rounds=0, warmup_rounds=0)}
        words = {"backends": ("numpy",), "reference": str(path)} | words
        return run_plan(**words, change=change)

    return run


def test_a_file_judges_lockstep_and_the_reference_all_the_rest(made, judged_by, tmp_path):
    outcome = judged_by(made)
    assert outcome.json["verdict"] == "agree"
    assert outcome.json["reference"] == str(tmp_path / "judge.safetensors")
    assert {outcome.rung("numpy", rung) for rung in DECIDING} == {"agree"}
    # A smoke run of these data leaves the schedule after 23 full batches, before its 24th step.
    assert outcome.record.lockstep_steps == [0, 9, 23]


def test_against_a_file_that_is_off_lockstep_disagrees_and_no_rung_before(made, judged_by):
    states = {n: {name: v.copy() for name, v in of.items()} for n, of in made.states.items()}
    states[10]["W1"] *= 1 + 1e-9
    tensors = golden_file.named(made.losses, states)
    digests = {name: golden_file.digest(value) for name, value in tensors.items()}
    header = msgspec.structs.replace(made.header, tensors=digests)
    outcome = judged_by(Golden(header, made.losses, states))
    first = outcome.json["first_divergence"]
    assert outcome.exit_status == 1
    assert (first["rung"], first["step"], first["tensor"]) == ("lockstep", 9, "W1")
    assert first["distance"] == pytest.approx(1e-9, rel=1e-3)


def test_a_file_of_another_seed_data_or_schedule_judges_no_run(made, judged_by, small_data):
    with pytest.raises(InputError, match="choose --seeds 0"):
        judged_by(made, seeds="1")
    with pytest.raises(InputError, match="was made with fashion-mnist"):
        judged_by(made, dataset="synthetic", data_dir=None)
    with pytest.raises(InputError, match="choose --profile default"):
        judged_by(make(None, small_data, [30]))


def test_a_file_of_another_workload_or_size_says_so(made) -> None:
    def follow(workload: Any, seed: int = 0) -> None:
        inputs: Any = SimpleNamespace(plan=SimpleNamespace(workload=workload, seeds=(seed,)))
        data = made.header.data
        if workload.name != "mlp-scratch":
            data = msgspec.structs.replace(data, sha256="0" * 64)
        golden_file.follow(inputs, data, made.header)

    with pytest.raises(InputError, match="is of mlp-scratch, and this is diabetes; choose --work"):
        follow(WORKLOADS["diabetes"])
    with pytest.raises(InputError, match="another size; leave out --size"):
        follow(SIZED["mlp-scratch"](7, 256).workload)


# -- the file ------------------------------------------------------------------------------------


def test_a_file_is_read_as_it_was_made(made, tmp_path):
    path = tmp_path / "g.safetensors"
    golden_file.write(made, path)
    stored = golden_file.read(path)
    assert stored.header == made.header
    assert stored.losses.tobytes() == made.losses.tobytes()
    for n, state in made.states.items():
        for name, value in state.items():
            assert stored.states[n][name].tobytes() == value.tobytes()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        golden_file.read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_status == 2
    return text


def rewritten(
    file: Path, to: Path, tensors: Any = lambda t: t, metadata: Any = lambda h: h
) -> Path:
    """A golden file with its tensors, and its header as plain data, changed."""
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    to.write_bytes(save(tensors(load(data)), {KEY: json.dumps(metadata(header))}))
    return to


def nested(field: str, name: str, value: Any) -> Any:
    return lambda header: header | {field: header[field] | {name: value}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h | {"schema": 3}, "schema 3 is newer than this harness reads"),
        (lambda h: h | {"schema": 1}, "schema 1 was written by an older harness"),
        (lambda h: h | {"schema": "1"}, "not a whole golden file"),
        (lambda h: h | {"more": 1}, "not a whole golden file"),
        (lambda h: h | {"seed": -1}, "not a whole golden file"),
        (lambda h: h | {"after": []}, "not a whole golden file"),
        (lambda h: h | {"after": [1, 1]}, "not ascending"),
        (lambda h: h | {"after": [2]}, "other tensors than it names"),
        (lambda h: h | {"after": [10**7 + 1]}, "not a whole golden file"),
        (nested("workload", "optimiser", {"rule": "sgd", "lr": 0.2}), "another workload"),
        (nested("workload", "name", "other"), "another workload"),
        (nested("data", "name", "../../etc"), "not a whole golden file"),
        (nested("data", "sha256", "x"), "not a whole golden file"),
        (nested("tensors", "1/W1", "0" * 64), "1/W1 was changed"),
        (lambda h: {"schema": 2}, "not a whole golden file"),
        (lambda h: [], "not a whole golden file"),
    ],
)
def test_a_header_that_is_not_one_is_refused(change, said, file, tmp_path):
    assert said in refusal(rewritten(file, tmp_path / "g", metadata=change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t | {"1/W1": t["1/W1"].T.copy()}, "1/W1 is not float64 (784, 256)"),
        (lambda t: t | {"1/b1": t["1/b1"].astype(np.float32)}, "1/b1 is not float64 (256,)"),
        (lambda t: t | {"1/b1": t["1/b1"] + 1e-16}, "1/b1 was changed"),
        (lambda t: t | {"2/b1": t["1/b1"]}, "other tensors"),
        (lambda t: {n: v for n, v in t.items() if n != "losses"}, "other tensors"),
    ],
)
def test_tensors_that_are_not_those_it_names_are_refused(change, said, file, tmp_path):
    assert said in refusal(rewritten(file, tmp_path / "g", tensors=change))


def test_numbers_that_are_not_finite_are_refused_though_their_digest_fits(file, tmp_path):
    bad = golden_file.read(file).states[1]["b2"] * np.nan
    path = rewritten(
        file,
        tmp_path / "g",
        tensors=lambda t: t | {"1/b2": bad},
        metadata=nested("tensors", "1/b2", golden_file.digest(bad)),
    )
    assert "1/b2 is not finite" in refusal(path)


def test_what_is_no_file_of_this_kind_is_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "gone")
    assert "not a file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in refusal(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    assert "not a whole golden file" in refusal(tmp_path / "empty")
    (tmp_path / "other").write_bytes(save({"x": np.zeros(3)}))
    assert "not one of the harness's golden files" in refusal(tmp_path / "other")
    with open(tmp_path / "huge", "wb") as large:
        large.truncate(golden_file.MOST_BYTES + 1)
    assert "more than 200 MB" in refusal(tmp_path / "huge")


@given(data=st.data())
def test_a_file_that_was_cut_or_changed_anywhere_is_refused(data, file, tmp_path_factory):
    whole = file.read_bytes()
    place = data.draw(
        st.one_of(st.integers(0, 4000), st.integers(0, len(whole) - 1)), label="place"
    )
    how = data.draw(st.sampled_from(["cut", "flip", "insert", "remove"]), label="how")
    bit = 1 << data.draw(st.integers(0, 7), label="bit")
    changed = {
        "cut": whole[:place],
        "flip": whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :],
        "insert": whole[:place] + b"0" + whole[place:],
        "remove": whole[:place] + whole[place + 1 :],
    }[how]
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(changed)
    try:
        found = golden_file.read(path)
    except InputError:
        assert refusal(path)
        return
    # Only what is for people may change unnoticed: times, versions, names.
    before = golden_file.read(file)
    assert found.losses.tobytes() == before.losses.tobytes()
    assert found.header.workload == before.header.workload
    assert found.header.after == before.header.after


@given(
    told=st.recursive(
        st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_metadata_are_a_header_or_refused_in_one_line(told, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(save({"losses": np.zeros(1)}, {KEY: json.dumps(told)}))
    assert refusal(path)


# -- the command line ----------------------------------------------------------------------------


def test_the_verbs_write_check_and_end_with_their_status(small_data, faulty, tmp_path):
    data = ("--data-dir", str(small_data), "--threads", "1")
    path = tmp_path / "g.safetensors"
    done = harness("golden", "write", "--file", str(path), "--after", "2", *data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "by harness/float64" in done.stdout
    said = harness("golden", "check", "numpy", "--file", str(path), *data, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "✓ numpy computes what harness/float64 did over 2 steps" in said.stdout
    done = harness(
        *("golden", "check", f"{faulty}:Rate", "--file", str(path), "--json", *data), cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"] == "disagree"
    first = told["first_divergence"]
    assert (first["rung"], first["step"], first["first_loss"]) == ("lockstep", 1, 1)
    assert first["got"] != first["expected"]
    assert len(first["index"]) == (2 if first["tensor"].startswith("W") else 1)
    assert first["distance"] > first["limit"] == 1e-12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "numpy", "--file", "gone"), "golden file gone: No such file"),
        (("check", "nonsense", "--file", "{file}"), "--backend 'nonsense': unknown"),
        (("check", "numpy", "--file", "{file}", "--dataset", "synthetic"), "was made with"),
        (("check", "numpy", "--file", "{file}", "--python", "/nowhere"), "no such program"),
        (("write", "--file", "nowhere/g"), "no file can be written there"),
        (("write", "--file", "g", "--after", "1,x"), "expected numbers of steps"),
        (("write", "--file", "g", "--after", "0"), "from 1 up"),
        (("write", "--file", "g", "--after", "3,3"), "each once"),
        (("write", "--file", "g", "--python", "/usr/bin/python3"), "for which backend?"),
    ],
)
def test_bad_words_are_refused_in_one_line(words, said, file, tmp_path, monkeypatch, capsys):
    from harness.cli import main

    monkeypatch.chdir(tmp_path)
    for variable in ("FASHION_MNIST_DIR", "HARNESS_DATA_DIR"):
        monkeypatch.delenv(variable, raising=False)
    argv = [word.format(file=file) for word in words]
    monkeypatch.setattr("sys.argv", ["harness", "golden", *argv])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("harness: ")]
    assert said in told[-1]
    assert [*tmp_path.iterdir()] == []


# -- the one that is kept with the project -------------------------------------------------------


def test_the_committed_training_is_of_another_framework_and_needs_no_data():
    header = golden_file.read(COMMITTED).header
    assert header.writer.backend == "torch"
    assert (header.data.name, header.after) == ("synthetic", [235])
    assert COMMITTED.stat().st_size < 2_000_000


@needs("numpy")
def test_numpy_alone_computes_what_another_framework_did_over_an_epoch(tmp_path):
    done = harness(
        *("golden", "check", "numpy", "--file", str(COMMITTED), "--threads", "1"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "✓ numpy computes what torch:float64 did over 235 steps" in done.stdout
