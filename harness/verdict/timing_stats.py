"""The statistics of the rung timing: is a difference real, and was the session steady?

Two processes of the same backend differ steadily by some 2 %, so what is repeated is the session
(fresh processes), not the step: a session gives one number, the logarithm of its median, and
intervals are Student's t on the sessions. Logs, because ratios multiply: A / B and B / A are then
the same statement. Fewer than MIN_SESSIONS are indicative: figures, and no claim.

Doubts: sessions are taken as independent and normal in logs. Sessions taken in one stretch share
what the machine did in that stretch; no interval sees that, only a measurement at another time.

Imports the standard library and msgspec; SciPy inside functions only, for `harness --help`.
"""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from harness.verdict.stats import Answer, critical_t

ALPHA = 0.05  # two-sided: 95 % intervals
MIN_SESSIONS = 5  # half a 95 % interval is 9 sd of two sessions, 2.5 of three, 1.24 of five
LEAST = 0.03  # below it a difference may be the 2 % between two processes of the same backend
FACTOR = 1.10  # a regression is larger than what the machine itself changes from day to day
LOG_LIMIT = 700.0  # exp overflows at 709.8; the ends of an interval stop here

# Steadiness: two rank tests, with at most 3 % false labels together, and two sizes.
MIN_ROUNDS = 5  # the shortest series whose order can be significant: p = 2 / 5! = 0.017
TREND_ALPHA = 0.02  # the smallest round level that so short a series can reach
SHIFT_ALPHA = 0.01
MOVED = math.log1p(LEAST)  # between parts of a series: less could not change a claim
SPREAD = 0.10  # robust sd of the rounds, in logs: a third of them is off by a regression's factor

Steadiness = Literal["flat", "warming", "slowing", "not steady"]


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio of times over n sessions: the geometric mean of the sessions and its interval.

    `low`, `high`: None for one session, which has no spread. `claimable`: n >= MIN_SESSIONS.
    """

    n: int
    value: float
    low: float | None
    high: float | None
    claimable: bool

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high where a claim may rest on them."""
        if not self.claimable or self.low is None or self.high is None:
            return None
        return self.low, self.high


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Today's times over the baseline's: `value` > 1 is slower. None: a side of one session."""

    n_before: int
    n_after: int
    value: float
    low: float | None
    high: float | None
    verdict: Literal["slower", "faster", "same", "inconclusive"]


class PowerLaw(msgspec.Struct, frozen=True, kw_only=True):
    """ns in proportion to x ** exponent. `low`, `high`: the 95 % interval of the exponent.

    `sd`: of the residuals of log ns, with n - 2; 0.1 means that points lie some 10 % off the line.
    """

    n: int
    exponent: float
    low: float
    high: float
    sd: float


def ratio(log_ratios: Sequence[float]) -> Ratio:
    """Student's t interval of the mean log ratio, exponentiated.

    log_ratios: one natural logarithm for each session, of that session's median ratio. Equal
    values: the interval is that point.
    """
    n = len(log_ratios)
    mean = statistics.mean(log_ratios)  # exact sums: equal values have an sd of exactly zero
    low = high = None
    if n > 1:
        half = critical_t(n - 1, ALPHA / 2) * statistics.stdev(log_ratios) / math.sqrt(n)
        low, high = _exp(mean - half), _exp(mean + half)
    return Ratio(n=n, value=_exp(mean), low=low, high=high, claimable=n >= MIN_SESSIONS)


def claim(ratio: Ratio, least: float = LEAST) -> bool:
    """Whether the two times differ: the interval excludes 1 and the ratio exceeds `least`.

    `least` counts in logs: above 1 + least or below 1 / (1 + least) (1.03 and 0.971), so that the
    answer is the same for A / B and for B / A.
    """
    low, high = ratio.interval or (1.0, 1.0)
    return not low <= 1 <= high and abs(math.log(ratio.value)) > math.log1p(least)


def within(ratio: Ratio, band: float) -> Answer:
    """Whether a ratio is surely at most `band`: its whole interval lies there, or above it."""
    low, high = ratio.interval or (0.0, math.inf)
    return "agree" if high <= band else "disagree" if low > band else "inconclusive"


def change(before: Sequence[float], after: Sequence[float], factor: float = FACTOR) -> Change:
    """Welch's t interval of the difference of two means of logs, exponentiated.

    Args:
        before: the baseline: one natural logarithm for each session, of its median time (better:
            of its multiple of the floor, in which the machine's own speed cancels).
        after: the same of today; the sessions of the two sides are independent.
        factor: the effect that counts, > 1.

    "slower" (or "faster"): the interval excludes 1 and the value lies beyond the factor (or beyond
    1 / factor). "same": the interval lies within [1 / factor, factor]; a difference smaller than
    the factor may still be real. Else, and with fewer than MIN_SESSIONS on a side: "inconclusive".

    A regression is claimed only where a second measurement confirms it: fresh sessions at another
    time, passed here alone against the same baseline, are "slower" too. Never pool them with the
    first: they were taken because the first were slow, and the mean would keep that luck.

    Source: Welch 1947, Biometrika 34, 28-35.

    """
    n_before, n_after = len(before), len(after)
    mean = statistics.mean(after) - statistics.mean(before)
    value, low, high = _exp(mean), None, None
    verdict: Literal["slower", "faster", "same", "inconclusive"] = "inconclusive"
    if min(n_before, n_after) > 1:
        half = _welch_half(before, after)
        low, high = _exp(mean - half), _exp(mean + half)
        enough = min(n_before, n_after) >= MIN_SESSIONS
        if enough and low > 1 and value > factor:
            verdict = "slower"
        elif enough and high < 1 and value < 1 / factor:
            verdict = "faster"
        elif enough and 1 / factor <= low and high <= factor:
            verdict = "same"
    return Change(
        n_before=n_before, n_after=n_after, value=value, low=low, high=high, verdict=verdict
    )


def steadiness(series_ns: Sequence[int]) -> Steadiness:
    """What a label's times did over a session: the medians of its rounds, in order.

    The series (in logs) is cut into beginning, middle and end, a third each, and each part is seen
    by its median, which a single outlier does not move. The first that holds is the label:

    1. "warming" (gets faster) or "slowing": Mann-Kendall's test finds an order (TREND_ALPHA), end
       and beginning differ by more than 3 % (MOVED), and the middle lies between the two, give or
       take 3 %. One lasting step counts as well as a slope, as a warm-up ends with a step.
    2. "not steady", by level: neighbours are more alike than chance makes them (Bartels' rank
       version of von Neumann's ratio, one-sided, SHIFT_ALPHA) and two of the parts differ by more
       than 3 %: a level that comes and goes, a slow wave.
    3. "not steady", by spread: the quartiles lie apart as those of a normal distribution with an sd
       above 10 % (SPREAD). Two levels in random turns are found so if they are 13 % apart or more.
    4. "flat".

    Both tests are of ranks: their rate of false labels, at most 3 % together, does not depend on
    the distribution of the noise. What leaves every part's median alone (one outlier, a first round
    of thirty that is slow) is flat: it does not move the session's median either. A short series
    says little: of five rounds, only perfect order is a trend. With 2 % of noise, a step of 15 % is
    named by its direction in 7 of 10 series of fifteen rounds (mostly "not steady" else) and in 99
    of 100 of twenty-nine. Simulated flat series (5 to 100 rounds, noise of 1 to 5 %, one round in
    twenty an outlier) get another label in 1.1 %; of five or six rounds with 5 % of noise, in 5 %.

    Sources: Mann 1945, Econometrica 13, 245-259; Bartels 1982, J. Am. Stat. Assoc. 77, 40-46. The
    labels, and that a step down is a warm-up: Barrett et al. 2017, Virtual Machine Warmup Blows Hot
    and Cold (there by change points in 2000 iterations, which 5 to 100 rounds do not bear).

    There must be MIN_ROUNDS of them, all positive.
    """
    logs = [math.log(ns) for ns in series_ns]
    third = max(2, len(logs) // 3)
    begin, middle, end = (
        statistics.median(part) for part in (logs[:third], logs[third:-third], logs[-third:])
    )
    lower, upper = min(begin, end), max(begin, end)
    if (
        upper - lower > MOVED
        and lower - MOVED <= middle <= upper + MOVED
        and _mann_kendall(logs) < TREND_ALPHA
    ):
        return "warming" if end < begin else "slowing"
    moved = max(upper, middle) - min(lower, middle) > MOVED
    if moved and _bartels(logs) < SHIFT_ALPHA:
        return "not steady"
    first, _, last = statistics.quantiles(logs, n=4, method="inclusive")
    quartile = statistics.NormalDist().inv_cdf(0.75)
    return "not steady" if (last - first) / (2 * quartile) > SPREAD else "flat"


def power_law(x: Sequence[float], ns: Sequence[float]) -> PowerLaw:
    """Least squares of log ns on log x, with Student's t interval of the exponent.

    The interval knows the scatter about the line only: where the truth bends (a fixed cost per step
    does that), it is too narrow, and `sd` tells. There must be 3 points, all positive, and 2 sizes.
    """
    n = len(x)
    across, up = [math.log(value) for value in x], [math.log(value) for value in ns]
    spread = statistics.pvariance(across)
    line = statistics.linear_regression(across, up)
    residuals = (v - line.intercept - line.slope * at for at, v in zip(across, up, strict=True))
    sd = math.sqrt(math.fsum(residual * residual for residual in residuals) / (n - 2))
    half = critical_t(n - 2, ALPHA / 2) * sd / math.sqrt(n * spread)
    return PowerLaw(n=n, exponent=line.slope, low=line.slope - half, high=line.slope + half, sd=sd)


def break_even(compile_ns: float, slow_ns: float, fast_ns: float) -> int | None:
    """The number of steps from which the compiled way is no dearer in all.

    The smallest N with compile_ns + N * fast_ns <= N * slow_ns, in exact arithmetic. 0 where
    compiling costs nothing; None where the compiled step is not faster: nothing is ever earned
    back, even if compiling is free.
    """
    if fast_ns >= slow_ns:
        return None
    return math.ceil(Fraction(compile_ns) / (Fraction(slow_ns) - Fraction(fast_ns)))


def _exp(log: float) -> float:
    return math.exp(min(max(log, -LOG_LIMIT), LOG_LIMIT))


def _welch_half(before: Sequence[float], after: Sequence[float]) -> float:
    """Half of Welch's interval; 0 where both sides are points."""
    errors = [statistics.variance(side) / len(side) for side in (before, after)]
    total = sum(errors)
    if total == 0:
        return 0.0
    # Shares, not squares of the errors themselves: those of a tiny variance are zero.
    shares = [error / total for error in errors]
    df = 1 / sum(s * s / (len(side) - 1) for s, side in zip(shares, (before, after), strict=True))
    return critical_t(df, ALPHA / 2) * math.sqrt(total)


def load() -> None:
    """Import what a series is judged with: it takes a second, and a core may be idle now."""
    import scipy.stats  # noqa: F401


def _mann_kendall(values: Sequence[float]) -> float:
    """Two-sided p value that a series has no order."""
    from scipy.stats import kendalltau

    return float(kendalltau(range(len(values)), values).pvalue)


def _bartels(values: Sequence[float]) -> float:
    """One-sided p value that neighbours are no more alike than in a random order.

    The normal approximation; for short series it is cautious at SHIFT_ALPHA (see the tests).
    """
    from scipy.special import ndtr

    n, order = len(values), sorted(values)
    # Equal values share the mean of their ranks.
    ranks = [(bisect_left(order, v) + bisect_right(order, v) + 1) / 2 for v in values]
    steps = sum((b - a) ** 2 for a, b in itertools.pairwise(ranks))
    total = sum((rank - (n + 1) / 2) ** 2 for rank in ranks)
    variance = 4 * (n - 2) * (5 * n * n - 2 * n - 9) / (5 * n * (n + 1) * (n - 1) ** 2)
    return float(ndtr((steps / total - 2) / math.sqrt(variance)))
