"""Anybody's function in NumPy: what it is given, what it gives back. It has no derivatives.

May import NumPy and, from the harness, `interface` only. Read it beside the others: same names,
same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.interface import Array, Unavailable

# Whether what a file makes as it is imported keeps the dtype of that moment (see `wide`).
ANEW = False


def wide() -> contextlib.AbstractContextManager[Any]:
    """In here float64 is float64, as it always is."""
    return contextlib.nullcontext()


def put(array: Array) -> Array:
    """An array as a function here is given it: itself, which nobody else holds."""
    return array


def is_own(value: Any) -> bool:
    """Whether it is one of NumPy's arrays or scalars."""
    return isinstance(value, np.ndarray | np.generic)


def fetch(value: Any) -> tuple[Array, str]:
    """A fresh copy, and the dtype's name."""
    array = np.array(value)
    return array, str(array.dtype)


def derivatives(
    call: Callable[[list[Any]], list[Any]],
    arrays: Sequence[Array],
    weigh: Callable[[int, tuple[int, ...]], Array],
) -> list[Array]:
    """Unavailable: NumPy differentiates nothing."""
    del call, arrays, weigh
    raise Unavailable("NumPy has no derivatives of its own")
