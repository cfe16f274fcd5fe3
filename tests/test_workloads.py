"""Plug-in workloads: described and judged through a process of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plan.model import REFERENCE
from harness.workloads.reference.limits import DECIDING
from tests.conftest import carry_out
from tests.make import make_plan

FILE = Path(__file__).parent / "workloads" / "wide.py"


@pytest.fixture
def run(small_data, tmp_path):
    def run(name: str, **words):
        words = {"profile": "smoke", "backends": ("numpy",), "threads": 1} | words
        plan = make_plan(workload=f"{FILE}:{name}", data_dir=str(small_data), **words)
        return carry_out(plan, tmp_path)

    return run


@pytest.mark.parametrize("name", ["WIDE", "Own"])
def test_a_workload_of_a_users_own_is_judged_by_its_net_or_its_own_reference(run, name):
    outcome = run(name, backends=("numpy", "numpy@2=numpy"))
    assert (outcome.json["verdict"], outcome.exit_status) == ("agree", 0)
    assert (outcome.json["workload"], outcome.json["reference"]) == ("wide", "wide/float64")
    assert "compute the same as wide/float64" in outcome.json["summary"]
    for label in ("numpy", "numpy@2"):
        assert {outcome.rung(label, rung) for rung in DECIDING} == {"agree"}
        assert outcome.rung(label, "trajectory") == "agree"
    measured = outcome.record.results["numpy"].measurements
    made = {"WIDE": "confident", "Own": "doubled"}[name]
    assert {"step 0", "step 0, batch of 7", made} <= {m.case for m in measured}
    assert "loaded_wide" not in sys.modules


def test_the_samples_that_its_reference_calls_kinks_are_replaced(run):
    outcome = run("Shy")
    assert outcome.json["verdict"] == "agree"
    first = outcome.record.cases[0]
    assert (first.case, first.rows) == ("step 0", 128)
    assert first.replaced > 10


def test_a_workload_without_a_reference_is_judged_by_the_label_that_is_named(run):
    outcome = run("WithoutReference", backends=("numpy", "again=numpy"), reference="numpy:float64")
    assert (outcome.json["verdict"], outcome.exit_status) == ("agree", 0)
    assert outcome.json["reference"] == "numpy:float64"
    assert "as numpy:float64" in outcome.json["summary"]
    assert {outcome.rung("again", rung) for rung in DECIDING} == {"agree"}
    assert outcome.rung("again", "trajectory") == "inconclusive"


def test_against_a_wrong_reference_a_right_backend_disagrees(run):
    outcome = run("Wrong")
    first = outcome.json["first_divergence"]
    assert outcome.exit_status == 1
    assert (first["rung"], first["tensor"]) == ("gradients", "b1")


@pytest.mark.parametrize(
    ("name", "said"), [("Fails", "ZeroDivisionError"), ("Misshapen", "float64 (3,)")]
)
def test_a_reference_that_fails_ends_the_run_with_its_reason(run, name, said):
    outcome = run(name)
    assert outcome.exit_status == 3
    assert said in outcome.record.ended
    assert f"{FILE}:{name}" in outcome.record.ended


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (f"{FILE}:Gone", "has no Gone"),
        (f"{FILE}:NOT_ONE", "has no attribute 'workload'"),
        (f"{FILE}:Nameless", "its name '../x' is none"),
        (f"{FILE}:Endless", "optimiser.lr"),
        (f"{FILE}:no_workload", "has no attribute 'workload'"),
        (f"{FILE}:Adaptive", "its optimiser 'adamax' is none; known: sgd"),
        (f"{FILE}:Slotless", "its optimiser's tensors are W1/velocity, W2/velocity"),
        (f"{FILE}:Traceless", "its trace is empty"),
        (f"{FILE}:Symmetric", "its symmetry 'heads' would decide nothing; known: inputs, outputs"),
        (f"{FILE}:Flipped", "its transposed operand 'A' would decide nothing"),
        (f"{FILE}:Batchless", "batch_size, epochs, steps and tests are at least 1"),
        (f"{FILE}:Uncounted", "binary accuracy is of one output"),
        (str(FILE), "give FILE.py:NAME"),
        ("gone.py:WIDE", "no Python file gone.py"),
        ("gone_module:WIDE", "gone_module"),
        ("nonsense", "choose from cifar-net, diabetes, diabetes-relu"),
        (f"{FILE}:WithoutReference", "it brings no reference; name a label's with --reference"),
    ],
)
def test_what_is_no_workload_is_refused_in_one_line(spec, said):
    with pytest.raises(InputError) as caught:
        make_plan(workload=spec, backends=("numpy",))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("--workload ")


def test_the_harness_is_no_reference_of_a_workload_that_has_none():
    words = {"workload": f"{FILE}:WithoutReference", "backends": ("numpy",)}
    with pytest.raises(InputError, match="choose from numpy:float64"):
        make_plan(reference="wide/float64", **words)
    assert make_plan(backends=("numpy",)).reference == REFERENCE


def test_data_that_are_nowhere_end_the_run_before_anything_starts(run):
    with pytest.raises(InputError, match="data set 'cifar10' is unknown"):
        run("Elsewhere")
