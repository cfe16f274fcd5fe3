"""A number as it is stored, which may be none. Imports nothing of the harness."""

from __future__ import annotations

import math
from typing import Literal

NotFinite = Literal["nan", "inf", "-inf"]
Number = float | NotFinite


def number(value: float) -> Number:
    """A float as it is stored: finite as itself, else its name."""
    value = float(value)
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
