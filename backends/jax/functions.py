"""Anybody's function in JAX: its arguments as JAX's arrays, its value and derivatives as NumPy's.

May import jax, NumPy and, from the harness, `interface` only. Read it beside the others: same
names, same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from harness.interface import Array, Unavailable

# Whether what a file makes as it is imported keeps the dtype of that moment (see `wide`).
ANEW = True


def wide() -> contextlib.AbstractContextManager[Any]:
    """In here float64 is float64; outside JAX takes it for float32, unless it is told not to."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # before jax 0.8

    return enable_x64()


def put(array: Array) -> jax.Array:
    """A copy of the array."""
    return jnp.array(array)


def is_own(value: Any) -> bool:
    """Whether it is one of JAX's arrays."""
    return isinstance(value, jax.Array)


def fetch(value: jax.Array) -> tuple[Array, str]:
    """A fresh copy, and the dtype's name; bfloat16, which NumPy lacks, as float32."""
    held = value.astype(jnp.float32) if value.dtype == jnp.bfloat16 else value
    return np.array(held), str(value.dtype)


def derivatives(
    call: Callable[[list[Any]], list[Any]],
    arrays: Sequence[Array],
    weigh: Callable[[int, tuple[int, ...]], Array],
) -> list[Array]:
    """Of the sum of weights * values, by each array; zeros by one that no value depends on.

    call: from arrays to all that comes out, of which floats count; weigh: from place and shape.
    Unavailable where nothing that comes out has a gradient.
    """

    def floats(*given: jax.Array) -> dict[int, jax.Array]:
        values = dict(enumerate(call([*given])))
        return {
            place: value
            for place, value in values.items()
            if is_own(value) and jnp.issubdtype(value.dtype, jnp.floating)
        }

    values, back = jax.vjp(floats, *map(put, arrays))
    if not values:
        raise Unavailable("nothing that comes out has a gradient")
    weights = {p: jnp.asarray(weigh(p, v.shape), v.dtype) for p, v in values.items()}
    return [fetch(grad)[0] for grad in back(weights)]
