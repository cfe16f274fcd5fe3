"""Whether a precision is in force: products that nothing narrower can compute exactly."""

from __future__ import annotations

import numpy as np

from harness.interface import Array

# Bits of significand, the leading one included, that operands of a product keep.
SIGNIFICAND_BITS = {"float64": 53, "strict": 24, "tf32": 11, "bfloat16": 8}


def precision_operands(
    dtype: str, precision: str = "strict"
) -> list[tuple[str, Array, Array, Array]]:
    """Products (name, a, b, a @ b) that are exact in `dtype` and in nothing narrower.

    Under a reduced precision (of float32): exact where operands are rounded to that and to nothing
    narrower, so that bfloat16 shows in a tf32 process. That anything is rounded at all is shown by
    the strict products (see `not_in_force`).

    One operand holds odd integers that need every bit of the significand, the other selects
    columns or rows of it: each element of the product is one of those integers plus zeros, so
    whatever rounds an operand (TF32, bfloat16, float32 in place of float64) shows.
    """
    bits = SIGNIFICAND_BITS[precision if dtype == "float32" else dtype]
    rng = np.random.default_rng(0)
    exact = (rng.integers(2 ** (bits - 2), 2 ** (bits - 1), (256, 784)) * 2 + 1).astype(dtype)
    columns = rng.integers(0, 784, 256)
    select = np.zeros((784, 256), dtype=dtype)
    select[columns, np.arange(256)] = 1
    left = np.ascontiguousarray(select.T)
    tall = np.ascontiguousarray(exact.T)
    return [
        ("left operand", exact, select, exact[:, columns]),
        ("right operand", left, tall, tall[columns]),
    ]


def not_in_force(precision: str, products: dict[str, tuple[Array, Array]]) -> str | None:
    """Why a reduced precision is not in force in a process; None where it is.

    products: what came out and what is exact, by name, of the strict `precision_operands`. Every
    element of each must have been rounded; by how much is for the limits.
    """
    for name, (got, want) in products.items():
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"{precision}: {name} came back as {got.dtype} {got.shape}"
        rounded = float(np.mean(got != want))
        if rounded < 1:
            return (
                f"{precision} is set and not in force on this hardware: {rounded:.0%} of a "
                f"float32 product's elements were rounded ({name})"
            )
    return None
