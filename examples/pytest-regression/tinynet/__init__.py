"""A small library: fully connected networks with ReLU, trained by gradient descent, on two engines.

An engine is a module with the same few functions: `numpy_engine` has its gradients written out,
`torch_engine` leaves them to autograd. What holds the two together are the tests beside.
"""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np


class Network:
    """Layers of the given widths, inputs first, on the engine of that name ("numpy", "torch").

    Weights are inputs x outputs; a layer is a pair of weight and bias, in the engine's own arrays.
    """

    def __init__(self, widths: tuple[int, ...], engine: str = "numpy", dtype: str = "float32"):
        self.widths = widths
        self.dtype = dtype
        self.engine = importlib.import_module(f"tinynet.{engine}_engine")
        rng = np.random.default_rng(0)
        sizes = list(itertools.pairwise(widths))
        self.load([(0.01 * rng.standard_normal(size), np.zeros(size[1])) for size in sizes])

    def load(self, layers: list[tuple[Any, Any]]) -> None:
        """Take copies of these weights and biases, NumPy arrays."""
        self.layers = [tuple(self.array(part) for part in layer) for layer in layers]

    def dump(self) -> list[tuple[Any, Any]]:
        """Copies of the weights and biases, NumPy arrays."""
        return [tuple(self.engine.to_numpy(part) for part in layer) for layer in self.layers]

    def array(self, values: Any) -> Any:
        """A copy of a NumPy array, in the engine's own kind and the network's dtype."""
        return self.engine.array(values, self.dtype)

    def predict(self, x: Any) -> Any:
        """Logits of a batch, NumPy."""
        return self.engine.to_numpy(self.engine.forward(self.layers, x))

    def gradients(self, x: Any, y: Any) -> tuple[float, list[tuple[Any, Any]]]:
        """Mean cross-entropy in nats, and its gradient by each layer's weight and bias, NumPy."""
        loss, grads = self.engine.backward(self.layers, x, y)
        return loss, [tuple(self.engine.to_numpy(part) for part in pair) for pair in grads]

    def train_on(self, x: Any, y: Any, rate: float) -> float:
        """One step of gradient descent; the mean loss before it, in nats."""
        loss, grads = self.engine.backward(self.layers, x, y)
        self.engine.descend(self.layers, grads, rate)
        return loss
