"""Single operators as a record has them: what is true of each, and what a process gave."""

from __future__ import annotations

import msgspec

from harness.record.numbers import Number


class Special(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an operator gave at one special point: the elements of its value and derivatives.

    `point` names the arguments as the catalogue writes them. Zeros keep their sign.
    """

    point: str
    value: list[Number]
    derivative: list[Number]


class Curve(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An elementwise operator on an even grid from start to stop, in few digits: to be drawn."""

    start: float
    stop: float
    value: list[Number]
    derivative: list[Number]


class Farthest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of ordinary points the element whose error is the largest part of its limit."""

    index: list[int]
    got: Number
    want: Number
    limit: Number


class Operator(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One single operator in a process of `dtype`; "relu" is the framework's, "relu/scratch" not.

    Errors: the largest on ordinary points, in units of the RMS of the truth (float64). `farthest`:
    of the value, then of each derivative. `absent`: why the framework does not have it; `problem`:
    why its answer could not be measured.
    """

    name: str
    dtype: str
    absent: str | None = None
    problem: str | None = None
    value_error: Number | None = None
    derivative_error: Number | None = None
    farthest: list[Farthest] = []
    specials: list[Special] = []
    curve: Curve | None = None


class TruePoint(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is true at one special point, as `Special` has it, and how far off correct code is."""

    point: str
    value: list[Number]
    derivative: list[Number]
    value_limit: list[Number]
    derivative_limit: list[Number]


class Truth(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One operator that processes of a dtype were asked, in these forms ("": its bare name)."""

    operator: str
    dtype: str
    forms: list[str]
    points: list[TruePoint] = []
