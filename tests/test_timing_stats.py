"""The statistics of the rung timing, against SciPy, statsmodels, exhaustion and simulation.

Simulated sessions are normal in logs with an sd of 2 %, what two processes of one backend differ
by. Seeds are fixed, so that a rate seen here is the rate seen in every run.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import msgspec
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.verdict.timing_stats import (
    ALPHA,
    LOG_LIMIT,
    MIN_ROUNDS,
    SHIFT_ALPHA,
    TREND_ALPHA,
    Ratio,
    _bartels,
    break_even,
    change,
    claim,
    power_law,
    ratio,
    steadiness,
    within,
)

# The same examples in every run, and no clock: a first call imports SciPy.
fixed = settings(deadline=None, derandomize=True, max_examples=50)
# Thousandths: no two values are so near that the oracles lose the spread to rounding.
logs = st.integers(-1500, 1500).map(lambda thousandths: thousandths / 1000)
sessions = st.lists(logs, min_size=2, max_size=12)
spread_out = sessions.filter(lambda values: len(set(values)) > 1)
times = st.integers(1, 10**12)
series = st.lists(times, min_size=MIN_ROUNDS, max_size=40)
BETWEEN_SESSIONS = 0.02


def near(*numbers: float | None) -> object:
    return pytest.approx(numbers, rel=1e-9, abs=1e-12)


# -- a ratio over sessions -------------------------------------------------------------------


@fixed
@given(spread_out)
def test_the_interval_of_a_ratio_is_the_one_of_the_t_test(values: list[float]) -> None:
    found = ratio(values)
    want = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(1 - ALPHA)
    assert (found.low, found.high) == near(math.exp(want.low), math.exp(want.high))
    assert found.value == pytest.approx(scipy_stats.gmean(np.exp(values)), rel=1e-9)
    assert found.n == len(values)


# 0.1 and its like: a floating-point sd of equal values would be 1e-17, not zero.
@pytest.mark.parametrize("value", [0.0, 0.1, -0.1, 0.7])
@pytest.mark.parametrize("n", [2, 5, 6])
def test_the_interval_of_equal_sessions_is_that_point(value: float, n: int) -> None:
    found = ratio([value] * n)
    assert found.low == found.value == found.high == math.exp(value)


def test_one_session_has_a_ratio_and_no_interval() -> None:
    assert ratio([0.0]) == Ratio(n=1, value=1.0, low=None, high=None, claimable=False)


def test_a_ratio_is_stored_and_read_again() -> None:
    for found in (ratio([0.1]), ratio([0.1, 0.2]), ratio([LOG_LIMIT, -LOG_LIMIT])):
        assert msgspec.json.decode(msgspec.json.encode(found), type=Ratio) == found


def test_an_interval_too_wide_for_a_float_ends_at_the_last_one() -> None:
    found = ratio([600.0, -600.0])
    assert (found.low, found.high) == (math.exp(-LOG_LIMIT), math.exp(LOG_LIMIT))
    both = change([600.0, -600.0], [-600.0, 600.0])
    assert (both.low, both.high) == (math.exp(-LOG_LIMIT), math.exp(LOG_LIMIT))


# -- claims ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "claimed"),
    [
        ([0.10, 0.11, 0.09, 0.10, 0.10], True),
        ([-0.10, -0.11, -0.09, -0.10, -0.10], True),
        ([0.10, 0.11, 0.09, 0.10], False),  # four sessions
        ([0.30, -0.20, 0.25, -0.05, 0.20], False),  # large, and 1 lies inside
        ([0.02, 0.021, 0.019, 0.02, 0.02], False),  # surely not 1, and less than 3 %
        ([-0.02, -0.021, -0.019, -0.02, -0.02], False),
        ([0.0295] * 5, False),  # log 1.03 is 0.02956
        ([0.0296] * 5, True),
        ([-0.0295] * 5, False),  # a ratio of 0.971
        ([-0.0296] * 5, True),
    ],
)
def test_a_claim_needs_five_sessions_an_interval_without_one_and_three_per_cent(
    values: list[float], claimed: bool
) -> None:
    assert claim(ratio(values)) is claimed


def test_the_least_difference_can_be_chosen() -> None:
    found = ratio([0.10, 0.11, 0.09, 0.10, 0.10])
    assert claim(found, 0.10)
    assert not claim(found, 0.11)


@pytest.mark.parametrize(
    ("low", "high", "n", "answer"),
    [
        (2.0, 3.9, 5, "agree"),
        (2.0, 4.0, 5, "agree"),
        (2.0, 4.1, 5, "inconclusive"),
        (4.0, 5.0, 5, "inconclusive"),
        (4.1, 5.0, 5, "disagree"),
        (2.0, 3.0, 4, "inconclusive"),
        (8.0, 9.0, 4, "inconclusive"),
    ],
)
def test_a_ratio_is_inside_the_band_outside_or_not_known(
    low: float, high: float, n: int, answer: str
) -> None:
    found = Ratio(n=n, value=math.sqrt(low * high), low=low, high=high, claimable=n >= 5)
    assert within(found, 4.0) == answer


def test_one_session_is_inside_no_band() -> None:
    assert within(ratio([0.0]), 4.0) == "inconclusive"
    assert not claim(ratio([5.0]))


def false_claims(sd: float, runs: int = 2000) -> float:
    """The share of A/A pairs of five sessions in which a difference is claimed."""
    random = np.random.default_rng(20240607)
    return sum(claim(ratio(random.normal(0, sd, 5))) for _ in range(runs)) / runs


@pytest.mark.parametrize(
    ("sd", "most"),
    [
        (BETWEEN_SESSIONS, 0.005),
        (BETWEEN_SESSIONS * math.sqrt(2), 0.02),  # each of the two labels has the 2 %
        (0.10, 0.06),  # 5 % is the t interval's own rate; the 3 % only lowers it
    ],
)
def test_a_backend_against_itself_is_rarely_claimed_to_differ(sd: float, most: float) -> None:
    assert false_claims(sd) <= most


# -- a change against a baseline -------------------------------------------------------------


@fixed
@given(spread_out, spread_out)
def test_the_interval_of_a_change_is_welch_s(before: list[float], after: list[float]) -> None:
    found = change(before, after)
    test = scipy_stats.ttest_ind(after, before, equal_var=False)
    want = test.confidence_interval(1 - ALPHA)
    assert (found.low, found.high) == near(math.exp(want.low), math.exp(want.high))
    assert found.value == pytest.approx(math.exp(np.mean(after) - np.mean(before)), rel=1e-9)
    assert (found.n_before, found.n_after) == (len(before), len(after))


@fixed
@given(spread_out, logs)
def test_the_interval_of_a_change_from_a_point_is_the_one_of_the_other_side(
    values: list[float], point: float
) -> None:
    # SciPy has no answer of its own for two points; for one it is Student's t.
    found = change([point] * 6, values)
    want = ratio([value - point for value in values])
    assert (found.value, found.low, found.high) == near(want.value, want.low, want.high)


@pytest.mark.parametrize(
    ("by", "sd", "verdict"),
    [
        (1.20, 0.01, "slower"),
        (1 / 1.20, 0.01, "faster"),
        (1.00, 0.01, "same"),
        (1.105, 0.001, "slower"),
        (1 / 1.105, 0.001, "faster"),  # the factor is one of the ratio: 0.905 < 1 / 1.1
        (1.09, 0.02, "inconclusive"),
        (1 / 1.09, 0.02, "inconclusive"),
        (1.05, 0.001, "same"),  # surely slower, by less than the factor
        (1 / 1.05, 0.001, "same"),
        (1.10, 0.02, "inconclusive"),
        (1.20, 0.30, "inconclusive"),
        (1.00, 0.30, "inconclusive"),
    ],
)
def test_the_four_verdicts_of_a_change(by: float, sd: float, verdict: str) -> None:
    shape = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) * sd
    found = change(shape, shape + math.log(by) - 1e-6)
    assert found.verdict == verdict


@pytest.mark.parametrize(("n_before", "n_after"), [(4, 5), (5, 4), (1, 5), (5, 1), (1, 1), (2, 2)])
def test_fewer_than_five_sessions_on_a_side_tell_no_change(n_before: int, n_after: int) -> None:
    for by in (0.0, 2.0):
        found = change([0.0] * n_before, [by] * n_after)
        assert found.verdict == "inconclusive"
        assert found.value == math.exp(by)
        assert (found.low is None) == (found.high is None) == (min(n_before, n_after) == 1)
    assert change([0.0] * 5, [2.0] * 5).verdict == "slower"


@pytest.mark.parametrize(
    ("by", "verdict"), [(0.0, "same"), (0.05, "same"), (0.2, "slower"), (-0.2, "faster")]
)
def test_two_points_divide_by_no_zero(by: float, verdict: str) -> None:
    found = change([0.1] * 5, [0.1 + by] * 6)
    assert found.low == found.value == found.high == pytest.approx(math.exp(by))
    assert found.verdict == verdict


@pytest.mark.parametrize("smallest", [5e-324, 1e-300, 1e-160, 1e-30])
def test_a_spread_next_to_nothing_divides_by_no_zero(smallest: float) -> None:
    tiny = [k * smallest for k in range(5)]
    assert change(tiny, tiny).verdict == "same"
    assert change(tiny, [0.2] * 5).verdict == "slower"
    assert not claim(ratio(tiny))


def test_the_factor_decides_what_counts() -> None:
    before, after = [0.0, 0.01, -0.01, 0.0, 0.0], [0.2, 0.21, 0.19, 0.2, 0.2]
    assert change(before, after).verdict == "slower"
    assert change(before, after, factor=1.21).verdict == "slower"
    assert change(before, after, factor=1.23).verdict == "inconclusive"
    assert change(before, after, factor=1.3).verdict == "same"


def verdicts(effect: float, sd: float, runs: int = 2000) -> Counter[str]:
    """Verdicts of five sessions against five, with a second measurement: "slower, twice"."""
    random = np.random.default_rng(20240607)
    found: Counter[str] = Counter()
    for _ in range(runs):
        before = random.normal(0, sd, 5)
        first = change(before, random.normal(math.log(effect), sd, 5)).verdict
        found[first] += 1
        if first == "slower":
            second = change(before, random.normal(math.log(effect), sd, 5)).verdict
            found["slower, twice"] += second == "slower"
    return found


def test_a_slowdown_of_fifteen_per_cent_is_nearly_always_found() -> None:
    found = verdicts(1.15, BETWEEN_SESSIONS)
    assert found["slower"] >= 0.995 * 2000
    assert found["slower, twice"] >= 0.99 * 2000
    assert found["same"] == found["faster"] == 0


@pytest.mark.parametrize("effect", [1.0, 1.03])
def test_a_slowdown_of_three_per_cent_is_never_found(effect: float) -> None:
    found = verdicts(effect, BETWEEN_SESSIONS)
    assert found["slower"] <= 2000 // 1000
    assert found["same"] >= 0.95 * 2000


def test_a_second_measurement_takes_most_of_the_near_misses_away() -> None:
    # 8 % is no regression by the factor of 10 %; chance makes it one, but seldom twice.
    found = verdicts(1.08, BETWEEN_SESSIONS)
    assert 0.05 * 2000 < found["slower"] < 0.10 * 2000
    assert found["slower, twice"] < 0.5 * found["slower"]


# -- steadiness ------------------------------------------------------------------------------


def labels(make: Callable[[np.random.Generator], np.ndarray], runs: int) -> Counter[str]:
    """Labels of simulated series, given in logs, stored as whole nanoseconds near 1 ms."""
    random = np.random.default_rng(20240607)
    found: Counter[str] = Counter()
    for _ in range(runs):
        found[steadiness([round(ns) for ns in 1e6 * np.exp(make(random))])] += 1
    return found


def outliers(random: np.random.Generator, n: int) -> np.ndarray:
    """One round in twenty is slower, by 10 % to e times."""
    return (random.random(n) < 0.05) * random.uniform(0.1, 1, n)


@pytest.mark.parametrize("n", [5, 6, 9, 29, 59, 100])
@pytest.mark.parametrize("sd", [0.01, 0.02, 0.05])
def test_flat_series_are_labelled_flat(n: int, sd: float) -> None:
    runs = 200
    clean = labels(lambda random: random.normal(0, sd, n), runs)
    assert clean["flat"] >= 0.95 * runs
    spoilt = labels(lambda random: random.normal(0, sd, n) + outliers(random, n), runs)
    # Of five rounds two are outliers in one series of forty, and then the spread is real.
    assert spoilt["flat"] >= (0.95 if n > 6 else 0.93) * runs


LASTING: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "slope down": (lambda t: -0.15 * t, "warming"),
    "slope up": (lambda t: 0.15 * t, "slowing"),
    "decay": (lambda t: 0.3 * np.exp(-4 * t), "warming"),
    "step down": (lambda t: -0.15 * (t > 0.5), "warming"),  # the compiler was done half-way
    "step up": (lambda t: 0.15 * (t > 0.6), "slowing"),  # a neighbour came and stayed
}


# The shares are what is seen, rounded down: fifteen rounds do not always know a step.
@pytest.mark.parametrize(("n", "found_at_least"), [(15, 0.55), (29, 0.95), (100, 1.0)])
@pytest.mark.parametrize("name", list(LASTING))
def test_a_lasting_change_is_found_and_named_by_its_direction(
    name: str, n: int, found_at_least: float
) -> None:
    drift, label = LASTING[name]
    t = np.linspace(0, 1, n)
    found = labels(lambda random: drift(t) + random.normal(0, 0.02, n) + outliers(random, n), 100)
    assert found[label] >= found_at_least * 100
    assert {"warming", "slowing"} & set(found) == {label}


COMING_AND_GOING: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "hump": lambda t, random: 0.15 * ((t > 0.33) & (t < 0.67)),
    "dip": lambda t, random: -0.15 * ((t > 0.33) & (t < 0.67)),
    "wave": lambda t, random: 0.1 * np.cos(2 * np.pi * t),
    "two levels in random turns": lambda t, random: 0.25 * (random.random(len(t)) < 0.5),
    "noise of 25 %": lambda t, random: random.normal(0, 0.25, len(t)),
}


@pytest.mark.parametrize("n", [29, 100])
@pytest.mark.parametrize("name", list(COMING_AND_GOING))
def test_a_level_that_comes_and_goes_and_a_wide_spread_are_not_steady(name: str, n: int) -> None:
    shape = COMING_AND_GOING[name]
    t = np.linspace(0, 1, n)
    found = labels(lambda random: shape(t, random) + random.normal(0, 0.02, n), 100)
    assert found["not steady"] >= 90


def test_a_hump_is_no_slowdown_though_the_end_is_slower_than_the_beginning() -> None:
    # Mann-Kendall alone would call it one: most pairs rise.
    series = np.repeat([1_000_000, 1_300_000, 1_060_000], 30) + np.arange(90) % 7
    assert scipy_stats.kendalltau(range(90), series).pvalue < TREND_ALPHA
    assert steadiness(series.tolist()) == "not steady"


def test_a_drift_of_less_than_three_per_cent_is_flat_however_sure() -> None:
    assert steadiness([round(1e6 * math.exp(0.0003 * k)) for k in range(100)]) == "flat"
    assert steadiness([round(1e6 * math.exp(0.0006 * k)) for k in range(100)]) == "slowing"


def test_of_five_rounds_only_perfect_order_is_a_trend() -> None:
    rising = [100, 110, 120, 130, 140]
    found = {order: steadiness(order) for order in itertools.permutations(rising)}
    assert found[tuple(rising)] == "slowing"
    assert found[tuple(reversed(rising))] == "warming"
    rest = [label for order, label in found.items() if list(order) not in (rising, rising[::-1])]
    assert set(rest) == {"not steady"}  # 100 to 140 is a wide spread
    narrow = [1000, 1015, 1025, 1035, 1050]
    others = [steadiness(order) for order in itertools.permutations(narrow)]
    assert Counter(others) == {"flat": 118, "slowing": 1, "warming": 1}


@pytest.mark.parametrize("at", [0, 7, 14, 28])
@pytest.mark.parametrize("times_as_slow", [0.1, 1.5, 1000])
def test_one_outlier_changes_no_label(at: int, times_as_slow: float) -> None:
    random = np.random.default_rng(20240607)
    noise = random.normal(0, 0.005, 29)
    t = np.linspace(0, 1, 29)
    for drift, label in ((0, "flat"), (-0.2, "warming"), (0.2, "slowing")):
        values = 1e6 * np.exp(noise + drift * t)
        values[at] *= times_as_slow
        assert steadiness([round(ns) for ns in values]) == label


@fixed
@example([1, 2, 3, 4, 5])
@example([100, 100, 100, 110, 110, 110, 110, 120, 120])
@given(series)
def test_backwards_in_time_warming_is_slowing(values: list[int]) -> None:
    swapped = {"warming": "slowing", "slowing": "warming"}
    found = steadiness(values)
    assert steadiness(values[::-1]) == swapped.get(found, found)


@pytest.mark.parametrize("n", [5, 30])
def test_equal_rounds_are_flat(n: int) -> None:
    assert steadiness([1_000_000] * n) == "flat"
    assert steadiness([1_000_000] * (n - 1) + [1_000_001]) == "flat"


# -- Bartels' test, which SciPy does not have ------------------------------------------------


def test_bartels_test_is_the_one_of_the_textbook() -> None:
    # Gibbons and Chakraborti 2003, example 5.1: tourists to the United States, 1970 to 1982.
    tourists = [12362, 12739, 13057, 13955, 14123, 15698, 17523, 18610, 19842, 20310, 22500]
    tourists += [23080, 21916]
    assert scipy_stats.norm.ppf(_bartels(tourists)) == pytest.approx(-3.6453, abs=5e-5)


def bartels_exactly(n: int) -> np.ndarray:
    """The ratio of every order of n ranks."""
    ranks = np.array(list(itertools.permutations(range(n))), dtype=float)
    return np.asarray((np.diff(ranks) ** 2).sum(1) / ((ranks[0] - ranks[0].mean()) ** 2).sum())


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_bartels_test_has_its_level_over_all_orders_of_a_short_series(n: int) -> None:
    exact = bartels_exactly(n)
    assert exact.mean() == pytest.approx(2)
    found = [_bartels(order) for order in itertools.islice(itertools.permutations(range(n)), 500)]
    z = (exact[:500] - 2) / exact.std()  # the exact variance, against the formula's
    assert found == pytest.approx(scipy_stats.norm.cdf(z), rel=1e-9)
    assert np.mean(scipy_stats.norm.cdf((exact - 2) / exact.std()) < SHIFT_ALPHA) <= SHIFT_ALPHA


def test_in_bartels_test_equal_values_share_the_mean_of_their_ranks() -> None:
    values = [3, 1, 1, 2, 3, 3, 7]
    ranks = scipy_stats.rankdata(values)
    ratio = (np.diff(ranks) ** 2).sum() / ((ranks - ranks.mean()) ** 2).sum()
    z = (ratio - 2) / bartels_exactly(len(values)).std()
    assert _bartels(values) == pytest.approx(scipy_stats.norm.cdf(z), rel=1e-9)


@pytest.mark.parametrize("n", [12, 29, 100])
def test_bartels_test_has_its_level_in_longer_series(n: int) -> None:
    random = np.random.default_rng(20240607)
    found = np.mean([_bartels(random.random(n)) < SHIFT_ALPHA for _ in range(2000)])
    assert found <= SHIFT_ALPHA + 3 * math.sqrt(SHIFT_ALPHA / 2000)


def test_five_rounds_in_perfect_order_reach_the_level_of_the_trend() -> None:
    # The reason for TREND_ALPHA, and that four rounds could not.
    assert 2 / math.factorial(MIN_ROUNDS) < TREND_ALPHA < 2 / math.factorial(MIN_ROUNDS - 1)


# -- scaling ---------------------------------------------------------------------------------

sizes = st.lists(st.integers(1, 10**6), min_size=3, max_size=12)
points = sizes.filter(lambda x: len(set(x)) > 1).flatmap(
    lambda x: st.tuples(st.just(x), st.lists(times, min_size=len(x), max_size=len(x)))
)


@fixed
@given(points)
def test_the_power_law_is_the_least_squares_of_scipy_and_statsmodels(
    both: tuple[list[int], list[int]],
) -> None:
    x, ns = both
    assume(max(x) > 1.01 * min(x))  # the oracles centre nothing
    found = power_law(x, ns)
    line = scipy_stats.linregress(np.log(x), np.log(ns))
    assert found.exponent == pytest.approx(line.slope, rel=1e-6, abs=1e-9)
    fitted = sm.OLS(np.log(ns), sm.add_constant(np.log(x), has_constant="add")).fit()
    low, high = fitted.conf_int(0.05)[1]
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-5, abs=1e-6)
    assert found.sd == pytest.approx(math.sqrt(fitted.mse_resid), rel=1e-6, abs=1e-9)
    assert found.n == len(x)


def test_points_on_a_line_give_back_its_exponent() -> None:
    x = [64, 128, 256, 512, 1024]
    found = power_law(x, [30.0 * size**0.75 for size in x])
    numbers = (found.exponent, found.low, found.high, found.sd)
    assert numbers == near(0.75, 0.75, 0.75, 0.0)


def test_a_fixed_cost_shows_in_the_residuals() -> None:
    x = np.array([1, 4, 16, 64, 256, 1024])
    assert power_law(x, 100.0 * x).sd < 1e-9
    bent = power_law(x, 100.0 * x + 5000.0)
    assert bent.sd > 0.5
    assert bent.exponent < 0.9


# -- when compiling pays ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compile_ns", "slow_ns", "fast_ns", "steps"),
    [
        (1000, 10, 9, 1000),
        (1001, 12, 10, 501),
        (1, 10, 1, 1),
        (0, 10, 9, 0),  # nothing to earn back
        (0, 10, 10, None),  # free, and still never faster
        (5, 10, 10, None),
        (5, 9, 10, None),
        (2.2, 0.2, 0.1, 23),  # the float 2.2 is more than 22 times the float 0.1
    ],
)
def test_the_step_at_which_compiling_has_paid(
    compile_ns: float, slow_ns: float, fast_ns: float, steps: int | None
) -> None:
    assert break_even(compile_ns, slow_ns, fast_ns) == steps


@fixed
@given(st.floats(0, 1e13), st.floats(1e-3, 1e9), st.floats(1e-3, 1e9))
def test_it_is_the_first_step_at_which_compiling_has_paid(
    compile_ns: float, slow_ns: float, fast_ns: float
) -> None:
    found = break_even(compile_ns, slow_ns, fast_ns)

    def paid(steps: int) -> bool:
        return Fraction(compile_ns) + steps * Fraction(fast_ns) <= steps * Fraction(slow_ns)

    if found is None:
        assert fast_ns >= slow_ns
    else:
        assert paid(found)
        assert found == 0 or not paid(found - 1)
