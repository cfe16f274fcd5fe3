"""Four small systems in plain TensorFlow: variables, GradientTape. May import tensorflow, NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def nielsen_neuron(w: tf.Variable, b: tf.Variable, X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """One sigmoid, the quadratic loss."""
    return tf.reduce_mean(tf.square(tf.sigmoid(X @ w + b) - y)) / 2


def linear_regression(w: tf.Variable, b: tf.Variable, X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """A line, half the sum of the squared errors."""
    return tf.reduce_sum(tf.square(X @ w + b - y)) / 2


def himmelblau(x: tf.Variable, _X: tf.Tensor, _y: None) -> tf.Tensor:
    """A function of two variables, Adam."""
    u, v = tf.unstack(x)
    return (u * u + v - 11) ** 2 + (u + v * v - 7) ** 2


def logistic_regression(W: tf.Variable, b: tf.Variable, X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """One dense layer and a sigmoid, binary cross-entropy."""
    a = tf.sigmoid(X @ W + b)
    return -tf.reduce_mean(y * tf.math.log(a) + (1 - y) * tf.math.log1p(-a))


class Sgd:
    """What is learnt goes down its gradient."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, variable: tf.Variable, grad: tf.Tensor) -> None:
        variable.assign_sub(self.lr * grad)


class Adam:
    """Of one variable of two numbers."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.m, self.v = tf.Variable(tf.zeros(2)), tf.Variable(tf.zeros(2))
        self.t = tf.Variable(0.0)

    def step(self, variable: tf.Variable, grad: tf.Tensor) -> None:
        self.t.assign_add(1.0)
        self.m.assign(0.9 * self.m + 0.1 * grad)
        self.v.assign(0.999 * self.v + 0.001 * grad**2)
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        variable.assign_sub(self.lr * m / (tf.sqrt(v) + 1e-8))


SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (nielsen_neuron, ("w", "b"), lambda: Sgd(0.15)),
    "linear-regression": (linear_regression, ("w", "b"), lambda: Sgd(0.02)),
    "himmelblau": (himmelblau, ("x",), lambda: Adam(0.001)),
    "logistic-regression": (logistic_regression, ("W", "b"), lambda: Sgd(0.1)),
}


def loop(
    system: str, variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; `graph` and `xla`: the step by tf.function."""
    objective, names, optimiser = SYSTEMS[system]
    own = {name: tf.Variable(start[name]) for name in names}
    variables, optimizer = [*own.values()], optimiser()
    targets = [None] * len(x) if y is None else [tf.constant(each) for each in y]
    batches = [*zip([tf.constant(each) for each in x], targets, strict=True)]

    def step(X: tf.Tensor, y: tf.Tensor | None) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = objective(*variables, X, y)
        for variable, grad in zip(variables, tape.gradient(value, variables), strict=True):
            optimizer.step(variable, grad)
        return value

    if variant != "eager":
        step = tf.function(step, jit_compile=variant == "xla")

    def train(steps: int) -> list[int]:
        ns = []
        for X, Y in batches[:steps]:
            before = time.perf_counter_ns()
            float(step(X, Y))
            ns.append(time.perf_counter_ns() - before)
        return ns

    def parameters() -> dict[str, np.ndarray]:
        return {name: variable.numpy().copy() for name, variable in own.items()}

    return train, parameters
