"""The conformance kit: the NumPy backend passes it, and every broken one fails its own check first.

Everything here is in this process; workers are in test_certify.py.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from backends.numpy import Backend
from harness.conformance import (
    CHECKS,
    DTYPES,
    Check,
    Failed,
    NotPossible,
    Subject,
    operators,
    process,
    serve,
    state,
    stepping,
)
from harness.conformance.material import STEPS, material
from harness.conformance.serve import answer
from harness.conformance.system import processor_time, typical_growth
from harness.workers.loading import load_file
from harness.workloads import DECLARED, DEFAULT
from harness.workloads.reference.composed import cast
from harness.workloads.reference.limits import limit_for
from harness.workloads.reference.losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from harness.workloads.reference.screening import SMALL_LEAST_LOSS, clear
from tests.conftest import all_processors
from tests.make import LIGHT

BROKEN = Path(__file__).parent / "broken"
FILES = ("manners", "copying", "state", "numbers", "modes", "stepping", "process")
# They end their process, or never do: test_certify.py has them in workers.
IN_WORKERS = {"Crashes", "Hangs", "NeverEnds", "LeavesAChild", "EndsWithStatus3"}


def broken_classes() -> dict[str, type]:
    found = {}
    for file in FILES:
        module = load_file(str(BROKEN / f"{file}.py"))
        for name, value in vars(module).items():
            if isinstance(value, type) and hasattr(value, "fails"):
                found[name] = value
    return found


CLASSES = broken_classes()
NAMES = [check.name for check in CHECKS]


def subjects(backend: type, variant: str = "buffered") -> dict[str, Subject]:
    workload = getattr(backend, "workload", DEFAULT)
    return {
        dtype: Subject(backend("cpu", dtype, 1, variant), workload=workload, dtype=dtype)
        for dtype in DTYPES
    }


def answers(backend: type) -> list[dict[str, Any]]:
    """What the checks say, in order, to the first that fails; it is the last then."""
    made = subjects(backend)
    told: list[dict[str, Any]] = []
    try:
        for check in CHECKS:
            for dtype in check.dtypes:
                told.append({"check": check.name} | answer(made[dtype], check.name))
                if told[-1]["status"] == "failed":
                    return told
        return told
    finally:
        for subject in made.values():
            subject.renew()
        gc.collect()


@pytest.fixture
def quick(monkeypatch):
    """Fewer steps under watch, and fewer attempts: for all but the checks that watch."""
    monkeypatch.setattr(process, "WARM_UP", 20)
    monkeypatch.setattr(process, "WATCHED", 200)
    monkeypatch.setattr(process, "WATCHED_S", 0.05)
    monkeypatch.setattr(stepping, "ATTEMPTS", 4)
    monkeypatch.setattr(operators, "ATTEMPTS", 3)
    monkeypatch.setattr(state, "ROUNDS", 3)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in IN_WORKERS])
def test_the_first_check_that_a_broken_backend_fails_is_its_own(name, quick, monkeypatch):
    backend = CLASSES[name]
    if backend.fails == "memory":
        monkeypatch.undo()
    if backend.fails == "threads":
        monkeypatch.setattr(process, "WATCHED_S", 0.3)
    try:
        with all_processors(), threadpool_limits(1):
            told = answers(backend)
    finally:
        if name == "LeavesAThread":
            backend.kind.released.set()
    for said in told:  # more threads do not show where processors are few or others hold them
        if name == "Helpers" and (said["check"], said["status"]) == ("threads", "not-possible"):
            pytest.skip(said["message"])
    assert told[-1]["status"] == "failed", "nothing failed"
    assert told[-1]["check"] == backend.fails, told[-1]
    assert told[-1]["message"]


@pytest.mark.parametrize("base", ["Broken", "OfModes"])
def test_the_trainers_that_are_broken_elsewhere_are_whole(base, quick):
    bases = {kind.__name__: kind for found in CLASSES.values() for kind in found.__mro__}
    with all_processors(), threadpool_limits(1):
        assert answers(type("Whole", (bases[base],), {}))[-1]["status"] != "failed"


def test_every_check_has_a_broken_backend():
    assert {backend.fails for backend in CLASSES.values()} == set(NAMES)
    assert len(CLASSES) >= 40
    assert all(backend.__doc__ for backend in CLASSES.values())


# One of every kind: by classes, numbers or nothing, by units, images or a function.
KINDS = ("mlp-scratch", "mnist-mlp", "cifar-net", "diabetes", "nielsen-cross-entropy",
         "linear-regression", "himmelblau", "diabetes-relu")  # fmt: skip


@pytest.mark.parametrize("workload", KINDS)
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_conforms(check, workload):
    """As in a backend's own repository, with each workload that there is."""
    try:
        check(Subject(Backend("cpu", "float64", 1, "plain"), workload=workload, dtype="float64"))
    except NotPossible as reason:
        pytest.skip(str(reason))


def test_checks_are_named_after_their_functions_and_say_in_a_sentence_what_holds():
    assert len({*NAMES}) == len(NAMES) >= 30
    for check in CHECKS:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.name)
        assert check.sentence.endswith(".")
        assert len(check.sentence) < 100
        assert str(check) == check.name
        assert {*check.dtypes} <= {*DTYPES}


def test_the_contract_names_every_check_in_its_order():
    page = (Path(__file__).parent.parent / "docs" / "contract.md").read_text(encoding="utf-8")
    table = page.partition("|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [row[1] for row in rows] == NAMES
    assert all(len(row) == 3 and all(row) for row in rows)
    only = (
        [c.name for c in CHECKS if c.dtypes == ("float64",)],
        [c.name for c in CHECKS if c.dtypes == ("float32",)],
    )
    for names in only:
        assert ", ".join(f"*{name}*" for name in names) in " ".join(page.split())


def test_a_check_in_a_dtype_that_it_is_not_for_is_not_possible():
    subject = subjects(Backend)["float32"]
    check = next(check for check in CHECKS if check.name == "lockstep")
    with pytest.raises(NotPossible, match="float64 only"):
        check(subject)


@pytest.mark.parametrize("name", LIGHT)
def test_the_made_training_is_a_training_and_nobody_can_write_into_it(name):
    made = material(DECLARED[name])
    assert {value.dtype for value in made.pool.values()} <= {np.dtype("f4"), np.dtype("i8")}
    assert not any(value.flags.writeable for value in (*made.pool.values(), *made.initial.values()))
    assert len(made.losses) == STEPS
    if len(made.pool["x"]) >= 8 * 200:  # of few samples each batch is another
        assert made.losses[-1] < made.losses[0]
    assert {len(rows) for rows in made.batches} <= {made.full, made.short}


def test_batches_of_every_size_are_those_of_a_run():
    made = material(DECLARED["mlp-scratch"])
    assert made.sizes == (256, 96, 7, 1)
    assert {len(rows) for rows in made.batches} == {256, 96}
    assert {*made.pool["y"].tolist()} == {*range(10)}
    assert {len(case.batch["x"]) for case in made.cases.values()} == {*made.sizes}


@pytest.mark.parametrize("name", LIGHT)
def test_every_case_is_clear_of_every_kink_and_small_ones_are_unsure(name):
    made = material(DECLARED[name])
    for case in made.cases.values():
        state = cast(case.state, "float32")
        if not case.case.startswith("corner"):  # its blank sample is at a kink, and meant to be
            assert clear(made.judge, state, case.batch).all(), case.case
        if case.case.endswith(("batch of 7", "batch of 1")):
            outputs = made.judge.outputs(cast(case.state), cast(case.batch))
            losses = made.judge.net.loss.of_samples(outputs, case.batch.get("y", np.zeros(0)))
            # Other losses may be small everywhere.
            if isinstance(made.judge.net.loss, SoftmaxCrossEntropy | BinaryCrossEntropy):
                assert losses.min() >= min(SMALL_LEAST_LOSS, 0.6), case.case


def test_a_workload_without_such_a_batch_makes_its_check_impossible(monkeypatch):
    subject = subjects(Backend)["float64"]
    made = subject.material
    monkeypatch.setattr(subject, "material", replace(made, cases={"step 0": made.cases["step 0"]}))
    assert answer(subject, "outputs")["status"] == "passed"
    assert answer(subject, "shifted")["message"] == "mlp-scratch has no such batch"
    assert answer(subject, "shifted")["status"] == "not-possible"


def test_what_a_framework_raises_is_a_failure_that_says_so_and_the_next_trainer_is_new():
    class Raising(Backend):
        count = 0

        def trainer(self, workload):
            type(self).count += 1
            made = super().trainer(workload)
            if self.count == 1:
                made.fetch = lambda batch: 1 / 0
            return made

    subject = subjects(Raising)["float32"]
    told = answer(subject, "dtype-kept")
    assert told["status"] == "failed"
    assert told["message"] == "raised ZeroDivisionError: division by zero"
    assert answer(subject, "dtype-kept")["status"] == "passed"


def test_an_answer_can_be_encoded_whatever_the_evidence_holds(monkeypatch):
    def odd(subject):
        raise Failed(
            "two\nlines \udcff",
            value=float("inf"),
            limit=np.float32(0.5),
            got=float("nan"),
            want=-0.0,
        )

    monkeypatch.setattr(serve, "CHECKS", (Check(odd),))
    told = msgspec.json.decode(msgspec.json.encode(answer(subjects(Backend)["float32"], "odd")))
    assert (told["value"], told["limit"], told["got"]) == ("inf", 0.5, "nan")
    assert told["message"] == "two lines ?"


def evidence(name: str) -> dict[str, object]:
    """What the check that a broken backend is for says of it, in float32."""
    subject = Subject(CLASSES[name]("cpu", "float32", 1, ""), dtype="float32")
    return answer(subject, CLASSES[name].fails)


def test_evidence_names_the_element_and_both_values():
    told = evidence("LosesTheSignOfZero")
    assert told["value"] > told["limit"] == 0
    assert told["tensor"] in ("W1", "b1", "W2", "b2")
    assert told["element"] is not None
    assert (str(told["got"]), str(told["want"])) == ("0.0", "-0.0")


def test_the_limit_of_a_number_is_the_ladders():
    told, limit = evidence("LearningRateOff"), limit_for("update", "float32", "step 0")
    assert (told["limit"], told["why"]) == (limit.value, limit.reason)
    assert told["value"] == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(
    ("had", "wanted", "status"),
    [
        (1.0, 1.0, "passed"),
        (1.2, 1.2, "passed"),
        (1.3, 1.3, "failed"),
        (2.0, 0.0, "failed"),
        (0.3, 1.0, "passed"),  # busy: one thread that waits most of the time
        (0.3, 1.9, "not-possible"),  # busy: two threads, or one that is woken often
        (1.0, 1.9, "not-possible"),
        (0.3, 0.0, "not-possible"),  # busy, and the system does not tell what is wanted
        (0.1, 0.1, "not-possible"),  # a device computes
    ],
)
def test_more_threads_than_asked_for_show_in_the_processors_they_have(
    had, wanted, status, quick, monkeypatch
):
    def clock():
        now = time.perf_counter()
        return np.array([had * now, wanted * now])

    monkeypatch.setattr(process, "processor_time", clock)
    with threadpool_limits(1):
        subject = Subject(Backend("cpu", "float32", 1, "plain"), dtype="float32", processors=(0, 1))
        assert answer(subject, "threads")["status"] == status


def test_with_no_processor_to_spare_more_threads_do_not_show():
    with threadpool_limits(1):
        subject = Subject(Backend("cpu", "float32", 1, "plain"), dtype="float32", processors=(0,))
        told = answer(subject, "threads")
    assert told["status"] == "not-possible"
    assert "processor" in told["message"]


def test_what_threads_want_of_processors_is_told_also_while_others_hold_them():
    def work():
        square = np.ones((300, 300))
        while not done.is_set():
            square @ square

    done, helpers = threading.Event(), [threading.Thread(target=work) for _ in range(2)]
    with threadpool_limits(1):
        for helper in helpers:
            helper.start()
        time.sleep(0.05)
        before, began = processor_time(), time.perf_counter()
        time.sleep(0.4)
        (had, wanted), seconds = processor_time() - before, time.perf_counter() - began
        done.set()
        for helper in helpers:
            helper.join()
    assert 0 < had <= 2.2 * seconds
    if os.path.exists("/proc/self/schedstat"):
        assert wanted == pytest.approx(2 * seconds, rel=0.25)


def test_jumps_of_memory_are_no_growth_and_a_steady_one_is():
    assert typical_growth([10**8] * 4 + [2 * 10**8] * 4 + [3 * 10**8]) == 0
    assert typical_growth([10**8 + part * 5_500_000 for part in range(9)]) == 5_500_000


def test_nothing_of_the_kit_imports_what_a_worker_does_not_have():
    """A worker's environment: NumPy, msgspec, safetensors, threadpoolctl and the framework."""
    code = (
        "import sys, harness.conformance.serve;"
        "print({m.partition('.')[0] for m in sys.modules} & "
        "{'rich', 'typer', 'scipy', 'duckdb', 'jinja2', 'filelock', 'pooch', 'plotly', 'pytest'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
