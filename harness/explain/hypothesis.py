"""What a hypothesis is, what it predicts, and how its number is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from harness.interface import Array, State
from harness.measure.distance import norm
from harness.record.schema import Measurement
from harness.workloads.reference.limits import ROOM

# A number is told where what correct code may be off by leaves this share of it open at most.
OPEN = 0.01
# Gauss-Newton converges in three to six steps on families that fit, and on others never.
STEPS = 12
# Sizes that an epsilon may have: where its search starts.
EPSILONS = tuple(10.0**e for e in range(-12, 0))


class Limited(NamedTuple):
    """A measurement, and its limit."""

    measurement: Measurement
    limit: float


class Compared(Protocol):
    """What was given, as a number is fitted to it."""

    def gap(self, key: str, value: Array) -> Array:
        """What was given less a prediction, in units of the limit of correct code: flat."""


class Looked(Compared, Protocol):
    """What a process gave, as a hypothesis is held against it; keys are those a worker writes."""

    @property
    def off(self) -> dict[str, Limited]:
        """What is to be explained, in order."""

    @property
    def kept(self) -> dict[str, Limited]:
        """What lies within its limits."""

    def left(self, key: str, value: Array) -> float:
        """How far what was given is from a prediction, as the rung measures it; inf: no way."""

    def limit(self, key: str) -> float:
        """What correct code may be off by."""

    def size(self, keys: Sequence[str]) -> int:
        """How many independent numbers stand under these keys."""


class Number(NamedTuple):
    """A fitted number; `spread`: how far from it correct code that has it may be found."""

    value: float
    spread: float = 0.0

    @property
    def sure(self) -> bool:
        """Whether it may be told."""
        return self.spread <= OPEN * abs(self.value)

    def __str__(self) -> str:
        sure = math.log10(abs(self.value) / self.spread) if self.spread and self.value else 15
        near = abs(self.value - 1)
        # What a factor has beside 1 is told.
        digits = 6 if near > 1e-3 or not near else 4 - math.floor(math.log10(near))
        return f"{self.value:.{max(min(int(sure), digits), 3)}g}"

    def meets(self, other: Number) -> bool:
        """Whether both may be one number."""
        apart = abs(self.value - other.value)
        return apart <= self.spread + other.spread + 1e-12 * abs(self.value)


class Prediction(NamedTuple):
    """What a process that did so would have given: float64, by key.

    Of a trained tensor's update: what is taken from it. of: what a sentence says besides.
    rounding: by key, how far from it, as a share of it, that formula's own rounding may lead.
    """

    values: State
    numbers: tuple[Number, ...] = ()
    of: str = ""
    rounding: Mapping[str, float] = MappingProxyType({})


Predict = Callable[..., Iterator[Prediction]]


@dataclass(frozen=True)
class Hypothesis:
    """One convention: `here` is the judge's formula, `there` the other's.

    rungs: where it is tried; sentence: with {0} for its number. by: who does so by default, and
    since when; where: the place that documents or reports it; both empty where not known for sure.
    general: it is told only where none that is special explains, as another order of any kind.
    predict(looked, sites): its predictions, numbers fitted to what stands under the keys `sites`.
    """

    id: str
    rungs: tuple[str, ...]
    sentence: str
    here: str
    there: str
    predict: Predict
    by: str = ""
    where: str = ""
    general: bool = False


def fit(
    looked: Compared,
    sites: Sequence[str],
    family: Callable[[float], State],
    starts: Sequence[float],
) -> Number | None:
    """The number under which a family comes nearest what was given; None where any would do.

    family: values under the keys `sites` by number. starts: none of them 0; of several above 0 the
    number is above 0 too.
    """

    def gaps(number: float) -> Array:
        with np.errstate(all="ignore"):
            made = family(number)
            return np.concatenate([looked.gap(key, made[key]) for key in sites])

    def size(number: float) -> float:
        found = norm(gaps(number))
        return found if math.isfinite(found) else math.inf

    number = min(starts, key=size)
    for _ in range(STEPS):
        gap, aside = gaps(number), 1e-5 * abs(number)
        slope = (gaps(number + aside) - gaps(number - aside)) / (2 * aside)
        square = float(slope @ slope)
        step = float(slope @ gap) / square if square > 0 else math.nan
        if not math.isfinite(step):
            return None
        number = number / 2 if len(starts) > 1 and step >= number else number - step
        if abs(step) <= 1e-13 * abs(number):
            break
    # Correct code stays below a third of a limit; what is held is rounded besides.
    spread = max(1 / ROOM, size(number)) / math.sqrt(square)
    return Number(number, spread) if spread < abs(number) else None


def fitted(
    looked: Compared,
    sites: Sequence[str],
    family: Callable[[float], State],
    starts: Sequence[float],
) -> Iterator[Prediction]:
    """What a family predicts under its best number; where there are no starts it has none."""
    with np.errstate(all="ignore"):
        if not starts:
            yield Prediction(family(0.0))
        elif (number := fit(looked, sites, family, starts)) is not None:
            yield Prediction(family(number.value), (number,))
