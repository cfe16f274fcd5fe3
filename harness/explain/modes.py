"""Other conventions of batch norm and dropout, which compute otherwise in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from harness.explain.hypothesis import EPSILONS, Hypothesis, Prediction
from harness.explain.layers import by_layer, only, row
from harness.explain.seen import Seen
from harness.explain.way import Value, plainly, with_tensor
from harness.interface import Array
from harness.workloads.reference.base import Pass
from harness.workloads.reference.pieces import BatchNorm, Dropout


def _other_mode(layer: BatchNorm | Dropout, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x, replace(at, training=not at.training))


def _with_eps(layer: BatchNorm, x: Array, at: Pass, eps: float) -> Array:
    return plainly(layer, x, at, eps=eps)


def _unbiased(layer: BatchNorm, x: Array, at: Pass, _: float) -> Array:
    """The batch's variance over n - 1."""
    if not at.training:
        return plainly(layer, x, at)
    n = x.size // layer.units
    over = tuple(range(x.ndim - 1))
    held = {layer.mean: x.mean(axis=over), layer.variance: x.var(axis=over) * n / max(n - 1, 1)}
    return plainly(layer, x, replace(with_tensor(at, **held), training=False))


def _dropped(factor: Callable[[Array, float], Array]) -> Value:
    """factor(U, p): what a step multiplies by."""

    def value(layer: Dropout, x: Array, at: Pass, _: float) -> Array:
        return np.asarray(x * factor(at.noise[layer.name], layer.p)) if at.training else x

    return value


def _scaled_evaluation(layer: Dropout, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x, at) if at.training else x * (1 - layer.p)


OTHER_END = only(Dropout, _dropped(lambda u, p: (u < 1 - p) / (1 - p)))
KEPT = only(
    Dropout,
    _dropped(lambda u, p: (u >= 1 - p) / (p or np.inf)),
    _dropped(lambda u, p: (u < p) / (p or np.inf)),
)


def _share_kept(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """Where p is 1/2 the other end of the noise may give the same: then that is told."""
    if not any(by_layer(OTHER_END, (), seen, sites)):
        yield from by_layer(KEPT, (), seen, sites)


TABLE = (
    row(
        "batch-norm-eps",
        "batch norm's ε is {0}",
        "sqrt(variance + ε), ε as declared",
        "another ε",
        only(BatchNorm, _with_eps),
        EPSILONS,
        by="torch and Flax 1e-5; Keras 1e-3",
        where="torch.nn.BatchNorm1d, flax.linen.BatchNorm, keras.layers.BatchNormalization",
    ),
    row(
        "other-mode",
        "batch norm or dropout is in the other mode: evaluation where a step is "
        "taken, or a step's where the model is evaluated",
        "by the mode",
        "by the other mode",
        only((BatchNorm, Dropout), _other_mode),
        by="torch: a module trains until eval() is called; Keras and Flax are told at each call",
        where="torch.nn.Module.eval, keras.layers.BatchNormalization: training",
    ),
    row(
        "batch-norm-n-1",
        "batch norm divides the batch's variance by n - 1",
        "sum of (x - mean)² / n",
        "sum of (x - mean)² / (n - 1)",
        only(BatchNorm, _unbiased),
        by="torch.var by default; numpy.var, jax.numpy.var and tf.math.reduce_variance divide by n",
        where="torch.var: correction=1; numpy.var: ddof=0",
    ),
    Hypothesis(
        "dropout-keep-for-drop",
        ("forward",),
        "dropout keeps the share p and divides by p: p is taken for the share to keep",
        "(U >= p) / (1 - p)",
        "(U >= 1 - p) / p, or (U < p) / p",
        _share_kept,
        by="TensorFlow 1: tf.nn.dropout(keep_prob); everybody else says what is dropped",
        where="https://www.tensorflow.org/versions/r1.15/api_docs/python/tf/nn/dropout",
    ),
    row(
        "dropout-other-half",
        "dropout keeps as many as it should, but others: where the noise is below 1 - p",
        "(U >= p) / (1 - p)",
        "(U < 1 - p) / (1 - p)",
        OTHER_END,
        by="Flax, and Keras on JAX: jax.random.bernoulli(key, 1 - p); TensorFlow keeps U >= p",
        where="flax.linen.Dropout; keras/src/backend/jax/random.py: dropout; "
        "jax.random.bernoulli: mode; tf.nn.dropout",
    ),
    row(
        "dropout-not-scaled",
        "what dropout leaves is not scaled",
        "(U >= p) / (1 - p)",
        "U >= p",
        only(Dropout, _dropped(lambda u, p: (u >= p) * 1.0)),
        by="Srivastava et al., who scale the evaluation instead",
        where="https://jmlr.org/papers/v15/srivastava14a.html",
    ),
    row(
        "dropout-scales-evaluation",
        "dropout scales the evaluation by 1 - p",
        "x",
        "(1 - p) x",
        only(Dropout, _scaled_evaluation),
        by="Srivastava et al., who scale nothing in a step",
        where="https://jmlr.org/papers/v15/srivastava14a.html",
    ),
)
