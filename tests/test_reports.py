"""What people reported of frameworks' functions, and what `harness same` answers to it.

Smaller where theirs is large: keras#20804 sums 2.8e8 products for each of many numbers, here one
sum of 2.9e6.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.explain import functions
from harness.pair.document import Same
from harness.testing import assert_same
from harness.workers.calling import weigh
from tests.conftest import needs
from tests.pairs import plain
from tests.pairs.asked import inside

X = "x=float32[8,64]"
ROUNDING, PRECISION = "same, to rounding", "precision"
OTHER, POINTS = "different functions", "different at special points only"
HERE = Path(__file__).parent
# The first side and the second, with what is drawn, and the answer.
IN_TORCH = {
    "keras#20804": (
        *("numpy.products", "torch.products"),
        *("x=float32[100,28672] w=float32[28672]", ROUNDING),
    ),
    "keras#22697": (
        *("numpy.recurrent", "torch.recurrent", "x=float32[4,32] w=float32[32,32]", ROUNDING),
    ),
    "keras#18648": ("numpy.in_float64", "torch.scaled", X, PRECISION),
    "numpy std": ("numpy.std", "torch.std", X, OTHER),
    "pytorch#184572, max": ("torch.relu", "torch_max.relu_max", X, POINTS),
    "pytorch#184572, clamp": ("torch.relu", "torch_clamp.relu_clamp", X, POINTS),
    "pytorch#184572, where": ("torch.relu", "torch_where.relu_where", X, POINTS),
}
IN_JAX = {
    "jax#37821, maximum": ("jax.relu", "jax_maximum.relu_max", X, POINTS),
    "jax#37821, where": ("jax.relu", "jax_where.relu_where", X, POINTS),
    "jax#37821, at least": ("jax.relu", "jax_least.relu_at_least", X, POINTS),
}
# Of a spelling of relu: its derivative at 0.
AT_ZERO = {"max": 0.5, "maximum": 0.5, "clamp": 1.0, "where": 1.0, "at least": 1.0}


@pytest.fixture(scope="module")
def in_torch() -> dict[str, Same]:
    return inside(IN_TORCH, timeout=300)


@pytest.fixture(scope="module")
def in_jax() -> dict[str, Same]:
    return inside(IN_JAX, timeout=300)


@needs("torch")
@pytest.mark.parametrize("report", IN_TORCH)
def test_the_answer_to_a_report(report, in_torch):
    assert in_torch[report].answer == IN_TORCH[report][3], in_torch[report].sentence


@needs("jax")
@pytest.mark.parametrize("report", IN_JAX)
def test_the_answer_to_a_report_of_jax(report, in_jax):
    assert in_jax[report].answer == IN_JAX[report][3], in_jax[report].sentence


@needs("torch")
def test_sums_that_differ_in_the_seventh_digit_agree_in_float64(in_torch):
    for report in ("keras#20804", "keras#22697"):
        asked = {of.question: of for of in in_torch[report].questions}
        assert 0 < asked["float32"].distance < asked["float32"].limit
        assert asked["float64"].distance < 1e-12
        assert asked["gradients"].outcome == "same"


@needs("torch")
def test_a_side_that_answers_in_float64_is_told(in_torch):
    told = in_torch["keras#18648"].sentence
    assert "numpy gives float64 (8, 64) and torch gives float32 (8, 64)" in told


@needs("torch", "jax")
def test_spellings_of_relu_have_three_derivatives_at_zero(in_torch, in_jax):
    """Of element [4, 0], which was put to 0; weights are the harness's."""
    weight = float(weigh(0, (8, 64))[4, 0])
    seen = set()
    for report, found in (in_torch | in_jax).items():
        if "relu" not in (IN_TORCH | IN_JAX)[report][0]:
            continue
        (at_zero,) = [point for point in found.points if point.point == "0"]
        if at_zero.same:
            seen.add(0.0)
            continue
        first = found.first
        assert (first.point, first.of, first.index) == ("0 in x", "gradient by x", [4, 0])
        slope = AT_ZERO[report.partition(", ")[2]]
        assert [*first.says.values()] == [0, pytest.approx(slope * weight)]
        seen.add(slope)
    assert seen == {0.0, 0.5, 1.0}
    assert in_jax["jax#37821, where"].first.point == "nan in x"


@needs("torch")
def test_numpys_deviation_and_pytorchs_differ_by_n_and_n_less_1(in_torch):
    found = in_torch["numpy std"]
    (told,) = found.explained
    assert told.hypothesis == "deviation-over-n-1"
    assert told.numbers == [pytest.approx((64 / 63) ** 0.5, rel=1e-15)]
    said = "torch gives 1.00791 times what numpy does, sqrt(n / (n - 1)) with n = 64: "
    assert said in found.sentence


# ---- conventions of plain functions --------------------------------------------------------------

# By pair of tests/pairs/plain.py: what explains it, with its number.
PLANTED = {
    ("std", "std_by_freedom"): ("deviation-over-n-1", (64 / 63) ** 0.5),
    ("std_by_freedom", "std"): ("deviation-over-n-1", (64 / 63) ** 0.5),
    ("moments", "moments_by_freedom"): ("variance-over-n-1", 512 / 511),
    ("mean_square", "square_sum"): ("sum-for-mean", 512.0),
    ("scaled", "negative"): ("times", -1.0),
    ("scaled", "a_little_more"): ("times", 1 + 2.0**-18),
    ("square", "transposed_square"): ("value-transposed", None),
}
UNKNOWN = (("scaled", "scaled_off"), ("scaled", "gelu"), ("sum_of_all", "sum_of_all_more"),
           ("cumsum", "cumsum_from_zero"), ("relu", "gelu"), ("square", "square_off"))  # fmt: skip


def asked(one: str, other: str) -> Same:
    sides = {"mine": getattr(plain, one), "theirs": getattr(plain, other)}
    return harness.same(like=X, **sides)


@pytest.mark.parametrize("pair", PLANTED, ids=" ".join)
def test_a_convention_of_plain_functions_is_named_with_its_number(pair):
    hypothesis, value = PLANTED[pair]
    found = asked(*pair)
    assert found.answer == OTHER
    (told,) = found.explained
    assert told.hypothesis == hypothesis
    assert told.numbers == ([] if value is None else [pytest.approx(value, rel=1e-9)])
    assert float(told.left) < 1e-9
    assert told.sentence in found.sentence
    assert told.sentence.split()[0] in ("mine", "theirs")


@pytest.mark.parametrize("pair", UNKNOWN, ids=" ".join)
def test_a_difference_that_no_convention_gives_to_the_limit_is_explained_by_none(pair):
    found = asked(*pair)
    assert (found.answer, found.explained) == (OTHER, [])


def test_every_convention_of_plain_functions_is_planted():
    assert {one.id for one in functions.TABLE} == {id_ for id_, _ in PLANTED.values()}


def test_a_factor_next_to_1_is_told_with_the_digits_that_differ():
    (told,) = asked("scaled", "a_little_more").explained
    assert told.sentence == "theirs gives 1.000003815 times what mine does"


def test_an_assertion_tells_what_explains_the_difference():
    with pytest.raises(AssertionError, match=r"explanation +theirs gives 1\.00791 times what mine"):
        assert_same(mine=plain.std, theirs=plain.std_by_freedom, like=X)
