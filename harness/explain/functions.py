"""Conventions by which two plain functions differ: fitted to their float64, or not told."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from harness.explain.hypothesis import Hypothesis, Number, Prediction, fitted
from harness.interface import Array, State
from harness.measure.distance import norm
from harness.record.schema import Explanation, number


@dataclass(frozen=True, eq=False)
class Outputs:
    """What two functions gave of the same, by output: of one `got`, of the other `want`.

    limits: of |got - want|, by element; counts: over how many numbers a function may sum.
    """

    got: Mapping[str, Array]
    want: Mapping[str, Array]
    limits: Mapping[str, Array]
    counts: Collection[int]

    def gap(self, key: str, value: Array) -> Array:
        """See `Compared`; where both are finite."""
        got = self.got[key]
        there = np.isfinite(got) & np.isfinite(value)
        return np.asarray((got - value)[there] / self._units[key][there])

    def share(self, key: str, value: Array) -> float:
        """How many limits what was given is from a prediction at most; inf: no way."""
        got = self.got[key]
        if got.shape != value.shape:
            return math.inf
        alike = (got == value) | (np.isnan(got) & np.isnan(value))
        if not (alike | (np.isfinite(got) & np.isfinite(value))).all():
            return math.inf
        return float(np.max(np.abs(self.gap(key, value)), initial=0.0))

    @cached_property
    def _units(self) -> dict[str, Array]:
        """The limits; where what was given is larger, by as much."""
        least = np.finfo(np.float64).tiny
        return {
            key: np.maximum(limit, least)
            * max(_size(self.got[key]) / (_size(self.want[key]) or 1), 1)
            for key, limit in self.limits.items()
        }


def explain(
    one: tuple[str, Mapping[str, Array]],
    other: tuple[str, Mapping[str, Array]],
    limits: Mapping[str, Array],
    counts: Collection[int],
) -> list[Explanation]:
    """Every convention that gives what one function gave from what the other did.

    one, other: a name, and float64 by output, of the outputs that are off. The first is told to do
    otherwise; it is the one that gives larger numbers.
    """
    (name, got), (than, want) = sorted((one, other), key=_total, reverse=True)
    outputs, found = Outputs(got, want, limits, counts), list[tuple[Hypothesis, Explanation]]()
    with np.errstate(all="ignore"):
        for hypothesis in TABLE:
            for made in hypothesis.predict(outputs, (*limits,)):
                left = max(outputs.share(key, value) for key, value in made.values.items())
                if left <= 1:
                    told = hypothesis.sentence.format(*made.numbers, of=made.of, other=than)
                    found.append((hypothesis, Explanation(
                        hypothesis=hypothesis.id,
                        sentence=f"{name} {told}",
                        numbers=[number(n.value) for n in made.numbers],
                        left=number(max(_off(outputs, *item) for item in made.values.items())),
                    )))  # fmt: skip
    special = [told for hypothesis, told in found if not hypothesis.general]
    return special or [told for _, told in found]


def _off(outputs: Outputs, key: str, value: Array) -> float:
    """How far what was given is from a prediction, relative to it."""
    return _size(outputs.got[key] - value) / (_size(value) or 1.0)


def _size(array: Array) -> float:
    return norm(array[np.isfinite(array)].ravel())


def _total(one: tuple[str, Mapping[str, Array]]) -> float:
    return sum(_size(array) for array in one[1].values())


def _factor(outputs: Outputs, sites: Sequence[str]) -> Iterator[Prediction]:
    """So many times, whatever the number; a single one that came out shows nothing of that."""
    if sum(outputs.got[key].size for key in sites) > 1:
        yield from _scaled(outputs, sites)


def _scaled(outputs: Outputs, sites: Sequence[str]) -> Iterator[Prediction]:
    def family(factor: float) -> State:
        return {key: factor * outputs.want[key] for key in sites}

    if all(outputs.got[key].shape == outputs.want[key].shape for key in sites):
        for one in fitted(outputs, sites, family, (1.0,)):
            if one.numbers[0].sure:
                yield one


def _of_count(
    factor: Callable[[int], float], outputs: Outputs, sites: Sequence[str]
) -> Iterator[Prediction]:
    """A factor that a number of elements has: the exact one, where it is what is found."""
    for one in _scaled(outputs, sites):
        for n in outputs.counts:
            exact = Number(factor(n))
            if exact.value != 1 and one.numbers[0].meets(exact):
                values = {key: exact.value * outputs.want[key] for key in sites}
                yield Prediction(values, (exact,), f" with n = {n}")


def _transposed(outputs: Outputs, sites: Sequence[str]) -> Iterator[Prediction]:
    if all(outputs.want[key].ndim > 1 for key in sites):
        yield Prediction({key: outputs.want[key].T for key in sites})


FUNCTIONS = ("plain functions",)
TABLE = (
    Hypothesis(
        "variance-over-n-1", FUNCTIONS,
        "gives {0} times what {other} does, n / (n - 1){of}: a variance over n - 1 for one over "
        "n", "sum of (x - mean)² / n", "sum of (x - mean)² / (n - 1)",
        partial(_of_count, lambda n: n / (n - 1)),
        by="torch.var over n - 1; numpy.var, jax.numpy.var and tf.math.reduce_variance over n",
        where="torch.var: correction=1; numpy.var: ddof=0",
    ),
    Hypothesis(
        "deviation-over-n-1", FUNCTIONS,
        "gives {0} times what {other} does, sqrt(n / (n - 1)){of}: a standard deviation over "
        "n - 1 for one over n", "sqrt(sum of (x - mean)² / n)",
        "sqrt(sum of (x - mean)² / (n - 1))", partial(_of_count, lambda n: math.sqrt(n / (n - 1))),
        by="torch.std over n - 1; numpy.std, jax.numpy.std and tf.math.reduce_std over n",
        where="torch.std: correction=1; numpy.std: ddof=0",
    ),
    Hypothesis(
        "sum-for-mean", FUNCTIONS, "gives {0} times what {other} does: a sum for a mean",
        "sum / n", "sum", partial(_of_count, float),
    ),
    Hypothesis(
        "times", FUNCTIONS, "gives {0} times what {other} does", "f", "c f", _factor,
        general=True,
    ),
    Hypothesis(
        "value-transposed", FUNCTIONS, "gives the transpose of what {other} does", "f", "fᵀ",
        _transposed, general=True,
    ),
)  # fmt: skip
