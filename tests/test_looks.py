"""What is seen of a training beside its losses: answers, gradients, the way of a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from harness.interface import Array, Outcome, State, Workload
from harness.measure import outcome
from harness.workers.looks import MOST_STATES, Looks
from harness.workloads import WORKLOADS
from harness.workloads.reference.losses import Quadratic

COUNTING = WORKLOADS["softmax-regression"]
TINY = WORKLOADS["linear-regression"]
SHOWN = WORKLOADS["nielsen-deep"]


def test_an_answer_is_right_where_the_largest_output_is_the_class_and_nothing_is_nan() -> None:
    looks = Looks(COUNTING, np.array([4, 3]))
    assert looks.every_step
    outputs = np.array([[1.0, 2.0], [3.0, 0.0], [np.nan, 1.0], [1.0, 1.0]])
    looks.at_outputs(outputs, np.array([1, 1, 1, 0]))
    looks.at_outputs(outputs[:3], np.array([1, 0, 0]))
    assert looks.series()["right"].tolist() == [2, 2]
    assert not Looks(SHOWN, np.array([4])).every_step


@pytest.mark.parametrize("steps", [1, 7, MOST_STATES, MOST_STATES + 1, 20_000])
def test_the_way_of_a_tiny_model_has_both_its_ends_and_few_states(steps: int) -> None:
    looks = Looks(TINY, np.full(steps, 4))
    for done in range(steps + 1):
        looks.at_state(done, lambda done=done: state(done))  # type: ignore[misc]
    kept = looks.series()["path.steps"].tolist()
    assert kept[0] == 0
    assert kept[-1] == steps
    assert len(kept) <= MOST_STATES + 2
    assert looks.series()["path"].tolist() == [[float(done), -1.0] for done in kept]


def state(done: int) -> State:
    return {"w": np.array([[done]], np.float32), "b": np.array([[-1]], np.float32)}


def test_a_model_of_many_numbers_keeps_no_way_and_is_not_asked_for_its_state() -> None:
    looks = Looks(SHOWN, np.array([4]))
    looks.at_state(0, lambda: pytest.fail("asked for"))
    assert "path" not in looks.series()


def test_norms_are_of_the_gradients_of_as_many_rows_as_are_declared() -> None:
    looks = Looks(SHOWN, np.array([4]))
    for factor in (1.0, 2.0):
        looks.at_gradients(
            lambda factor=factor: {  # type: ignore[misc]
                t.name: np.full(t.shape, factor, np.float32) for t in SHOWN.trained
            }
        )
    root = np.sqrt(30 * 30)
    assert looks.series()["gradients.W2"].tolist() == pytest.approx([root, 2 * root])
    Looks(TINY, np.array([4])).at_gradients(lambda: pytest.fail("asked for"))


def told(workload: Workload, more: dict[str, Array], outputs: list[Array], y: Array) -> object:
    times = dict.fromkeys(("step_ns", "epoch_ns", "eval_ns"), np.zeros(0, np.int64))
    series = {"losses": np.array([4.0, 8.0, 2.0])} | times | more
    rows = np.array([4, 4, 2])
    loss, tests = Quadratic().of_samples, len(y) - workload.validation
    return outcome.training(workload, series, outputs, y, rows, [1, 2], loss, tests)


def test_held_out_rows_are_counted_apart_and_losses_are_means_over_samples() -> None:
    held = replace(WORKLOADS["nielsen-network"], validation=1, outputs=(2,))
    right = {"right": np.array([4, 2, 1])}
    # Two test samples, the second wrong; the one held out is right after the second epoch only.
    first, second = np.array([[1.0, 0], [1, 0], [1, 0]]), np.array([[1.0, 0], [1, 0], [0, 1]])
    found = told(held, right, [first, second], np.array([0, 1, 1]))
    assert found.test_accuracy == [0.5, 0.5]  # type: ignore[attr-defined]
    assert found.validation_accuracy == [0.0, 1.0]  # type: ignore[attr-defined]
    assert found.training_accuracy == [0.75, 0.5]  # type: ignore[attr-defined]
    assert found.test_loss == [0.5, 0.5]  # type: ignore[attr-defined]
    assert found.epoch_losses == [6.0, 2.0]  # type: ignore[attr-defined]


def test_training_accuracy_is_an_outcome_and_no_count_after_an_epoch() -> None:
    only = replace(COUNTING, outcome=(Outcome("training accuracy", margin=0.01),))
    assert only.counts_training
    assert outcome.accuracy_metric(only) is None
    assert outcome.accuracy_metric(COUNTING) == "test accuracy"
