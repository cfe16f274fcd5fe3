"""Faults that any model can have, planted in every workload: first rung, layer and tensor right.

Each wraps a backend's trainer, whatever its model (tests/faults/generic.py). The workers of a
workload start once; data are small and made up, of its own shapes.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import msgspec
import pytest

from harness.plan.make import missing
from harness.record.schema import OWN
from harness.run import session
from harness.verdict import verdict
from harness.verdict.numbers import limit_of, share
from harness.workloads import NETS, WORKLOADS
from harness.workloads.reference.limits import DECIDING
from tests.conftest import FAULTS as FOLDER
from tests.conftest import Silent, plant
from tests.make import make_plan
from tests.test_faults import MARGIN, QUICK, first_failing

sys.path.append(str(FOLDER))
from generic import FAULTS

# Two frameworks each: the second's where every framework is asked for.
PLANTED_IN = {
    "mnist-mlp": ("numpy", "jax"),
    "diabetes": ("numpy", "tensorflow"),
    "cifar-net": ("torch", "jax"),
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
    """Every fault that a workload can have; in its first framework unless a report is asked for."""
    every = bool(config.getoption("--faults-report"))
    return [
        Planted(name, backend, function, fault.rung, where)
        for name, backends in PLANTED_IN.items()
        for function, fault in FAULTS.items()
        if (where := fault.where(WORKLOADS[name], NETS[name])) is not None
        for backend in (backends if every else backends[:1])
    ]


def pytest_generate_tests(metafunc):
    if "fault" in metafunc.fixturenames:
        metafunc.parametrize("fault", planted(metafunc.config), ids=str)
    if "workload" in metafunc.fixturenames:
        metafunc.parametrize("workload", PLANTED_IN)


@pytest.fixture(scope="module")
def opened(request, tmp_path_factory):
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
            contexts.append(session.live(msgspec.structs.replace(plan, **QUICK), folder, Silent()))
            living[workload] = contexts[-1].__enter__(), there
        return living[workload]

    yield live
    while contexts:
        contexts.pop().__exit__(None, None, None)


def most(record, name, rung):
    """The largest share of a limit that a label's rung has, and of what."""
    return max(
        (share(m, limit), m.tensor)
        for m in record.results[name].measurements
        if m.rung == rung and (limit := limit_of(m, "strict")) is not None
    )


def test_a_fault_of_any_model_is_named_by_rung_and_tensor(opened, fault):
    live, there = opened(fault.workload)
    if fault.backend not in there:
        pytest.skip(missing(fault.backend))
    record = live.trial({fault.backend: plant("generic.py", fault.function)})
    judged = verdict.judge(record)
    assert judged.labels[fault.backend].status == "ok", judged.labels[fault.backend].reason
    assert first_failing(judged, fault.backend) == fault.rung
    first = judged.labels[fault.backend].findings[fault.rung].first
    assert first.tensor.removesuffix(OWN) == fault.tensor
    assert first.problem is not None or first.distance >= MARGIN * first.limit


def test_its_clean_twins_are_silent(opened, workload):
    live, there = opened(workload)
    for twin in (None, plant("generic.py", "as_it_is")):
        record = live.trial(dict.fromkeys(there, twin))
        assert verdict.judge(record).verdict == "agree"
        for name in there:
            for rung in DECIDING[1:]:
                value, tensor = most(record, name, rung)
                assert value <= 1 / MARGIN, (name, rung, tensor)
