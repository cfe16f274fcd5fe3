"""What a check of the conformance kit is, and what it says.

Imports the standard library, msgspec and the record's numbers only.
"""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import msgspec

from harness.record.schema import Number, number

DTYPES = ("float32", "float64")


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a check rests on: of all that it measured, what is nearest its limit (or beyond it).

    message: in plain words; value, limit: in the same unit, which `why` tells, with where the limit
    comes from; tensor, element, got, want: the place that is furthest off, where there is one.
    """

    message: str = ""
    value: Number | None = None
    limit: Number | None = None
    why: str = ""
    tensor: str = ""
    element: list[int] | None = None
    got: Number | None = None
    want: Number | None = None


class Failed(AssertionError):
    """What must hold does not; the message says it in one line, `evidence` has the figures."""

    def __init__(self, message: str, **figures: Any) -> None:
        """figures: the fields of `Evidence`."""
        super().__init__(message)
        self.evidence = Evidence(message=message, **figures)


class NotPossible(SkipTest):
    """What cannot be checked here; the message says why. pytest counts it as skipped."""


def hold(
    value: float, limit: float, *, why: str, failure: str, passed: str = "", **place: Any
) -> Evidence:
    """Evidence that a value keeps its limit; Failed where it does not, or is no number.

    failure, passed: the message in either case; place: tensor, element, got and want, if any.
    """
    figures = {"value": number(value), "limit": limit, "why": why} | place
    if not value <= limit:
        raise Failed(failure, **figures)
    return Evidence(message=passed, **figures)
