"""Six systems in plain TensorFlow: variables, GradientTape. May import tensorflow, NumPy."""

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


def nielsen_conv_2(*given: Any) -> tf.Tensor:
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 100 -> 10, sigmoid; softmax cross-entropy."""
    K1, c1, K2, c2, W1, b1, W2, b2, X, y = given
    H = tf.sigmoid(tf.nn.max_pool2d(tf.nn.conv2d(X, K1, 1, "VALID"), 2, 2, "VALID") + c1)
    H = tf.sigmoid(tf.nn.max_pool2d(tf.nn.conv2d(H, K2, 1, "VALID"), 2, 2, "VALID") + c2)
    H = tf.sigmoid(tf.reshape(H, (-1, 640)) @ W1 + b1)
    return cross_entropy(H @ W2 + b2, y)


def cifar_net(*given: Any) -> tf.Tensor:
    """32 x 32 x 3 -> 14 x 14 x 6 -> 5 x 5 x 16 -> 120 -> 84 -> 10, ReLU; softmax cross-entropy."""
    K1, c1, K2, c2, W1, b1, W2, b2, W3, b3, X, y = given
    H = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(X, K1, 1, "VALID") + c1), 2, 2, "VALID")
    H = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(H, K2, 1, "VALID") + c2), 2, 2, "VALID")
    H = tf.nn.relu(tf.reshape(H, (-1, 400)) @ W1 + b1)
    H = tf.nn.relu(H @ W2 + b2)
    return cross_entropy(H @ W3 + b3, y)


def cross_entropy(logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Mean of a batch, in nats."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    return tf.reduce_mean(losses)


class Sgd:
    """What is learnt goes down its gradient."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, variable: tf.Variable, grad: tf.Tensor) -> None:
        variable.assign_sub(self.lr * grad)


class Momentum:
    """Of several variables, a velocity each."""

    def __init__(self, lr: float, momentum: float, variables: list[tf.Variable]) -> None:
        self.lr, self.momentum = lr, momentum
        self.v = {v.ref(): tf.Variable(tf.zeros_like(v)) for v in variables}

    def step(self, variable: tf.Variable, grad: tf.Tensor) -> None:
        velocity = self.v[variable.ref()]
        velocity.assign(self.momentum * velocity + grad)
        variable.assign_sub(self.lr * velocity)


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


CONV_2 = ("K1", "c1", "K2", "c2", "W1", "b1", "W2", "b2")
CIFAR = (*CONV_2, "W3", "b3")
SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (nielsen_neuron, ("w", "b"), lambda _: Sgd(0.15)),
    "linear-regression": (linear_regression, ("w", "b"), lambda _: Sgd(0.02)),
    "himmelblau": (himmelblau, ("x",), lambda _: Adam(0.001)),
    "logistic-regression": (logistic_regression, ("W", "b"), lambda _: Sgd(0.1)),
    "nielsen-conv-2": (nielsen_conv_2, CONV_2, lambda _: Sgd(0.1)),
    "cifar-net": (cifar_net, CIFAR, lambda variables: Momentum(0.001, 0.9, variables)),
}


def loop(
    system: str, variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; `graph` and `xla`: the step by tf.function."""
    objective, names, optimiser = SYSTEMS[system]
    own = {name: tf.Variable(start[name]) for name in names}
    variables = [*own.values()]
    optimizer = optimiser(variables)
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
