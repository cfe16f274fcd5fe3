"""A wrong formula in one of NumPy's single operators; the plant is called as the operator is."""

from __future__ import annotations

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
    "relu": _backward("relu", lambda _, W, X: (W * (X >= 0),)),
    "sigmoid": OWN["sigmoid/scratch"],
    "tanh": _backward("tanh", lambda _, W, X: (W * (1 - np.tanh(X)),)),
    "softmax": _backward("softmax", lambda _, W, X: (W * OWN["softmax"](X)[0],)),
    "log_softmax": OWN["log_softmax/scratch"],
    "cross_entropy": _value("cross_entropy", lambda value, X, y: value * len(y)),
    "squared_error": _backward("squared_error", lambda d, *_: (d[0], d[0])),
}


def __getattr__(name):
    """The plant for the operator of that name."""
    if name not in FAULTS:
        raise AttributeError(name)

    def plant(backend):
        operators.OPERATORS = OWN | {name: FAULTS[name]}
        return backend

    return plant
