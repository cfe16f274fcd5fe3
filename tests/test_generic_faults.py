"""Faults that any model can have, planted in every workload: first rung, layer and tensor right.

Each wraps a backend's trainer, whatever its model (tests/faults/generic.py). The workers of a
workload start once; data are small and made up, of its own shapes.
"""

from __future__ import annotations

import dataclasses
import sys
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from typing import NamedTuple

import msgspec
import pytest

from backends import BACKENDS
from harness import data, workloads
from harness.data import mnist, stand_ins
from harness.plan.make import missing
from harness.record.schema import OWN, Record
from harness.run import session
from harness.verdict import verdict
from harness.verdict.numbers import limit_of, share
from harness.workloads import DEFAULT
from harness.workloads.reference.limits import DECIDING
from tests.conftest import FAULTS as FOLDER
from tests.conftest import Silent, plant
from tests.faults.report import CAUGHT, Row, docstrings
from tests.make import LIGHT, make_plan
from tests.test_faults import MARGIN, QUICK, first_failing

sys.path.append(str(FOLDER))
from generic import FAULTS, NETS
from normed import NORMED

WORKLOADS = workloads.WORKLOADS | {NORMED.workload.name: NORMED.workload}
# What is no workload that is built in: its declaration, and where its rooms are.
OUTSIDE = {NORMED.workload.name: (f"{FOLDER / 'normed.py'}:NORMED", str(FOLDER.parent / "rooms"))}
# A trial of a second or two: little is trained, of few samples. Loops are test_faults.py's.
SHORT = {"steps": 8, "checkpoints": (0, 1, 5, -1), "trajectory": None}
FEW = (1200, 200)
IMAGES = {
    "fashion-mnist": (28, 28),
    "mnist": (28, 28),
    "mnist-shifted": (28, 28),
    "cifar-10": (32, 32, 3),
}
# Where every fault is asked for: some workloads in two frameworks, the others in one, in turn.
TWICE = {
    "mnist-mlp": ("numpy", "jax"),
    "diabetes": ("numpy", "tensorflow"),
    "cifar-net": ("torch", "jax"),
}
TWICE["normed"] = ("numpy", "torch")
ONCE = [name for name in LIGHT if name not in (*TWICE, DEFAULT)]
PLANTED_IN = TWICE | {name: (one,) for name, one in zip(ONCE, cycle(BACKENDS), strict=False)}
# Else: a framework, and what a workload is there for; None: all that it can have.
CHOSEN: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "mnist-mlp": ("numpy", ("relu6", "leaky_relu", "tf32_in_one_gradient")),
    "diabetes": ("numpy", None),
    "cifar-net": (
        "torch",
        (
            *("slot_not_decayed", "layout_transposed", "relu6"),
            *("tf32_in_one_product", "bias_gradient_dropped"),
        ),
    ),
    "himmelblau": ("numpy", None),
    "normed": (
        "numpy",
        (
            *("norm_with_larger_eps", "running_weight_swapped", "running_variance_over_n"),
            *("running_one_step_late", "evaluation_in_training_mode", "mask_not_scaled"),
            "keep_for_drop",
        ),
    ),
    "linear-regression": ("numpy", ("made_of_another_seed", "sum_for_mean", "l2_on_a_bias")),
    "nielsen-cross-entropy": (
        "numpy",
        ("decay_missing", "decay_of_biases_too", "slope_in_cross_entropy"),
    ),
}


class Planted(NamedTuple):
    """A fault in one framework of a workload, and the tensor that must be named."""

    workload: str
    backend: str
    function: str
    rung: str
    tensor: str

    def __str__(self) -> str:
        return f"{self.workload}-{self.function}-{self.backend}"


def planted(config: pytest.Config) -> list[Planted]:
    """Every fault that a workload can have, or those CHOSEN for it."""
    every = bool(config.getoption("--faults-report"))
    return [
        Planted(name, backend, function, fault.rung, where)
        for name in (PLANTED_IN if every else CHOSEN)
        for function, fault in FAULTS.items()
        if every or function in (CHOSEN[name][1] or FAULTS)
        if (where := fault.where(WORKLOADS[name], NETS[name])) is not None
        for backend in frameworks(name, every)
    ]


def frameworks(workload: str, every: bool) -> tuple[str, ...]:
    """Those that its faults are planted in."""
    return PLANTED_IN[workload] if every else CHOSEN[workload][:1]


def pytest_generate_tests(metafunc):
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", planted(metafunc.config), ids=str)
    if "workload" in metafunc.fixturenames:
        every = bool(metafunc.config.getoption("--faults-report"))
        metafunc.parametrize("workload", PLANTED_IN if every else CHOSEN)


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Stand-ins of FEW images beside those held out: how many there are is no matter."""
    with pytest.MonkeyPatch.context() as patch:
        for name, shape in IMAGES.items():
            source, (train, test) = data.SOURCES[name], FEW
            train += max(w.validation for w in WORKLOADS.values() if w.data == name)
            make = partial(stand_ins.images, shape, len(source.class_names), train, test)
            if name == mnist.SHIFTED.name:
                make = partial(lambda made: mnist.shifted(made()), make)
            patch.setitem(data.SOURCES, name, dataclasses.replace(source, make=make))
        yield


class Workers:
    """Live workers of one workload at a time, and what each measured before any fault."""

    def __init__(self, every: bool, folders: pytest.TempPathFactory) -> None:
        self.every = every
        self.folders = folders
        self.opened = ExitStack()
        self.live: dict[str, session.Live] = {}
        self.clean: dict[str, list[Record]] = {}

    def of(self, workload: str) -> tuple[session.Live, tuple[str, ...]]:
        """Those of a workload's frameworks that are here, started once; others are ended."""
        names = frameworks(workload, self.every)
        there = tuple(name for name in names if not missing(name))
        if not there:
            pytest.skip(f"none of {', '.join(names)} is here")
        if workload not in self.live:
            self.opened.close()
            self.live.clear()
            words = {"dataset": "synthetic", "threads": 1, "timeout_s": 240.0}
            named, rooms = OUTSIDE.get(workload, (workload, None))
            words |= {"profile": "smoke", "backends": there, "rooms": rooms}
            plan = make_plan(named, **words)
            plan = msgspec.structs.replace(plan, **QUICK, **SHORT)
            folder = self.folders.mktemp(workload)
            live = self.opened.enter_context(session.live(plan, folder, Silent()))
            twins = (None, plant("generic.py", "as_it_is"))
            self.clean[workload] = [live.trial(dict.fromkeys(there, twin)) for twin in twins]
            self.live[workload] = live
        return self.live[workload], there

    def twins(self, workload: str) -> list[Record]:
        """What its workers measured with nothing planted, and with the judge's pieces in them."""
        if workload not in self.clean:
            self.of(workload)
        return self.clean[workload]


@pytest.fixture(scope="module")
def workers(request, few_samples, tmp_path_factory):
    every = bool(request.config.getoption("--faults-report"))
    made = Workers(every, tmp_path_factory)
    with made.opened:
        yield made


def most(record, name, rung, dtype=None):
    """The largest share of a limit that a label's rung has, and of what."""
    return max(
        (share(m, limit), m.tensor)
        for m in record.results[name].measurements
        if m.rung == rung and (limit := limit_of(m, "strict")) is not None
        if dtype in (None, m.dtype)
    )


@pytest.mark.parametrize("name", PLANTED_IN)
def test_every_workload_can_have_faults_of_its_model_its_gradients_and_its_update(name):
    can_have = [f.rung for f in FAULTS.values() if f.where(WORKLOADS[name], NETS[name])]
    assert {*can_have} >= {"forward", "gradients", "update"}


def test_a_fault_of_any_model_is_named_by_rung_and_tensor(workers, fault, report):
    live, there = workers.of(fault.workload)
    if fault.backend not in there:
        pytest.skip(missing(fault.backend))
    record = live.trial({fault.backend: plant("generic.py", fault.function)})
    judged = verdict.judge(record)
    assert judged.labels[fault.backend].status == "ok", judged.labels[fault.backend].reason
    rung = first_failing(judged, fault.backend)
    first = judged.labels[fault.backend].findings[rung or fault.rung].first
    told = {"case": first.where, "dtype": first.dtype, "tensor": first.tensor} if first else {}
    told |= {"value": first.distance, "limit": first.limit} if first else {}
    row = Row(
        fault=fault.function,
        does=docstrings(FOLDER / "generic.py")[fault.function],
        framework=f"{fault.backend}, {fault.workload}",
        expected=fault.rung,
        rung=rung or "none",
        problem=first.problem if first else None,
        most={d: most(record, fault.backend, fault.rung, d)[0] for d in ("float32", "float64")},
        verdict="missed",
        **told,
    )
    report.rows.append(row)
    assert rung == fault.rung
    named = first.tensor.removesuffix(OWN)
    # Where a tensor hardly shows what became of its slots, they do.
    assert fault.tensor in (named, named.partition("/")[0])
    assert first.problem is not None or max(row.most.values()) >= MARGIN
    row.verdict = CAUGHT


def test_its_clean_twins_are_silent(workers, workload, report):
    for record, twin in zip(workers.twins(workload), ("as it is", "recomputed"), strict=True):
        for name in record.results:
            found = {rung: most(record, name, rung) for rung in DECIDING}
            shares = {rung: value for rung, (value, _) in found.items()}
            report.clean.append((f"{workload}, {twin}", name, shares))
            assert max(shares.values()) <= 1 / MARGIN, found
        assert verdict.judge(record).verdict == "agree"
