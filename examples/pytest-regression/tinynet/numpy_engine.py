"""The engine on NumPy: gradients written out."""

from __future__ import annotations

import numpy as np


def array(values, dtype):
    """A copy of an array, as this engine holds it."""
    return np.array(values, dtype=dtype)


def to_numpy(values):
    """A copy of an array of this engine, NumPy."""
    return np.array(values)


def forward(layers, x):
    """Logits of a batch."""
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight + bias, 0)
    weight, bias = layers[-1]
    return x @ weight + bias


def backward(layers, x, y):
    """Mean cross-entropy, and the gradient of each layer's weight and bias."""
    inputs = [x]
    for weight, bias in layers[:-1]:
        inputs.append(np.maximum(inputs[-1] @ weight + bias, 0))
    weight, bias = layers[-1]
    logits = inputs[-1] @ weight + bias
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(y))
    error = np.exp(log_p)
    error[rows, y] -= 1
    error /= len(y)
    grads = []
    for (weight, _), given in zip(layers[::-1], inputs[::-1], strict=True):
        grads.append((given.T @ error, error.sum(axis=0)))
        error = (error @ weight.T) * (given > 0)
    return float(-log_p[rows, y].mean()), grads[::-1]


def descend(layers, grads, rate):
    """One step of gradient descent, in place."""
    for (weight, bias), (by_weight, by_bias) in zip(layers, grads, strict=True):
        np.subtract(weight, rate * by_weight, out=weight)
        np.subtract(bias, rate * by_bias, out=bias)
