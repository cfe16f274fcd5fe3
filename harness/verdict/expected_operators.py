"""Where single operators differ from the truth and are known to: what each gives there, and why.

Every entry was measured (torch 2.13, JAX 0.10, TensorFlow 2.21, NumPy 2.4, on a CPU); each holds
for one operator, one result, these points, these frameworks. It is to be there, and to be just
that: where it is not, the operator disagrees. Data only.
"""

from __future__ import annotations

from typing import NamedTuple

EVERY = ("numpy", "torch", "jax", "tensorflow")
FLOAT32, FLOAT64 = ("float32",), ("float64",)

# Why.
TIE_SHARED = "max(x, 0) has a tie at 0, and the derivative is shared: half for x"
TIE_FIRST = "maximum(x, 0) has a tie at 0, and x has the whole derivative"
NAN_PASSES = "nothing is true at NaN; the derivative is stopped only where relu gives 0"
NAN_STOPS = "nothing is true at NaN; the derivative passes only where x > 0"
NAN_COMPARED = "NaN > 0 is false"
NAN_FLAT = "nothing is true at NaN; the derivative is 0 everywhere"
NAN_HANDED_ON = "nothing is true at NaN; it is handed on as it is, with the derivative 1"
NAN_LOSES = "a NaN is never the larger of two"
NAN_TIES = "a NaN compares with nothing: the derivative of its windows goes elsewhere"
NAN_ALONE = "nothing is true here; not every element of the row is NaN"
FLUSHED = "subnormal numbers are taken for 0 on this processor"
FLUSHED_SHARE = "1 / sum of exp is subnormal and taken for 0"
EXP_OVERFLOWS = "exp overflows, as nothing is subtracted first: infinity / infinity, 0 * infinity"
ALL_VANISH = "every exp is 0, as the maximum is not subtracted first: 0 / 0"
LOG_OF_ZERO = "a probability is too small for the dtype: the logarithm of 0, and 1 / 0 behind it"
SHIFTED_INF = "the maximum is subtracted first: infinity - infinity"
INF_TIMES_0 = "infinity times a share that is 0, or a density that is"
INF_BY_INF = "an element by the norm: infinity / infinity"
SUM_OVERFLOWS = "the sum overflows before it is divided"
SQUARE_OVERFLOWS = "the squares overflow before the root is taken"
ROOT_AT_ZERO = "the root has no derivative at 0: 0 / 0"
CONSTANTS = "its constants are rounded to float32 before they are cast"
FAST_VARIANCE = "mean of squares less square of mean (use_fast_variance): what is left is rounding"
VARIANCE_OVER_N = "the running variance is over n, not n - 1"


class Known(NamedTuple):
    """One expected difference: of "value" or "derivative", what is given by point, and why.

    gives: four digits of each element, one number where all are the same; of more than nine
    elements the first that is off. "": rounding decides.
    """

    what: str
    gives: dict[str, str]
    reason: str
    frameworks: tuple[str, ...] = EVERY
    dtypes: tuple[str, ...] = ("float32", "float64")


# Of a softmax without the shift that keeps exp from overflowing, and of all that is made of it.
UNSHIFTED = (
    Known("value", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
    Known("derivative", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
    Known(
        "derivative",
        {"[1000, 1000, 1000]": "nan", "[-1000, 0, 1000]": "nan", "[inf, 0, 0]": "nan"},
        EXP_OVERFLOWS,
    ),
    Known("value", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
    Known("derivative", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
)
# By the operator's name.
EXPECTED: dict[str, tuple[Known, ...]] = {
    "step": (
        Known("value", {"1e-45": "0"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
        Known("value", {"nan": "0"}, NAN_COMPARED, ("torch", "tensorflow")),
        Known("derivative", {"nan": "0"}, NAN_FLAT, ("numpy", "torch", "tensorflow")),
        Known("derivative", {"nan": "1"}, NAN_HANDED_ON, ("jax",)),
    ),
    "relu": (
        Known("derivative", {"1e-45": "0"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
        Known("derivative", {"nan": "1"}, NAN_PASSES, ("numpy", "torch")),
        Known("derivative", {"nan": "0"}, NAN_STOPS, ("jax", "tensorflow")),
    ),
    "relu/scratch": (
        Known("derivative", {"1e-45": "0.5", "-1e-45": "0.5"}, FLUSHED, ("jax",), FLOAT32),
        Known("derivative", {"-1e-45": "1"}, FLUSHED, ("tensorflow",), FLOAT32),
        Known("derivative", {"nan": "1"}, NAN_PASSES, ("torch",)),
        Known("derivative", {"nan": "0"}, NAN_STOPS, ("jax", "tensorflow")),
        Known("derivative", {"0": "1", "-0": "1"}, TIE_FIRST, ("tensorflow",)),
        Known("derivative", {"0": "0.5", "-0": "0.5"}, TIE_SHARED, ("numpy", "torch", "jax")),
    ),
    "sigmoid/scratch": (Known("derivative", {"-1000": "nan", "-inf": "nan"}, EXP_OVERFLOWS),),
    "tanh/scratch": (
        Known("value", {"-88.7": "nan"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known("value", {"-1000": "nan", "-inf": "nan"}, EXP_OVERFLOWS),
        Known("derivative", {"-88.7": "nan"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known("derivative", {"-1000": "nan", "-inf": "nan"}, EXP_OVERFLOWS),
    ),
    "gelu": (
        Known("value", {"ordinary points": "-0.1238"}, CONSTANTS, ("tensorflow",), FLOAT64),
        Known("derivative", {"ordinary points": "0.01924"}, CONSTANTS, ("tensorflow",), FLOAT64),
        Known("value", {"-inf": "nan"}, INF_TIMES_0),
        Known("value", {"inf": "nan"}, INF_TIMES_0, ("torch",), FLOAT32),
        Known("derivative", {"inf": "nan", "-inf": "nan"}, INF_TIMES_0),
    ),
    "gelu_tanh": (
        Known("value", {"ordinary points": "-0.05225"}, CONSTANTS, ("tensorflow",), FLOAT64),
        Known("derivative", {"ordinary points": "-0.1267"}, CONSTANTS, ("tensorflow",), FLOAT64),
        Known("value", {"-inf": "nan"}, INF_TIMES_0),
        Known("derivative", {"inf": "nan", "-inf": "nan"}, INF_TIMES_0),
    ),
    "softmax": (
        Known(
            "value",
            {"[inf, inf, 0]": "[nan, nan, 0]", "[nan, 0, 1]": "[nan, 0, 0]"},
            NAN_ALONE,
            ("tensorflow",),
            FLOAT32,
        ),
        Known("value", {"[inf, 0, 0]": "nan"}, SHIFTED_INF, ("numpy", "torch", "jax")),
        Known("value", {"[inf, 0, 0]": "nan"}, SHIFTED_INF, ("tensorflow",), FLOAT64),
        Known("value", {"[inf, 0, 0]": "[nan, 0, 0]"}, SHIFTED_INF, ("tensorflow",), FLOAT32),
        Known("derivative", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
    ),
    "softmax/scratch": (
        *UNSHIFTED,
        Known("value", {"[88.7, 88.7, 88.7]": "0"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known(
            "value",
            {
                "[1000, 1000, 1000]": "nan",
                "[-1000, 0, 1000]": "[0, 0, nan]",
                "[inf, 0, 0]": "[nan, 0, 0]",
            },
            EXP_OVERFLOWS,
        ),
        Known("derivative", {"[88.7, 88.7, 88.7]": "0"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known("value", {"[88.7, -88.7, 0]": "0"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("value", {"[inf, inf, 0]": "[nan, nan, 0]"}, NAN_ALONE),
    ),
    "log_softmax": (
        Known("value", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
        Known("derivative", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
    ),
    "log_softmax/scratch": (
        *UNSHIFTED,
        Known("value", {"[88.7, 88.7, 88.7]": "-inf"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known(
            "value",
            {
                "[1000, 1000, 1000]": "nan",
                "[-1000, 0, 1000]": "[-inf, -inf, nan]",
                "[inf, 0, 0]": "[nan, -inf, -inf]",
            },
            EXP_OVERFLOWS,
        ),
        Known("derivative", {"[88.7, 88.7, 88.7]": "nan"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known("value", {"[88.7, -88.7, 0]": "-inf"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("derivative", {"[88.7, -88.7, 0]": "nan"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known(
            "value",
            {"[88.7, -88.7, 0]": "[0, -inf, -88.7]"},
            LOG_OF_ZERO,
            ("numpy", "torch"),
            FLOAT32,
        ),
        Known(
            "value", {"[88.7, -88.7, 0]": "[0, -inf, -inf]"}, LOG_OF_ZERO, ("tensorflow",), FLOAT32
        ),
        Known(
            "derivative",
            {"[88.7, -88.7, 0]": "nan"},
            LOG_OF_ZERO,
            ("numpy", "torch", "tensorflow"),
            FLOAT32,
        ),
        Known("derivative", {"[-inf, 0, 1]": "nan"}, LOG_OF_ZERO),
        Known("value", {"[inf, inf, 0]": "[nan, nan, -inf]"}, NAN_ALONE),
    ),
    "cross_entropy": (
        Known("derivative", {"[inf, inf, 0]": "[nan, nan, 0]"}, NAN_ALONE, ("jax",)),
        Known("value", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
        Known("derivative", {"[inf, 0, 0]": "nan"}, SHIFTED_INF, ("numpy", "torch", "tensorflow")),
        Known("derivative", {"[inf, 0, 0]": "[nan, 0, 0]"}, SHIFTED_INF, ("jax",)),
    ),
    "cross_entropy/scratch": (
        *UNSHIFTED,
        Known("value", {"[88.7, 88.7, 88.7]": "inf"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known(
            "value",
            {"[1000, 1000, 1000]": "nan", "[-1000, 0, 1000]": "inf", "[inf, 0, 0]": "nan"},
            EXP_OVERFLOWS,
        ),
        Known("derivative", {"[88.7, 88.7, 88.7]": "nan"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known("value", {"[88.7, -88.7, 0]": "inf"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("derivative", {"[88.7, -88.7, 0]": "nan"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("derivative", {"[-inf, 0, 1]": "nan"}, LOG_OF_ZERO),
    ),
    "softmax_log_nll": (
        Known("value", {"[-1000, 0, 1000]": "inf"}, LOG_OF_ZERO),
        Known("derivative", {"[-1000, 0, 1000]": "nan", "[-inf, 0, 1]": "nan"}, LOG_OF_ZERO),
        Known("derivative", {"[88.7, -88.7, 0]": "nan"}, LOG_OF_ZERO, ("torch", "jax"), FLOAT32),
        Known("value", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
        Known("derivative", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
    ),
    "mean": (Known("value", {"[2e+38, 2e+38, 2e+38]": "inf"}, SUM_OVERFLOWS, dtypes=FLOAT32),),
    "norm": (
        Known("derivative", {"[inf, 0, 0]": "[nan, 0, 0]"}, INF_BY_INF),
        Known("derivative", {"[0, 0, 0]": "nan"}, ROOT_AT_ZERO, ("jax", "tensorflow")),
        Known("value", {"[3e+30, 4e+30, 0]": "inf"}, SQUARE_OVERFLOWS, dtypes=FLOAT32),
        Known(
            "derivative",
            {"[3e+30, 4e+30, 0]": "0", "[2e+38, 2e+38, 2e+38]": "0"},
            SQUARE_OVERFLOWS,
            dtypes=FLOAT32,
        ),
    ),
    "max_pool": (
        Known("value", {"a NaN": "0.2147"}, NAN_LOSES, ("tensorflow",)),
        Known("derivative", {"a NaN": "0"}, NAN_TIES, ("jax", "tensorflow")),
    ),
    "batch_norm": (
        Known("value", {"1000 off": ""}, FAST_VARIANCE, ("jax",), FLOAT32),
        Known("derivative", {"1000 off": ""}, FAST_VARIANCE, ("jax",), FLOAT32),
    ),
    "batch_norm_running": (
        Known("value", {"ordinary points": "0.4445"}, VARIANCE_OVER_N, ("jax",)),
    ),
    "layer_norm": (
        Known("value", {"1000 off": ""}, FAST_VARIANCE, ("jax",), FLOAT32),
        Known("derivative", {"1000 off": ""}, FAST_VARIANCE, ("jax",), FLOAT32),
    ),
}
