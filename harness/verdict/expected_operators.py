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
FLUSHED = "subnormal numbers are taken for 0 on this processor"
FLUSHED_SHARE = "1 / sum of exp is subnormal and taken for 0"
EXP_OVERFLOWS = (
    "exp overflows, since nothing is subtracted first: infinity / infinity, or 0 * infinity"
)
ALL_VANISH = "every exp is 0, since the maximum is not subtracted first: 0 / 0"
LOG_OF_ZERO = "a probability is too small for the dtype: the logarithm of 0, and 1 / 0 behind it"
SHIFTED_INF = "the maximum is subtracted first: infinity - infinity"
NAN_ALONE = "nothing is true here; not every element of the row is NaN"


class Known(NamedTuple):
    """One expected difference: of "value" or "derivative", what is given by point, and why.

    gives: four digits of each element; one number where all are the same.
    """

    what: str
    gives: dict[str, str]
    reason: str
    frameworks: tuple[str, ...] = EVERY
    dtypes: tuple[str, ...] = ("float32", "float64")


# By the operator's name.
EXPECTED: dict[str, tuple[Known, ...]] = {
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
        Known("value", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
        Known("derivative", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
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
        Known(
            "derivative",
            {"[1000, 1000, 1000]": "nan", "[-1000, 0, 1000]": "nan", "[inf, 0, 0]": "nan"},
            EXP_OVERFLOWS,
        ),
        Known("value", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
        Known(
            "derivative", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32
        ),
        Known("value", {"[88.7, -88.7, 0]": "0"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("value", {"[inf, inf, 0]": "[nan, nan, 0]"}, NAN_ALONE),
    ),
    "log_softmax": (
        Known("value", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
        Known("derivative", {"[inf, 0, 0]": "nan"}, SHIFTED_INF),
    ),
    "log_softmax/scratch": (
        Known("value", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
        Known("derivative", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
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
        Known(
            "derivative",
            {"[1000, 1000, 1000]": "nan", "[-1000, 0, 1000]": "nan", "[inf, 0, 0]": "nan"},
            EXP_OVERFLOWS,
        ),
        Known("value", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
        Known(
            "derivative", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32
        ),
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
        Known("value", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
        Known("derivative", {"[-1000, -1000, -1000]": "nan"}, ALL_VANISH),
        Known("value", {"[88.7, 88.7, 88.7]": "inf"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known(
            "value",
            {"[1000, 1000, 1000]": "nan", "[-1000, 0, 1000]": "inf", "[inf, 0, 0]": "nan"},
            EXP_OVERFLOWS,
        ),
        Known("derivative", {"[88.7, 88.7, 88.7]": "nan"}, EXP_OVERFLOWS, dtypes=FLOAT32),
        Known(
            "derivative",
            {"[1000, 1000, 1000]": "nan", "[-1000, 0, 1000]": "nan", "[inf, 0, 0]": "nan"},
            EXP_OVERFLOWS,
        ),
        Known("value", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32),
        Known(
            "derivative", {"[-88.7, -88.7, -88.7]": "nan"}, FLUSHED, ("jax", "tensorflow"), FLOAT32
        ),
        Known("value", {"[88.7, -88.7, 0]": "inf"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("derivative", {"[88.7, -88.7, 0]": "nan"}, FLUSHED_SHARE, ("jax",), FLOAT32),
        Known("derivative", {"[-inf, 0, 1]": "nan"}, LOG_OF_ZERO),
    ),
}
