"""Single operators by name, in TensorFlow: value, and derivatives by GradientTape.

May import tensorflow only.
"""

from collections.abc import Callable

import tensorflow as tf


def matmul(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b


OPERATORS: dict[str, Callable[..., tf.Tensor]] = {"matmul": matmul}


def value_and_derivatives(name: str, *arrays: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Value of the operator, then the derivative of its elements' sum by each argument.

    Raises ValueError for an unknown name.
    """
    if name not in OPERATORS:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        value = OPERATORS[name](*arrays)
        total = tf.reduce_sum(value)
    return value, *tape.gradient(total, arrays)
