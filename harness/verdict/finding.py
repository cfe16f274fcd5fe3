"""What a check says: for one label and one rung, a verdict with its evidence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from harness.record.schema import Explanation, Number
from harness.text import clean
from harness.workloads.reference.limits import DECIDING

RungVerdict = Literal["agree", "disagree", "inconclusive", "not-possible"]
# A whole number of verdict.json: it fits 64 bits.
Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class Evidence(msgspec.Struct, kw_only=True):
    """The measurement a finding rests on; `where` is the batch, `why` the limit's reason."""

    dtype: str = ""
    where: str
    step: int | None = None
    tensor: str
    index: list[int] | None = None
    expected: Number | None = None
    got: Number | None
    distance: Number | None = None
    limit: float | None = None
    why: str
    problem: str | None = None


# Parts whose disagreement makes every figure of a label void.
VOID = ("itself", "clocks", "physics")


class Part(msgspec.Struct, kw_only=True, gc=False):
    """One of the parts that the rung timing consists of (see `verdict/timing.py`)."""

    name: Literal["itself", "clocks", "physics", "across", "beside", "baseline"]
    verdict: RungVerdict
    value: Number | None = None
    limit: float | None = None
    sentence: str


def void_part(parts: list[Part]) -> Part | None:
    """The first part by which every figure of a label is void; None where none says so."""
    return next((p for p in parts if p.name in VOID and p.verdict == "disagree"), None)


class Rung(
    msgspec.Struct, kw_only=True, omit_defaults=True, rename={"sentence": "reason"}, gc=False
):
    """One rung of one label, as verdict.json has it.

    `value` and `limit` are those of the measurement nearest its limit, or of the first beyond it.
    `sentence` says in plain words what holds (in verdict.json: reason), `measured` how many
    measurements it rests on, `hint` where they are off and where not. `expected`: the reason why
    this disagreement was declared.
    `parts`: what the rung consists of, where it has parts. `explanation`: the conventions that each
    give what was given; empty: none of those known does; None: none was sought.
    """

    verdict: RungVerdict
    value: Number | None
    limit: Number | None
    sentence: str
    measured: Whole
    hint: str | None
    expected: str | None
    parts: list[Part] = []
    explanation: list[Explanation] | None = None

    @property
    def explained(self) -> str | None:
        """Its explanation in words; None where none was sought."""
        return in_words(self.explanation)

    @property
    def counts(self) -> bool:
        """Whether this is a disagreement that nobody declared beforehand."""
        return self.verdict == "disagree" and self.expected is None

    @property
    def share(self) -> float | None:
        """The value as a multiple of its limit; None where one of them is missing."""
        if self.value is None or self.limit is None:
            return None
        return multiple(float(self.value), float(self.limit))


class Finding(Rung, kw_only=True):
    """A rung with its evidence; `first` is the earliest measurement over its limit.

    `off`: the same of each tensor that has one, the earliest first.
    """

    rung: str
    verdict: RungVerdict = "inconclusive"
    value: Number | None = None
    limit: float | None = None
    measured: int = 0
    hint: str | None = None
    expected: str | None = None
    evidence: Evidence | None = None
    first: Evidence | None = None
    off: dict[str, Evidence] = {}


def in_words(explanation: list[Explanation] | None) -> str | None:
    """What explains a divergence, in a sentence; None where nothing was sought."""
    if explanation is None:
        return None
    told = "; or ".join(clean(one.sentence) for one in explanation)
    return told or "no known convention explains it"


def multiple(value: float, limit: float) -> float:
    """A value as a multiple of its limit; of a limit 0: 0 where it holds, else infinite."""
    if limit == 0 and not math.isnan(value):
        return 0.0 if value == 0 else math.inf
    return value / limit if limit else value


def agreeing(rungs: Mapping[str, Rung]) -> bool:
    """Whether every deciding rung agrees, cannot be judged here, or differs as declared."""
    deciding = [rungs[rung] for rung in DECIDING if rung in rungs]
    return bool(deciding) and all(
        rung.verdict in ("agree", "not-possible") or rung.expected is not None for rung in deciding
    )
