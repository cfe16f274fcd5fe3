"""Layer norm and softmax in NumPy, and arguments for the first."""

import numpy as np


def layer_norm(x, weight, bias):
    """Over the last axis: x (n, k), weight and bias (k,) -> (n, k)."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def inputs():
    """Arguments of `layer_norm`, by name."""
    rng = np.random.default_rng(0)
    shapes = {"x": (8, 64), "weight": (64,), "bias": (64,)}
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
