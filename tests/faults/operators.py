"""A wrong formula in one of NumPy's single operators; the plant is called as the operator is."""

from __future__ import annotations

import math

import numpy as np

from backends.numpy import operators

OWN = dict(operators.OPERATORS)


def _value(name, change):
    """Its own derivatives, another value."""

    def planted(*arrays):
        value, backward = OWN[name](*arrays)
        return np.asarray(change(value, *arrays), value.dtype), backward

    return planted


def _backward(name, change):
    """Its own value, other derivatives: change(derivatives, W, *arrays)."""

    def planted(*arrays):
        value, backward = OWN[name](*arrays)
        return value, lambda W: change(backward(W), W, *arrays)

    return planted


FAULTS = {
    "step": _value("step", lambda value, X: X >= 0),
    "relu": _backward("relu", lambda _, W, X: (W * (X >= 0),)),
    "sigmoid": OWN["sigmoid/scratch"],
    "tanh": _backward("tanh", lambda _, W, X: (W * (1 - np.tanh(X)),)),
    "softmax": _backward("softmax", lambda _, W, X: (W * OWN["softmax"](X)[0],)),
    "log_softmax": OWN["log_softmax/scratch"],
    "cross_entropy": _value("cross_entropy", lambda value, X, y: value * len(y)),
    "gelu": OWN["gelu_tanh"],
    "gelu_tanh": OWN["gelu"],
    "softmax_log_nll": _value("softmax_log_nll", lambda value, X, y: value / math.log(2)),
    "squared_error": _backward("squared_error", lambda d, *_: (d[0], d[0])),
    "entropy": _value("entropy", lambda value, P: value - np.log2(P.sum(1))),
    "sum": OWN["mean"],
    "mean": _backward("mean", lambda d, W, X: (d[0] * X.size,)),
    "norm": _backward("norm", lambda _, W, X: (W * X / np.linalg.norm(X),)),
    "perceptron": _backward("perceptron", lambda d, *_: (d[0], d[1], -d[2])),
    "perceptron_two": _value("perceptron_two", lambda value, X, M, T: value / T.size),
    "chain": _backward("chain", lambda d, W, x, w1, b1, w2, b2: (d[0], W * w2, *d[2:])),
    "conv": lambda X, K: OWN["conv"](X, K[::-1, ::-1]),
    "max_pool": _value("max_pool", lambda value, X: np.maximum(value, 0)),
    "avg_pool": OWN["avg_pool_inside"],
    "avg_pool_inside": OWN["avg_pool"],
    "batch_norm": _backward("batch_norm", lambda d, W, X, gamma, beta: (W * gamma, *d[1:])),
    "batch_norm_evaluation": lambda X, gamma, beta, mean, variance: OWN["batch_norm_evaluation"](
        X, gamma, beta, mean, np.square(variance)
    ),
    "batch_norm_running": lambda X, mean, variance: OWN["batch_norm_running"](
        X, mean, variance * 0.9
    ),
    "dropout": lambda X, M: OWN["dropout"](X, 1 - M),
    "layer_norm": _value(
        "layer_norm", lambda value, X, gamma, beta: beta + (value - beta) * math.sqrt(2 / 3)
    ),
}


def __getattr__(name):
    """The plant for the operator of that name."""
    if name not in FAULTS:
        raise AttributeError(name)

    def plant(backend):
        operators.OPERATORS = OWN | {name: FAULTS[name]}
        return backend

    return plant
