"""The judge's losses: of outputs and targets, with the gradient by the outputs.

Each in a form without cancellation, and in the textbook's, as frameworks compute it. Losses are
means over the samples, cross-entropies in nats. Imports NumPy; no framework.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from harness.interface import Array

# What a target is: an integer from 0, or as many numbers as outputs; or there are none.
Targets = Literal["class", "number", "none"]
# Where binary cross-entropy clamps its logarithms, from below.
LEAST_LOG = -100.0


class SoftmaxCrossEntropy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="softmax-cross-entropy"
):
    """-log softmax(outputs)[y]: outputs (n, classes), y int (n,)."""

    @property
    def targets(self) -> Targets:
        return "class"

    def __call__(self, outputs: Array, y: Array) -> tuple[float, Array]:
        """The mean, and its gradient (n, classes)."""
        rows = np.arange(len(y))
        top = outputs.argmax(axis=1)
        shifted = outputs - outputs[rows, top, None]
        others = np.exp(shifted)
        others[rows, top] = 0.0  # log1p: 1 + others would round where p is near 1
        log_p = shifted - np.log1p(others.sum(axis=1, keepdims=True))
        grad = np.exp(log_p)
        grad[rows, y] = np.expm1(log_p[rows, y])  # p - 1 without cancellation where p is near 1
        return float(-log_p[rows, y].mean()), grad / len(y)

    def textbook(self, outputs: Array, y: Array, up: bool) -> tuple[float, Array]:
        """The same as frameworks compute it: log-softmax, and softmax less one in the true class.

        Sums are taken one term after another, the largest first: the order of most rounding. The
        sum over the classes is off by a unit in its last place, as other libraries' exp is: upwards
        in about half of all samples, alike ones alike, and with `up` in the others.
        """
        rows = np.arange(len(y))
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        exp = np.exp(shifted)
        total = np.add.accumulate(np.sort(exp, axis=1)[:, ::-1], axis=1)[:, -1:].copy()
        odd = total.view(f"u{total.itemsize}") & 1 == 1
        total = np.nextafter(total, np.where(odd == up, np.inf, 0.0).astype(total.dtype))
        losses = np.log(total[:, 0]) - shifted[rows, y]
        grad = exp / total
        grad[rows, y] -= 1
        return float(np.add.accumulate(losses)[-1] / len(y)), grad / len(y)

    def of_samples(self, outputs: Array, y: Array) -> Array:
        """Of each sample: float64 (n,)."""
        top = outputs.max(axis=1)
        losses: Array = np.log(np.exp(outputs - top[:, None]).sum(axis=1)) + top
        losses -= outputs[np.arange(len(y)), y]
        return losses


class BinaryCrossEntropy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="binary-cross-entropy"
):
    """-y log a - (1 - y) log(1 - a), each logarithm -100 at least: outputs a and y (n, 1).

    Where a logarithm is clamped its derivative is 0.
    """

    @property
    def targets(self) -> Targets:
        return "number"

    def __call__(self, outputs: Array, y: Array) -> tuple[float, Array]:
        """The mean over the samples, and its gradient (n, 1)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._of(outputs, y, np.log1p(-outputs))

    def textbook(self, outputs: Array, y: Array, up: bool) -> tuple[float, Array]:
        """The same with log(1 - a); each output a unit in its last place off."""
        near = np.nextafter(outputs, np.asarray(1.0 if up else 0.0, outputs.dtype))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._of(near, y, np.log(1 - near))

    def of_samples(self, outputs: Array, y: Array) -> Array:
        """Of each sample: float64 (n,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _binary(y, np.log(outputs), np.log1p(-outputs))[:, 0]

    def _of(self, a: Array, y: Array, log_not: Array) -> tuple[float, Array]:
        n = len(y)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_a = np.log(a)
            losses = _binary(y, log_a, log_not)
            d_a = np.where(log_a > LEAST_LOG, -y / a, 0.0)
            d_not = np.where(log_not > LEAST_LOG, (1 - y) / (1 - a), 0.0)
        return float(losses.sum() / n), (d_a + d_not) / n


class SigmoidCrossEntropy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sigmoid-cross-entropy"
):
    """-sum of y log a + (1 - y) log(1 - a) with a = sigmoid(outputs): outputs (n, k).

    targets: y is (n, k), or classes (n,), which count as one-hot.
    """

    targets: Targets = "number"

    def __call__(self, outputs: Array, y: Array) -> tuple[float, Array]:
        """The mean over the samples, and its gradient (n, k)."""
        y = _as_numbers(y, outputs)
        p, q = _sigmoid(outputs), _sigmoid(-outputs)
        return float(self.of_samples(outputs, y).mean()), ((1 - y) * p - y * q) / len(y)

    def textbook(self, outputs: Array, y: Array, up: bool) -> tuple[float, Array]:
        """The same as frameworks compute it: (1 - y) z - log a, as torch does, and a - y.

        Each log a and each a is a unit in its last place off: where the model is sure and right the
        two terms cancel.
        """
        y = _as_numbers(y, outputs)
        towards = np.asarray(0.0 if up else -np.inf, outputs.dtype)
        log_a = np.nextafter(-_softplus(-outputs), towards)
        losses = (1 - y) * outputs - log_a
        p = np.nextafter(_sigmoid(outputs), np.asarray(1.0 if up else 0.0, outputs.dtype))
        return float(losses.sum() / len(y)), (p - y) / len(y)

    def of_samples(self, outputs: Array, y: Array) -> Array:
        """Of each sample: (n,)."""
        y = _as_numbers(y, outputs)
        losses = (1 - y) * _softplus(outputs) + y * _softplus(-outputs)
        return np.asarray(losses.sum(axis=1))


class Quadratic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="quadratic"):
    """|outputs - y|² / 2, the mean over the samples: outputs (n, k).

    targets: y is (n, k), or classes (n,), which count as one-hot.
    """

    targets: Targets = "number"

    def __call__(self, outputs: Array, y: Array) -> tuple[float, Array]:
        """The mean over the samples, and its gradient (n, k)."""
        d = outputs - _as_numbers(y, outputs)
        return float(0.5 * np.sum(d**2) / len(y)), d / len(y)

    def textbook(self, outputs: Array, y: Array, up: bool) -> tuple[float, Array]:  # noqa: ARG002
        """The same: there is no other form."""
        return self(outputs, y)

    def of_samples(self, outputs: Array, y: Array) -> Array:
        """Of each sample: (n,)."""
        return np.asarray(0.5 * np.sum((outputs - _as_numbers(y, outputs)) ** 2, axis=1))


class HalfSquaredSum(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="half-squared-sum"
):
    """|outputs - y|² / 2, summed over the batch: no mean. outputs and y (n, k)."""

    @property
    def targets(self) -> Targets:
        return "number"

    def __call__(self, outputs: Array, y: Array) -> tuple[float, Array]:
        """The sum, and its gradient (n, k)."""
        d = outputs - y
        return float(0.5 * np.sum(d**2)), d

    def textbook(self, outputs: Array, y: Array, up: bool) -> tuple[float, Array]:  # noqa: ARG002
        """The same: there is no other form."""
        return self(outputs, y)

    def of_samples(self, outputs: Array, y: Array) -> Array:
        """Of each sample: (n,)."""
        return np.asarray(0.5 * np.sum((outputs - y) ** 2, axis=1))


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="output"):
    """The output itself, the mean over the samples: outputs (n, 1). There are no targets."""

    @property
    def targets(self) -> Targets:
        return "none"

    def __call__(self, outputs: Array, y: Array) -> tuple[float, Array]:  # noqa: ARG002
        """The mean, and its gradient (n, 1)."""
        return float(outputs.mean()), np.full_like(outputs, 1 / len(outputs))

    def textbook(self, outputs: Array, y: Array, up: bool) -> tuple[float, Array]:  # noqa: ARG002
        """The same: there is no other form."""
        return self(outputs, y)

    def of_samples(self, outputs: Array, y: Array) -> Array:  # noqa: ARG002
        """Of each sample: (n,)."""
        return outputs[:, 0]


Loss = (
    SoftmaxCrossEntropy
    | BinaryCrossEntropy
    | SigmoidCrossEntropy
    | Quadratic
    | HalfSquaredSum
    | Output
)


def loss_name(loss: Loss) -> str:
    """What a workload calls it."""
    return str(loss.__struct_config__.tag)


def check_outputs(loss: Loss, outputs: tuple[int, ...]) -> None:
    """ValueError where a loss is not of outputs of this shape, one sample's."""
    one = isinstance(loss, BinaryCrossEntropy | Output)
    if len(outputs) != 1 or (one and outputs != (1,)):
        wanted = "one number" if one else "a row of numbers"
        raise ValueError(
            f"{loss_name(loss)} is of {wanted} for each sample, and the layers make {outputs}"
        )


def _as_numbers(y: Array, outputs: Array) -> Array:
    """Targets of the outputs' shape and dtype; classes as one-hot."""
    if y.ndim == outputs.ndim:
        return y
    return np.asarray(y[:, None] == np.arange(outputs.shape[1]), outputs.dtype)


def _binary(y: Array, log_a: Array, log_not: Array) -> Array:
    """Of each sample: (n, 1)."""
    kept, other = np.maximum(log_a, LEAST_LOG), np.maximum(log_not, LEAST_LOG)
    return np.asarray(-y * kept - (1 - y) * other)


def _sigmoid(z: Array) -> Array:
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small))


def _softplus(z: Array) -> Array:
    """log(1 + exp(z)), without overflow."""
    return np.asarray(np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))))
