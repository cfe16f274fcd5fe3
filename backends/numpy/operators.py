"""Single operators by name, in NumPy: value and derivatives by hand. May import NumPy only."""

from collections.abc import Callable

import numpy as np

from harness.interface import Array


def matmul(a: Array, b: Array) -> tuple[Array, ...]:
    """a: (n, k), b: (k, m) -> a @ b: (n, m), and the derivative of its sum by a and by b."""
    value = a @ b
    ones = np.ones_like(value)
    return value, ones @ b.T, a.T @ ones


OPERATORS: dict[str, Callable[..., tuple[Array, ...]]] = {"matmul": matmul}


def value_and_derivatives(name: str, *arrays: Array) -> tuple[Array, ...]:
    """Value of the operator, then the derivative of its elements' sum by each argument.

    Raises ValueError for an unknown name.
    """
    if name not in OPERATORS:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    return OPERATORS[name](*arrays)
