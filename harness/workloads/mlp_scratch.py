"""MLPScratch on Fashion-MNIST: Dive into Deep Learning 5.2, as data, and its probe batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from harness.interface import Array, Parameter, Params, Product, Workload
from harness.workloads.probes import Probe
from harness.workloads.reference.pieces import softmax_cross_entropy, textbook_cross_entropy

INPUTS, OUTPUTS = 784, 10


def resized(num_hiddens: int, batch_size: int) -> Workload:
    """The workload with so many hidden units and samples a batch: shapes and products follow."""
    w1, w2 = (INPUTS, num_hiddens), (num_hiddens, OUTPUTS)
    x, hidden, logits = ((batch_size, width) for width in (INPUTS, num_hiddens, OUTPUTS))
    return Workload(
        name="mlp-scratch",
        model="MLPScratch",
        sizes={"num_inputs": INPUTS, "num_outputs": OUTPUTS, "num_hiddens": num_hiddens},
        sigma=0.01,
        parameters=(
            Parameter("W1", w1, "normal", ("inputs", "hiddens")),
            Parameter("b1", (num_hiddens,), "zeros", ("hiddens",)),
            Parameter("W2", w2, "normal", ("hiddens", "outputs")),
            Parameter("b2", (OUTPUTS,), "zeros", ("outputs",)),
        ),
        loss="softmax-cross-entropy",
        optimiser="sgd",
        lr=0.1,
        batch_size=batch_size,
        epochs=10,
        dataset="fashion-mnist",
        products=(
            Product(x, w1),  # X W1
            Product(hidden, w2),  # H W2
            Product(hidden, logits, transposed="a"),  # H' dO
            Product(logits, w2, transposed="b"),  # dO W2'
            Product(x, hidden, transposed="a"),  # X' dH
        ),
        symmetries=("inputs", "hiddens"),
    )


WORKLOAD = resized(num_hiddens=256, batch_size=256)

# *confident*: logit gaps for a true class of probability 1 - 1e-12 (27.6 = 12 ln 10) and 1e-30
# (69.1 = 30 ln 10) in the dimmest sample of the batch; brighter ones go further.
SURE_GAP = 27.7
WRONG_GAP = 69.1
# *shifted*: b2 moved by this much; the logits' spread within a row brought to this RMS.
SHIFT = 1e3
SPREAD = 3.0


def probes(
    initial: Params, x: Array, y: Array, clear: Callable[[Params, Array], Array]
) -> list[Probe]:
    """The made batches: *corner*, *confident*, *shifted-up* and *shifted-down*.

    initial: float32 parameters; x: float32 (pool, 784), y: int64 (pool,), a pool of several times
    the batch size; clear(params, x): which rows have no pre-activation near a kink, bool (n,).
    """
    return [
        _corner(initial, x, y, clear),
        _confident(initial, x, clear),
        *_shifted(initial, x, y, clear),
    ]


def _corner(initial: Params, x: Array, y: Array, clear: Callable[[Params, Array], Array]) -> Probe:
    """A blank image under b1 = 0 (every pre-activation is exactly 0), all ones, and a repeat."""
    params = initial | {"b1": np.zeros_like(initial["b1"])}
    rows = _first(clear, params, x)
    made_x, made_y = x[rows], y[rows]
    made_x[0] = 0.0
    # All ones; where that lies near a kink, with as few blank pixels in front as clear it. (An
    # even shade would not do: with b1 = 0 it scales every pre-activation alike.)
    ones = (np.arange(x.shape[1]) >= np.arange(64)[:, None]).astype(np.float32)
    far = clear(params, ones)
    if not far.any():
        raise ValueError("no image of ones is clear of every kink")
    made_x[1] = ones[np.argmax(far)]
    made_x[3], made_y[3] = made_x[2], made_y[2]
    return Probe("corner", params, made_x, made_y)


def _first(clear: Callable[[Params, Array], Array], params: Params, x: Array) -> Array:
    """The first clear rows, a batch of them; looked for in pieces, as almost all are clear."""
    rows: list[int] = []
    for begin in range(0, len(x), WORKLOAD.batch_size):
        piece = x[begin : begin + WORKLOAD.batch_size]
        rows += (begin + np.flatnonzero(clear(params, piece))).tolist()
        if len(rows) >= WORKLOAD.batch_size:
            break
    return np.array(rows[: WORKLOAD.batch_size], dtype=np.intp)


def _confident(initial: Params, x: Array, clear: Callable[[Params, Array], Array]) -> Probe:
    """W2 made so that class 0 is nearly certain: right for even rows; odd rows have class 9.

    Every hidden vector has a large part along their mean; a W2 along it gives each sample logits
    in proportion to that part, which is at least 1 in the brightest samples, chosen here.
    """
    rows = np.flatnonzero(clear(initial, x))
    hidden = np.maximum(x[rows] @ initial["W1"] + initial["b1"], 0.0).astype(np.float64)
    direction = hidden.mean(axis=0)
    part = hidden @ direction
    best = np.argsort(-part, kind="stable")[: WORKLOAD.batch_size]
    levels = np.full(WORKLOAD.sizes["num_outputs"], WRONG_GAP - SURE_GAP)
    levels[0], levels[-1] = WRONG_GAP, 0.0
    w2 = initial["W2"] + np.outer(direction / part[best].min(), levels)
    chosen = x[rows[np.sort(best)]]
    labels = np.where(np.arange(len(chosen)) % 2 == 0, 0, len(levels) - 1)
    return Probe("confident", initial | {"W2": w2.astype(np.float32)}, chosen, labels)


def _shifted(
    initial: Params, x: Array, y: Array, clear: Callable[[Params, Array], Array]
) -> list[Probe]:
    """b2 moved by +-1e3: mathematically nothing, unless softmax forgets to subtract the maximum."""
    rows = _first(clear, initial, x)
    hidden = np.maximum(x[rows] @ initial["W1"] + initial["b1"], 0.0)
    logits = hidden @ initial["W2"]
    rms = float(np.sqrt(np.mean(np.square(logits - logits.mean(axis=1, keepdims=True)))))
    w2 = (initial["W2"] * (SPREAD / rms)).astype(np.float32)
    return [
        Probe(
            case,
            initial | {"W2": w2, "b2": initial["b2"] + np.float32(shift)},
            x[rows],
            y[rows],
            True,
        )
        for case, shift in (("shifted-up", SHIFT), ("shifted-down", -SHIFT))
    ]


class MLPScratchReference:
    """relu(x W1 + b1) W2 + b2 under softmax cross-entropy; relu'(0) = 0."""

    def __init__(
        self,
        loss: Callable[[Array, Array], tuple[float, Array]] = softmax_cross_entropy,
        operands: dict[int, Callable[[Array], Array]] | None = None,
    ) -> None:
        self._loss = loss
        self._operands = operands or {}

    def textbook(self, up: bool) -> MLPScratchReference:
        return MLPScratchReference(partial(textbook_cross_entropy, up=up), self._operands)

    def rounded(self, product: int, operand: Callable[[Array], Array]) -> MLPScratchReference:
        return MLPScratchReference(self._loss, self._operands | {product: operand})

    def _product(self, number: int, a: Array, b: Array) -> Array:
        """A @ b; number: its place in the workload's products."""
        operand = self._operands.get(number)
        product: Array = a @ b if operand is None else operand(a) @ operand(b)
        return product

    def logits(self, params: Params, x: Array) -> Array:
        h = np.maximum(self._product(0, x, params["W1"]) + params["b1"], 0.0)
        return self._product(1, h, params["W2"]) + params["b2"]

    def loss_and_grads(self, params: Params, x: Array, y: Array) -> tuple[float, Params]:
        z = self._product(0, x, params["W1"]) + params["b1"]
        h = np.maximum(z, 0.0)
        loss, d_logits = self._loss(self._product(1, h, params["W2"]) + params["b2"], y)
        d_h = self._product(3, d_logits, params["W2"].T)
        d_z = np.where(z <= 0.0, 0.0, d_h)  # NaN passes, as forward
        return loss, {
            "W1": self._product(4, x.T, d_z),
            "b1": d_z.sum(axis=0),
            "W2": self._product(2, h.T, d_logits),
            "b2": d_logits.sum(axis=0),
        }

    def kink_margin(self, params: Params, x: Array) -> Array:
        z = np.abs(x @ params["W1"] + params["b1"])
        scale = np.abs(x) @ np.abs(params["W1"]) + np.abs(params["b1"])
        margin: Array = np.where(scale > 0, z / np.where(scale > 0, scale, 1.0), np.inf)
        least: Array = margin.min(axis=1)
        return least

    def kink_distance(self, params: Params, x: Array) -> Array:
        least: Array = np.abs(x @ params["W1"] + params["b1"]).min(axis=1)
        return least
