"""What a check says: for one label and one rung, a verdict with its evidence."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.record.schema import Number

RungVerdict = Literal["agree", "disagree", "inconclusive", "not-possible"]


class Evidence(msgspec.Struct, kw_only=True):
    """The measurement a finding rests on; `where` is the batch, `why` the limit's reason."""

    dtype: str
    where: str
    step: int | None
    tensor: str
    index: list[int] | None
    expected: Number | None
    got: Number | None
    distance: Number | None
    limit: float | None
    why: str
    problem: str | None = None


class Part(msgspec.Struct, kw_only=True):
    """One of the parts that the rung timing consists of (see `checks/timing.py`)."""

    name: Literal["itself", "clocks", "physics", "across", "beside", "baseline"]
    verdict: RungVerdict
    value: Number | None = None
    limit: float | None = None
    sentence: str


class Finding(msgspec.Struct, kw_only=True):
    """One rung of one label. `value` and `limit` are those of the measurement nearest its limit.

    `sentence` says in plain words what holds; `first` is the earliest measurement over its limit,
    `hint` what its pattern points to. `expected`: the reason why this disagreement was declared.
    `parts`: what the rung consists of, where it has parts.
    """

    rung: str
    verdict: RungVerdict
    value: Number | None = None
    limit: float | None = None
    sentence: str
    measured: int = 0
    evidence: Evidence | None = None
    first: Evidence | None = None
    hint: str | None = None
    expected: str | None = None
    parts: list[Part] = []

    @property
    def counts(self) -> bool:
        """Whether this is a disagreement that nobody declared beforehand."""
        return self.verdict == "disagree" and self.expected is None
