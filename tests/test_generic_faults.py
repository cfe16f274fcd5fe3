"""Faults that any model can have, planted in every workload: first rung, layer and tensor right.

Each wraps a backend's trainer, whatever its model (tests/faults/generic.py). The workers of a
workload start once; data are small and made up, of its own shapes.
"""

from __future__ import annotations

import dataclasses
import sys
from functools import partial
from typing import NamedTuple

import msgspec
import pytest

from harness import data
from harness.data import stand_ins
from harness.plan.make import missing
from harness.record.schema import OWN
from harness.run import session
from harness.verdict import verdict
from harness.verdict.numbers import limit_of, share
from harness.workloads import NETS, WORKLOADS
from harness.workloads.reference.limits import DECIDING
from tests.conftest import FAULTS as FOLDER
from tests.conftest import Silent, plant
from tests.faults.report import CAUGHT, Row, docstrings
from tests.make import make_plan
from tests.test_faults import MARGIN, QUICK, first_failing

sys.path.append(str(FOLDER))
from generic import FAULTS

# A trial of a second or two: little is trained, of few samples. Loops are test_faults.py's.
SHORT = {"steps": 8, "checkpoints": (0, 1, 5, -1), "trajectory": None, "small_sizes": ()}
FEW = (1200, 200)
# Two frameworks each: the second's where every fault and framework is asked for.
PLANTED_IN = {
    "mnist-mlp": ("numpy", "jax"),
    "diabetes": ("numpy", "tensorflow"),
    "cifar-net": ("torch", "jax"),
}
# The faults that each workload is there for where no report is asked for; None: all it can have.
CHOSEN: dict[str, tuple[str, ...] | None] = {
    "mnist-mlp": ("relu6", "leaky_relu", "tf32_in_one_gradient"),
    "diabetes": None,
    "cifar-net": (
        *("slot_not_decayed", "layout_transposed", "relu6"),
        *("tf32_in_one_product", "bias_gradient_dropped"),
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
    """Every fault that a workload can have, or those CHOSEN for it, in its first framework."""
    every = bool(config.getoption("--faults-report"))
    return [
        Planted(name, backend, function, fault.rung, where)
        for name, backends in PLANTED_IN.items()
        for function, fault in FAULTS.items()
        if every or function in (CHOSEN[name] or FAULTS)
        if (where := fault.where(WORKLOADS[name], NETS[name])) is not None
        for backend in (backends if every else backends[:1])
    ]


def pytest_generate_tests(metafunc):
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", planted(metafunc.config), ids=str)
    if "workload" in metafunc.fixturenames:
        metafunc.parametrize("workload", PLANTED_IN)


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Stand-ins of FEW images: what is measured is no matter of how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mnist", "cifar-10"):
            source = data.SOURCES[name]
            shape = data.load(name, "synthetic", warn=pytest.fail).train_x.shape[1:]
            make = partial(stand_ins.images, shape, len(source.class_names), *FEW)
            patch.setitem(data.SOURCES, name, dataclasses.replace(source, make=make))
        yield


@pytest.fixture(scope="module")
def opened(request, few_samples, tmp_path_factory):
    """Live workers of a workload's frameworks, started once; the one before is ended."""
    living: dict[str, session.Live] = {}
    contexts = []
    every = bool(request.config.getoption("--faults-report"))

    def live(workload):
        if workload not in living:
            while contexts:
                contexts.pop().__exit__(None, None, None)
            living.clear()
            names = PLANTED_IN[workload] if every else PLANTED_IN[workload][:1]
            there = tuple(name for name in names if not missing(name))
            if not there:
                pytest.skip(f"none of {', '.join(names)} is here")
            words = {"dataset": "synthetic", "threads": 1, "timeout_s": 240.0}
            plan = make_plan(workload, profile="smoke", backends=there, **words)
            folder = tmp_path_factory.mktemp(workload)
            plan = msgspec.structs.replace(plan, **QUICK, **SHORT)
            contexts.append(session.live(plan, folder, Silent()))
            living[workload] = contexts[-1].__enter__(), there
        return living[workload]

    yield live
    while contexts:
        contexts.pop().__exit__(None, None, None)


def most(record, name, rung, dtype=None):
    """The largest share of a limit that a label's rung has, and of what."""
    return max(
        (share(m, limit), m.tensor)
        for m in record.results[name].measurements
        if m.rung == rung and (limit := limit_of(m, "strict")) is not None
        if dtype in (None, m.dtype)
    )


def test_a_fault_of_any_model_is_named_by_rung_and_tensor(opened, fault, report):
    live, there = opened(fault.workload)
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
    assert first.tensor.removesuffix(OWN) == fault.tensor
    assert first.problem is not None or first.distance >= MARGIN * first.limit
    row.verdict = CAUGHT


def test_its_clean_twins_are_silent(opened, workload):
    live, there = opened(workload)
    for twin in (None, plant("generic.py", "as_it_is")):
        record = live.trial(dict.fromkeys(there, twin))
        assert verdict.judge(record).verdict == "agree"
        for name in there:
            for rung in DECIDING[1:]:
                value, tensor = most(record, name, rung)
                assert value <= 1 / MARGIN, (name, rung, tensor)
