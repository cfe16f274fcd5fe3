"""The statistics of the rung accuracy, against SciPy, statsmodels and simulation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats import contingency_tables
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from harness.verdict.stats import (
    ALPHA,
    MAX_SEEDS,
    MIN_SEEDS,
    TARGET_POWER,
    agree_probability,
    disagree_probability,
    equivalence,
    mcnemar,
)

# The same examples in every run, and no clock: a first call imports SciPy.
fixed = settings(deadline=None, derandomize=True)
# Thousandths: no two values are so near that the oracles lose the spread to rounding.
values = st.integers(-2000, 2000).map(lambda thousandths: thousandths / 1000)
several = st.lists(values, min_size=2, max_size=30).filter(lambda d: len(set(d)) > 1)
margins = st.sampled_from([0.05, 0.3, 1.0, 1.7])


def around(mean: float, sd: float, n: int) -> list[float]:
    """Differences with (nearly) this mean and this sd."""
    spread = np.linspace(-1.0, 1.0, n)
    return list(mean + spread * sd / spread.std(ddof=1))


# -- the test, against its oracles -----------------------------------------------------------


@fixed
@given(several, margins)
def test_interval_and_p_are_those_of_the_paired_t_tests(
    differences: list[float], margin: float
) -> None:
    found = equivalence(differences, margin)
    above = scipy_stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(differences, margin, alternative="less").pvalue
    tost, *_ = ttost_paired(np.array(differences), np.zeros(len(differences)), -margin, margin)
    assert found.p == pytest.approx(max(above, below), rel=1e-9) == pytest.approx(tost, rel=1e-9)
    want = scipy_stats.ttest_1samp(differences, 0.0).confidence_interval(1 - 2 * ALPHA)
    assert (found.low, found.high) == pytest.approx((want.low, want.high), rel=1e-9, abs=1e-12)
    assert found.mean == pytest.approx(np.mean(differences), rel=1e-9, abs=1e-12)
    assert found.sd == pytest.approx(np.std(differences, ddof=1), rel=1e-9)


@fixed
@given(several, margins)
def test_the_verdict_follows_from_the_interval_and_from_p(
    differences: list[float], margin: float
) -> None:
    found = equivalence(differences, margin)
    assert found.p is not None
    assert found.low is not None
    assert found.high is not None
    assume(abs(found.p - ALPHA) > 1e-9)
    assume(abs(1 - found.p - ALPHA) > 1e-9)
    assert (found.verdict == "agree") == (found.p < ALPHA and found.n >= MIN_SEEDS)
    outside = found.low > margin or found.high < -margin
    assert (found.verdict == "disagree") == (outside and found.n >= MIN_SEEDS)
    assert outside == (1 - found.p < ALPHA)  # the nearer margin, tested from the other side


def test_the_three_verdicts() -> None:
    assert equivalence([0.05, -0.1, 0.02, 0.07, -0.03], 0.3).verdict == "agree"
    assert equivalence([0.55, 0.4, 0.52, 0.57, 0.47], 0.3).verdict == "disagree"
    assert equivalence([-0.55, -0.4, -0.52, -0.57, -0.47], 0.3).verdict == "disagree"
    assert equivalence([0.5, -0.1, 0.2, 0.7, -0.3], 0.3).verdict == "inconclusive"


@fixed
@given(several, margins, st.integers(-40, 40))
def test_the_unit_does_not_matter(differences: list[float], margin: float, power: int) -> None:
    scale = 2.0**power  # exact, so that no verdict turns on rounding
    one = equivalence(differences, margin)
    other = equivalence([d * scale for d in differences], margin * scale)
    for field in ("n", "p", "verdict", "power", "settles"):
        assert getattr(one, field) == getattr(other, field)
    for field in ("mean", "sd", "low", "high", "detectable"):
        assert getattr(other, field) == getattr(one, field) * scale


# -- the corners -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_fewer_than_five_seeds_are_inconclusive_however_clear(n: int, value: float) -> None:
    found = equivalence([value] * n, 0.3)
    assert found.verdict == "inconclusive"
    assert found.power == 0.0
    assert found.settles == MIN_SEEDS == 5


def test_one_seed_has_a_mean_and_nothing_more() -> None:
    found = equivalence([0.25], 0.3)
    assert (found.n, found.mean, found.verdict, found.power) == (1, 0.25, "inconclusive", 0.0)
    rest = (found.sd, found.low, found.high, found.p, found.detectable, found.settles)
    assert rest == (None,) * 6


# 0.1 and its like: a floating-point sd of equal values would be 1e-17, not zero.
@pytest.mark.parametrize(
    ("value", "verdict", "p", "settles"),
    [
        (0.0, "agree", 0.0, 6),
        (0.1, "agree", 0.0, 6),
        (-0.1, "agree", 0.0, 6),
        (0.3, "inconclusive", 0.5, None),
        (-0.3, "inconclusive", 0.5, None),
        (0.7, "disagree", 1.0, 6),
        (-0.7, "disagree", 1.0, 6),
    ],
)
def test_the_interval_of_equal_differences_is_that_point(
    value: float, verdict: str, p: float, settles: int | None
) -> None:
    found = equivalence([value] * 6, 0.3)
    assert (found.mean, found.sd, found.low, found.high) == (value, 0.0, value, value)
    assert (found.verdict, found.p, found.settles) == (verdict, p, settles)
    assert (found.power, found.detectable) == (1.0, 0.0)


@pytest.mark.parametrize("smallest", [5e-324, 1e-320, 1e-300, 1e-30])
@pytest.mark.parametrize(("centre", "verdict"), [(0.0, "agree"), (1.0, "disagree")])
def test_a_spread_next_to_nothing_overflows_nowhere(
    smallest: float, centre: float, verdict: str
) -> None:
    found = equivalence([centre + k * smallest for k in range(6)], 0.3)
    assert (found.verdict, found.settles) == (verdict, 6)
    assert found.power == pytest.approx(1.0)
    few = equivalence([centre + k * smallest for k in range(3)], 0.3)
    assert (few.verdict, few.settles) == ("inconclusive", MIN_SEEDS)


def test_a_huge_spread_overflows_nowhere() -> None:
    found = equivalence([9e299, -9e299] * 3, 0.3)
    numbers = (found.sd, found.low, found.high, found.p, found.power, found.detectable)
    assert all(number is not None and math.isfinite(number) for number in numbers)
    assert (found.verdict, found.settles) == ("inconclusive", None)


def test_a_hundred_thousand_differences_are_no_trouble() -> None:
    found = equivalence(around(0.0, 10.0, 100_001), 0.3)
    assert found.verdict == "agree"
    assert found.settles == found.n == 100_001
    oracle = 1 - 2 * scipy_stats.norm.cdf(scipy_stats.norm.ppf(0.95) - 0.03 * math.sqrt(100_001))
    assert found.power == pytest.approx(oracle, abs=1e-4)


# -- power -----------------------------------------------------------------------------------


def simulated(n: int, mean: float, sd: float, margin: float, runs: int) -> tuple[float, float]:
    """The shares of runs that agree and that disagree, by the textbook, with fixed numbers."""
    random = np.random.default_rng(20240607)
    drawn = random.normal(mean, sd, (runs, n))
    t = scipy_stats.t.ppf(1 - ALPHA, n - 1)
    half = t * drawn.std(axis=1, ddof=1) / math.sqrt(n)
    low, high = drawn.mean(axis=1) - half, drawn.mean(axis=1) + half
    agree = np.mean((low > -margin) & (high < margin))
    disagree = np.mean((low > margin) | (high < -margin))
    return float(agree), float(disagree)


@pytest.mark.parametrize("n", [5, 8, 20, 60])
@pytest.mark.parametrize("mean", [0.0, 0.5, -0.9, 1.0, 1.3])
@pytest.mark.parametrize("sd", [0.3, 0.8, 1.5, 3.0])
def test_the_chances_of_the_verdicts_are_those_of_simulated_runs(
    n: int, mean: float, sd: float
) -> None:
    runs = 20_000
    chances = (agree_probability(n, mean, sd, 1.0), disagree_probability(n, mean, sd, 1.0))
    for chance, share in zip(chances, simulated(n, mean, sd, 1.0, runs), strict=True):
        # Four standard errors, and one run for the chances next to nothing.
        assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / runs) + 1 / runs


@pytest.mark.parametrize("n", [5, 10, 100, 1000, 100_000])
@pytest.mark.parametrize("distance", [0.0, 0.1, 2.0, 5.0, 20.0])
def test_far_margins_leave_the_noncentral_t_distribution(n: int, distance: float) -> None:
    t = scipy_stats.t.ppf(1 - ALPHA, n - 1)
    sd = math.sqrt(n)  # standard error 1
    disagree = disagree_probability(n, 50.0 + distance, sd, 50.0)
    assert disagree == pytest.approx(scipy_stats.nct.sf(t, n - 1, distance), abs=1e-9)
    # Both one-sided tests fail together only where the sd is this many times the true one.
    together = scipy_stats.chi2.sf((50 / t) ** 2 * (n - 1), n - 1)
    agree = agree_probability(n, 50.0 - distance, sd, 50.0)
    fails = scipy_stats.nct.cdf(t, n - 1, [distance, 100 - distance]).sum()
    assert agree == pytest.approx(1 - fails, abs=1e-9 + together)


@pytest.mark.parametrize("n", [5, 20, 1000])
def test_at_the_margin_each_verdict_has_the_chance_alpha(n: int) -> None:
    # Near 0 sd it is exact; this is what makes alpha the error rate.
    assert agree_probability(n, 1.0, 0.01, 1.0) == pytest.approx(ALPHA, abs=1e-9)
    assert disagree_probability(n, 1.0, 0.01, 1.0) == pytest.approx(ALPHA, abs=1e-9)
    assert agree_probability(n, 1.0, 2.0, 1.0) < ALPHA + 1e-9


# -- what was missing ------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 10, 50, 500])
def test_the_detectable_difference_is_the_one_of_a_power_table(n: int) -> None:
    found = equivalence(around(0.1, 0.2, n), 0.3)
    assert found.detectable is not None
    effect = TTestPower().solve_power(nobs=n, alpha=ALPHA, power=0.8, alternative="larger")
    assert found.detectable == pytest.approx(effect * 0.2, rel=1e-4)
    # And in itself, more exactly.
    t = scipy_stats.t.ppf(1 - ALPHA, n - 1)
    noncentrality = found.detectable / 0.2 * math.sqrt(n)
    assert scipy_stats.nct.sf(t, n - 1, noncentrality) == pytest.approx(0.8, abs=1e-5)


def chances(seeds: Sequence[int], mean: float, sd: float, margin: float) -> list[float]:
    """The chance to settle it, on the side on which the mean lies, for each number of seeds."""
    settles = agree_probability if abs(mean) < margin else disagree_probability
    return [settles(n, mean, sd, margin) for n in seeds]


@settings(fixed, max_examples=50)
@given(st.lists(values, min_size=2, max_size=12).filter(lambda d: len(set(d)) > 1), margins)
def test_settles_is_the_first_number_with_the_target_power_and_power_is_that_at_no_difference(
    differences: list[float], margin: float
) -> None:
    found = equivalence(differences, margin)
    assert found.sd is not None
    assert 0 <= found.power == agree_probability(found.n, 0.0, found.sd, margin) <= 1
    if found.verdict != "inconclusive":
        assert found.settles == found.n
    elif found.settles is None:
        (last,) = chances([MAX_SEEDS], found.mean, found.sd, margin)
        assert last < TARGET_POWER
    else:
        first = max(found.n + 1, MIN_SEEDS)
        assert first <= found.settles <= MAX_SEEDS
        seeds = [found.settles - 1, found.settles]
        before, there = chances(seeds, found.mean, found.sd, margin)
        assert there >= TARGET_POWER
        assert before < TARGET_POWER or found.settles == first


@pytest.mark.parametrize("mean", [0.0, 0.5, -0.8, 1.2, -2.0])
@pytest.mark.parametrize("sd", [0.3, 1.0, 2.0, 4.0])
def test_the_chance_to_settle_crosses_the_target_once(mean: float, sd: float) -> None:
    # What the bisection takes for granted.
    enough = [c >= TARGET_POWER for c in chances(range(MIN_SEEDS, 120), mean, sd, 1.0)]
    assert not any(a and not b for a, b in itertools.pairwise(enough))
    found = equivalence(around(mean, sd, 4), 1.0)
    if any(enough):
        assert found.settles == MIN_SEEDS + enough.index(True)


@pytest.mark.parametrize("mean", [0.29999, 0.3, 0.30001])
def test_a_mean_at_the_margin_is_never_settled(mean: float) -> None:
    found = equivalence(around(mean, 0.1, 8), 0.3)
    assert (found.verdict, found.settles) == ("inconclusive", None)


def test_more_than_a_thousand_inconclusive_seeds_ask_for_no_more() -> None:
    found = equivalence(around(0.0, 100.0, MAX_SEEDS), 0.3)
    assert (found.verdict, found.settles) == ("inconclusive", None)


# -- McNemar ---------------------------------------------------------------------------------


@fixed
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    found = mcnemar(only_first, only_second)
    assert found == mcnemar(only_second, only_first)
    assert 0 <= found <= 1
    table = [[100, only_first], [only_second, 100]]
    if only_first + only_second:
        # abs: near 1e-300 the oracles round to zero.
        other = contingency_tables.mcnemar(table, exact=True).pvalue
        assert found == pytest.approx(other, rel=1e-9, abs=1e-290)
        binomial = scipy_stats.binomtest(only_first, only_first + only_second).pvalue
        assert found == pytest.approx(binomial, rel=1e-9, abs=1e-290)


@pytest.mark.parametrize(
    ("counts", "p"),
    [((0, 0), 1.0), ((1, 0), 1.0), ((0, 5), 0.0625), ((1, 6), 0.125), ((7, 7), 1.0)],
)
def test_mcnemar_of_a_few_by_hand(counts: tuple[int, int], p: float) -> None:
    assert mcnemar(*counts) == pytest.approx(p, rel=1e-12)


def test_mcnemar_of_a_billion_is_the_normal_approximation() -> None:
    z = 1e5 / math.sqrt(2e9 + 1e5)
    assert mcnemar(10**9, 10**9 + 10**5) == pytest.approx(2 * scipy_stats.norm.sf(z), rel=1e-3)
