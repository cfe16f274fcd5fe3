"""Data that are made for seeds and steps: what each training gets, and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from harness import data
from harness.errors import InputError
from harness.run.inputs import Inputs
from harness.run.judge import ReferenceJudge
from harness.run.session import load_dataset
from harness.tensors import load_tensors
from harness.workloads import WORKLOADS
from harness.workloads.reference.composed import Composed, cast
from tests.conftest import Silent
from tests.make import make_plan


def test_points_lie_about_their_line_and_are_drawn_by_seed_and_step() -> None:
    made = data.load("line", seeds=(0, 3), warn=pytest.fail)
    assert made.made_for == (0, 3)
    assert made.train_x.shape == made.train_y.shape == (2 * 50 * 4, 1)
    for place, (seed, step) in enumerate(((0, 0), (0, 1))):
        rng = np.random.default_rng([seed, 4, step])
        x = rng.random((4, 1)) * 5
        y = 2 * x + 3 + rng.standard_normal((4, 1))
        rows = slice(4 * place, 4 * place + 4)
        assert made.train_x[rows].tobytes() == x.astype(np.float32).tobytes()
        assert made.train_y[rows].tobytes() == y.astype(np.float32).tobytes()
    (slope, height) = np.polyfit(made.train_x[:, 0], made.train_y[:, 0], 1)
    assert abs(slope - 2) < 0.2
    assert abs(height - 3) < 0.4


def test_every_training_takes_its_own_samples_in_their_order(tmp_path: Path) -> None:
    plan = make_plan("linear-regression", backends=("numpy",), seeds="0,3")
    plan, dataset = load_dataset(plan, Silent())
    inputs = Inputs(plan, dataset, tmp_path)
    assert inputs.epoch == 200
    assert np.concatenate(inputs.schedule("schedule", 0)).tolist() == [*range(200)]
    assert np.concatenate(inputs.schedule("schedule", 3)).tolist() == [*range(200, 400)]


def test_more_steps_than_usual_get_data_of_their_own() -> None:
    few, many = (data.load("line", steps=steps, warn=pytest.fail) for steps in (3, 70))
    assert (len(few.train_x), len(many.train_x)) == (200, 280)
    assert many.train_x[:200].tobytes() == few.train_x.tobytes()
    assert few.sha256 != many.sha256


@pytest.mark.parametrize(
    ("name", "shape", "steps"), [("one-to-zero", (300, 1), 300), ("none", (2000,), 2000)]
)
def test_what_is_the_same_in_every_step(name: str, shape: tuple[int, ...], steps: int) -> None:
    made = data.load(name, "synthetic", warn=pytest.fail)
    assert made.train_x.shape == shape
    assert not made.synthetic
    assert len({*made.train_x.ravel().tolist()}) == 1
    assert not made.train_y.any()
    assert len(made.train_y) == steps


def test_another_choice_than_its_own_is_refused() -> None:
    with pytest.raises(InputError, match="the model's data are made, line"):
        data.load("line", "mnist", warn=pytest.fail)
    with pytest.raises(InputError, match="one-to-zero"):
        data.load("lines", warn=pytest.fail)


def test_more_rows_held_out_than_there_are_is_refused(small_data: Path) -> None:
    asked = replace(WORKLOADS["mlp-scratch"], validation=10**6)
    with pytest.raises(InputError, match="held out for validation"):
        data.of_workload(asked, data_dir=small_data, warn=pytest.fail)


def test_of_a_sum_over_the_batch_a_training_tells_the_mean(tmp_path: Path) -> None:
    plan = make_plan("linear-regression", backends=("numpy",))
    plan, dataset = load_dataset(plan, Silent())
    (tmp_path / "scratch").mkdir()
    inputs = Inputs(plan, dataset, tmp_path / "scratch")
    assert plan.net is not None
    reference = Composed(plan.net)
    ReferenceJudge(reference, inputs, lambda _: None).train(
        "schedule", 0, set(), [], tmp_path / "j"
    )
    told = load_tensors(f"{tmp_path}/j/series")["losses"]
    first = cast(inputs.batch(np.arange(4), 0, 0))
    assert told[0] == reference.look(cast(inputs.initial(0)), first).loss / 4
