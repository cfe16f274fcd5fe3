"""The pytest plug-in: invisible to who does not use it, and a library's regression tests for who
does. Suites of tests are run as users run them, in a process of their own.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.numpy import Backend as NumPy
from harness import interface
from harness.errors import InputError
from harness.testing import handles as testing
from harness.testing.assertion import assert_agrees, rounding_limit
from harness.testing.handles import Bench, Oracle, RemoteBackend
from harness.workers.desks.remote import RemoteDesk
from harness.workers.launch import WorkerFailed
from harness.workers.remote import RemoteTrainer
from harness.workloads import DECLARED, WORKLOADS
from harness.workloads.reference.screening import clear
from tests.conftest import clean_environment, needs, one_processor
from tests.make import LIGHT

EXAMPLE = Path(__file__).parent.parent / "examples" / "pytest-regression"
WORKLOAD = WORKLOADS["mlp-scratch"]
# A backend that goes wrong in every way that a caller should be told of.
ODD = """
import os
import numpy as np
from backends.numpy import Backend as NumPy
from harness.interface import NoFloat64, Unavailable


class Odd(NumPy):
    def __init__(self, device, dtype, threads, variant, precision="strict"):
        if dtype == "float64":
            raise NoFloat64("no float64 on this device")
        super().__init__(device, dtype, threads, "buffered", precision)

    def trainer(self, workload):
        made = super().trainer(workload)

        def outputs(batch, training):
            kinds = {1: ValueError, 2: Unavailable, 3: RuntimeError, 4: UnicodeError}
            n = len(batch["x"])
            if n == 5:
                os._exit(3)
            if n in kinds:
                if n == 4:
                    raise UnicodeDecodeError("utf-8", b"", 0, 1, "of a kind of ValueError")
                raise kinds[n](f"batches of {n} are refused\\nin two lines")
            return np.full((n, 10), np.nan, made.dtype)

        made.outputs = outputs
        made.wait = lambda loss: float("-inf")
        return made


class Gone(NumPy):
    def __init__(self, *words):
        raise Unavailable("not on this machine")
"""


def suite(folder: Path, *words: str, counts: dict[str, int], **files: str) -> str:
    """Write the files of a suite (a name's double underscore is a slash) and run pytest there."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return run(folder, *words, counts=counts)


def run(folder: Path, *words: str, counts: dict[str, int], env: dict | None = None) -> str:
    """What pytest printed in a folder; what it counted must be `counts`: {"passed": 3, ...}."""
    kept = {k: v for k, v in clean_environment().items() if not k.startswith("PYTEST_")}
    with one_processor():
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *words],
            cwd=folder,
            env=kept | (env or {}),
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
    last = next((line for line in reversed(done.stdout.splitlines()) if " in " in line), "")
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", last)
    assert {word: int(n) for n, word in found} == counts, done.stdout + done.stderr
    assert done.returncode == (1 if {*counts} & {"failed", "error"} else 0 if counts else 4)
    return done.stdout + done.stderr


# -- the example ---------------------------------------------------------------------------------


@pytest.fixture
def small(small_data) -> dict[str, str]:
    return {"FASHION_MNIST_DIR": str(small_data)}


@needs("torch")
def test_the_example_passes_as_it_stands_also_from_a_folder_of_it(small):
    printed = run(EXAMPLE / "tests", counts={"passed": 12}, env=small)
    assert "harness: backends numpy-engine=" in printed


def test_with_a_planted_fault_the_example_fails_with_rung_tensor_and_element(small):
    fault = "numpy-engine=tests/faults.py:rate_one_per_mille_too_high"
    words = ("-k", "numpy-engine and not float64", "--backend-plant", fault)
    # Gradients are as they were: only what the learning rate is in goes wrong.
    printed = run(EXAMPLE, *words, counts={"failed": 2, "passed": 2}, env=small)
    one, whole = re.split(r"^_+ test_training\S* _+$", printed, flags=re.MULTILINE)
    for text, place in ((one, "as given"), (whole, "step 0")):
        assert f"rung        update, {place}, float32" in text
        assert "tensor      W1" in text
        (element,) = re.findall(r"element     \[(\d+), (\d+)\]", text)
        assert int(element[0]) < 784
        assert int(element[1]) < 256
    assert "looks like  a constant factor: 1.001" in one
    assert "the step is 1.001 times as long: the learning rate" in whole
    assert re.search(r"\[[+-]\d\.\d\de-\d\d\]", one)  # the worst element, among its neighbours
    assert "rungs       inputs ✓ 0; forward ✓" in whole
    assert "update ✗" in whole


def test_a_gradient_that_is_missing_is_named_by_its_tensor():
    fault = "numpy-engine=tests/faults.py:bias_gradient_forgotten"
    words = ("-k", "gradients and numpy-engine-256-float64", "--backend-plant", fault)
    printed = run(EXAMPLE, *words, counts={"failed": 1})
    assert "gradients, as given, float64: b1 is off by 1, limit 3.3e-15" in printed
    assert "looks like  it is all zeros" in printed
    assert "tensors     ✓ W1" in printed


# -- who does not use it -------------------------------------------------------------------------

OWN = """
import pytest

@pytest.fixture
def backend():
    return "my own"

@pytest.fixture
def trainer():
    return "mine too"

def test_own_fixtures(backend, trainer):
    assert (backend, trainer) == ("my own", "mine too")

@pytest.mark.parametrize("reference", [1, 2])
def test_own_arguments(reference):
    assert reference in (1, 2)

@pytest.mark.parametrize("backend", ["a", "b"])
def test_own_arguments_of_that_name(backend):
    assert backend in "ab"
"""
LOADED = """
import sys

def pytest_unconfigure():
    names = ("numpy", "harness.testing.handles", "harness.plan", "backends", "msgspec")
    print("LOADED", [name for name in names if name in sys.modules])
"""


def test_a_suite_of_its_own_fixtures_and_arguments_is_left_alone(tmp_path):
    printed = suite(tmp_path, counts={"passed": 5}, test_own=OWN, conftest=LOADED)
    assert "LOADED []" in printed
    assert "harness" not in printed.partition("collected")[0].partition("plugins:")[0]


def test_the_plug_in_imports_pytest_and_the_standard_library_only_in_a_tenth_of_a_second():
    """Its own import and hooks, in the process; not what pytest itself takes."""
    code = """
import argparse, itertools, sys, time, pytest
before, began = set(sys.modules), time.perf_counter()
import harness.testing.pytest_plugin
seconds = time.perf_counter() - began
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(seconds, *sorted(new - set(sys.stdlib_module_names)))
"""
    words = [sys.executable, "-c", code]
    found = []
    for _ in range(3):
        done = subprocess.run(words, text=True, capture_output=True, check=True, cwd="/")
        seconds, *names = done.stdout.split()
        assert names == ["harness"]
        found.append(float(seconds))
    assert min(found) < 0.1, found


THEIRS = """
def pytest_addoption(parser):
    parser.addoption("--backend", default="theirs", help="of this suite")
"""
ASKS = """
def test_their_option_is_theirs(request):
    assert request.config.getoption("--backend") == "given"
    assert request.config.getoption("harness_backends", None) is None
"""


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("conftest", ("--backend", "given")),
        ("conftest", ("--backend=given",)),
        ("other_plugin", ("-p", "other_plugin", "--backend", "given")),
    ],
)
def test_who_has_an_option_of_that_name_keeps_it(tmp_path, where, words):
    printed = suite(tmp_path, *words, counts={"passed": 1}, test_it=ASKS, **{where: THEIRS})
    assert "harness: another plug-in has --backend" in printed


def test_the_value_of_an_option_is_not_taken_for_a_file(tmp_path):
    """Else the conftest of `testpaths`, and the options in it, would not be found."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = inside\n")
    suite(
        tmp_path,
        *("--backend", "numpy", "--extra"),
        counts={"passed": 1},
        inside__conftest="def pytest_addoption(parser):\n"
        "    parser.addoption('--extra', action='store_true')\n",
        inside__test_it="def test_it(request, backend):\n"
        "    assert request.config.getoption('--extra')\n"
        "    assert backend.label == 'numpy'\n",
    )


# -- which backends ------------------------------------------------------------------------------

LABELS = "def test_it(backend):\n    assert backend.label\n"
WITHOUT_TORCH = """
from harness.plan import plugins
found = plugins.missing
plugins.missing = lambda entry, *rest: (
    "torch not installed; install it" if entry.name == "torch" else None
)
"""


def test_without_the_option_every_built_in_backend_and_a_missing_one_is_skipped(tmp_path):
    counts = {"passed": 3, "skipped": 1}
    printed = suite(tmp_path, "-v", counts=counts, conftest=WITHOUT_TORCH, test_it=LABELS)
    assert "torch: torch not installed; install it" in printed
    for name in ("numpy", "torch", "jax", "tensorflow"):
        assert f"test_it[{name}]" in printed


def test_a_missing_backend_that_was_named_fails_and_the_others_are_tested(tmp_path):
    words, counts = ("--backend", "numpy", "--backend", "torch"), {"passed": 1, "error": 1}
    printed = suite(tmp_path, *words, counts=counts, conftest=WITHOUT_TORCH, test_it=LABELS)
    assert "--backend torch: torch not installed; install it" in printed


def test_options_that_mean_nothing_are_refused_before_anything_is_collected(tmp_path):
    printed = suite(tmp_path, "--backend", "nonsense", counts={}, test_it=LABELS)
    assert printed.startswith("ERROR: --backend 'nonsense': unknown; give ")
    assert "Traceback" not in printed


@pytest.fixture
def bench(tmp_path) -> Any:
    """Benches whose workers are ended at the end."""
    made: list[Bench] = []

    def make(*backends: str, **words: Any) -> Bench:
        made.append(Bench(backends=backends, root=tmp_path, **words))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("backends", "words", "said"),
    [
        (("gone.py",), {}, "there is no Python file gone.py"),
        (("numpy", "numpy"), {}, "every label once"),
        (("numpy",), {"plants": {"torch": "x.py:f"}}, "--backend-plant 'torch': unknown; .* numpy"),
        (("numpy",), {"pythons": {"jax": "/x"}}, "--backend-python 'jax': unknown; .* numpy"),
        ((), {"device": "tpu"}, "--device 'tpu': unknown"),
    ],
)
def test_words_that_mean_nothing_are_refused(bench, backends, words, said):
    with pytest.raises(InputError, match=said):
        bench(*backends, **words)


def handle(bench: Bench, label: str, folder: Path = Path("/nowhere")) -> RemoteBackend:
    return RemoteBackend(bench, label, lambda: folder)


def test_a_backend_that_cannot_start_here_is_skipped_unless_it_was_named(bench, tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    named = bench("odd.py:Gone")
    with pytest.raises(interface.Unavailable, match="odd: Unavailable: not on this machine"):
        handle(named, "odd").trainer()
    plan = named.plan("odd")
    named.named, named.plan = False, lambda label: plan  # as one of those that nobody named
    with pytest.raises(unittest.SkipTest, match="odd: Unavailable: not on this machine"):
        handle(named, "odd").trainer()
    # A device without float64 is no failure, whoever was named.
    with pytest.raises(unittest.SkipTest, match="no float64 on this device"):
        handle(bench("odd.py:Odd"), "odd").trainer(dtype="float64")


def test_interpreters_come_from_harness_toml_beside_the_tests(bench, tmp_path):
    (tmp_path / "harness.toml").write_text(f'[python]\nmine = "{sys.executable}"\n')
    made = bench("mine=numpy")
    assert made.plan("mine").labels["mine"].python == sys.executable
    (tmp_path / "harness.toml").write_text('[python]\nmine = "/nowhere/python"\n')
    with pytest.raises(InputError, match="no such program"):
        bench("mine=numpy").plan("mine")


# -- workers -------------------------------------------------------------------------------------

PIDS = """
import os, pytest

@pytest.mark.parametrize("trainer", ["float32", "float64"], indirect=True)
@pytest.mark.parametrize("again", [1, 2])
def test_it(trainer, backend, again):
    worker = trainer._connection._worker
    with open("pids", "a") as file:
        file.write(f"{os.getpid()} {trainer.dtype} {worker.pid}\\n")
    assert backend.facts["version:numpy"]
"""


@pytest.mark.parametrize("words", [(), ("-n", "2")])
def test_a_worker_is_started_once_per_dtype_and_none_outlives_the_session(tmp_path, words):
    suite(tmp_path, "--backend", "numpy", *words, counts={"passed": 4}, test_it=PIDS)
    lines = [line.split() for line in (tmp_path / "pids").read_text().splitlines()]
    workers = {(session, dtype): set() for session, dtype, _ in lines}
    for session, dtype, pid in lines:
        workers[session, dtype].add(int(pid))
    assert {len(pids) for pids in workers.values()} == {1}
    for pids in workers.values():
        for pid in pids:
            assert not os.path.exists(f"/proc/{pid}")


def test_beside_other_pytest_processes_workers_have_processors_of_their_own(monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no affinity here")
    own = {0, 1, 2, 3}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(own))
    monkeypatch.setattr(os, "listdir", lambda folder: ["0"])  # its one thread
    chosen = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, given: chosen.append(set(given)))
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    for place in ("gw0", "gw1"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", place)
        assert testing._threads() == 2
        with testing._processors_apart(2):
            pass
    assert chosen == [{0, 1}, own, {2, 3}, own]
    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    assert testing._threads() == 4


def test_the_remote_trainer_has_the_very_methods_of_a_trainer():
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: [*inspect.signature(value).parameters]
            for name, value in vars(kind).items()
            if inspect.isfunction(value) and not name.startswith("_")
        }

    assert methods(RemoteTrainer) == methods(interface.Trainer) | methods(interface.Traces)


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Any:
    """NumPy, and a backend that goes wrong, with one thread each."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "odd.py").write_text(ODD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_threads", lambda: 1)
        made = Bench(backends=("numpy", "odd.py:Odd"), root=folder)
        yield {label: handle(made, label) for label in made.labels}
        made.close()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_done_far_away_is_done_bit_for_bit_as_here(remote, dtype):
    there = remote["numpy"].trainer(dtype=dtype)
    here = NumPy("cpu", dtype, 1, "buffered").trainer(WORKLOAD)
    rng = np.random.default_rng(0)
    state = {t.name: rng.standard_normal(t.shape).astype(dtype) for t in WORKLOAD.tensors}
    given = {"x": rng.random((7, 784)).astype(dtype), "y": rng.integers(10, size=7)}

    def told(trainer: Any) -> list[bytes]:
        trainer.set_state(state)
        batch = trainer.put(given)
        held = trainer.fetch(batch)
        found = [held["x"], held["y"]]
        found += [trainer.outputs(batch, training=training) for training in (False, True)]
        found += trainer.trace(batch).values()
        loss, grads = trainer.loss_and_grads(batch)
        losses = [trainer.step(batch), trainer.step(batch)]
        found += [np.array([loss, *map(trainer.wait, losses)]), *grads.values()]
        return [np.ascontiguousarray(a).tobytes() for a in (*found, *trainer.get_state().values())]

    assert told(there) == told(here)
    there.close()
    there.close()
    with pytest.raises(ValueError, match="closed"):
        there.get_state()


def test_numbers_that_are_not_finite_come_back_as_they_are(remote):
    trainer = remote["odd"].trainer()
    batch = batch_of(trainer, 7)
    assert trainer.wait(trainer.step(batch)) == float("-inf")
    assert np.isnan(trainer.outputs(batch, training=False)).all()


def batch_of(trainer: Any, n: int) -> Any:
    return trainer.put({"x": np.zeros((n, 784), np.float32), "y": np.zeros(n, np.int64)})


@pytest.mark.parametrize(
    ("rows", "kind"), [(1, ValueError), (2, interface.Unavailable), (4, ValueError)]
)
def test_what_a_backend_raises_for_its_caller_arrives_as_what_it_is(remote, rows, kind):
    trainer = remote["odd"].trainer()
    with pytest.raises(kind) as caught:
        trainer.outputs(batch_of(trainer, rows), training=False)
    assert type(caught.value) is kind
    if rows != 4:
        assert str(caught.value) == f"batches of {rows} are refused\nin two lines"
    assert "in outputs" in "".join(caught.value.__notes__)  # where, in the worker
    seven = batch_of(trainer, 7)
    assert trainer.outputs(seven, training=False).shape == (7, 10)  # and it goes on


@pytest.mark.parametrize(
    ("rows", "said", "told"),
    [(3, "RuntimeError: batches of 3 are refused", "in outputs"), (5, "exit status 3", "")],
)
def test_any_other_failure_ends_the_process_and_the_next_test_has_another(remote, rows, said, told):
    trainer = remote["odd"].trainer()
    first = trainer._connection._worker.pid
    with pytest.raises(WorkerFailed, match=said) as caught:
        trainer.outputs(batch_of(trainer, rows), training=False)
    assert told in "".join(getattr(caught.value, "__notes__", ""))
    with pytest.raises(WorkerFailed, match="its process is gone"):
        trainer.get_state()
    trainer.close()
    assert not os.path.exists(f"/proc/{first}")
    again = remote["odd"].trainer()
    assert again._connection._worker.pid != first
    assert again.outputs(batch_of(again, 7), training=False).shape == (7, 10)


def test_a_batch_of_another_process_is_refused(remote):
    one, other = remote["numpy"].trainer(), remote["odd"].trainer()
    for foreign in (batch_of(other, 7), (np.zeros((7, 784)), np.zeros(7)), 0):
        with pytest.raises(TypeError, match="a batch is what put"):
            one.step(foreign)


def test_a_wrong_state_is_a_value_error(remote):
    with pytest.raises(ValueError, match="W1"):
        remote["numpy"].trainer().set_state({"W2": np.zeros((256, 10))})
    with pytest.raises(ValueError, match="no-such"):
        remote["numpy"].trainer(msgspec.structs.replace(WORKLOAD, model="no-such"))


def test_batches_that_nobody_holds_are_given_back(remote):
    trainer = remote["numpy"].trainer()
    batches = [batch_of(trainer, 7) for _ in range(3)]
    numbers = [batch.number for batch in batches]
    del batches[:2]
    assert {*trainer._connection.dropped} == {*numbers[:2]}
    assert trainer.outputs(batches[0], training=False).shape == (7, 10)
    assert trainer._connection.dropped == []
    served = RemoteDesk(0, lambda *_: None)
    served._backend = NumPy("cpu", "float32", 1, "buffered")
    made = served.remote("make", [], workload=msgspec.to_builtins(WORKLOAD))["value"]
    assert len(served._held) == 1
    served.remote("close", [], trainer=made)
    assert served._held == {}


# -- the reference -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=LIGHT)
def oracle(request) -> Oracle:
    declared = DECLARED[request.param]
    return Oracle(declared.workload, declared.net)


def test_the_reference_says_what_the_judge_does_and_changes_nothing(oracle):
    state, batch = oracle.initial(), oracle.batch(96)
    before = {name: value.copy() for name, value in state.items()}
    assert (batch["x"].dtype, batch["x"].shape) == (np.float32, (96, *oracle.workload.x))
    look, new = oracle.look(state, batch), oracle.step(state, batch)
    assert {*new} == {*state} == {t.name for t in oracle.workload.tensors}
    last = oracle.workload.trained[-1].name
    for name, value in state.items():
        assert np.array_equal(value, before[name])
    # A plain step, or the first one with momentum; Adam's first is as long whatever the gradient.
    rule, grad = oracle.workload.optimiser, look.grads[last]
    way = np.sign(grad) if rule.rule == "adam" else grad
    assert np.allclose(new[last], state[last].astype(np.float64) - rule.lr * way, 1e-8, 1e-12)
    assert np.array_equal(oracle.outputs(state, batch), look.outputs)
    assert np.array_equal(oracle.trace(state, batch)[oracle.workload.trace[-1]], look.outputs)
    # A step in the direction of a tensor changes the loss by its gradient.
    wide = {name: value.astype(np.float64) for name, value in state.items()}
    up, down = (oracle.look(wide | {last: wide[last] + h}, batch).loss for h in (1e-5, -1e-5))
    rounding = 1e-9 * max(1.0, look.loss)
    assert (up - down) / 2e-5 == pytest.approx(grad.sum(), rel=1e-8, abs=rounding)


def test_batches_are_clear_of_kinks_and_differ_by_seed(oracle):
    batch, again, other = oracle.batch(64), oracle.batch(64), oracle.batch(64, seed=1)
    assert np.array_equal(batch["x"], again["x"])
    one = oracle.workload.data in ("one-to-zero", "none")  # every sample is the same
    assert np.array_equal(batch["x"], other["x"]) == one
    assert clear(oracle._judge, oracle.initial(), batch).all()
    assert one or len(np.unique(batch["y"])) > 1
    with pytest.raises(ValueError, match="a batch of 3000: there are"):
        oracle.batch(3000)


def test_a_batch_is_by_default_one_of_the_workload(oracle):
    assert len(oracle.batch()["x"]) == (oracle.workload.batch_size or len(oracle._pool["x"]))


# -- assert_agrees -------------------------------------------------------------------------------

RNG = np.random.default_rng(7)
WANT = {"W1": RNG.standard_normal((6, 5)), "b1": RNG.standard_normal(5)}
GOT = {name: value.astype(np.float32) for name, value in WANT.items()}


def disagreement(*args: Any, **words: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_agrees(*args, **words)
    return str(caught.value)


@pytest.mark.parametrize("rung", ["forward", "loss", "gradients"])
def test_tensors_within_the_rungs_limit_agree(rung):
    assert_agrees(GOT, WANT, rung=rung)
    assert_agrees(WANT, WANT, rung=rung, dtype="float64")
    assert_agrees(GOT["W1"], WANT["W1"], rung=rung)
    assert_agrees(WANT, WANT, rung="lockstep", dtype="float64")
    assert_agrees(GOT, {n: v.copy() for n, v in GOT.items()}, rung="inputs")
    assert_agrees(1.0, 1.0 + 1e-7, rung="loss")


@given(
    name=st.sampled_from(["W1", "b1"]),
    place=st.integers(0, 4),
    size=st.floats(1e-3, 1e3),
    negative=st.booleans(),
)
def test_one_element_that_is_off_is_found_and_named(name, place, size, negative):
    got = {n: v.copy() for n, v in GOT.items()}
    index = (place + 1, place) if name == "W1" else (place,)
    got[name][index] += -size if negative else size
    told = disagreement(got, WANT, rung="gradients")
    assert told.startswith(f"gradients, as given, float32: {name} is off by ")
    assert f"  element     {list(index)}\n" in told
    assert f"  got         {float(got[name][index])!r}\n" in told
    assert f"  expected    {float(WANT[name][index])!r}\n" in told
    assert "(24 roundings of float32" in told


WHOLE = [
    (np.array([2**53 + 1]), np.array([2**53]), "9007199254740993 where 9007199254740992 is wanted"),
    (
        np.array([5, 2**64 - 1], np.uint64),
        np.array([5, -1]),
        r"18446744073709551615 where -1 .*\[1\]",
    ),
    (np.array([2**63], np.uint64), np.array([-(2**63)]), "9223372036854775808 where -9223372036"),
    (np.array([255], np.uint8), np.array([-1], np.int8), "got 255.0, expected -1.0"),
    (np.array([True]), np.array([0]), "got 1.0, expected 0.0"),
]


@pytest.mark.parametrize(("got", "want", "said"), WHOLE)
def test_whole_numbers_are_equal_or_not_whatever_holds_them(got, want, said):
    assert re.search(said, disagreement(got, want))
    assert re.search("shape", disagreement(got, want[:0]))
    for same in (got, want):
        assert_agrees(same, same.copy())
    assert_agrees(np.array([3, 2**40], np.uint64), np.array([3, 2**40]))


@pytest.mark.parametrize("values", [[1 + 5j], ["a"], [{"b": 1.0}]])
def test_what_is_no_array_of_real_numbers_is_refused(values):
    for pair in ((np.float32([1.0]), values), (values, np.float32([1.0]))):
        with pytest.raises(ValueError, match="are not compared: give arrays of real numbers"):
            assert_agrees(*pair)


def test_of_inputs_a_list_has_the_dtype_of_what_it_is_beside():
    for got in (0.1, [0.1], np.float32([0.1])):
        assert_agrees(got, [0.1] if np.ndim(got) else 0.1, rung="inputs")
        assert "is off by 1 elements" in disagreement(
            got, np.add(got, 1e-7).tolist(), rung="inputs"
        )
    assert_agrees(np.array([0.1]), [0.1], rung="inputs", dtype="float64")
    assert "float32 where float64" in disagreement([0.1], np.array([0.1]), rung="inputs")


def test_a_name_may_be_a_number():
    assert {*assert_agrees({1: np.float32([1])}, {1: np.float32([1])})} == {"1"}


TORCH = """
import numpy as np, torch
from harness.testing import assert_agrees
held = torch.ones(3, requires_grad=True)
assert_agrees(held, np.ones(3))
assert_agrees(held.bfloat16(), np.ones(3), dtype="bfloat16")
try:
    assert_agrees(2 * held.bfloat16(), np.ones(3), dtype="bfloat16")
except AssertionError as error:
    print(error)
"""


@needs("torch")
def test_tensors_of_torch_are_taken_with_a_gradient_and_in_bfloat16():
    pytest.importorskip("ml_dtypes")
    done = subprocess.run([sys.executable, "-c", TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("forward, as given, bfloat16: outputs are off by 1, ")


# -- what its limit rests on: rounding, by dtype and size ------------------------------------------


def layer_norm(x: np.ndarray, epsilon: float) -> np.ndarray:
    """Float32 all through for float32, of the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + x.dtype.type(epsilon))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


X, W = RNG.standard_normal((1000, 1000)), RNG.standard_normal((1000, 300))
# Correct code, of x and weights; the same in float64 is what is wanted.
CORRECT: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "a product": lambda x, w: x @ w,
    "layer norm": lambda x, w: layer_norm(x, 1e-5),
    "softmax": lambda x, w: softmax(x),
    "two layers": lambda x, w: np.maximum(x @ w, 0) @ w.T[:, :50],
    "attention": lambda x, w: softmax((x @ w) @ (x[:200] @ w).T / w.shape[1] ** 0.5) @ x[:200],
    "a sum": lambda x, w: x.sum(axis=1),
    "a single number": lambda x, w: np.mean(x**2),
}
# What correct float32 gives, and a fault makes of it.
FAULTY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "another epsilon": lambda x: layer_norm(x, 1e-6),
    "a factor of 1 + 3e-6": lambda x: layer_norm(x, 1e-5) * np.float32(1 + 3e-6),
    "one element of a million": lambda x: off_at(layer_norm(x, 1e-5), (417, 23), 4e-3),
    "one row of a thousand": lambda x: off_at(layer_norm(x, 1e-5), (417,), 3e-5),
}


def off_at(array: np.ndarray, place: tuple[int, ...], size: float) -> np.ndarray:
    array[place] += np.float32(size)
    return array


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("what", CORRECT)
def test_correct_code_stays_below_a_third_of_the_limit(what: str, dtype: str) -> None:
    x, w = X[:200].astype(dtype), (W / 30).astype(dtype)
    if dtype == "float16":  # computed in float32, as devices do, and stored
        got = CORRECT[what](x.astype(np.float32), w.astype(np.float32)).astype(dtype)
    else:
        got = CORRECT[what](x, w)
    want = CORRECT[what](x.astype(np.longdouble), w.astype(np.longdouble))
    third = rounding_limit(dtype, got.size) / 3
    measured = assert_agrees(got, want.astype(np.float64), dtype=dtype, limit=third)
    assert measured.distance <= third


@pytest.mark.parametrize("what", FAULTY)
def test_a_fault_that_the_mlps_own_limit_lets_pass_is_found(what: str) -> None:
    x = X.astype(np.float32)
    want = layer_norm(x.astype(np.float64), 1e-5)
    told = disagreement(FAULTY[what](x), want)
    assert "24 roundings of float32" in told
    place = re.search(r"element     \[(\d+), (\d+)\]", told)
    assert place is not None
    if "one" in what:
        assert place[1] == "417"
    lax = assert_agrees(FAULTY[what](x), want, limit=1e-2)  # the caller's own
    assert lax.distance > 1e-8


def test_the_limit_is_the_callers_where_one_is_given_and_says_on_what_it_rests() -> None:
    off = GOT["W1"] * np.float32(1 + 1e-4)
    told = disagreement(off, WANT["W1"], limit=1e-5)
    assert "limit       1e-5 (given: limit=)" in told
    assert assert_agrees(off, WANT["W1"], limit=2e-4).tensor == "outputs"
    measured = assert_agrees(GOT, WANT)
    assert [*measured] == ["W1", "b1"]
    assert all(0 < m.distance < 1e-6 for m in measured.values())
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="limit"):
            assert_agrees(GOT, WANT, limit=wrong)
    with pytest.raises(ValueError, match="float8: no dtype"):
        assert_agrees(GOT, WANT, dtype="float8")


@pytest.mark.parametrize(
    ("got", "want", "said"),
    [
        ([1.0, 2.5], [1.0, 2.5], ""),
        ([[1, 2], [3, 4]], np.array([[1.0, 2.0], [3.0, 4.0]]), ""),
        (2, 2.0, ""),
        ((0.1, 0.2), (0.1, 0.2), ""),
        ([1, 2, 3], [1, 2, 3], ""),
        (np.array([1, 2, 3], np.uint8), np.array([1, 2, 3]), ""),
        ([True, False], [True, False], ""),
        (np.array([1.0, 2.0], np.float16), [1.0, 2.0], "float16"),
        ([1.0, 2.5], [1.0, 2.6], "outputs are off by 0.036"),
        ([1, 2, 3], [1, 5, 5], "are off by 2, limit 0; worst at [1]: got 2.0, expected 5.0"),
        ([1, 2], [1, 2, 3], "shape (2,) where (3,) is wanted"),
        (np.array([1, 2]), [1.0, 2.0], "dtype int64 where float32 is wanted"),
    ],
)
def test_lists_whole_numbers_and_half_precision_are_taken(got: Any, want: Any, said: str) -> None:
    dtype = "float16" if said == "float16" else "float32"
    if said in ("", "float16"):
        assert assert_agrees(got, want, dtype=dtype).distance < 1e-7
    else:
        assert said in disagreement(got, want)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (GOT | {"W1": GOT["W1"].T}, "W1 cannot be compared: shape (5, 6) where (6, 5) is wanted"),
        (GOT | {"b1": WANT["b1"]}, "b1 cannot be compared: dtype float64 where float32 is wanted"),
        (GOT | {"b1": GOT["b1"] * np.nan}, "NaN only in what was got, at [0] (5 elements differ)"),
        (GOT | {"b1": np.full(5, np.inf, np.float32)}, "+inf only in what was got"),
        (GOT | {"W2": GOT["b1"]}, "gradients: W2 is not wanted"),
        ({"W1": GOT["W1"]}, "gradients: b1 is missing"),
        ({"b1": GOT["b1"], "w1": GOT["W1"]}, "gradients: W1 is missing, w1 is not wanted"),
        (GOT | {"W1": GOT["W1"] * np.float32(1.001)}, "a constant factor: 1.00"),
        (GOT | {"W1": 0 * GOT["W1"]}, "looks like  it is all zeros"),
    ],
)
def test_what_does_not_fit_is_named(got, said):
    assert said in disagreement(got, WANT, rung="gradients")


def test_inputs_are_compared_bit_for_bit():
    zero = {"x": np.zeros(3, np.float32)}
    told = disagreement({"x": np.array([0, -0.0, 0], np.float32)}, zero, rung="inputs")
    assert "x is off by 1 elements, limit 0; worst at [1]" in told


def test_an_update_is_held_to_the_change_and_not_to_the_weights():
    before = {"W": np.full((4, 3), 100, np.float32)}
    grads = RNG.standard_normal((4, 3))
    want = {"W": before["W"] - 0.1 * grads}
    right = {"W": (before["W"] - 0.1 * grads).astype(np.float32)}
    assert_agrees(right, want, rung="update", before=before)
    wrong = {"W": (before["W"] - 0.11 * grads).astype(np.float32)}
    assert np.allclose(wrong["W"], want["W"], rtol=1e-3)  # which a plain comparison lets pass
    assert "a constant factor: 1.10" in disagreement(wrong, want, rung="update", before=before)
    with pytest.raises(ValueError, match="give before="):
        assert_agrees(right, want, rung="update")
    with pytest.raises(ValueError, match="before= has no W of the shape"):
        assert_agrees(right, want, rung="update", before={"W": grads})


@pytest.mark.parametrize(
    ("rung", "dtype"), [("timing", "float32"), ("nonsense", "float32"), ("lockstep", "float32")]
)
def test_a_rung_without_a_limit_is_no_agreement(rung, dtype):
    with pytest.raises(ValueError, match="no limit is fixed for"):
        assert_agrees(GOT, GOT, rung=rung, dtype=dtype)


def test_a_backend_that_fails_in_the_ladder_is_told_with_its_last_words(bench, tmp_path, small):
    (tmp_path / "odd.py").write_text(ODD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASHION_MNIST_DIR", small["FASHION_MNIST_DIR"])
        told = disagreement(handle(bench("odd.py:Odd"), "odd", tmp_path))
    assert told.startswith("failed: 1 of 1 backends failed (odd: ")
    assert f"stored      harness report {tmp_path}" in told


def test_hostile_text_of_a_backend_does_not_steer_the_terminal():
    told = disagreement({"\x1b[31mW1": GOT["W1"]}, {"\x1b[31mW1": WANT["W1"] + 1})
    assert "\x1b" not in told


def test_no_test_of_the_example_imports_a_framework():
    for file in (EXAMPLE / "tests").glob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert names <= {"pytest"}
