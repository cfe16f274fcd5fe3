"""The variant `buffered` of the NumPy backend: everything in place, in buffers made once a size.

The default, for it is the faster; the lesson is mlp_scratch.py. May import NumPy, the trainer
beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from backends.numpy import mlp_scratch
from backends.numpy.mlp_scratch import loss
from backends.numpy.trainer import Batch, Trainer
from harness.interface import Array, Params


def relu(X: Array) -> Array:
    """max(X, 0), elementwise and in place; derivative 0 at 0, NaN passes through."""
    return np.maximum(X, 0, out=X)


class MLPScratch(mlp_scratch.MLPScratch):
    """The same model; what it computes is valid until the next call."""

    def __init__(self, *sizes: Any, **named: Any) -> None:
        super().__init__(*sizes, **named)
        self._buffers: dict[tuple[str, int], Array] = {}

    def forward(self, X: Array) -> Array:
        """X: (n, num_inputs) -> logits (n, num_outputs), valid until the next call."""
        H = np.matmul(X, self.W1, out=self.buffer("H", len(X)))
        H += self.b1
        H = relu(H)
        O = np.matmul(H, self.W2, out=self.buffer("O", len(X)))
        O += self.b2
        return O

    def buffer(self, name: str, rows: int) -> Array:
        """The buffer `name` with that many rows, made at its first use."""
        key = name, rows
        if key not in self._buffers:
            columns = self.num_outputs if name in ("O", "gW2") else self.num_hiddens
            self._buffers[key] = np.empty((rows, columns), self.W1.dtype)
        return self._buffers[key]


def loss_and_grads(
    model: MLPScratch, X: Array, y: Array, scale: float = 1.0
) -> tuple[float, Params]:
    """The mean loss, and `scale` times its gradient by parameter; valid until the next call.

    `scale` is where the learning rate goes in: into the error (n, num_outputs), which is small.
    """
    n = len(X)
    error = model.forward(X)
    value = loss(error, y)
    H, dH = model.buffer("H", n), model.buffer("dH", n)
    # The logits become the error, softmax - one-hot, of the mean.
    error -= error.max(axis=1, keepdims=True)
    np.exp(error, out=error)
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(n), y] -= 1
    error *= scale / n
    gW2 = np.matmul(H.T, error, out=model.buffer("gW2", model.num_hiddens))
    gb2 = error.sum(axis=0)
    np.matmul(error, model.W2.T, out=dH)
    # ReLU's derivative is 0 where H is 0, and 1 where it is positive or NaN. Multiplying the bits
    # by 0 or 1 selects, whatever dH holds; a masked assignment takes 15 times as long.
    bits = dH.view(f"i{dH.itemsize}")
    bits *= H != 0
    gW1 = np.matmul(X.T, dH, out=model.buffer("gW1", model.num_inputs))
    gb1 = dH.sum(axis=0)
    return value, {"W1": gW1, "b1": gb1, "W2": gW2, "b2": gb2}


class BufferedTrainer(Trainer):
    """The trainer whose step has the learning rate in the error, not in the large gradients."""

    mlp: ClassVar[ModuleType] = sys.modules[__name__]

    def step(self, batch: Batch) -> float:
        """One SGD update, done on return; the mean loss before it."""
        value, updates = loss_and_grads(self.model, *batch, scale=self.workload.lr)
        for name, update in updates.items():
            parameter = getattr(self.model, name)
            parameter -= update
        return value
