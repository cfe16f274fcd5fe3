"""`harness same`: pairs that agree and pairs that do not, and functions that misbehave.

NumPy's functions are called here; those of a framework in one process that has it, or in workers.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness.errors import InputError
from harness.measure import rounding
from harness.pair import arguments, comparing, deciding, special, telling
from harness.pair.document import QUESTIONS, SAME, UNTOLD, Same, exit_status
from harness.report import markdown, page
from harness.report.same import report
from harness.testing import assert_same
from harness.workers.calling import Called, Function, Said, chosen, weigh
from tests.conftest import needs, run_here
from tests.pairs import plain
from tests.pairs.asked import inside

X = "x=float32[8,64]"
LAYER = f"{X} w=float32[64] b=float32[64]"
PRODUCT = "a=float32[8,64] b=float32[64,16]"
BITS, ROUNDING = SAME
PRECISION, OTHER, POINTS = "precision", "different functions", "different at special points only"
HERE = Path(__file__).parent / "pairs"


def asked(one, other, like=X, **words) -> Same:
    """Two of NumPy's functions of tests/pairs/plain.py."""
    functions = {"mine": getattr(plain, one), "theirs": getattr(plain, other)}
    return harness.same(like=like, **functions, **words)


# ---- ten that agree, ten and more that do not ----------------------------------------------------

AGREE = {
    "softmax": ("softmax", "softmax_by_reciprocal", X, ROUNDING),
    "logsumexp": ("logsumexp", "logsumexp_scipy", X, ROUNDING),
    "matmul": ("matmul", "matmul_backwards", PRODUCT, ROUNDING),
    "layer norm": ("layer_norm", "layer_norm_by_var", LAYER, ROUNDING),
    "max pool": ("max_pool", "max_pool_of_windows", X, BITS),
    "several outputs": ("both", "both_again", X, ROUNDING),
    "one hot": ("one_hot", "one_hot_by_equality", "y=int64[32]<10", BITS),
    "itself": ("gelu", "gelu", X, BITS),
}
DIFFER = {
    "layer norm, eps 1e-6 against 1e-5": ("layer_norm", "layer_norm_other_eps", LAYER, OTHER),
    "layer norm, factor 1 + 3e-6": ("layer_norm", "layer_norm_off", LAYER, OTHER),
    "std over n - 1": ("std", "std_by_freedom", X, OTHER),
    "cumsum from zero": ("cumsum", "cumsum_from_zero", X, OTHER),
    "transposed": ("scaled", "transposed", X, OTHER),
    "relu that drops NaN": ("relu", "relu_without_nan", X, POINTS),
    "softmax that overflows": ("softmax", "softmax_naive", X, POINTS),
    "softmax of an infinity": ("softmax", "softmax_by_logarithm", X, POINTS),
    "max pool of nothing": ("max_pool", "max_pool_by_pairs", X, POINTS),
    "argmax of a tie": ("largest", "largest_but_the_last", X, POINTS),
    "float64 made float32": ("scaled", "narrow", X, PRECISION),
    "float64 computed in float32": ("scaled", "narrow_inside", X, PRECISION),
    "float64 for float32": ("scaled", "in_float64", X, PRECISION),
    "operands in bfloat16": ("matmul", "matmul_in_bfloat16", PRODUCT, PRECISION),
}
# The first side and the second, of PyTorch and NumPy, with what is drawn.
IN_TORCH = {
    "softmax": ("numpy.softmax", "torch.softmax", X, ROUNDING),
    "layer norm": ("numpy.layer_norm", "torch.layer_norm", LAYER, ROUNDING),
    "cumsum": ("numpy.cumsum", "torch.cumsum", X, ROUNDING),
    "relu": ("numpy.relu", "torch.relu", X, ROUNDING),
    "relu, threshold": ("torch.relu", "torch_too.relu_threshold", X, ROUNDING),
    "in place": ("torch.doubled", "torch_too.doubled_in_place", X, BITS),
    "without a gradient": ("torch.doubled", "torch_too.without_gradient", X, BITS),
    "float32 only, alike": ("torch.linear", "torch_too.linear_again", X, BITS),
    "std": ("numpy.std", "torch.std", X, OTHER),
    "gelu, erf against tanh": ("numpy.gelu", "torch.gelu_by_tanh", X, OTHER),
    "a wrong gradient": (
        *("torch.weighted", "torch_too.weighted_wrong_gradient"),
        *(f"{X} w=float32[64]", OTHER),
    ),
    "a wrong gradient, by differences": (
        *("numpy.weighted", "torch.weighted_wrong_gradient"),
        *(f"{X} w=float32[64]", OTHER),
    ),
    "relu'(0), max": ("torch.relu", "torch_too.relu_max", X, POINTS),
    "relu'(0), clamp": ("torch.relu", "torch_too.relu_clamp", X, POINTS),
    "relu'(0), abs": ("torch.relu", "torch_too.relu_abs", X, POINTS),
    "max pool, ties": ("torch.max_pool", "torch_too.max_pool_amax", X, POINTS),
    "through bfloat16": ("numpy.scaled", "torch.through_bfloat16", X, PRECISION),
    "bfloat16": ("numpy.scaled", "torch.in_bfloat16", X, PRECISION),
    "float32 only": ("numpy.as_the_layer", "torch.linear", X, PRECISION),
}


@pytest.fixture(scope="module")
def in_torch() -> dict[str, Same]:
    """Every pair of IN_TORCH, in one process."""
    return inside(IN_TORCH, timeout=120)


@pytest.mark.parametrize("name", AGREE | DIFFER)
def test_the_answer_about_a_pair_of_numpys(name):
    one, other, like, answer = (AGREE | DIFFER)[name]
    found = asked(one, other, like)
    assert (found.answer, found.sentence != "") == (answer, True)
    assert exit_status(found) == (0 if name in AGREE else 1)
    assert [of.question for of in found.questions] == [*QUESTIONS]
    assert (found.first is None) == (name in AGREE or "made float32" in name)


@needs("torch")
@pytest.mark.parametrize("name", IN_TORCH)
def test_the_answer_about_a_pair_with_pytorchs(name, in_torch):
    assert in_torch[name].answer == IN_TORCH[name][3], in_torch[name]


def test_at_least_ten_agree_and_ten_do_not():
    answers = [pair[3] in SAME for pair in (*AGREE.values(), *DIFFER.values(), *IN_TORCH.values())]
    assert answers.count(True) >= 10
    assert answers.count(False) >= 10


# ---- what is told of a difference ----------------------------------------------------------------


def test_the_first_element_that_differs_is_told_with_both_values_and_the_limit():
    first = asked("std", "std_by_freedom").first
    x = arguments.draw(arguments.parse_like([X])).arrays["x"]
    assert (first.question, first.of, first.index, first.point) == ("float64", "value", [0], "")
    assert first.says == {"mine": x[0].std(), "theirs": x[0].std(ddof=1)}
    assert 0 < first.limit < 1e-6


@needs("torch")
def test_a_wrong_gradient_is_told_at_its_element_whoever_holds_the_truth(in_torch):
    for name in ("a wrong gradient", "a wrong gradient, by differences"):
        first = in_torch[name].first
        assert (first.question, first.of, first.index) == ("gradients", "gradient by x", [1, 2])
        one, other = first.says.values()
        assert abs(one / other - 1) == pytest.approx(1e-5, rel=1e-3)
    asked_of = {of.question: of for of in in_torch["softmax"].questions}["gradients"]
    assert asked_of.outcome == "same"
    assert asked_of.says["numpy"] == "central differences"


@needs("torch")
def test_where_neither_gives_the_truth_and_where_one_does_not_broadcast_it_is_told_only(in_torch):
    norm = in_torch["layer norm"]
    assert {p.point for p in norm.points if not p.same} >= {"max", "-max"}
    notes = {of.question: of.note for of in norm.questions}
    assert "told only, max: both overflow on the way" in notes["special points"]
    assert "one does not broadcast" in notes["broadcasting"]


@needs("torch")
def test_the_derivative_of_relu_at_zero_is_told_as_each_side_has_it(in_torch):
    """Weights are the harness's: of element [4, 0], which was put to 0, of an (8, 64) value."""
    weight = float(weigh(0, (8, 64))[4, 0])
    for name, share in (("max", 0.5), ("clamp", 1.0), ("abs", 0.5)):
        found = in_torch[f"relu'(0), {name}"]
        assert (found.first.point, found.first.of) == ("0 in x", "gradient by x")
        assert found.first.index == [4, 0]
        assert found.first.says == {"torch": 0, "torch_too": pytest.approx(share * weight)}
    points = {point.point: point for point in in_torch["max pool, ties"].points if not point.same}
    assert points["all equal"].of == "gradient by x"


@needs("torch")
def test_what_a_side_rounds_is_shown_and_named(in_torch):
    assert "theirs rounds a as bfloat16 does" in asked(*DIFFER["operands in bfloat16"][:3]).sentence
    assert "torch rounds x as bfloat16 does" in in_torch["through bfloat16"].sentence
    assert "theirs rounds x to float32" in asked("scaled", "narrow_inside").sentence
    assert "theirs gives float32 for float64" in asked("scaled", "narrow").sentence
    assert "torch raises RuntimeError" in in_torch["float32 only"].sentence
    assert "for float64" in in_torch["float32 only"].sentence


def test_an_unstable_formula_is_no_other_function():
    """Its float64 is off by 2**-29 of what its float32 is; a mean of 1e4 makes that 1e-8."""
    x = np.random.default_rng(0).standard_normal((4, 64)) + 1e4
    found = harness.same(mine=plain.variance, theirs=plain.variance_in_one_pass, args={"x": x})
    assert found.answer == PRECISION
    assert "theirs is further off in float32 than its rounding" in found.sentence
    assert found.first.question == "float32"


def test_a_large_element_does_not_hide_a_difference_of_the_others():
    def masked(x, factor=1.0):
        return np.where(np.arange(x.shape[-1]) < 8, x.dtype.type(-1e9), x * x.dtype.type(factor))

    found = harness.same(mine=masked, theirs=lambda x: masked(x, 1 + 1e-9), like=X)
    assert (found.answer, found.first.index) == (OTHER, [0, 8])


def test_a_step_at_an_argument_is_a_matter_of_special_points():
    """Arguments may hold a zero, where a step, or a derivative of relu, is a convention."""
    x = np.array([0.0, 1.0, -2.0, 0.5])
    found = harness.same(
        mine=lambda x: np.where(x > 0, x + 1, x), theirs=lambda x: np.where(x >= 0, x + 1, x),
        args=(x,),
    )  # fmt: skip
    assert (found.answer, found.first.point) == (POINTS, "0 in arg0")


def test_rounding_that_is_large_at_a_special_point_is_measured_there():
    """Of equal numbers a layer norm divides what is left of x - mean by the root of ε."""

    def in_order(x):
        centred = x - np.cumsum(x, -1)[..., -1:] / x.dtype.type(x.shape[-1])
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + x.dtype.type(1e-5))

    def pairwise(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + x.dtype.type(1e-5))

    first = arguments.draw(arguments.parse_like(["x=float32[8,50]"])).arrays["x"][0, 0]
    level = np.full((8, 50), np.float32(first))
    assert np.abs(in_order(level) - pairwise(level)).max() > 5e-6
    assert harness.same(mine=in_order, theirs=pairwise, like="x=float32[8,50]").answer == ROUNDING


def test_two_that_keep_no_float64_are_held_to_a_truth_or_not_at_all():
    def tripled(x):
        return (x.astype(np.float32) + x.astype(np.float32)) + x.astype(np.float32)

    def tripled_too(x):
        return np.float32(1.1) * (np.float32(1 / 1.1 * 3) * x.astype(np.float32))

    same = harness.same(mine=tripled, theirs=tripled, like=X)
    assert (same.answer, same.truth) == (BITS, "")
    assert "neither keeps float64" in same.sentence
    untold = harness.same(mine=tripled, theirs=tripled_too, like=X)
    assert (untold.answer, exit_status(untold)) == (UNTOLD, 2)
    assert "there is no truth" in untold.sentence
    held = harness.same(mine=tripled, theirs=tripled_too, like=X, truth=lambda x: 3 * x)
    assert (held.answer, held.truth) == (PRECISION, "truth")


def test_the_truth_that_is_given_says_which_side_is_wrong():
    def truth(x):
        return np.std(x, -1)

    wrong = asked("std", "std_by_freedom", truth=truth)
    assert wrong.answer == OTHER
    assert wrong.sentence.endswith("not the truth that was given: theirs")
    assert asked("std", "std", truth=truth).answer == BITS
    neither = asked("std_by_freedom", "std_by_freedom", truth=truth)
    assert (neither.answer, neither.first) == (UNTOLD, None)
    with pytest.raises(InputError, match="the truth raises RuntimeError"):
        asked("std", "std", truth=plain.raises)


# ---- whole numbers -------------------------------------------------------------------------------

WHOLE = np.arange(-1, 5, dtype=np.int32).reshape(2, 3)
FLOATS = np.array([1.5, -2.0, 0.25])
ONE_UP = 2**53 + 1


def of(one, other, x, **words) -> Same:
    """Two of tests/pairs/plain.py, at arguments that are given."""
    return asked(one, other, like=(), args={"x": x}, **words)


@pytest.mark.parametrize("x", [WHOLE, np.uint8([[3]]), np.int64(3)], ids=["int32", "uint8", "0-d"])
def test_a_difference_of_whole_numbers_is_told_at_its_first_element(x):
    found = of("itself", "next_whole", x)
    first = np.ravel(x)[0]
    assert (found.answer, exit_status(found)) == (OTHER, 1)
    assert found.first.index == [0] * x.ndim
    assert found.first.says == {"mine": first, "theirs": first + 1}
    assert of("itself", "itself", x).answer == BITS
    with pytest.raises(AssertionError, match=OTHER):
        assert_same(mine=plain.itself, theirs=plain.next_whole, args={"x": x})


def test_bools_are_whole_numbers():
    assert of("positive", "positive", WHOLE).answer == BITS
    assert of("positive", "at_least_one", WHOLE).answer == BITS
    assert of("positive", "at_least_one", FLOATS).answer == OTHER
    mask = np.array([True, False])
    assert harness.same(a=lambda m: m, b=lambda m: ~m, args={"m": mask}).first.index == [0]


@pytest.mark.parametrize("x", [WHOLE, FLOATS], ids=["int32", "float"])
@pytest.mark.parametrize(
    ("one", "other", "values"),
    [
        ("two_to_the_53", "two_to_the_53_and_one", (2**53, ONE_UP)),
        ("two_to_the_53_and_one", "two_to_the_53", (ONE_UP, 2**53)),
        ("largest_uint64", "largest_uint64_but_one", (2**64 - 1, 2**64 - 2)),
        ("largest_uint64", "minus_one", (2**64 - 1, -1)),
    ],
)
def test_whole_numbers_that_float64_cannot_tell_apart_are_compared_and_told_exactly(
    one, other, values, x
):
    found = of(one, other, x)
    assert (found.answer, found.first.index) == (OTHER, [0])
    assert tuple(found.first.says.values()) == values
    for text in (found.sentence, markdown.render(report(found))):
        assert all(str(value) in text for value in values)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Same) == found
    assert of(one, one, x).answer == BITS


def test_whole_numbers_at_a_special_point_are_compared_and_told_exactly():
    def at_nan(x, value):
        return np.where(np.isnan(x), value, 0)

    found = harness.same(
        mine=lambda x: at_nan(x, 2**53), theirs=lambda x: at_nan(x, ONE_UP), args={"x": FLOATS}
    )
    assert (found.answer, found.first.point) == (POINTS, "nan in x")
    assert found.first.says == {"mine": 2**53, "theirs": ONE_UP}
    assert str(ONE_UP) in found.sentence
    assert str(ONE_UP) in str([point.says for point in found.points])


def test_one_that_gives_other_whole_numbers_the_second_time():
    found = of("counts_up", "counts_up", FLOATS)
    one, two = found.first.says.values()
    assert (found.answer, two - one > 0, one > 2**53) == ("one does not repeat itself", True, True)
    assert f"is {one} then {two}" in found.sentence


@pytest.mark.parametrize("x", [WHOLE, FLOATS], ids=["int32", "float"])
def test_whole_numbers_against_floats_are_held_to_rounding_whichever_side_they_are_on(x):
    for one, other in (
        ("two_to_the_53_and_one", "two_to_the_53_in_float64"),
        ("positive_as_ones", "positive_as_floats"),
        ("positive", "positive_as_ones"),
    ):
        both = of(one, other, x), of(other, one, x)
        assert {found.answer for found in both} == {ROUNDING}
        assert {found.first for found in both} == {None}
        for found in both:
            kinds = found.questions[0].says
            assert all(kind.split(" ")[0] in found.sentence for kind in kinds.values())
    assert of("minus_one", "two_to_the_53_in_float64", x).answer == OTHER


def test_the_truth_of_whole_arguments_is_asked():
    wrong = of("itself", "next_whole", WHOLE, truth=plain.itself)
    assert (wrong.answer, wrong.truth) == (OTHER, "truth")
    assert wrong.sentence.endswith("not the truth that was given: theirs")
    neither = of("next_whole", "next_whole", WHOLE, truth=plain.itself)
    assert (neither.answer, "and not with the truth" in neither.sentence) == (UNTOLD, True)
    assert of("itself", "itself", WHOLE, truth=plain.itself).answer == BITS


def test_sums_of_whole_arguments_may_be_rounded_in_another_order():
    x = np.random.default_rng(0).integers(0, 1000, 10**6)

    def mean(x):
        return np.float32(x.astype(np.float32).sum() / x.size)

    def in_order(x):
        return np.float32(np.cumsum(np.append(np.float32(0), x.astype(np.float32)))[-1] / x.size)

    assert abs(in_order(x) / mean(x) - 1) > 40 * rounding.SINGLE
    assert harness.same(mine=mean, theirs=in_order, args={"x": x}).answer == ROUNDING


# ---- where there is nothing to compare -----------------------------------------------------------

EMPTY, NAN = np.zeros((0, 3)), np.full((2, 3), np.nan)
NOTHING = {
    "an empty argument": ("itself", "doubled", EMPTY, "every argument is empty"),
    "an empty argument, of whole numbers": (
        *("itself", "next_whole"),
        *(np.zeros((0, 3), int), "every argument is empty"),
    ),
    "a sum of nothing": ("sum_of_all", "sum_of_all_twice", EMPTY, "every argument is empty"),
    "std of nothing": ("std", "std_by_freedom", np.zeros((3, 0)), "every argument is empty"),
    "empty outputs": (
        *("with_nothing_beside", "with_nothing_beside"),
        *(EMPTY, "every argument is empty"),
    ),
    "NaN everywhere": ("nan_everywhere", "nan_everywhere", FLOATS, "value is NaN everywhere"),
    "NaN given": ("itself", "itself", NAN, "value is NaN everywhere"),
    "infinite": ("infinite", "infinite", FLOATS, "value has no finite number"),
    "no outputs": ("no_output", "no_output", FLOATS, "nothing came out"),
}


@pytest.mark.parametrize("name", NOTHING)
def test_where_nothing_was_compared_it_cannot_be_told(name):
    one, other, x, why = NOTHING[name]
    found = of(one, other, x)
    assert (found.answer, exit_status(found), found.first) == (UNTOLD, 2, None)
    assert found.sentence == f"nothing was compared: {why}"
    with pytest.raises(AssertionError, match=f"{UNTOLD}: nothing was compared"):
        assert_same(mine=getattr(plain, one), theirs=getattr(plain, other), args={"x": x})


def test_an_empty_output_is_told_where_an_argument_is_not():
    found = harness.same(mine=lambda x: x[:0], theirs=lambda x: 2 * x[:0], args={"x": FLOATS})
    assert (found.answer, found.sentence) == (
        *(UNTOLD,),
        "nothing was compared: value is empty, (0,)",
    )
    asked_of = {of.question: of for of in found.questions}
    for question in ("float64", "float32"):
        assert asked_of[question].outcome == "not asked"
        assert asked_of[question].distance is None
        assert asked_of[question].note == "there is nothing to compare"


def test_whole_numbers_that_all_move_with_rounding_are_compared_where_they_are_equal():
    found = of("digits_of", "half_the_digits_of", FLOATS)
    assert (found.answer, found.first.point) == (POINTS, "0 in x")
    asked_of = {of.question: of.outcome for of in found.questions}
    assert asked_of["float64"] == asked_of["float32"] == "not asked"
    assert of("digits_of", "digits_of", FLOATS).answer == BITS


def test_nan_beside_finite_numbers_is_compared():
    assert of("some_nan", "some_nan", FLOATS).answer == BITS
    assert of("some_nan", "itself", FLOATS).answer == OTHER
    # What float32 cannot hold is compared in float64.
    large = np.array([1e30])
    assert harness.same(a=lambda x: x * x, b=lambda x: x * x, args=(large,)).answer == BITS
    assert harness.same(a=lambda x: x * x, b=lambda x: 2 * x * x, args=(large,)).answer == OTHER


def test_what_is_infinite_or_nan_on_one_side_only_differs():
    for pair in (("infinite", "itself"), ("nan_everywhere", "itself"), ("infinite", "some_nan")):
        assert of(*pair, FLOATS).answer == OTHER
    assert of("infinite", "nan_everywhere", FLOATS).answer == OTHER


def test_of_several_outputs_one_with_nothing_in_it_is_told():
    for one, other, why in (
        ("with_nothing_beside", "with_doubled_nothing_beside", "is empty, (0,)"),
        ("with_nan_beside", "with_nan_beside", "is NaN everywhere"),
    ):
        found = of(one, other, FLOATS)
        assert (found.answer, exit_status(found)) == (BITS, 0)
        assert found.sentence.endswith(f"; not compared: value['none'] {why}")


# ---- functions that misbehave --------------------------------------------------------------------

UNANSWERED = {
    "nothing": "gives None",
    "a_text": "gives a str",
    "complex_numbers": "gives an array of complex64, which is not compared",
    "raises": "raises RuntimeError: no such luck (plain.py, line ",
    "leaves": "raises SystemExit: 3",
}
if np.dtype(np.longdouble).itemsize > 8:  # elsewhere it is float64
    UNANSWERED["in_longdouble"] = f"gives an array of {np.dtype(np.longdouble)}, which is not"
TOLD = {
    ("total", "as_list"): ("gives a list of numbers, taken as an array", ROUNDING),
    ("sum_of_all", "as_number"): ("gives a Python float, taken as an array", ROUNDING),
    ("scaled", "in_place"): ("changes its argument x", BITS),
    ("both", "both"): ("gives a tuple of 2 arrays", BITS),
}


@pytest.mark.parametrize("function", UNANSWERED)
def test_what_gives_no_numbers_is_told_in_one_line(function):
    found = asked("scaled", function)
    assert (found.answer, exit_status(found), found.first) == (UNTOLD, 2, None)
    assert found.sentence.startswith(f"theirs {UNANSWERED[function]}")
    assert "\n" not in found.sentence
    assert {of.outcome for of in found.questions[1:]} == {"not asked"}


@pytest.mark.parametrize("pair", TOLD, ids=" ".join)
def test_what_else_a_function_does_is_told_and_its_numbers_are_compared(pair):
    note, answer = TOLD[pair]
    found = asked(*pair)
    assert found.sides[1].notes == [note]
    assert found.answer in (answer, BITS)


def test_another_shape_or_dtype_is_told():
    assert asked("scaled", "transposed").sentence == (
        "mine gives float32 (8, 64) and theirs gives float32 (64, 8)"
    )
    assert asked("scaled", "in_float64").sentence == (
        "for float32 mine gives float32 (8, 64) and theirs gives float64 (8, 64)"
    )
    assert asked("total", "both").answer == OTHER


def test_one_that_does_not_repeat_itself_is_told_with_both_numbers():
    found = asked("scaled", "random")
    assert (found.answer, exit_status(found)) == ("one does not repeat itself", 1)
    assert (found.first.question, found.first.index) == ("repeats itself", [0, 0])
    one, two = found.first.says.values()
    assert one != two
    assert [*found.first.says] == ["theirs, first", "theirs, then"]


def test_one_that_raises_alone_differs_and_two_that_raise_do_not():
    found = asked("scaled", "raises_at_nan")
    assert (found.answer, found.first.point, found.first.index) == (POINTS, "nan in x", None)
    assert found.first.says["theirs"].startswith("raises ValueError: a NaN (plain.py, line ")
    assert asked("raises_at_nan", "raises_at_nan").answer == BITS


def test_arguments_that_are_no_arrays_are_handed_on():
    words = {"args": {"x": np.ones((3, 4)), "eps": 1e-5}}
    found = asked("root", "root", like=(), **words)
    assert found.answer == BITS
    assert [(a.name, a.dtype, a.shape, a.text) for a in found.arguments] == [
        ("x", "float64", (3, 4), ""),
        ("eps", "", (), "1e-05"),
    ]
    assert found.made == "given"


# ---- in processes of their own -------------------------------------------------------------------


def in_plain(function: str) -> str:
    return f"{HERE / 'plain.py'}:{function}"


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_what_a_side_prints_goes_nowhere_but_into_its_log(monkeypatch, capfd):
    words = ("same", f"a={in_plain('talks')}", f"b={in_plain('scaled')}", "--like", X)
    assert run_here(monkeypatch, *words) == 0
    said = capfd.readouterr()
    assert "SAME, BIT FOR BIT" in said.out
    assert "word to the terminal" not in said.out + said.err
    assert "and another" not in said.out + said.err


def test_one_that_hangs_is_ended_and_one_that_dies_is_told(monkeypatch, capsys):
    words = ("--like", X, "--timeout", "0.5", "--json")
    for function, reason in (
        ("hangs", "b fails: no answer within 0.5 s"),
        ("dies", "b fails: process ended by exit status 3"),
    ):
        sides = (f"a={in_plain('scaled')}", f"b={in_plain(function)}")
        assert run_here(monkeypatch, "same", *sides, *words) == 2
        document = told(capsys)
        assert (document["answer"], document["sentence"]) == (UNTOLD, reason)


def test_one_that_dies_at_a_point_is_asked_the_others_and_not_for_ever():
    once = harness.same(a=in_plain("scaled"), b=in_plain("dies_at_nan"), like="x=float32[3,4]")
    assert [point.point for point in once.points if not point.same] == ["nan"]
    assert once.first.says["b"] == "fails: process ended by exit status 3"
    often = harness.same(a=plain.scaled, b=in_plain("dies_when_not_finite"), like="x=float32[3,4]")
    assert often.answer == POINTS
    (note,) = [of.note for of in often.questions if of.question == "special points"]
    assert "others not asked: b's process failed 4 times" in note


@needs("jax", "tensorflow")
def test_jax_and_tensorflow_in_processes_of_their_own(monkeypatch, capsys, tmp_path):
    """The constant that JAX's file makes as it is imported is float64 where that is asked for."""
    sides = (f"jax={HERE}/in_jax.py:gelu", f"tensorflow={HERE}/in_tensorflow.py:gelu")
    page_file = tmp_path / "page.md"
    words = ("same", *sides, "--like", "float32[5]", "--json", "--page", page_file)
    run_here(monkeypatch, *words)
    document = told(capsys)
    by = {of["question"]: of for of in document["questions"]}
    assert by["float64"]["outcome"] == by["gradients"]["outcome"] == "same"
    assert by["float64"]["says"] == {"jax": "float64", "tensorflow": "float64"}
    for side in document["sides"]:
        assert side["apart"] is True
        assert side["framework"] == side["name"]
        assert side["python"] == sys.executable
        assert any(fact == f"version:{side['name']}" for fact in side["facts"])
    assert "float64" in page_file.read_text()


def test_another_interpreter_and_arguments_that_a_function_makes(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    found = harness.same(
        a=in_plain("root"),
        b=in_plain("root"),
        args=in_plain("makes_arguments"),
        python={"b": str(python)},
    )
    assert found.answer == BITS
    assert [side.python for side in found.sides] == [sys.executable, str(python)]
    assert found.made == in_plain("makes_arguments")
    assert [argument.name for argument in found.arguments] == ["x", "eps"]
    (tuple_of,) = harness.same(
        a=plain.scaled, b=plain.scaled, args=in_plain("makes_a_tuple")
    ).arguments
    assert tuple_of.name == "arg0"


# ---- input that cannot be used -------------------------------------------------------------------

A, B = f"a={in_plain('scaled')}", f"b={in_plain('scaled')}"
BAD = {
    "one side": ((A, "--like", X), "1 sides: exactly two"),
    "three": ((A, B, f"c={in_plain('scaled')}", "--like", X), "3 sides: exactly two"),
    "twice one name": ((A, A, "--like", X), "every name once"),
    "no name": ((in_plain("scaled"), B, "--like", X), "same "),
    "no such file": ((A, "b=nowhere.py:f", "--like", X), "there is no Python file nowhere.py"),
    "no such function": ((A, f"b={in_plain('nosuch')}", "--like", X), "has no nosuch"),
    "no function": ((A, f"b={in_plain('np')}", "--like", X), "cannot be called"),
    "no arguments": ((A, B), "give either --args, or --like"),
    "both kinds": ((A, B, "--like", X, "--args", "x.npz"), "give either --args, or --like"),
    "no such npz": ((A, B, "--args", "nowhere.npz"), "--args nowhere.npz: No such file"),
    "makes none": ((A, B, "--args", in_plain("makes_nothing")), "a dictionary or a tuple"),
    "makes complex": (
        (A, B, "--args", in_plain("makes_complex_numbers")),
        "x holds complex128: fl",
    ),
    "complex": ((A, B, "--like", "x=complex64[3]"), "with DTYPE one of float16, float32, float64"),
    "a page of another kind": ((A, B, "--like", X, "--page", "x.pdf"), "ends in .html or .md"),
    "no time": ((A, B, "--like", X, "--timeout", "0"), "more than 0 seconds"),
    "another's python": ((A, B, "--like", X, "--python", "c=python3"), "c: no side has this name"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, reason = BAD[case]
    assert reason in command("same", *words, ends=2).err.splitlines()[-1]


def test_what_is_handed_over_in_python_is_checked_as_well():
    both = {"mine": plain.scaled, "theirs": plain.scaled}
    for words, reason in (
        (both | {"mine": 3}, "a function, or FILE.py:FUNCTION"),
        ({"mine": plain.scaled}, "1 sides"),
        (both | {"args": {"x": "text"}}, "no array"),
        (both | {"args": 3}, "not a int"),
        (both | {"args": {"x": np.array([1e300])}}, "beyond"),
        (both | {"args": {"x": np.array([1j])}}, "complex"),
        (both | {"args": {"a b": np.ones(2)}}, "no name"),
    ):
        with pytest.raises(InputError, match=reason):
            harness.same(**({"args": {"x": np.ones(2)}} | words))
    nan = {"args": {"x": np.ones(2), "eps": float("nan")}}
    with pytest.raises(InputError, match="go to a process of its own"):
        harness.same(mine=plain.root, theirs=in_plain("root"), **nan)


# ---- arguments -----------------------------------------------------------------------------------


def test_arrays_of_a_file_are_named_or_have_places(tmp_path):
    x, w = np.ones((2, 3), np.float32), np.arange(3)
    for name, arrays, known in (
        ("named", {"x": x, "w": w}, ["x", "w"]),
        ("numpys", {"arr_0": x, "arr_1": w}, ["arg0", "arg1"]),
        ("places", {"arg1": w, "arg0": x}, ["arg1", "arg0"]),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        read = arguments.read_npz(tmp_path / f"{name}.npz")
        assert [*read.arrays] == known
        assert read.made == f"{name}.npz"


def archive(**members: bytes) -> bytes:
    """A zip of these members, by what stands for their name."""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in members.items():
                out.writestr(name.replace("_npy", ".npy"), data)
        return file.getvalue()


def saved(array, **words) -> bytes:
    """An array as numpy.save writes it."""
    file = io.BytesIO()
    np.save(file, array, **words)
    return file.getvalue()


def damaged(data: bytes) -> bytes:
    """A zip whose first member's data are others."""
    return data[:50] + bytes(byte ^ 0x55 for byte in data[50:90]) + data[90:]


BROKEN = "x is damaged, or holds Python objects"
NO_ARGUMENTS = {
    "a text": (b"no archive", "it is no .npz file, as numpy.savez writes one"),
    "nothing": (b"", "it is no .npz file"),
    "a lone array": (saved(np.ones(3)), "it is no .npz file"),
    "a pickle": (pickle.dumps([1]), "it is no .npz file"),
    "cut short": (archive(x_npy=saved(np.ones(300)))[:200], "it is damaged"),
    "other data": (damaged(archive(x_npy=saved(np.random.default_rng(0).random(99)))), BROKEN),
    "objects": (archive(x_npy=saved(np.array([None]), allow_pickle=True)), BROKEN),
    "half an array": (archive(x_npy=saved(np.ones(300))[:200]), BROKEN),
    "a promise": (
        archive(x_npy=saved(np.ones(3)).replace(b"(3,), }" + b" " * 12, b"(3000000000000,), }")),
        BROKEN,
    ),
    "a text inside": (archive(x=b"no array"), "x is no array"),
    "a text for an array": (archive(x_npy=b"no array"), "x is no array"),
    "no members": (archive(), "there is no array among them"),
    "complex numbers": (
        archive(x_npy=saved(np.array([1j]))),
        "x holds complex128: floats, whole numbers and bools are wanted",
    ),
    "a gap": (archive(arg0_npy=saved(np.ones(2)), arg2_npy=saved(np.ones(2))), "one is missing"),
    "one beyond float32": (archive(x_npy=saved(np.array([1e300]))), "beyond float32"),
}


@pytest.mark.parametrize("name", NO_ARGUMENTS)
def test_a_file_that_holds_no_arguments_is_refused_in_a_line_of_ours(name, tmp_path, command):
    data, reason = NO_ARGUMENTS[name]
    (tmp_path / "args.npz").write_bytes(data)
    said = command("same", A, B, "--args", tmp_path / "args.npz", ends=2).err.splitlines()
    assert reason in said[-1]
    assert said[-1].startswith("harness: ")
    assert "pickle" not in said[-1]
    assert len(said) == 1


def test_arguments_with_places_are_positional():
    function = Function(_room(), lambda: lambda a, /, b, *, c: a - 2 * b + c)
    arrays = {"arg1": np.ones(2), "c": np.full(2, 5.0), "arg0": np.zeros(2)}
    assert function.call(arrays, {}, "float32").values[""].tolist() == [3, 3]


def _room():
    from importlib import import_module

    return import_module("backends.numpy.functions")


names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not (name.startswith("arg") and name[3:].isdecimal())
)
shapes = st.lists(st.integers(0, 40), max_size=4).map(tuple)
drawn = st.one_of(
    st.builds(arguments.Like, names, st.sampled_from(["float32", "float64", "bool"]), shapes),
    st.builds(
        arguments.Like,
        names,
        st.sampled_from(["int8", "int64", "uint16"]),
        shapes,
        st.integers(1, 128),
    ),
)


@given(st.lists(drawn, min_size=1, max_size=4, unique_by=lambda like: like.name), st.booleans())
def test_what_is_to_be_drawn_is_read_as_it_is_written(likes, in_one):
    texts = [" ".join(map(str, likes))] if in_one else [*map(str, likes)]
    assert arguments.parse_like(texts) == likes


@given(drawn.filter(lambda like: math.prod(like.shape) < 1000))
def test_what_is_drawn_has_its_shape_and_range_and_is_the_same_every_time(like):
    one, two = (arguments.draw([like]) for _ in range(2))
    array = one.arrays[like.name]
    assert (array.shape, one.dtypes[like.name]) == (like.shape, like.dtype)
    assert np.array_equal(array, two.arrays[like.name])
    assert like.below is None or bool(((array >= 0) & (array < like.below)).all())
    assert str(like) in one.made


@given(st.text(alphabet="xyz01234float int[],<=\n\x1b°", max_size=30))
def test_any_other_text_is_refused_in_one_line(text):
    likes, said = None, ""
    try:
        likes = arguments.parse_like([text])
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert (likes is None) == bool(said)
    assert likes is None or arguments.parse_like([*map(str, likes)]) == likes


def test_arguments_without_a_name_are_counted():
    likes = arguments.parse_like(["float32[2]", "x=float32[3] int8[2,2]<3"])
    assert [like.name for like in likes] == ["arg0", "x", "arg1"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("x=int64[8]", "say below what"),
        ("x=float32[8]<3", "only integers"),
        ("x=int8[8]<200", "what int8 holds"),
        ("x=float32[999999999]", "more than"),
        ("x=complex64[8]", "expected"),
        ("x=float32[8] x=float32[8]", "every name once"),
    ],
)
def test_what_cannot_be_drawn_is_told_why(word, reason):
    with pytest.raises(InputError, match=reason):
        arguments.parse_like([word])


def test_every_special_point_is_asked_of_every_argument():
    given = arguments.draw(arguments.parse_like(["x=float32[8,6] w=float32[6] y=int64[8]<6"]))
    points = [*arguments.special_points(given)]
    by = {(point.name, point.argument) for point in points}
    for name in ("x", "w"):
        for value in (*arguments.VALUES, "all equal", "all 0", "non-contiguous"):
            assert (value, name) in by
    assert {("empty", "x y"), ("one row", "x y"), ("7 rows", "x y"), ("7 columns", "x w")} <= by
    odd = next(point for point in points if point.name == "7 columns")
    assert (odd.arrays["x"].shape, odd.arrays["w"].shape) == ((8, 7), (7,))
    lone = next(point for point in points if (point.name, point.argument) == ("nan", "x"))
    assert np.isnan(lone.arrays["x"]).sum() == 1
    assert [(p.argument, p.arrays[p.argument].shape) for p in arguments.broadcasts(given)] == [
        ("x", (1, 6)),
        ("w", (1,)),
        ("y", (1,)),
    ]


def test_an_argument_with_gaps_reaches_the_function_so():
    strides = []
    function = Function(_room(), lambda: lambda x: strides.append(x.strides) or x)
    for strided in ("", "x"):
        function.call({"x": np.ones((2, 3))}, {}, "float32", strided=strided)
    assert strides == [(12, 4), (24, 8)]


# ---- what decides, without any function ----------------------------------------------------------


def called(value, dtype="float32", **words) -> Called:
    array = np.asarray(value, dtype)
    return Called(Said(dtypes={"": dtype}, **words), {"": array})


def seen(one, other, true) -> deciding.Seen:
    """A pair in float32 and float64 whose truth does not stray."""
    none = {"value": np.zeros(np.shape(true))}
    return deciding.Seen(
        names=("a", "b"),
        floats=True,
        single={"a": called(one), "b": called(other)},
        again={"a": called(one), "b": called(other)},
        wide={"a": called(true, "float64"), "b": called(true, "float64")},
        truth="a",
        want={"value": np.asarray(true, np.float64)},
        noise=dict(none),
        fine=dict(none),
        coarse=dict(none),
    )


def test_float32_is_held_to_rounding_and_no_more():
    one = np.array([2.0, -2.0, 2.0])
    for share, answer in ((20, None), (60, PRECISION)):
        off = one * (1 + share * rounding.SINGLE)
        found = deciding.in_float32(seen(one, off, one))
        assert found.answer == answer
    assert found.first.index == [0]
    assert found.question.distance == pytest.approx(60 * rounding.SINGLE, rel=0.05)
    assert found.question.limit < found.question.distance


def test_whole_numbers_are_equal_unless_rounding_moves_the_truths():
    for moved, answer in ((0, PRECISION), (1, None)):
        pair = seen([1.0], [1.0], [1.0])
        pair.single = {"a": called([3], "int64"), "b": called([4], "int64")}
        pair.want, pair.noise = {"value": np.array([3])}, {"value": np.array([moved])}
        assert deciding.in_float32(pair).answer == answer


def test_one_without_float64_is_another_function_where_no_rounding_explains_it():
    true = np.array([1.0, 2.0])
    for keeps, share, answer in (("float64", 0.1, PRECISION), ("float32", 0.1, OTHER),
                                 ("float32", 0.002, PRECISION)):  # fmt: skip
        pair = seen(true, true * (1 + share), true)
        pair.wide = {"a": called(true, "float64"), "b": called(true, keeps)}
        assert deciding.in_float32(pair).answer == answer


def test_infinities_and_nans_must_be_alike():
    limits = {"value": np.full(3, np.inf)}
    odd = np.array([1.0, np.inf, np.nan])
    assert not comparing.compare({"value": odd}, {"value": odd}, limits).beyond
    zero = {"value": np.zeros(3)}
    off = comparing.compare({"value": odd}, {"value": np.array([1.0, -np.inf, np.nan])}, zero)
    assert (off.of, off.element, off.got, off.want) == ("value", (1,), math.inf, -math.inf)
    # What float64 holds and float32 cannot is infinite there.
    big = comparing.compare(
        {"value": np.array([np.inf], np.float32)},
        {"value": np.array([1e39])},
        {"value": np.zeros(1)},
    )
    assert not big.beyond


def test_zeros_of_both_signs_are_equal_and_have_other_bits():
    one, other = {"value": np.array([0.0])}, {"value": np.array([-0.0])}
    assert not comparing.compare(one, other, {"value": np.zeros(1)}).beyond
    assert not comparing.identical(one, other)
    nan = {"value": np.array([np.nan])}
    assert comparing.identical(nan, {"value": -nan["value"]})


def test_the_first_answer_of_the_order_is_told():
    findings = [
        deciding.Finding(deciding.what_comes_out(seen([1], [1], [1])).question, answer)
        for answer in (POINTS, PRECISION, OTHER)
    ]
    pair = seen([1], [1], [1])
    assert telling.answer(pair, findings, bits=False).answer == OTHER
    assert telling.answer(pair, findings[:2], bits=False).answer == PRECISION


def test_central_differences_know_their_error_and_kinks():
    function = Function(_room(), lambda: lambda x: np.abs(x) + np.sin(3 * x))
    x = np.array([0.0, 0.5, -1.25, 2.0, 1e-4])
    found = function.differences({"x": x}, {})
    true = weigh(0, x.shape) * (np.sign(x) + 3 * np.cos(3 * x))
    off = np.abs(found["slope.x"] - true)
    assert np.isinf(found["error.x"][0])
    assert (off <= found["error.x"]).all()
    assert (found["error.x"][1:4] < 1e-4).all()
    assert np.array_equal(found["at.x"], np.arange(5))


def test_of_a_large_argument_some_elements_are_differentiated_by():
    assert len(chosen(500)) == 500
    for size in (5000, 10**6, 10**9):
        at = chosen(size)
        assert 16 <= len(at) <= 1024
        assert (at[0], at[-1]) == (0, size - 1)


def test_one_that_dies_and_one_that_raises_are_not_alike():
    where = special.Where("special points", "nan", "x")
    usual = {"a": called([1]), "b": called([1])}
    raises, dies = Called(Said(failed="raises E")), Called(Said(failed="fails: S", ended=True))
    assert special.at_point(where, {"a": raises, "b": raises}, usual).point.same
    assert not special.at_point(where, {"a": raises, "b": dies}, usual).point.same


# ---- for people and for programs -----------------------------------------------------------------


def test_an_assertion_names_answer_place_values_and_limit():
    with pytest.raises(AssertionError) as raised:
        assert_same(mine=plain.layer_norm, theirs=plain.layer_norm_other_eps, like=LAYER)
    text = str(raised.value)
    first = asked("layer_norm", "layer_norm_other_eps", LAYER).first
    assert text.startswith(f"{OTHER}: in float64 value[0, 0] is ")
    for part in (
        "element",
        "[0, 0]",
        "limit",
        f"{first.says['mine']:.9g}",
        f"{first.limit:.1e}"[:3],
    ):
        assert part in text
    with pytest.raises(AssertionError, match=r"point +nan in x(.|\n)*mine +nan(.|\n)*theirs +0"):
        assert_same(mine=plain.relu, theirs=plain.relu_without_nan, like=X)
    assert assert_same(mine=plain.gelu, theirs=plain.gelu, like=X).answer == BITS


def test_the_report_and_the_page_say_what_the_document_says(tmp_path, monkeypatch, capsys):
    words = ("same", f"a={in_plain('relu')}", f"b={in_plain('relu_without_nan')}", "--like", X)
    file = tmp_path / "page.html"
    assert run_here(monkeypatch, *words, "--page", file) == 1
    text = capsys.readouterr().out
    assert "✗ DIFFERENT AT SPECIAL POINTS ONLY: nan in x: value[4, 0] is nan by a, 0 by b" in text
    for part in ("special points", "nan", "drawn with seed 0: x=float32[8,64]", "truth: a"):
        assert part in text
        assert part in file.read_text()
    assert str(HERE / "plain.py") in file.read_text()
    found = asked("relu", "relu_without_nan")
    assert "14 of 15 alike" in markdown.render(report(found))
    assert page.render(report(found)) == page.render(report(found))


def test_every_field_of_the_document_is_there_and_goes_through_json():
    found = asked("scaled", "in_place")
    again = msgspec.json.decode(msgspec.json.encode(found), type=Same)
    assert again == found
    assert found.seconds > 0
    assert found.truth == "mine"
    assert found.made == f"drawn with seed 0: {X}"
    mine, theirs = found.sides
    assert (mine.name, mine.framework, mine.apart, mine.python, mine.facts) == (
        *("mine", "numpy", False, ""),
        {},
    )
    assert (mine.source, mine.notes) == ("scaled, in the calling process", [])
    assert theirs.notes == ["changes its argument x"]
    by = {of.question: of for of in found.questions}
    assert by["what comes out"].says == dict.fromkeys(("mine", "theirs"), "float32 (8, 64)")
    assert (by["float64"].distance, by["float64"].note) == (0, "from each other")
    assert 1e-6 < by["float32"].limit < 1e-5
    assert by["gradients"].outcome == by["broadcasting"].outcome == "not asked"
    assert {(point.argument, point.same, point.of) for point in found.points} == {("x", True, "")}
    assert found.points[0].says == by["what comes out"].says
    assert found.points[0].point == "0"
