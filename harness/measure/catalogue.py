"""The catalogue of single operators: what each is asked, and what is true there. Data and formulas.

Ordinary points, and special ones: zeros of both signs, subnormals, what overflows, infinities, NaN,
ties. The truth is float64, from SciPy and from formulas that no backend shares; at infinities it is
the limit, where there is one, and NaN where mathematics has no value. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.interface import Array

# The framework's own operator, and the expression of Dive into Deep Learning.
OWN, BOTH = ("",), ("", "/scratch")

# Ordinary points: a grid for the curves, an even number, so that it steps over 0, which is a
# special point; and rows from a normal distribution as wide as logits.
GRID = (-8.0, 8.0, 80)
ORDINARY_ROWS = 64
COLUMNS = 3
# float32: 1e-45 is the smallest subnormal, exp(88.7) just fits and twice it does not, exp(1e3)
# overflows, and 1e30 has no square.
SPECIAL = (
    *(0.0, -0.0, 1e-45, -1e-45, 88.7, -88.7, 1e3, -1e3),
    *(float("inf"), float("-inf"), float("nan")),
)
SPECIAL_ROWS = (
    (0.0, 0.0, 0.0),
    (1e-45, -1e-45, -0.0),
    (88.7, 88.7, 88.7),
    (-88.7, -88.7, -88.7),
    (88.7, -88.7, 0.0),
    (1e3, 1e3, 1e3),
    (-1e3, -1e3, -1e3),
    (-1e3, 0.0, 1e3),
    (float("inf"), 0.0, 0.0),
    (float("inf"), float("inf"), 0.0),
    (float("-inf"), 0.0, 1.0),
    (float("-inf"), float("-inf"), float("-inf")),
    (float("nan"), 0.0, 1.0),
)
SPECIAL_PAIRS = (
    (0.0, -0.0),
    (1e-45, 0.0),
    (88.7, -88.7),
    (1e3, 1e3),
    (1e3, -1e3),
    (1e30, 0.0),
    (float("inf"), 0.0),
    (float("inf"), float("inf")),
    (float("inf"), float("-inf")),
    (float("nan"), 0.0),
)
# Stands for an infinite logit: exp of minus this is 0 in float64.
HUGE = 1e300


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a backend's `op`.

    arrays: its arguments; weights: of the value's shape, None for ones. Without `points` all of it
    is ordinary. Else the first `ordinary` elements (rows) of value and derivatives are, and after
    them each point has `each` of them, which are copies of it under other weights; or, where there
    are no ordinary ones, the whole call is the one point.
    """

    arrays: tuple[Array, ...]
    weights: Array | None = None
    ordinary: int = 0
    points: tuple[str, ...] = ()
    each: int = 1

    @property
    def tensors(self) -> dict[str, Array]:
        """As the worker's command `op` reads them from a file."""
        named = {str(i): array for i, array in enumerate(self.arrays)}
        return named if self.weights is None else named | {"weights": self.weights}


@dataclass(frozen=True)
class Declared:
    """One operator. `calls`: what it is asked in a dtype, an ordinary call first.

    `truth`: from the arguments (floats in float64) and the weights (None: ones) to the value, then
    the derivative of sum(weights * value) by each float argument, all float64. `forms`: in which
    forms backends have it; `drawn`: elementwise, and a curve of the report; `ties`: equal numbers
    are a tie, which rounding must not break.
    """

    calls: Callable[[str], list[Call]]
    truth: Callable[[Sequence[Array], Array | None], tuple[Array, ...]]
    forms: tuple[str, ...] = OWN
    drawn: bool = False
    ties: bool = False


def _normal(*shape: int) -> Array:
    """Standard normal numbers, the same ones whenever a shape is asked for."""
    return np.random.default_rng(0).standard_normal(shape)


def _spelt(row: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in row)}]"


# ---- elementwise ---------------------------------------------------------------------------------


def _elementwise(
    value: Callable[[Array], Array], slope: Callable[[Array], Array], forms: tuple[str, ...] = OWN
) -> Declared:
    """An operator of single numbers by its value and its derivative; NaN passes through both."""

    def calls(dtype: str) -> list[Call]:
        x = np.array([*np.linspace(*GRID), *SPECIAL], dtype=dtype)
        return [Call((x,), None, GRID[2], tuple(f"{value:g}" for value in SPECIAL))]

    def truth(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
        (x,), w = arrays, 1.0 if weights is None else weights
        return tuple(np.where(np.isnan(x), np.nan, y) for y in (value(x), w * slope(x)))

    return Declared(calls, truth, forms, drawn=True)


def _tanh_slope(x: Array) -> Array:
    """1 - tanh² without cancellation: 4 e / (1 + e)² with e = exp(-2 |x|)."""
    return np.asarray(4 * special.expit(2 * np.abs(x)) * special.expit(-2 * np.abs(x)))


# ---- rows ----------------------------------------------------------------------------------------


def _rowwise(operator: str) -> Declared:
    """A softmax or its logarithm: at every row all rows of its Jacobian."""

    def calls(dtype: str) -> list[Call]:
        rows = np.concatenate([_normal(ORDINARY_ROWS, COLUMNS) * 3, SPECIAL_ROWS])
        x = rows.repeat(COLUMNS, axis=0).astype(dtype)
        weights = np.tile(np.eye(COLUMNS), (len(rows), 1)).astype(dtype)
        names = tuple(map(_spelt, SPECIAL_ROWS))
        return [Call((x,), weights, ORDINARY_ROWS * COLUMNS, names, COLUMNS)]

    def truth(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
        (x,) = arrays
        return _rows(operator, x, np.ones_like(x) if weights is None else weights)

    return Declared(calls, truth, BOTH)


def _rows(operator: str, x: Array, weights: Array) -> tuple[Array, Array]:
    """x, weights: float64 (n, k) -> value and derivative of a softmax or its logarithm."""
    infinite = np.isposinf(x)
    finite = np.where(infinite, HUGE, x)
    undetermined = (infinite.sum(axis=1) > 1) | np.isneginf(x).all(axis=1)
    finite[undetermined] = np.nan
    p = special.softmax(finite, axis=1)
    # Sums over differences: nothing cancels where an element is nearly 1.
    others, own = p[:, None, :], p[:, :, None]
    w_others, w_own = weights[:, None, :], weights[:, :, None]
    if operator == "softmax":
        return p, (own * others * (w_own - w_others)).sum(axis=2)
    log_p = special.log_softmax(finite, axis=1)
    log_p[log_p < -HUGE / 2] = -np.inf
    return log_p, (w_own * others - own * w_others).sum(axis=2)


def _cross_entropy_calls(dtype: str) -> list[Call]:
    """Only a mean needs a call for each special row; the label of each is 0."""
    y = np.random.default_rng(0).integers(0, COLUMNS, ORDINARY_ROWS)
    x = (_normal(ORDINARY_ROWS, COLUMNS) * 3).astype(dtype)
    one = np.zeros(1, dtype=y.dtype)
    return [Call((x, y))] + [
        Call((np.array([row], dtype=dtype), one), points=(_spelt(row),)) for row in SPECIAL_ROWS
    ]


def _cross_entropy(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
    x, y = arrays
    w = 1.0 if weights is None else weights
    chosen = np.arange(x.shape[1]) == y[:, None]
    value, derivative = _rows("log_softmax", x, -w * chosen / len(x))
    return np.array(-value[chosen].mean()), derivative


# ---- sums ----------------------------------------------------------------------------------------


def _squared_error_calls(dtype: str) -> list[Call]:
    a, b = (_normal(2, ORDINARY_ROWS) * 3).astype(dtype)
    return [Call((a, b))] + [
        Call((np.array([p], dtype=dtype), np.array([q], dtype=dtype)), points=(f"{p:g}, {q:g}",))
        for p, q in SPECIAL_PAIRS
    ]


def _squared_error(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
    a, b = arrays
    error, w = a - b, 1.0 if weights is None else weights
    return np.array(np.mean(error**2) / 2), w * error / error.size, -w * error / error.size


CATALOGUE: dict[str, Declared] = {
    # The derivative of relu at 0 is 0, as everywhere in this project.
    "relu": _elementwise(lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0), BOTH),
    "sigmoid": _elementwise(
        special.expit, lambda x: np.asarray(special.expit(x) * special.expit(-x)), BOTH
    ),
    "tanh": _elementwise(np.tanh, _tanh_slope, BOTH),
    "softmax": _rowwise("softmax"),
    "log_softmax": _rowwise("log_softmax"),
    "cross_entropy": Declared(_cross_entropy_calls, _cross_entropy, BOTH),
    "squared_error": Declared(_squared_error_calls, _squared_error, BOTH),
}
