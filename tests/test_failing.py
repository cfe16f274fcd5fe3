"""A training that cannot go on: found beforehand, compared up to there, told of every framework."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.errors import InputError
from harness.plan.make import missing
from harness.plan.model import Timing
from harness.report import failing, markdown
from harness.report.run import as_markdown
from harness.report.run_tables import Run
from tests.conftest import Outcome, carry_out, real_data
from tests.make import make_plan

pytestmark = real_data()
FILE = Path(__file__).parent / "workloads" / "failing.py"
UNTIMED = Timing(sessions=1, rounds=0, warmup_rounds=0)


def run(tmp_path: Path, workload: str, *, seeds: str = "0", profile: str = "default") -> Outcome:
    names = tuple(name for name in ("numpy", "torch") if missing(name) is None)
    folder = str(Path(os.environ["FASHION_MNIST_DIR"]).parent)
    words = {"backends": names, "data_dir": folder, "seeds": seeds, "profile": profile}
    plan = make_plan(workload if workload == "diabetes-relu" else f"{FILE}:{workload}", **words)
    return carry_out(replace(plan, timing=UNTIMED), tmp_path)


@pytest.fixture(scope="module")
def undefined(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(tmp_path_factory.mktemp("undefined"), "FAST")


def test_an_output_beyond_1_is_found_at_its_step_and_all_agree_up_to_there(
    undefined: Outcome,
) -> None:
    failure = undefined.record.failure
    assert failure is not None
    assert (failure.step, failure.kind, failure.seed) == (92, "undefined", 0)
    assert 80 < failure.compared <= 92
    assert isinstance(failure.largest, float)
    assert failure.largest > 1
    assert undefined.json["verdict"] == "agree"
    words = "at step 92 an output exceeds 1: the loss is undefined"
    assert words in undefined.json["summary"]
    assert undefined.json["failure"]["step"] == 92
    for results in undefined.record.results.values():
        whole = [t for t in results.training if t.dtype == "float32"]
        assert [len(t.losses) for t in whole] == [failure.compared]


def test_what_each_framework_makes_of_it_stands_side_by_side(undefined: Outcome) -> None:
    failure = undefined.record.failure
    assert failure is not None
    told = {(one.label, one.dtype): one for one in failure.told}
    numpy = told["numpy", "float64"]
    assert (numpy.raised, numpy.loss) == (None, "nan")
    if ("torch", "float32") in told:
        torch = told["torch", "float32"]
        assert torch.raised is not None
        assert "between 0 and 1" in torch.raised
        assert (torch.loss, torch.gradient) == (None, None)
        assert isinstance(torch.largest, float)
        assert torch.largest > 1
    section = failing.section(Run(undefined.record, undefined.verdict, undefined.folder))
    why = "Why training stops: at step 92 an output exceeds 1: the loss is undefined"
    assert section.title == why
    assert len(section.inside[0].rows) == 1 + len(failure.told)
    page = as_markdown(undefined.record, undefined.verdict)
    assert markdown.escape(section.title) in page


def test_a_model_that_cannot_learn_is_told_from_one_that_is_undefined(tmp_path: Path) -> None:
    dead = run(tmp_path, "diabetes-relu", seeds="2")
    failure = dead.record.failure
    assert failure is not None
    assert (failure.step, failure.kind, failure.largest) == (0, "dead", 0.0)
    assert failure.silent["outputs"] == 1.0
    words = "at step 0 every output is 0 and every gradient is 0: the model cannot learn"
    assert words in dead.json["summary"]
    assert dead.json["verdict"] == "agree"
    for one in failure.told:
        assert (one.raised, one.gradient, one.largest) == (None, 0.0, 0.0)
        assert one.silent.get("outputs", 1.0) == 1.0


def test_where_neither_comes_that_is_said_and_of_few_steps_nothing_is(tmp_path: Path) -> None:
    short = run(tmp_path / "whole", "SHORT", seeds="0,1")
    assert short.record.failure is None
    assert "no failure in 20 epochs" in short.json["summary"]
    assert short.record.plan.seeds == (0,)
    few = run(tmp_path / "few", "FAST", profile="smoke")
    assert few.record.failure is None
    assert "failure" not in few.json["summary"]


def test_a_loss_that_is_undefined_from_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="undefined from the start"):
        run(tmp_path, "BEYOND")
    assert not list(tmp_path.glob("runs/*"))


def test_it_survives_storing(undefined: Outcome) -> None:
    stored = json.loads((undefined.folder / "record.json").read_text())
    assert stored["failure"]["kind"] == "undefined"
