"""The catalogue of single operators: what each is asked, and what is true there. Data and formulas.

Ordinary points, and special ones: zeros of both signs, subnormals, what overflows, infinities, NaN,
ties. The truth is float64, from SciPy and from formulas that no backend shares; at infinities it is
the limit, where there is one, and NaN where mathematics has no value. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
SPECIAL_VECTORS = (
    (0.0, 0.0, 0.0),
    (3e30, 4e30, 0.0),
    (2e38, 2e38, 2e38),
    (float("inf"), 0.0, 0.0),
    (float("nan"), 0.0, 1.0),
)
# In bits 2, 1.3568 and, as it stands (it sums to 1.002), 0.0313.
PROBABILITIES = (
    (0.25, 0.25, 0.25, 0.25),
    (0.1, 0.1, 0.1, 0.7),
    (0.001, 0.001, 0.001, 0.999),
)
# Images: samples, rows, columns, channels; windows of 3 x 3 with stride 2, padded by 1.
IMAGES = (2, 5, 5, 2)
SIZE, STRIDE, PAD = 3, 2, 1
EPSILON, DROPPED, CUBE = 1e-5, 0.25, 0.044715
# Numbers less their mean: its rounding falls on all of them, and is that of a sum.
OF_A_MEAN = 4.0
# A complex step has no cancellation: any will do whose square vanishes.
STEP = 1e-30
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


Truth = Callable[[Sequence[Array], Array | None], tuple[Array, ...]]


@dataclass(frozen=True)
class Declared:
    """One operator. `calls`: what it is asked in a dtype, an ordinary call first.

    `truth`: from the arguments (floats in float64) and the weights (None: ones) to the value, then
    the derivative of sum(weights * value) by each float argument, all float64. `forms`: in which
    forms backends have it; `drawn`: elementwise, and a curve of the report; `ties`: equal numbers
    are a tie, which rounding must not break; `magnified`: by how much the usual
    formula makes more of a rounding on its way than of one in its arguments.
    """

    calls: Callable[[str], list[Call]]
    truth: Truth
    forms: tuple[str, ...] = OWN
    drawn: bool = False
    ties: bool = False
    magnified: float = 1.0


def _normal(*shape: int) -> Array:
    """Standard normal numbers, the same ones whenever a shape is asked for."""
    return np.random.default_rng(0).standard_normal(shape)


def _drawn(*shapes: tuple[int, ...]) -> list[Array]:
    """Standard normal arrays of these shapes."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


def _spelt(row: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in row)}]"


# ---- elementwise ---------------------------------------------------------------------------------


def _elementwise(
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    forms: tuple[str, ...] = OWN,
    magnified: float = 1.0,
) -> Declared:
    """An operator of single numbers by its value and its derivative; NaN passes through both."""

    def calls(dtype: str) -> list[Call]:
        x = np.array([*np.linspace(*GRID), *SPECIAL], dtype=dtype)
        return [Call((x,), None, GRID[2], tuple(f"{value:g}" for value in SPECIAL))]

    def truth(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
        (x,), w = arrays, 1.0 if weights is None else weights
        return tuple(np.where(np.isnan(x), np.nan, y) for y in (value(x), w * slope(x)))

    return Declared(calls, truth, forms, drawn=True, magnified=magnified)


def _tanh_slope(x: Array) -> Array:
    """1 - tanh² without cancellation: 4 e / (1 + e)² with e = exp(-2 |x|)."""
    return np.asarray(4 * special.expit(2 * np.abs(x)) * special.expit(-2 * np.abs(x)))


def _gelu(
    share: Callable[[Array], Array], slope: Callable[[Array], Array], magnified: float = 1.0
) -> Declared:
    """The argument times a share that rises from 0 to 1; slope: times that share's derivative."""

    def value(x: Array) -> Array:
        return np.where(x == -np.inf, 0.0, x * share(x))

    return _elementwise(
        value,
        lambda x: share(x) + np.where(np.isinf(x), 0.0, slope(x)),
        magnified=magnified,
    )


def _twice(x: Array) -> Array:
    """Twice the argument of the tanh of GELU's other formula."""
    return np.asarray(np.sqrt(8 / np.pi) * (x + CUBE * x**3))


def _tanh_share_slope(x: Array) -> Array:
    inner = np.sqrt(8 / np.pi) * (1 + 3 * CUBE * np.square(x))
    return np.asarray(x * inner * special.expit(_twice(x)) * special.expit(-_twice(x)))


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


def _entropy_calls(dtype: str) -> list[Call]:
    rows = special.softmax(_normal(ORDINARY_ROWS, 4), axis=1)
    names = tuple(map(_spelt, PROBABILITIES))
    p = np.concatenate([rows, PROBABILITIES]).astype(dtype)
    return [Call((p,), None, ORDINARY_ROWS, names)]


def _entropy(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
    """In bits, of each row."""
    (p,) = arrays
    w = np.ones(len(p)) if weights is None else weights
    return special.entr(p).sum(axis=1) / np.log(2), -w[:, None] * (np.log(p) + 1) / np.log(2)


def _of_vector(truth: Callable[[Array], tuple[float, Array]]) -> Declared:
    """From the numbers of a vector to one, with its gradient."""

    def calls(dtype: str) -> list[Call]:
        return [Call((_normal(ORDINARY_ROWS).astype(dtype),))] + [
            Call((np.array(x, dtype=dtype),), points=(_spelt(x),)) for x in SPECIAL_VECTORS
        ]

    def weighed(arrays: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
        value, gradient = truth(arrays[0])
        return np.array(value), gradient if weights is None else weights * gradient

    return Declared(calls, weighed)


def _norm(x: Array) -> tuple[float, Array]:
    """The 2-norm; its gradient is 0 at 0, and that of an infinite element 1."""
    largest = np.max(np.abs(x))
    if largest == 0:
        return 0.0, np.zeros_like(x)
    unit = np.where(np.isinf(x), np.sign(x), x / largest)
    root = np.sqrt(np.sum(unit**2))
    return float(largest * root), unit / root


# ---- layers --------------------------------------------------------------------------------------


def _layer(
    value: Callable[..., Array],
    arrays: Sequence[Array],
    points: dict[str, Sequence[Array]] | None = None,
    *,
    held: int = 0,
    ties: bool = False,
    magnified: float = 1.0,
) -> Declared:
    """A layer by its value, a function of NumPy arrays that takes complex ones too.

    Its derivatives are by complex steps: exact. arrays: ordinary arguments; points: special ones
    by name; held: so many last arguments are constants, and have the derivative 0.
    """

    def truth(given: Sequence[Array], weights: Array | None) -> tuple[Array, ...]:
        true = np.asarray(value(*given))
        w = np.ones_like(true) if weights is None else weights
        floats = [place for place, a in enumerate(given) if a.dtype.kind == "f"]
        free = floats[: len(floats) - held]
        back = [_complex_step(value, given, place, w) for place in free]
        return true, *back, *(np.zeros_like(given[place]) for place in floats[len(free) :])

    return by_arrays(truth, arrays, points or {}, ties=ties, magnified=magnified)


def by_arrays(
    truth: Truth,
    ordinary: Sequence[Array],
    special: Mapping[str, Sequence[Array]],
    *,
    ties: bool = False,
    magnified: float = 1.0,
) -> Declared:
    """An operator by its truth and its arguments at ordinary points, and at others of a name.

    Its weights are the same fixed ones whenever it is asked.
    """

    def cast(given: Sequence[Array], dtype: str) -> tuple[Array, ...]:
        return tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in given)

    def calls(dtype: str) -> list[Call]:
        found, rng = [], np.random.default_rng(1)
        for names, given in (((), ordinary), *(((n,), each) for n, each in special.items())):
            weights = rng.standard_normal(truth(given, None)[0].shape).astype(dtype)
            found.append(Call(cast(given, dtype), weights, points=names))
        return found

    return Declared(calls, truth, ties=ties, magnified=magnified)


def _complex_step(
    value: Callable[..., Array], arrays: Sequence[Array], place: int, weights: Array
) -> Array:
    """The derivative of sum(weights * value) by one argument."""
    moved, back = [*arrays], np.zeros(arrays[place].size)
    for element in range(back.size):
        step = np.zeros(back.size, complex)
        step[element] = STEP * 1j
        moved[place] = arrays[place] + step.reshape(arrays[place].shape)
        back[element] = np.sum(weights * np.imag(value(*moved))) / STEP
    return back.reshape(arrays[place].shape)


def _perceptron(x: Array, w: Array, t: Array) -> Array:
    """Half the squared error of sigmoid(x @ w) from t."""
    return np.asarray(np.sum((1 / (1 + np.exp(-(x @ w))) - t) ** 2) / 2)


def _perceptrons(outputs: int) -> Declared:
    return _layer(_perceptron, _drawn((1, 10), (10, outputs), (1, outputs)))


def _windows(x: Array, outside: float) -> Array:
    """What each window sees: (n, r, c, channels, size, size)."""
    around = (0, 0), (PAD, PAD), (PAD, PAD), (0, 0)
    seen = sliding_window_view(np.pad(x, around, constant_values=outside), (SIZE, SIZE), (1, 2))
    return seen[:, ::STRIDE, ::STRIDE]


def _max_pool(x: Array) -> Array:
    """The first largest of each window; what is padded never wins."""
    seen = _windows(x, -np.inf)
    flat = seen.reshape(*seen.shape[:4], -1)
    return np.take_along_axis(flat, np.argmax(flat.real, axis=4)[..., None], axis=4)[..., 0]


def _normed(x: Array, gamma: Array, beta: Array, axes: tuple[int, ...]) -> Array:
    apart = x - x.mean(axes, keepdims=True)
    variance = (apart**2).mean(axes, keepdims=True)
    return np.asarray(apart / np.sqrt(variance + EPSILON) * gamma + beta)


def _running(x: Array, mean: Array, variance: Array) -> Array:
    """After a step: a tenth of the batch's, whose variance is over n - 1."""
    batch = np.stack([x.mean((0, 1, 2)), x.var((0, 1, 2), ddof=1)])
    return np.asarray(0.9 * np.stack([mean, variance]) + 0.1 * batch)


def _layers() -> dict[str, Declared]:
    channels = (IMAGES[3],)
    images, gamma, beta, mean, spread, kernels, rows, *by_row = _drawn(
        *(IMAGES, channels, channels, channels, channels),
        *((SIZE, SIZE, *channels, 3), (8, COLUMNS), (COLUMNS,), (COLUMNS,)),
    )
    variance, one_nan = spread**2, images.copy()
    one_nan[0, 2, 2, 0] = np.nan
    kept = (np.random.default_rng(0).random(IMAGES) >= DROPPED).astype(np.int64)
    channel = {"a constant": np.full(IMAGES, 2.0), "1000 off": images + 1000}
    row = {"a constant": np.full((1, COLUMNS), 2.0), "1000 off": rows[:1] + 1000}
    return {
        "perceptron": _perceptrons(1),
        "perceptron_two": _perceptrons(2),
        "chain": _layer(lambda x, w1, b1, w2, b2: w2 * (w1 * x + b1) + b2, _drawn(*((8,),) * 5)),
        "conv": _layer(
            lambda x, k: np.einsum("nrcihw,hwio->nrco", _windows(x, 0), k),
            [images, kernels],
        ),
        "max_pool": _layer(
            _max_pool,
            [images],
            {"all the same": [np.ones(IMAGES)], "below 0": [-1 - images**2], "a NaN": [one_nan]},
            ties=True,
        ),
        "avg_pool": _layer(lambda x: _windows(x, 0).mean((4, 5)), [images]),
        "avg_pool_inside": _layer(
            lambda x: _windows(x, 0).sum((4, 5)) / _windows(np.ones(IMAGES), 0).sum((4, 5)),
            [images],
        ),
        "batch_norm": _layer(
            lambda x, gamma, beta: _normed(x, gamma, beta, (0, 1, 2)),
            [images, gamma, beta],
            {name: [x, gamma, beta] for name, x in channel.items()},
            magnified=OF_A_MEAN,
        ),
        "batch_norm_evaluation": _layer(
            lambda x, gamma, beta, mean, variance: (
                (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta
            ),
            [images, gamma, beta, mean, variance],
            held=2,
        ),
        "batch_norm_running": _layer(_running, [images, mean, variance], held=3),
        "dropout": _layer(lambda x, kept: x * kept / (1 - DROPPED), [images, kept]),
        "layer_norm": _layer(
            lambda x, gamma, beta: _normed(x, gamma, beta, (1,)),
            [rows, *by_row],
            {name: [x, *by_row] for name, x in row.items()},
            magnified=OF_A_MEAN,
        ),
    }


CATALOGUE: dict[str, Declared] = {
    "step": _elementwise(lambda x: 1.0 * (x > 0), np.zeros_like),
    # The derivative of relu at 0 is 0, as everywhere in this project.
    "relu": _elementwise(lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0), BOTH),
    "sigmoid": _elementwise(
        special.expit, lambda x: np.asarray(special.expit(x) * special.expit(-x)), BOTH
    ),
    "tanh": _elementwise(np.tanh, _tanh_slope, BOTH),
    "gelu": _gelu(
        special.ndtr, lambda x: np.asarray(x * np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi))
    ),
    # In (1 - tanh²) x inner', where x inner' is 10 before tanh is -1 to the last digit.
    "gelu_tanh": _gelu(lambda x: np.asarray(special.expit(_twice(x))), _tanh_share_slope, 10.0),
    "softmax": _rowwise("softmax"),
    "log_softmax": _rowwise("log_softmax"),
    "cross_entropy": Declared(_cross_entropy_calls, _cross_entropy, BOTH),
    # The unstable way to the same: it loses where a probability is too small for the dtype.
    "softmax_log_nll": Declared(_cross_entropy_calls, _cross_entropy),
    "squared_error": Declared(_squared_error_calls, _squared_error, BOTH),
    "entropy": Declared(_entropy_calls, _entropy),
    "sum": _of_vector(lambda x: (float(x.sum()), np.ones_like(x))),
    "mean": _of_vector(lambda x: (float(x.mean()), np.full_like(x, 1 / x.size))),
    "norm": _of_vector(_norm),
    **_layers(),
}
