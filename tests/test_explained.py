"""`harness explain`: what a stored run found, or from the tensors it kept; else one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.errors import InputError
from harness.plan.model import Timing
from harness.record.schema import Explanation, Record
from harness.record.store import write
from harness.results.explained import explain
from harness.run import session
from harness.verdict.verdict import judge
from tests import make
from tests.conftest import FAULTS as FAULTS_FOLDER
from tests.conftest import Silent, plant, run_here
from tests.make import make_plan
from tests.test_outcome import explained

# What takes a fault to its rung, and no more.
QUICK = {
    "timing": Timing(sessions=1, rounds=0, warmup_rounds=0),
    "trajectory": None,
    "small_sizes": (),
    "steps": 4,
    "checkpoints": (0, 2),
}
# A fault that tests/faults has not.
ADDED_UP = f"""
import sys
sys.path.append({str(FAULTS_FOLDER)!r})
from callers import Stepping, wrap


def added_up(backend):
    class Adding(Stepping):
        def do(self, batch):
            loss, before, change = self.change(batch)
            if self.done:
                change = {{k: v + self.last[k] for k, v in change.items()}}
                self.trainer.set_state({{k: before[k] + v for k, v in change.items()}})
            self.last = change
            return loss

    return wrap(backend, Adding)
"""
# By fault, that one or one of tests/faults/numbers.py: the rung, and what explains it.
FAULTS = {
    "pixels_bfloat16": ("inputs", {}),
    "leaky_relu": ("forward", {"leaky-slope": [0.001]}),
    "loss_summed": ("loss", {"loss-sum": []}),
    "no_gradient_of_b2": ("gradients", {"gradient-missing": []}),
    "lr_one_per_mille": ("update", {"lr-factor": [1.001]}),
    "added_up": ("lockstep", {"gradients-added-up": []}),
    "momentum": ("lockstep", {}),
}


@pytest.fixture(scope="module")
def stored(small_data, tmp_path_factory) -> dict[str, tuple[Record, Path]]:
    """Each fault's record, and its folder."""
    words = {"profile": "smoke", "data_dir": str(small_data), "timeout_s": 240.0}
    plan = msgspec.structs.replace(make_plan(backends=("numpy",), **words), **QUICK)
    live, made = tmp_path_factory.mktemp("live"), {}
    (live / "own.py").write_text(ADDED_UP)
    with session.live(plan, live, Silent()) as begun:
        for fault in FAULTS:
            own = f"{live / 'own.py'}:{fault}"
            planted = own if fault in ADDED_UP else plant("numbers.py", fault)
            record = begun.trial({"numpy": planted})
            folder = tmp_path_factory.mktemp(fault)
            shutil.copytree(live / "tensors", folder / "tensors")
            write(record, folder)
            made[fault] = record, folder
    return made


def of_tensors(record: Record) -> Record:
    """As a run stored it that sought nothing."""
    return msgspec.structs.replace(record, explained=[])


@pytest.mark.parametrize("fault", FAULTS)
def test_from_the_kept_tensors_the_same_is_told_as_when_it_was_measured(stored, fault):
    record, folder = stored[fault]
    rung, hypotheses = FAULTS[fault]
    for one, by in ((record, "the run"), (of_tensors(record), "the kept tensors")):
        (told,), left = explain(one, judge(one), folder)
        assert (told.label, told.rung, told.by, left) == ("numpy", rung, by, {})
        assert {f.hypothesis for f in told.found} == {*hypotheses}
        for found in told.found:
            assert found.numbers == pytest.approx(hypotheses[found.hypothesis], rel=1e-2)


def test_the_command_tells_it_and_in_json(stored, tmp_path, monkeypatch, capsys):
    record, folder = stored["leaky_relu"]
    shutil.copytree(folder / "tensors", tmp_path / "old" / "tensors")
    write(of_tensors(record), tmp_path / "old")
    for run, note in ((folder, ""), (tmp_path / "old", "from the tensors kept of forward, ")):
        assert run_here(monkeypatch, "explain", run) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("numpy, forward, ")
        assert second.startswith("  the ReLU has slope 0.001 below 0, in h1")
        assert (note in second, "tensors" in second) == (True, bool(note))
        assert run_here(monkeypatch, "explain", run, "--label", "numpy", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["run"], told["left"]) == (record.run, {})
        assert told["explained"][0]["found"][0]["hypothesis"] == "leaky-slope"


# ---- where there is nothing to tell --------------------------------------------------------------


def two_off() -> Record:
    """Torch is explained; numpy differs, and nothing was kept of it."""
    made = explained([Explanation(hypothesis="x", sentence="so it is", numbers=[], left=0.0)])
    make.find(made, "numpy", "gradients", case="step 0", tensor="W1").distance = 0.1
    return made


REFUSED = {
    "agrees": (make.record, (), "nothing to explain: agree"),
    "one agrees": (lambda: explained([]), ("numpy",), "nothing to explain: it does not differ"),
    "no such label": (make.record, ("x\x1b",), "no label x�: there are numpy, torch"),
    "nothing kept": (two_off, ("numpy",), "no tensors were kept"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_nothing_can_be_told_that_is_said_in_one_line(case, tmp_path, monkeypatch, capsys):
    made, labels, reason = REFUSED[case]
    write(made(), tmp_path)
    words = [word for label in labels for word in ("--label", label)]
    assert run_here(monkeypatch, "explain", tmp_path, *words) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert reason in line
    assert said.out == ""


def test_one_label_is_told_and_why_another_is_not(tmp_path):
    made = two_off()
    (told,), left = explain(made, judge(made), tmp_path)
    assert (told.label, told.found[0].sentence) == ("torch", "so it is")
    assert [*left] == ["numpy"]
    nothing = explained([])
    ((told,), left) = explain(nothing, judge(nothing), tmp_path)
    assert (told.found, left) == ([], {})


def test_what_no_net_of_the_pieces_judged_is_not_computed_again(stored):
    record, folder = stored["leaky_relu"]
    for changes in ({"net": None}, {"reference": "numpy:float64"}):
        plan = msgspec.structs.replace(record.plan, **changes)
        other = msgspec.structs.replace(of_tensors(record), plan=plan)
        with pytest.raises(InputError, match="what judged is no net"):
            explain(other, judge(other), folder)


def without(name: str):
    def change(tensors):
        del tensors[name]

    return change


def far_labels(tensors):
    tensors["y"] = np.full_like(tensors["y"], 999)


CHANGED = {
    "no weights": (without("given.W1"), "is not among them"),
    "labels that are no classes": (far_labels, "out of bounds"),
    "gradients of another shape": (
        lambda tensors: tensors.update({"got.outputs": np.zeros((3, 3, 3), np.float32)}),
        "",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_tensors_that_are_not_the_records_make_one_line_or_explain_nothing(stored, case, tmp_path):
    record, folder = stored["no_gradient_of_b2"]
    shutil.copytree(folder, tmp_path / "run")
    change, reason = CHANGED[case]
    file = tmp_path / "run" / record.kept[0].file
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    one = of_tensors(record)
    if reason:
        with pytest.raises(InputError, match=f"tensors .*{reason}") as raised:
            explain(one, judge(one), tmp_path / "run")
        assert "\n" not in str(raised.value)
    else:
        assert explain(one, judge(one), tmp_path / "run")[0][0].found != []
