"""The statistics of the rung accuracy: did two backends learn the same, and could we have told?

Differences are paired: same seed, same numbers, same order. A difference that is not significant
proves nothing, so the question is put the other way round: two one-sided t tests (TOST) ask
whether the mean difference is surely inside a margin fixed beforehand. Three answers are possible,
and beside the third stands what was missing: power, detectable difference, seeds needed.

Doubts: the differences are taken as independent and normal; `power`, `detectable` and `settles`
take the observed standard deviation for the true one, which after five seeds may be 0.6 to 2.9
times that (95 %). They plan the next run; the verdict does not rest on them.

Imports the standard library and msgspec; SciPy inside functions only, for `harness --help`.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

ALPHA = 0.05  # of each one-sided test, so that the interval is the 90 % one
MIN_SEEDS = 5  # the 90 % interval of two seeds is 9 sd wide, that of five is 2
MAX_SEEDS = 1000  # `settles` looks no further: nobody trains more
TARGET_POWER = 0.8  # the usual chance of success to plan for (Cohen 1988)
HUGE = 1e300  # larger differences might overflow in the sd
_TAIL = 1e-18  # probability left out at either end of the distribution of the sd

Answer = Literal["agree", "disagree", "inconclusive"]


class Equivalence(msgspec.Struct, frozen=True, kw_only=True):
    """Paired differences against a margin, in the unit of the differences.

    `sd`: with n - 1. `low`, `high`: the 1 - 2 ALPHA interval of the mean. `p`: the larger of the
    two one-sided p values. `power`: the chance of "agree" if the true difference were zero (so it
    is 0.0 with fewer than MIN_SEEDS).
    `detectable`: the smallest true difference, of either sign, that a one-sided t test against zero
    would find with probability 0.8. `settles`: the smallest number of seeds with a 0.8 chance to
    end the doubt, if the observed mean and sd are the true ones; n itself where there is none.
    None: one seed has no spread; for `settles` also: more than MAX_SEEDS.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    verdict: Answer
    power: float
    detectable: float | None = None
    settles: int | None = None


def equivalence(differences: Sequence[float], margin: float) -> Equivalence:
    """Two one-sided t tests of seed-wise differences against -margin and +margin.

    "agree": the 1 - 2 ALPHA interval lies inside the open (-margin, margin), which is p < ALPHA.
    "disagree": it lies wholly outside. Else, and with fewer than MIN_SEEDS: "inconclusive".
    If all differences are equal the interval is that point. There must be one, each below HUGE, and
    the margin must be positive.

    Source: Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657-680.
    """
    n = len(differences)
    # Exact rational sums: equal values have exactly their own mean and an sd of exactly zero.
    mean = statistics.mean(differences)
    if n == 1:
        return Equivalence(n=n, mean=mean, verdict="inconclusive", power=0.0)
    sd = statistics.stdev(differences)
    half = critical_t(n - 1, ALPHA) * sd / math.sqrt(n)
    low, high = mean - half, mean + half
    verdict: Answer = "inconclusive"
    if n >= MIN_SEEDS and -margin < low and high < margin:
        verdict = "agree"
    elif n >= MIN_SEEDS and (low > margin or high < -margin):
        verdict = "disagree"
    return Equivalence(
        n=n,
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        p=_p_value(n, mean, sd, margin),
        verdict=verdict,
        power=agree_probability(n, 0.0, sd, margin),
        detectable=_detectable(n, sd),
        settles=n if verdict != "inconclusive" else _settles(n, mean, sd, margin),
    )


def agree_probability(n: int, mean: float, sd: float, margin: float) -> float:
    """The chance that n seeds end in "agree", if the differences are normal(mean, sd).

    Given the observed sd s, the observed mean must lie within margin - t s / sqrt(n) of zero; this
    normal probability is averaged over the distribution of s, which is independent of the mean.
    Exact up to the quadrature. At mean 0 it is the power of the test.

    Source: Phillips 1990, J. Pharmacokinet. Biopharm. 18, 137-144, there as the difference of two
    of Owen's Q (Owen 1965, Biometrika 52, 437-446), which is this integral.
    """
    return _chance(n, mean, sd, margin, agree=True)


def disagree_probability(n: int, mean: float, sd: float, margin: float) -> float:
    """The chance that n seeds end in "disagree", if the differences are normal(mean, sd).

    The sum of two tails of noncentral t, each written as agree_probability is: SciPy's noncentral
    t is NaN for an infinite noncentrality, and a tiny sd makes one.

    Source: Johnson and Welch 1940, Biometrika 31, 362-389.
    """
    return _chance(n, mean, sd, margin, agree=False)


def _chance(n: int, mean: float, sd: float, margin: float, *, agree: bool) -> float:
    from scipy.special import ndtr

    if n < MIN_SEEDS:
        return 0.0
    error = sd / math.sqrt(n)
    if error == 0:
        return float(abs(mean) < margin if agree else abs(mean) > margin)
    t = critical_t(n - 1, ALPHA)
    # The distances of the mean from the two margins, in standard errors.
    above, below = (margin - mean) / error, (margin + mean) / error
    if not agree:
        return _mean_over_sd(lambda s: float(ndtr(-above - t * s) + ndtr(-below - t * s)), n - 1)
    return _mean_over_sd(
        lambda s: float(ndtr(above - t * s) - ndtr(t * s - below)),
        n - 1,
        upper=margin / error / t,  # with a larger sd the interval is wider than the margins
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p value that two classifiers are equally often right where they differ.

    Args:
        only_first: test samples that only the first classifies correctly.
        only_second: test samples that only the second classifies correctly.

    The p value is min(1, 2 P(Binomial(only_first + only_second, 1/2) <= the smaller count)).
    Source: McNemar 1947, Psychometrika 12, 153-157, with the binomial in place of chi-square.

    """
    from scipy.special import bdtr

    smaller, total = min(only_first, only_second), only_first + only_second
    return min(1.0, 2 * float(bdtr(smaller, total, 0.5)))


def critical_t(df: float, tail: float) -> float:
    """The t beyond which lies a share `tail` of Student's distribution, at one end."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, tail))


def _p_value(n: int, mean: float, sd: float, margin: float) -> float:
    """The larger one-sided p value; of a point, the limit for an sd that goes to zero."""
    from scipy.special import stdtr

    error = sd / math.sqrt(n)
    outside = abs(mean) - margin
    if error == 0:
        return 0.5 if outside == 0 else float(outside > 0)
    return float(stdtr(n - 1, outside / error))


def _detectable(n: int, sd: float) -> float:
    """Noncentrality at which P(T > t) is the target power, times the standard error."""
    from scipy.special import nctdtrinc

    noncentrality = float(nctdtrinc(n - 1, 1 - TARGET_POWER, critical_t(n - 1, ALPHA)))
    return noncentrality * sd / math.sqrt(n)


def _settles(n: int, mean: float, sd: float, margin: float) -> int | None:
    """The smallest number above n that would do, by bisection: near the target, power only rises.

    (Far below it, it need not: with an sd far over the margin, few seeds agree by luck.)
    """
    probability = agree_probability if abs(mean) < margin else disagree_probability

    def enough(seeds: int) -> bool:
        return probability(seeds, mean, sd, margin) >= TARGET_POWER

    numbers = range(max(n + 1, MIN_SEEDS), MAX_SEEDS + 1)
    if not numbers or not enough(MAX_SEEDS):
        return None
    return numbers[bisect_left(numbers, True, key=enough)]


def _mean_over_sd(function: Callable[[float], float], df: int, upper: float = math.inf) -> float:
    """The mean of function(s) over s = sample sd / true sd, chi(df) / sqrt(df), where s < upper.

    Adaptive quadrature; the limits lie a few sd off, so that it cannot step over the density.
    """
    from scipy.integrate import quad
    from scipy.special import gammainccinv, gammaincinv, gammaln

    half = df / 2
    low = math.sqrt(gammaincinv(half, _TAIL) / half)
    high = min(math.sqrt(gammainccinv(half, _TAIL) / half), upper)
    if high <= low:
        return 0.0
    log_scale = math.log(2) + half * math.log(half) - half - float(gammaln(half))

    def weighted(s: float) -> float:
        # Ordered so that no term is large where the density is: s is near 1 for a large df.
        log_density = log_scale + half * (1 - s * s + 2 * math.log(s)) - math.log(s)
        return math.exp(log_density) * function(s)

    value, _ = quad(weighted, low, high, epsabs=1e-12, epsrel=1e-9, limit=200)
    return min(max(float(value), 0.0), 1.0)
