"""The judge: plain float64 NumPy, no buffers, no tricks, one class a workload.

Independent of the NumPy backend, and shares no line with it. Proven by tests: central
differences, facts from an independent program, and the frameworks' autodiff. Imports NumPy only.

Shapes for a batch of n: x (n, inputs), y int (n,), logits (n, outputs); parameters and gradients
as the workload names them. Losses are means in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from harness.interface import Array, Params


class Reference(Protocol):
    """What the judge of a workload can say of given parameters and a batch, in float64."""

    def logits(self, params: Params, x: Array) -> Array: ...

    def loss_and_grads(self, params: Params, x: Array, y: Array) -> tuple[float, Params]: ...

    def kink_margin(self, params: Params, x: Array) -> Array:
        """Per sample (n,): the least |z| / S over its pre-activations; inf where S = 0.

        z is a pre-activation of a unit with a kink at 0, S = |x|·|W| + |b| the scale of its
        rounding error: |error of z| is a small multiple of u·S for unit roundoff u.
        """

    def kink_distance(self, params: Params, x: Array) -> Array:
        """Per sample (n,): the least |z| over its pre-activations."""


@runtime_checkable
class Opened(Reference, Protocol):
    """A reference whose arithmetic can be changed: the same function by other operations."""

    def textbook(self, up: bool) -> Reference:
        """The loss by the formulas that frameworks use: they cancel where a model is sure.

        up: which way an error in the last place goes (see `textbook_cross_entropy`).
        """

    def rounded(self, product: int, operand: Callable[[Array], Array]) -> Opened:
        """Both operands of one product (its place in `Workload.products`) go through `operand`."""


def cast(params: Params, dtype: str = "float64") -> Params:
    """Copies in a dtype."""
    return {name: value.astype(dtype) for name, value in params.items()}


def softmax_cross_entropy(logits: Array, y: Array) -> tuple[float, Array]:
    """Mean of -log softmax(logits)[y] over the batch, and its gradient (n, outputs)."""
    rows = np.arange(len(y))
    top = logits.argmax(axis=1)
    shifted = logits - logits[rows, top, None]
    others = np.exp(shifted)
    others[rows, top] = 0.0  # log1p: 1 + others would round where p is near 1
    log_p = shifted - np.log1p(others.sum(axis=1, keepdims=True))
    grad = np.exp(log_p)
    grad[rows, y] = np.expm1(log_p[rows, y])  # p - 1 without cancellation where p is near 1
    return float(-log_p[rows, y].mean()), grad / len(y)


def textbook_cross_entropy(logits: Array, y: Array, up: bool) -> tuple[float, Array]:
    """The same as frameworks compute it: log-softmax, and softmax less one in the true class.

    Sums are taken one term after another, the largest first: the order of most rounding. The sum
    over the classes is off by a unit in its last place, as other libraries' exp is: upwards in
    about half of all samples, alike ones alike, and with `up` in the others.
    """
    rows = np.arange(len(y))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exp = np.exp(shifted)
    total = np.add.accumulate(np.sort(exp, axis=1)[:, ::-1], axis=1)[:, -1:].copy()
    odd = total.view(f"u{total.itemsize}") & 1 == 1
    total = np.nextafter(total, np.where(odd == up, np.inf, 0.0).astype(total.dtype))
    losses = np.log(total[:, 0]) - shifted[rows, y]
    grad = exp / total
    grad[rows, y] -= 1
    return float(np.add.accumulate(losses)[-1] / len(y)), grad / len(y)


def sample_losses(logits: Array, y: Array) -> Array:
    """-log softmax(logits)[y] of each sample, in nats: float64 (n,)."""
    top = logits.max(axis=1)
    losses: Array = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    losses -= logits[np.arange(len(y)), y]
    return losses


def sgd(params: Params, grads: Params, lr: float) -> None:
    """One step of plain SGD, in place: p -= lr * grad for every parameter."""
    for name, grad in grads.items():
        params[name] -= lr * grad
