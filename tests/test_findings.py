"""A picture's heading says what its figures are: read again from the record, and from its table."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.plots import findings
from harness.text import short
from tests import make, test_scale
from tests.test_plots import drawn, rich

sizes = st.floats(min_value=0, allow_nan=False)
named = st.lists(st.tuples(st.sampled_from("abcdef"), sizes), min_size=1)


@given(named, st.lists(st.floats(1e-12, 1e3), max_size=2))
def test_whoever_is_named_is_furthest(
    figures: list[tuple[str, float]], limits: list[float]
) -> None:
    said = findings.furthest(figures, limits)
    most = sorted(value for _, value in figures)[-1]
    if most == 0:
        assert said == "Nothing is apart by a single bit"
        return
    first = next(name for name, value in figures if value == most)
    assert first in re.split(": |, | and ", said)
    assert said.startswith("Without" if most == math.inf else "Furthest")
    assert most == math.inf or short(most) in said
    assert ("× its limit" in said) == (len(limits) == 1 and limits[0] < most < math.inf)
    assert ("of its limit" in said) == (len(limits) == 1 and limits[0] >= most)


@given(named)
def test_the_nearest_to_its_limit(shares: list[tuple[str, float]]) -> None:
    said, most = findings.nearest_to_limit(shares), max(value for _, value in shares)
    wanted = "Nothing" if most == 0 else "Without" if most == math.inf else "Furthest beyond"
    assert said.startswith(wanted if most == 0 or most > 1 else "Nearest to its limit")


def test_of_many_alike_two_are_named() -> None:
    assert findings.furthest((name, 1.0) for name in "abc") == "Furthest: a, b and c, 1"
    assert findings.furthest((name, 1.0) for name in "abcde") == "Furthest: a, b and 3 more, 1"
    assert findings.furthest([("a", 1.0), ("a", 1.0)], [2.0]) == "Furthest: a, 1, 0.5 of its limit"


def test_of_no_figures_nothing_is_said() -> None:
    assert findings.furthest([]) == findings.nearest_to_limit([]) == ""
    assert findings.moved([("a", np.array([1.0]))], "then") == findings.between("loss", []) == ""


def test_what_is_no_number_is_furthest() -> None:
    figures = findings.each([("a", np.array([3.0])), ("b", np.array([math.nan, -1.0]))])
    assert figures == [("a", 3.0), ("b", math.inf), ("b", 1.0)]
    assert findings.furthest(figures) == "Without a finite distance: b"


@pytest.mark.parametrize(("last", "said"), [
    ({"a": 2.0, "b": 1.1}, "a, 2 times"),
    ({"a": 1.5, "b": 0.5}, "b, 0.5 times"),
    ({"a": math.nan, "b": 1.1}, "b, 1.1 times"),
    ({"a": 0.0, "b": 1.1}, "b, 1.1 times"),
])  # fmt: skip
def test_a_factor_below_one_moves_as_far_as_its_inverse(last: dict[str, float], said: str) -> None:
    series = [(name, np.array([1.0, value])) for name, value in last.items()]
    assert findings.moved(series, "its first") == f"Furthest from its first: {said}"


@pytest.mark.parametrize(("ends", "said"), [
    ([("a", 0.4), ("b", 0.4)], "ends at 0.4 in all"),
    ([("a", 0.4)], "ends at 0.4"),
    ([("a", 0.4), ("b", 0.40001)], "ends at 0.4 in all"),
    ([("a", 0.4), ("b", 0.5), ("c", 0.5)], "ends between 0.4 (a) and 0.5 (b and c)"),
    ([("a", 0.4), ("b", math.nan)], "does not stay finite: b"),
])  # fmt: skip
def test_where_a_curve_ends(ends: list[tuple[str, float]], said: str) -> None:
    assert findings.between("Loss", ends) == f"Loss {said}"


def test_every_picture_of_a_run_but_one_says_what_it_shows() -> None:
    """The reference's own matrix is what others are held to: there is nothing to find in it."""
    found = drawn(rich())
    assert [name for name, plot in found.items() if not plot.finding] == ["confusion-reference"]


def test_one_that_is_beyond_its_limit_is_named() -> None:
    made = rich()
    make.find(made, "torch", "forward").distance = 1.0
    said = drawn(made)["checkpoints"].finding
    assert said.startswith("Furthest beyond its limit: torch, ")


def test_the_accuracy_that_is_furthest_off_is_named() -> None:
    made = rich()
    for training in made.results["torch"].training:
        training.test_accuracy[-1] = float(training.test_accuracy[-1]) - 0.05
    assert re.match(r"Furthest: torch, 5(\.\d)? points", drawn(made)["accuracy-gaps"].finding)
    for results in made.results.values():
        for training in results.training:
            judged = next(of for of in made.reference if of.seed == training.seed)
            training.test_accuracy = [*judged.test_accuracy]
    said = drawn(made)["accuracy-gaps"].finding
    assert said == "After the last epoch every accuracy is the reference's"


def test_the_gradient_of_the_first_layer_over_that_of_the_last() -> None:
    made = rich()
    said = drawn(made)["gradient-norms"].finding
    plot = drawn(made)["gradient-norms"]
    whose = [row for row in plot.rows if row[0] == plot.rows[0][0]]
    share = float(whose[0][2]) / float(whose[-1][2])
    assert float(said.split(" is ")[1].split(" times")[0]) == pytest.approx(share, rel=0.05)
    assert f" by {whose[0][1]} is " in said
    assert said.endswith(f" times that by {whose[-1][1]}")


def test_who_has_the_longest_tail_and_moves_most() -> None:
    made = rich()
    for r in made.results["jax"].rounds:
        r.step_ns = [*r.step_ns[:-1], 50 * max(r.step_ns)]
    said = drawn(made)["step-distribution"].finding
    assert "of jax's steps" in said
    made.results["torch"].rounds[-1].step_ns = [
        3 * ns for ns in made.results["torch"].rounds[-1].step_ns
    ]
    said = drawn(made)["step-series"].finding
    assert said.startswith("From round to round torch's median moves most: by 2")


def test_only_claims_are_called_claims() -> None:
    made = rich()
    said = drawn(made)["ratios"].finding
    rows = {row[0]: row for row in drawn(made)["ratios"].rows}
    claimed = [name for name, row in rows.items() if row[-1].endswith(", claimed")]
    assert claimed
    assert said.startswith("Claimed: ")
    assert re.findall(r"([\w:]+) [\d.]+ ×", said) == claimed
    for each in (*made.results.values(), *made.again.values()):
        each.rounds = [r for r in each.rounds if r.session == 0]
    assert drawn(made)["ratios"].finding == "No difference between labels is claimed"


def test_who_comes_nearest_to_the_floor() -> None:
    plot = next(iter(drawn(test_scale.grid(test_scale.records())).values()))
    said, least = plot.finding, min(float(row[-1]) for row in plot.rows if float(row[-1]) >= 1)
    assert said.startswith("Nearest to the floor: ")
    assert float(said.split(", ")[1].removesuffix("× floor")) == pytest.approx(least, rel=0.05)
