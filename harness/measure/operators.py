"""Single operators beside the ladder: at which points each is asked, and what is true there.

The catalogue is data: ordinary points, and special ones (zeros of both signs, subnormals, what
overflows, infinities, NaN, ties). The truth is float64 from SciPy and the exact derivatives, taken
at the arguments as the process holds them. Nothing here judges: where frameworks differ is a
table, not a rung. Sees a backend's tensors, as `measure` does. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.interface import Array
from harness.measure.distance import in_rms
from harness.record.schema import Curve, Number, Operator, Special, number

ELEMENTWISE = ("relu", "sigmoid", "tanh")
ROWWISE = ("softmax", "log_softmax")
CATALOGUE = (*ELEMENTWISE, *ROWWISE, "cross_entropy", "squared_error")
# The framework's own operator, and the expression of Dive into Deep Learning.
FORMS = ("", "/scratch")

# Ordinary points: a grid for the curves, and rows from a normal distribution as wide as logits.
GRID = (-8.0, 8.0, 81)
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
# Digits of a curve that is only drawn.
CURVE_DIGITS = 4
# Stands for an infinite logit: exp of minus this is 0 in float64.
HUGE = 1e300
# Points where mathematics leaves the derivative open, and what one may choose.
CONVENTIONS = {("relu", "0"): "0, ½ or 1: convention", ("relu", "-0"): "0, ½ or 1: convention"}

Ask = Callable[[str, dict[str, Array]], dict[str, Array] | str]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a backend's `op`.

    arrays: its arguments; weights: of the value's shape, None for ones; ordinary: how many leading
    elements (rows) are ordinary points; points: the names of those after them, or of the one that
    the whole call is.
    """

    arrays: tuple[Array, ...]
    weights: Array | None
    ordinary: int
    points: tuple[str, ...]

    @property
    def tensors(self) -> dict[str, Array]:
        """As the worker's command `op` reads them from a file."""
        named = {str(i): array for i, array in enumerate(self.arrays)}
        return named if self.weights is None else named | {"weights": self.weights}


def calls(operator: str, dtype: str) -> list[Call]:
    """What an operator of the catalogue is asked, in `dtype`; both its forms are asked the same.

    As few calls as can be: only a mean needs one for each special point. For the row operators the
    weights choose the first element at special rows (the sum of a softmax is 1 and says nothing).
    """
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((ORDINARY_ROWS, COLUMNS)) * 3
    if operator in ELEMENTWISE:
        x = np.array([*np.linspace(*GRID), *SPECIAL], dtype=dtype)
        return [Call((x,), None, GRID[2], tuple(f"{value:g}" for value in SPECIAL))]
    names = tuple(f"[{', '.join(f'{value:g}' for value in row)}]" for row in SPECIAL_ROWS)
    if operator in ROWWISE:
        first = np.zeros((len(SPECIAL_ROWS), COLUMNS))
        first[:, 0] = 1
        weights = np.concatenate([rng.standard_normal(rows.shape), first]).astype(dtype)
        x = np.concatenate([rows, SPECIAL_ROWS]).astype(dtype)
        return [Call((x,), weights, ORDINARY_ROWS, names)]
    if operator == "cross_entropy":
        y = rng.integers(0, COLUMNS, ORDINARY_ROWS)
        one = np.zeros(1, dtype=y.dtype)
        return [Call((rows.astype(dtype), y), None, ORDINARY_ROWS, ())] + [
            Call((np.array([row], dtype=dtype), one), None, 0, (name,))
            for row, name in zip(SPECIAL_ROWS, names, strict=True)
        ]
    if operator == "squared_error":
        a, b = rows[:, 0].astype(dtype), rows[:, 1].astype(dtype)
        return [Call((a, b), None, ORDINARY_ROWS, ())] + [
            Call(
                (np.array([p], dtype=dtype), np.array([q], dtype=dtype)),
                None,
                0,
                (f"{p:g}, {q:g}",),
            )
            for p, q in SPECIAL_PAIRS
        ]
    raise ValueError(f"unknown operator {operator!r}; known: {', '.join(CATALOGUE)}")


def truth(operator: str, call: Call) -> tuple[Array, ...]:
    """Value, then the derivative of sum(weights * value) by each float argument: float64.

    At infinities the limit, where there is one; NaN where mathematics has no value.
    """
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in call.arrays]
    with np.errstate(all="ignore"):
        if operator in ELEMENTWISE:
            return _elementwise(operator, arrays[0])
        if operator == "squared_error":
            error = arrays[0] - arrays[1]
            return np.array(np.mean(error**2) / 2), error / error.size, -error / error.size
        x = arrays[0]
        if operator == "cross_entropy":
            chosen = np.arange(x.shape[1]) == arrays[1][:, None]
            value, derivative = _rows("log_softmax", x, -1.0 * chosen / len(x))
            return np.array(-value[chosen].mean()), derivative
        assert call.weights is not None
        return _rows(operator, x, call.weights.astype(np.float64))


def _elementwise(operator: str, x: Array) -> tuple[Array, Array]:
    """x: float64 (n,) -> value, derivative; NaN passes through."""
    if operator == "relu":
        slope = np.where(x > 0, 1.0, np.where(x < 0, 0.0, np.nan))
        return np.maximum(x, 0), slope
    if operator == "sigmoid":
        return special.expit(x), special.expit(x) * special.expit(-x)
    # 1 - tanh² without cancellation; 4 e / (1 + e)² with e = exp(-2 |x|).
    return np.tanh(x), 4 * special.expit(2 * np.abs(x)) * special.expit(-2 * np.abs(x))


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


def wanted(operator: str, dtype: str) -> dict[str, tuple[list[float], list[float]]]:
    """Each special point's true value and derivative, flat, as `Special` holds what was got."""
    true = {}
    for call in calls(operator, dtype):
        for point, value, derivative in _specials(call, truth(operator, call)):
            true[point] = (value.tolist(), derivative.tolist())
    return true


def measured(dtype: str, ask: Ask) -> Iterator[Operator]:
    """Every operator of the catalogue in both forms, as a record stores it, one at a time.

    dtype: of the process that is asked. ask(name, tensors): the answer's tensors, "0" the value and
    "1", ... the derivatives; or, as a text, why the framework does not have the operator.
    """
    for operator in CATALOGUE:
        asked = calls(operator, dtype)
        for form in FORMS:
            yield _measured(operator, form, dtype, asked, ask)


def _measured(operator: str, form: str, dtype: str, asked: list[Call], ask: Ask) -> Operator:
    """One operator in one form."""
    measured = Operator(name=operator + form, dtype=dtype)
    for call in asked:
        answer = ask(measured.name, call.tensors)
        if isinstance(answer, str):
            return Operator(name=measured.name, dtype=dtype, absent=answer)
        got, want = [answer[str(i)] for i in range(len(answer))], truth(operator, call)
        if problem := _problem(got, want, dtype):
            return Operator(name=measured.name, dtype=dtype, problem=problem)
        if call.ordinary:
            mine, true = ([_ordinary(a, call) for a in arrays] for arrays in (got, want))
            measured.value_error = _error(mine[:1], true[:1])
            measured.derivative_error = _error(mine[1:], true[1:])
            if operator in ELEMENTWISE and not form:
                start, stop, _ = GRID
                value, derivative = ([_drawn(v) for v in array] for array in mine)
                measured.curve = Curve(start=start, stop=stop, value=value, derivative=derivative)
        measured.specials += [
            Special(
                point=point,
                value=[_short(v) for v in value],
                derivative=[_short(v) for v in derivative],
            )
            for point, value, derivative in _specials(call, tuple(got))
        ]
    return measured


def _ordinary(array: Array, call: Call) -> Array:
    """The ordinary points of a value or derivative; a mean is of these only."""
    return array[: call.ordinary] if array.ndim else array


def _specials(call: Call, answer: tuple[Array, ...]) -> Iterator[tuple[str, Array, Array]]:
    """Name, value and derivatives of each special point, flat."""
    for place, point in enumerate(call.points, call.ordinary):
        parts = [np.ravel(a) if answer[0].ndim == 0 else np.ravel(a[place]) for a in answer]
        yield point, parts[0], np.concatenate(parts[1:])


def _problem(got: list[Array], want: tuple[Array, ...], dtype: str) -> str | None:
    """Why an answer cannot be measured, in a few words."""
    if len(got) != len(want):
        return f"{len(got)} arrays where {len(want)} are wanted"
    for mine, theirs in zip(got, want, strict=True):
        if mine.shape != theirs.shape or mine.dtype != np.dtype(dtype):
            return f"{mine.dtype} {mine.shape} where {dtype} {theirs.shape} is wanted"
    return None


def _error(got: list[Array], want: list[Array]) -> Number:
    """The largest error in units of the truth's RMS, where the truth is finite."""
    true = np.concatenate([np.ravel(a) for a in want])
    mine = np.concatenate([np.ravel(a) for a in got]).astype(np.float64)
    there = np.isfinite(true)
    return number(in_rms(mine[there] - true[there], true[there]))


def _short(value: np.floating) -> Number:
    """Nine digits, which tell all float32 numbers apart; a zero keeps its sign."""
    return number(float(f"{value:.9g}"))


def _drawn(value: np.floating) -> Number:
    return number(float(f"{value:.{CURVE_DIGITS}g}"))
