"""Anybody's function in TensorFlow: its arguments as tensors, its value and derivatives as arrays.

May import tensorflow, NumPy and, from the harness, `interface` only. Read it beside the others:
same names, same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from harness.interface import Array, Unavailable

# Whether what a file makes as it is imported keeps the dtype of that moment (see `wide`).
ANEW = False


def wide() -> contextlib.AbstractContextManager[Any]:
    """In here float64 is float64, as it always is."""
    return contextlib.nullcontext()


def put(array: Array) -> tf.Tensor:
    """A tensor; the array is nobody else's, so that it may lie in its memory."""
    return tf.constant(array)


def is_own(value: Any) -> bool:
    """Whether it is a tensor or a variable."""
    return isinstance(value, tf.Tensor | tf.Variable)


def fetch(value: Any) -> tuple[Array, str]:
    """A fresh copy, and the dtype's name; bfloat16, which NumPy lacks, as float32."""
    held = tf.cast(value, tf.float32) if value.dtype == tf.bfloat16 else value
    return np.array(held.numpy()), value.dtype.name


def derivatives(
    call: Callable[[list[Any]], list[Any]],
    arrays: Sequence[Array],
    weigh: Callable[[int, tuple[int, ...]], Array],
) -> list[Array]:
    """Of the sum of weights * values, by each array; zeros by one that no value depends on.

    call: from tensors to all that comes out, of which floats count; weigh: from place and shape.
    Unavailable where nothing that comes out has a gradient.
    """
    leaves = [put(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        values = call([*leaves])
    pairs = [
        (value, tf.constant(weigh(place, tuple(value.shape)), value.dtype))
        for place, value in enumerate(values)
        if is_own(value) and value.dtype.is_floating
    ]
    given, weights = ([*each] for each in zip(*pairs, strict=True)) if pairs else ([], [])
    grads = tape.gradient(given, leaves, weights) if pairs else [None]
    if all(grad is None for grad in grads):
        raise Unavailable("nothing that comes out has a gradient")
    return [
        fetch(tf.zeros_like(leaf) if grad is None else tf.convert_to_tensor(grad))[0]
        for leaf, grad in zip(leaves, grads, strict=True)
    ]
