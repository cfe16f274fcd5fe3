"""Four small systems in lines of NumPy, gradients by hand. May import NumPy only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


class NielsenNeuron:
    """One sigmoid, the quadratic loss."""

    def __init__(self, w: np.ndarray, b: np.ndarray) -> None:
        self.w, self.b = w, b

    def step(self, X: np.ndarray, y: np.ndarray) -> float:
        a = 1 / (1 + np.exp(-(X @ self.w + self.b)))
        d = (a - y) * a * (1 - a) / len(X)
        self.w -= 0.15 * (X.T @ d)
        self.b -= 0.15 * d.sum(axis=0)
        return float(np.square(a - y).sum()) / 2 / len(X)


class LinearRegression:
    """A line, half the sum of the squared errors."""

    def __init__(self, w: np.ndarray, b: np.ndarray) -> None:
        self.w, self.b = w, b

    def step(self, X: np.ndarray, y: np.ndarray) -> float:
        d = X @ self.w + self.b - y
        self.w -= 0.02 * (X.T @ d)
        self.b -= 0.02 * d.sum(axis=0)
        return float(np.square(d).sum()) / 2


class Himmelblau:
    """A function of two variables, Adam."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.m, self.v, self.t = np.zeros_like(x), np.zeros_like(x), 0

    def step(self, _X: np.ndarray, _y: None) -> float:
        u, v = self.x
        q, r = u * u + v - 11, u + v * v - 7
        g = 2 * np.stack([2 * u * q + r, q + 2 * v * r])
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        self.x -= 0.001 * m / (np.sqrt(v) + 1e-8)
        return float(q * q + r * r)


class LogisticRegression:
    """One dense layer and a sigmoid, binary cross-entropy."""

    def __init__(self, W: np.ndarray, b: np.ndarray) -> None:
        self.W, self.b = W, b

    def step(self, X: np.ndarray, y: np.ndarray) -> float:
        a = 1 / (1 + np.exp(-(X @ self.W + self.b)))
        d = (a - y) / len(X)
        self.W -= 0.1 * (X.T @ d)
        self.b -= 0.1 * d.sum(axis=0)
        return -float((y * np.log(a) + (1 - y) * np.log1p(-a)).mean())


SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (NielsenNeuron, ("w", "b")),
    "linear-regression": (LinearRegression, ("w", "b")),
    "himmelblau": (Himmelblau, ("x",)),
    "logistic-regression": (LogisticRegression, ("W", "b")),
}


def loop(
    system: str, _variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; every variant has these lines."""
    make, names = SYSTEMS[system]
    model = make(**{name: start[name].copy() for name in names})
    batches = [*zip(x, [None] * len(x) if y is None else y, strict=True)]

    def train(steps: int) -> list[int]:
        ns = []
        for X, Y in batches[:steps]:
            before = time.perf_counter_ns()
            model.step(X, Y)
            ns.append(time.perf_counter_ns() - before)
        return ns

    def parameters() -> dict[str, np.ndarray]:
        return {name: getattr(model, name).copy() for name in names}

    return train, parameters
