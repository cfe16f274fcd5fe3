"""Every hypothesis, planted in the judge's own pieces, is named with its number and nothing else.

Faults outside the table are named by none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from harness.explain import page, search
from harness.explain.hypothesis import Prediction
from harness.explain.table import TABLE
from harness.interface import Optimiser, State
from harness.workloads.declare import Declared
from harness.workloads.reference.base import Keep, Pass
from harness.workloads.reference.noise import with_fewer_bits
from harness.workloads.reference.optimisers import (
    adagrad,
    adam,
    adamw,
    decay,
    momentum,
    nesterov,
    rmsprop,
    stepped,
)
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Piece,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)
from tests import explaining
from tests.explaining import (
    BINARY,
    BLOCK,
    CONV,
    DECAYING,
    FLAT,
    LOGITS,
    NORMED,
    ONE,
    RELU,
    SIGMOID,
    SOFTMAX,
    SUMMED,
    TANH,
    TWICE_NORMED,
    Worker,
    hidden,
    other_grads,
    other_layer,
    other_loss,
    other_step,
    other_tensors,
    showing_none,
)

Array = np.ndarray


class Planted(NamedTuple):
    """A hypothesis planted in a net: its name, its numbers, and how many samples a batch has.

    scale: of the samples.
    """

    hypothesis: str
    declared: Declared
    plain: Worker
    numbers: tuple[float, ...] = ()
    n: int = 16
    scale: float = 1.0

    def worker(self, net, workload, state, batch) -> State:
        batch["x"] *= self.scale
        return self.plain(net, workload, state, batch)


# -- forward -------------------------------------------------------------------------------------


def instead(value: Callable[..., Array]) -> Callable[[Piece], Piece]:
    """A layer whose value is value(layer, x, at)."""

    def made(layer: Piece) -> Piece:
        kind = type(layer)

        def run(self: Any, x: Array, at: Pass, keep: Keep) -> Array:
            kind.run(self, x, at, keep)
            return np.asarray(value(layer, x, at))

        other = msgspec.defstruct("Other", [], bases=(kind,), namespace={"run": run}, frozen=True)
        return other(**{f: getattr(layer, f) for f in layer.__struct_fields__})

    return made


def function(of: Callable[[Array], Array]) -> Callable[[Piece], Piece]:
    return instead(lambda layer, x, at: of(x))


def conv_by_hand(layer: Conv, x: Array, at: Pass, before: int | None = None, turn: Any = None):
    """A convolution with `before` of its padding in front, and the kernel turned: one by one."""
    pad, size, stride = layer.pad, layer.size, layer.stride
    kernel = at.state[layer.kernel]
    kernel = kernel if turn is None else turn(kernel)
    around = (pad, pad) if before is None else (before, 2 * pad - before)
    wide = np.pad(x, ((0, 0), around, around, (0, 0)))
    rows, columns = ((length - size) // stride + 1 for length in wide.shape[1:3])
    value = np.zeros((len(x), rows, columns, layer.outputs))
    for i in range(rows):
        for j in range(columns):
            window = wide[:, i * stride : i * stride + size, j * stride : j * stride + size]
            value[:, i, j] = np.tensordot(window, kernel, 3)
    return value + (at.state[layer.bias] if layer.bias else 0.0)


def normal(layer: BatchNorm, x: Array, at: Pass, mean: Array, variance: Array) -> Array:
    unit = (x - mean) / np.sqrt(variance + layer.eps)
    return at.state[layer.gamma] * unit + at.state[layer.beta]


def by_batch(layer: BatchNorm, x: Array, at: Pass) -> Array:
    return normal(layer, x, at, x.mean(0), x.var(0))


def by_running(layer: BatchNorm, x: Array, at: Pass) -> Array:
    return normal(layer, x, at, at.state[layer.mean], at.state[layer.variance])


def over_n_1(layer: BatchNorm, x: Array, at: Pass) -> Array:
    if not at.training:
        return by_running(layer, x, at)
    return normal(layer, x, at, x.mean(0), x.var(0, ddof=1))


def dropout(mask: Callable[[Array, float], Array]) -> Callable[[Piece], Piece]:
    return instead(
        lambda layer, x, at: x * (mask(at.noise[layer.name], layer.p) if at.training else 1)
    )


def dropping(p: float) -> Declared:
    """A net that drops so much."""
    layers = Dense("W1", "b1", 6, 5), Sigmoid(), Dropout("U", p), Dense("W2", "b2", 5, 3)
    return explaining.small(*layers, x=(6,))


# p as the share kept, of either end of the noise; the right share, of the other end.
UPPER, LOWER, OTHER_END = map(
    dropout,
    (
        lambda u, p: (u >= 1 - p) / p,
        lambda u, p: (u < p) / p,
        lambda u, p: (u < 1 - p) / (1 - p),
    ),
)


def evaluated(layer: Dropout, x: Array, at: Pass, in_step: float = 1.0) -> Array:
    """Dropout that scales the evaluation by 1 - p, and a step by so much of what it should."""
    return x * ((at.noise[layer.name] >= layer.p) / in_step if at.training else 1 - layer.p)


def softmax(z: Array, axis: int = -1) -> Array:
    return np.exp(z) / np.exp(z).sum(axis=axis, keepdims=True)


def dense(layer: Dense, x: Array, at: Pass, operand: Callable[[Array], Array]) -> Array:
    return operand(x) @ operand(at.state[layer.weight]) + at.state[layer.bias]


def transposed(layer: Dense, x: Array, at: Pass) -> Array:
    weight = at.state[layer.weight]
    return x @ weight.T.reshape(weight.shape) + at.state[layer.bias]


def counted(layer: AveragePool, x: Array, at: Pass) -> Array:
    """The mean of windows with the zeros around, one by one."""
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.stack(
        [
            np.stack([wide[:, i : i + 3, j : j + 3].mean((1, 2)) for j in (0, 2)], axis=1)
            for i in (0, 2)
        ],
        axis=1,
    )


ROUNDED = {
    "tf32": partial(with_fewer_bits, bits=11, nearest=True),
    "tf32-cut": partial(with_fewer_bits, bits=11, nearest=False),
    "bfloat16": partial(with_fewer_bits, bits=8, nearest=True),
    "bfloat16-cut": partial(with_fewer_bits, bits=8, nearest=False),
    "float16": lambda a: a.astype(np.float16).astype(np.float64),
}
FORWARD = [
    Planted(
        "bias-missing", RELU, other_layer(Dense, lambda one: msgspec.structs.replace(one, bias=""))
    ),
    Planted(
        "bias-missing",
        BLOCK,
        other_layer(
            explaining.Residual,
            lambda one: msgspec.structs.replace(
                one, shortcut=(msgspec.structs.replace(one.shortcut[0], bias=""),)
            ),
        ),
    ),
    Planted(
        "bias-twice",
        RELU,
        other_layer(
            Dense, instead(lambda one, x, at: x @ at.state[one.weight] + 2 * at.state[one.bias]), 1
        ),
    ),
    Planted(
        "bias-of-another",
        RELU,
        other_layer(Dense, instead(lambda one, x, at: x @ at.state["W2"] + at.state["b1"]), 1),
    ),
    Planted("weight-transposed", RELU, other_layer(Dense, instead(transposed))),
    Planted("weight-transposed", RELU, other_layer(Dense, instead(transposed), 1)),
    Planted(
        "weight-transposed",
        CONV,
        other_layer(Conv, instead(partial(conv_by_hand, turn=lambda k: k.transpose(1, 0, 2, 3)))),
    ),
    Planted(
        "kernel-flipped",
        CONV,
        other_layer(Conv, instead(partial(conv_by_hand, turn=lambda k: k[::-1, ::-1])), 1),
    ),
    Planted(
        "flatten-channels-first",
        FLAT,
        other_layer(Flatten, instead(lambda one, x, at: np.moveaxis(x, 3, 1).reshape(len(x), -1))),
    ),
    Planted(
        "flatten-columns-first",
        FLAT,
        other_layer(
            Flatten, instead(lambda one, x, at: x.transpose(0, 2, 1, 3).reshape(len(x), -1))
        ),
    ),
    Planted(
        "padding-one-sided", CONV, other_layer(Conv, instead(partial(conv_by_hand, before=0)), 1)
    ),
    Planted("padding-one-sided", CONV, other_layer(Conv, instead(partial(conv_by_hand, before=2)))),
    Planted("pool-counts-padding", CONV, other_layer(AveragePool, instead(counted))),
    Planted(
        "leaky-slope",
        RELU,
        other_layer(Relu, function(lambda x: np.maximum(x, 0.013 * x))),
        (0.013,),
    ),
    Planted(
        "leaky-slope", BLOCK, other_layer(Relu, function(lambda x: np.maximum(x, 0.2 * x))), (0.2,)
    ),
    Planted(
        "relu6",
        RELU,
        other_layer(Relu, function(lambda x: np.minimum(np.maximum(x, 0), 6))),
        scale=9.0,
    ),
    Planted("softplus", RELU, other_layer(Relu, function(lambda x: np.log1p(np.exp(x))))),
    Planted("activation-missing", TANH, other_layer(Tanh, function(lambda x: 1 * x))),
    Planted(
        "sigmoid-for-tanh", TANH, other_layer(Tanh, function(lambda x: 1 / (1 + np.exp(-x))), 1)
    ),
    Planted("tanh-for-sigmoid", SIGMOID, other_layer(Sigmoid, function(np.tanh))),
    Planted(
        "hard-sigmoid-sixth",
        SIGMOID,
        other_layer(Sigmoid, function(lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6)),
    ),
    Planted(
        "hard-sigmoid-fifth",
        SIGMOID,
        other_layer(Sigmoid, function(lambda x: np.minimum(np.maximum(x * 0.2 + 0.5, 0), 1))),
    ),
    Planted(
        "softmax-over-samples", SOFTMAX, other_layer(Softmax, function(partial(softmax, axis=0)))
    ),
    Planted(
        "outputs-softmax",
        RELU,
        other_layer(
            Dense, instead(lambda one, x, at: softmax(x @ at.state["W3"] + at.state["b3"])), 2
        ),
    ),
    Planted(
        "outputs-sigmoid",
        LOGITS,
        other_layer(
            Dense,
            instead(lambda one, x, at: 1 / (1 + np.exp(-x @ at.state["W2"] - at.state["b2"]))),
            1,
        ),
    ),
    Planted(
        "batch-norm-eps",
        NORMED,
        other_layer(BatchNorm, lambda one: msgspec.structs.replace(one, eps=1e-3)),
        (1e-3,),
    ),
    Planted("other-mode", NORMED, other_layer(BatchNorm, instead(by_batch))),
    Planted("other-mode", NORMED, other_layer(BatchNorm, instead(by_running))),
    Planted("other-mode", NORMED, other_layer(Dropout, function(lambda x: 1 * x))),
    Planted("batch-norm-n-1", NORMED, other_layer(BatchNorm, instead(over_n_1))),
    Planted("other-mode", TWICE_NORMED, other_layer(BatchNorm, instead(by_running))),
    *(
        Planted("other-mode", TWICE_NORMED, showing_none(other_layer(kind, instead(value), None)))
        for kind, value in (
            (BatchNorm, by_running),
            (BatchNorm, by_batch),
            (Dropout, lambda one, x, at: x),
            (BatchNorm | Dropout, lambda one, x, at: one.run(x, replace(at, training=False), {})),
        )
    ),
    *(
        Planted("dropout-keep-for-drop", declared, other_layer(Dropout, other))
        for declared in (NORMED, dropping(0.3))
        for other in (UPPER, LOWER)
    ),
    *(
        Planted("dropout-other-half", declared, other_layer(Dropout, OTHER_END))
        for declared in (NORMED, dropping(0.3), dropping(0.5))
    ),
    # Of half the noise either end is as much: p is not seen to be the share kept.
    Planted("dropout-other-half", dropping(0.5), other_layer(Dropout, LOWER)),
    *(
        Planted(name, TWICE_NORMED, showing_none(other_layer(Dropout, other, None)))
        for name, other in (
            ("dropout-keep-for-drop", UPPER),
            ("dropout-keep-for-drop", LOWER),
            ("dropout-other-half", OTHER_END),
        )
    ),
    Planted(
        "dropout-scales-evaluation",
        dropping(0.3),
        other_layer(Dropout, instead(partial(evaluated, in_step=0.7))),
    ),
    Planted("dropout-not-scaled", NORMED, other_layer(Dropout, dropout(lambda u, p: u >= p))),
    # So small that float16 has fewer digits than TF32.
    *(
        Planted(
            f"operands-{name}",
            TANH,
            other_layer(Dense, instead(partial(dense, operand=operand))),
            scale=1e-5,
        )
        for name, operand in ROUNDED.items()
    ),
    Planted(
        "columns-permuted",
        TANH,
        other_layer(
            Dense,
            instead(lambda one, x, at: (x @ at.state["W1"] + at.state["b1"])[:, [2, 0, 1, 4, 3]]),
        ),
    ),
]


# -- inputs --------------------------------------------------------------------------------------


IMAGES = explaining.small(Flatten(), Dense("W1", "b1", 25, 3), x=(5, 5, 1))
TALL = explaining.small(Flatten(), Dense("W1", "b1", 24, 3), x=(4, 3, 2))
NORMALISED = explaining.small(Dense("W1", "b1", 25, 3), x=(25,), normalise=(0.3, 0.4))
SQUARES = explaining.small(Dense("W1", "b1", 25, 3), x=(25,))


def pixels(change: Callable[[Array], Array]) -> Worker:
    """The batch is made of pixels; what the worker holds is change(pixels)."""

    def worker(net, workload, state, batch):
        mean, deviation = workload.normalise or (0.0, 1.0)
        drawn = np.random.default_rng(3).integers(0, 256, batch["x"].shape)
        batch["x"][...] = (drawn / 255 - mean) / deviation
        return explaining.written(explaining.Composed(net), workload, state, batch) | {
            "x": change(drawn)
        }

    return worker


INPUTS = [
    Planted("transposed", IMAGES, other_tensors(lambda t, _: {"x": t["x"].swapaxes(1, 2)})),
    Planted("transposed", RELU, other_tensors(lambda t, _: {"held.W2": t["held.W2"].T})),
    Planted(
        "transposed", RELU, other_tensors(lambda t, _: {"held.W1": t["held.W1"].T.reshape(6, 5)})
    ),
    Planted(
        "channels-first",
        TALL,
        other_tensors(lambda t, _: {"x": np.moveaxis(t["x"], 3, 1).reshape(t["x"].shape)}),
    ),
    Planted(
        "images-transposed",
        SQUARES,
        other_tensors(lambda t, _: {"x": t["x"].reshape(-1, 5, 5).swapaxes(1, 2).reshape(-1, 25)}),
    ),
    Planted(
        "columns-permuted", RELU, other_tensors(lambda t, _: {"x": t["x"][:, [3, 1, 2, 0, 5, 4]]})
    ),
    Planted(
        "rows-permuted", RELU, other_tensors(lambda t, _: {"x": t["x"][::-1], "y": t["y"][::-1]})
    ),
    Planted(
        "rows-permuted",
        RELU,
        other_tensors(lambda t, _: {"held.W1": t["held.W1"][[1, 2, 3, 4, 5, 0]]}),
    ),
    Planted("pixels-by-256", SQUARES, pixels(lambda p: p / 256)),
    Planted("pixels-not-divided", SQUARES, pixels(lambda p: p.astype(float))),
    Planted("not-normalised", NORMALISED, pixels(lambda p: p / 255)),
    Planted("normalised", SQUARES, pixels(lambda p: (p / 255 - 0.1307) / 0.3081), (0.1307, 0.3081)),
    Planted("labels-shifted", RELU, other_tensors(lambda t, _: {"y": t["y"] + 1})),
]


# -- loss ----------------------------------------------------------------------------------------


def times(factor: Callable[[int, int], float]) -> Worker:
    """factor(samples, outputs of one): what value and gradient are multiplied by."""

    def change(right, outputs, y):
        value, d = right(outputs, y)
        by = factor(len(outputs), outputs[0].size)
        return by * value, by * d

    return other_loss(change)


def numeric(loss: Callable[[Array, Array], float]) -> Worker:
    """A loss by its value; its gradient by complex steps."""

    def change(right, outputs, y):
        d = np.zeros_like(outputs)
        for place in np.ndindex(*outputs.shape):
            aside = outputs.astype(complex)
            aside[place] += 1e-30j
            d[place] = loss(aside, y).imag / 1e-30
        return float(loss(outputs.astype(complex), y).real), d

    return other_loss(change)


def cross_entropy(z: Array, y: Array) -> complex:
    return -np.mean(np.log(softmax(z))[np.arange(len(y)), y])


def smoothed(z: Array, y: Array) -> complex:
    share = 0.1 / z.shape[1] + 0.9 * (np.arange(z.shape[1]) == y[:, None])
    return -np.mean(np.sum(share * np.log(softmax(z)), axis=1))


def clip(p: Array, least: float, most: float = np.inf) -> Array:
    return np.where(p.real < least, least, np.where(p.real > most, most, p))


def binary(p: Array, y: Array, log: Callable[[Array], Array]) -> complex:
    return -np.sum(y * log(p) + (1 - y) * log(1 - p)) / len(y)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def with_term(factor: Callable[[str, Array], float], told: bool = False) -> Worker:
    """So many times the square of each tensor, halved, is added to the loss and to its gradient."""

    def worker(net, workload, state, batch):
        add = {n: factor(n, state[n]) for n in workload_names(workload)}
        bare = {} if told else {n: f * state[n] for n, f in add.items()}
        made = explaining.written(
            explaining.Composed(net), workload, state, batch,
            lambda g, p, _: {n: g[n] + bare[n] for n in bare},
        )  # fmt: skip
        more = sum(f / 2 * np.sum(state[n] ** 2) for n, f in add.items())
        return made | {key: made[key] + more for key in ("loss", "step loss")}

    return worker


def workload_names(workload):
    return [t.name for t in workload.trained]


def is_weight(name: str) -> bool:
    return name.startswith("W")


LOSS = [
    Planted("loss-sum", RELU, times(lambda n, k: n)),
    Planted("loss-sum", SUMMED, times(lambda n, k: 1 / n)),
    Planted("loss-elements", RELU, times(lambda n, k: 1 / k)),
    Planted(
        "loss-sum", RELU, other_tensors(lambda t, _: {n: 16 * t[n] for n in ("loss", "step loss")})
    ),
    Planted("loss-full-batch", RELU, times(lambda n, k: n / 16), n=10),
    Planted("loss-doubled", ONE, times(lambda n, k: 2)),
    Planted("loss-halved", RELU, times(lambda n, k: 0.5)),
    Planted("loss-factor", RELU, times(lambda n, k: 1.001), (1.001,)),
    Planted("loss-twice-normalised", RELU, numeric(lambda z, y: cross_entropy(softmax(z), y))),
    Planted("loss-twice-normalised", BINARY, numeric(lambda a, y: binary(sigmoid(a), y, np.log))),
    Planted(
        "loss-twice-normalised",
        LOGITS,
        numeric(lambda z, y: binary(sigmoid(sigmoid(z)), y, np.log)),
    ),
    Planted("label-smoothing", RELU, numeric(smoothed), (0.1,)),
    Planted(
        "label-smoothing", BINARY, numeric(lambda a, y: binary(a, 0.8 * y + 0.1, np.log)), (0.2,)
    ),
    Planted(
        "probability-clipped",
        RELU,
        numeric(
            lambda z, y: -np.mean(np.log(clip(softmax(z), 1e-7, 1 - 1e-7))[np.arange(len(y)), y])
        ),
        (1e-7,),
        scale=60,
    ),
    Planted(
        "probability-clipped",
        BINARY,
        numeric(lambda a, y: binary(a, y, lambda p: np.log(clip(p, 1e-4, 1 - 1e-4)))),
        (1e-4,),
        scale=20,
    ),
    Planted(
        "probability-clipped",
        LOGITS,
        numeric(lambda z, y: binary(sigmoid(z), y, lambda p: np.log(clip(p, 1e-4, 1 - 1e-4)))),
        (1e-4,),
        scale=9,
    ),
    Planted(
        "log-plus-eps",
        RELU,
        numeric(lambda z, y: -np.mean(np.log(softmax(z) + 1e-7)[np.arange(len(y)), y])),
        (1e-7,),
    ),
    Planted(
        "log-plus-eps",
        BINARY,
        numeric(lambda a, y: binary(a, y, lambda p: np.log(p + 1e-7))),
        (1e-7,),
    ),
    Planted("loss-broadcast", ONE, numeric(lambda z, y: np.mean((z - y.ravel()) ** 2) / 2)),
    Planted("l2-missing", DECAYING, with_term(lambda n, v: -0.03 * is_weight(n), told=True)),
    Planted("l2-missing", DECAYING, with_term(lambda n, v: -0.03 * is_weight(n))),
    Planted("l2-no-half", DECAYING, with_term(lambda n, v: 0.03 * is_weight(n))),
    Planted("l2-of-biases", DECAYING, with_term(lambda n, v: 0.03 * (not is_weight(n)))),
    Planted("l2-added", RELU, with_term(lambda n, v: 0.02 * is_weight(n)), (0.02,)),
    Planted(
        "float32-inside",
        RELU,
        other_tensors(
            lambda t, _: {key: np.array(float(np.float32(t[key]))) for key in ("loss", "step loss")}
        ),
    ),
]


# -- gradients -----------------------------------------------------------------------------------


def each(change: Callable[[Array, Array], Array]) -> Worker:
    return other_grads(
        lambda grads, state, batch: {n: change(g, state[n]) for n, g in grads.items()}
    )


def norm(*arrays: Array) -> float:
    return float(np.sqrt(sum(np.sum(a**2) for a in arrays)))


class Kinked(Relu, frozen=True):
    slope: float = 1.0

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:
        return d * np.where(keep["z"] > 0, 1.0, np.where(keep["z"] == 0, self.slope, 0.0))


def at_zero(slope: float) -> Worker:
    """A unit before each ReLU is exactly 0 in half of the samples."""
    right = other_layer(Relu, lambda _: Kinked(slope))

    def worker(net, workload, state, batch):
        state["W1"][:, 0], state["b1"][0] = 0.0, 0.0
        return right(net, workload, state, batch)

    return worker


def rounded_back(name: str) -> Worker:
    """Operands of the first weight's gradient are rounded: the last product of a step."""
    return lambda net, workload, state, batch: explaining.written(
        explaining.Composed(net).rounded(len(net.products(1)) - 1, ROUNDED[name]),
        *(workload, state, batch),
    )


SHALLOW = explaining.small(Dense("W1", "b1", 6, 5), Relu(), Dense("W2", "b2", 5, 3), x=(6,))
GRADIENTS = [
    Planted("gradient-missing", RELU, other_grads(lambda g, p, b: {"b2": 0 * g["b2"]})),
    Planted("gradient-factor", RELU, each(lambda g, p: 1.001 * g), (1.001,)),
    Planted("gradient-factor", RELU, other_grads(lambda g, p, b: {"W2": 2 * g["W2"]}), (2.0,)),
    Planted(
        "clipped-global-norm",
        RELU,
        other_grads(lambda g, p, b: {n: v * min(1, 0.1 / norm(*g.values())) for n, v in g.items()}),
        (0.1,),
    ),
    Planted("clipped-own-norm", RELU, each(lambda g, p: g * min(1, 0.03 / norm(g))), (0.03,)),
    Planted("clipped-by-value", RELU, each(lambda g, p: np.clip(g, -0.02, 0.02)), (0.02,)),
    Planted("relu-at-zero", SHALLOW, at_zero(1.0), (1.0,)),
    Planted("relu-at-zero", SHALLOW, at_zero(0.5), (0.5,)),
    Planted(
        "gradient-l2", RELU, other_grads(lambda g, p, b: {"W1": g["W1"] + 0.01 * p["W1"]}), (0.01,)
    ),
    Planted("gradient-l1", RELU, each(lambda g, p: g + 0.01 * np.sign(p)), (0.01,)),
    *(Planted(f"back-{name}", TANH, rounded_back(name), scale=1e-5) for name in ROUNDED),
    Planted("transposed", RELU, other_grads(lambda g, p, b: {"W2": g["W2"].T})),
    Planted("float32-inside", RELU, each(lambda g, p: g.astype(np.float32).astype(np.float64))),
]


# -- update --------------------------------------------------------------------------------------


def step(change: Callable[..., tuple[Array, State]], *names: str) -> Worker:
    """change(p, g, slots, o, t): the new tensor, and those of its slots that are others."""

    def stepping(o: Optimiser, state: State, grads: State) -> State:
        new = stepped(o, state, grads)
        for n, g in grads.items():
            if not names or n in names:
                slots = {
                    key.partition("/")[2]: v for key, v in state.items() if key.startswith(f"{n}/")
                }
                t = float(new["step"]) if "step" in new else 0.0
                p, others = change(state[n], g, slots, o, t)
                new |= {n: p} | {f"{n}/{slot}": value for slot, value in others.items()}
        return new

    return other_step(stepping)


def by_numbers(**numbers: float) -> Worker:
    """The same rule with other numbers."""

    def stepping(o: Optimiser, state: State, grads: State) -> State:
        others = {n: v for n, v in numbers.items() if n != "lr"}
        other = Optimiser(o.rule, numbers.get("lr", o.lr), o.numbers | others)
        return stepped(other, state, grads)

    return other_step(stepping)


def by_clipped(clip: Callable[[State], State], o: Optimiser, state: State, grads: State) -> State:
    """Clipped between the gradients, which are right, and the step."""
    return stepped(o, state, clip(grads))


def to_norm(grads: State, most: float, more: float) -> State:
    whole = np.sqrt(sum((g**2).sum() for g in grads.values()))
    return {n: g * min(1.0, most / (whole + more)) for n, g in grads.items()}


def inner_momentum(p, g, s, o, t):
    v = o.numbers["momentum"] * s["velocity"] + o.lr * g
    return p - v, {"velocity": v}


def inner_nesterov(p, g, s, o, t):
    v = o.numbers["momentum"] * s["velocity"] + o.lr * g
    return p - o.numbers["momentum"] * v - o.lr * g, {"velocity": v}


def added_momentum(p, g, s, o, t):
    v = o.numbers["momentum"] * s["velocity"] - o.lr * g
    return p + v, {"velocity": v}


def added_nesterov(p, g, s, o, t):
    v = o.numbers["momentum"] * s["velocity"] - o.lr * g
    return p + o.numbers["momentum"] * v - o.lr * g, {"velocity": v}


def dampened(p, g, s, o, t):
    v = 0.9 * s["velocity"] + 0.3 * g
    return p - o.lr * v, {"velocity": v}


def heavy_ball(p, g, s, o, t):
    v = o.numbers["momentum"] * s["velocity"] + g
    return p - o.lr * v, {"velocity": v}


def looking_ahead(p, g, s, o, t):
    v = o.numbers["momentum"] * s["velocity"] + g
    return p - o.lr * (g + o.numbers["momentum"] * v), {"velocity": v}


def mean_square(g, s, o):
    return o.numbers["rho"] * s["v"] + (1 - o.numbers["rho"]) * g**2


def moments(g, s, o):
    b1, b2 = o.numbers["beta1"], o.numbers["beta2"]
    return b1 * s["m"] + (1 - b1) * g, b2 * s["v"] + (1 - b2) * g**2


def decayed(o, p):
    return o.lr * o.numbers.get("decay", 0.0) * p


def rms_in_root(p, g, s, o, t, eps=None):
    v = mean_square(g, s, o) if o.rule == "rmsprop" else s["v"] + g**2
    return p - o.lr * g / np.sqrt(v + (eps or o.numbers["eps"])), {}


def adam_in_root(p, g, s, o, t, eps=None):
    m, v = moments(g, s, o)
    m, v = m / (1 - o.numbers["beta1"] ** t), v / (1 - o.numbers["beta2"] ** t)
    return p - decayed(o, p) - o.lr * m / np.sqrt(v + (eps or o.numbers["eps"])), {}


def keras_adam(p, g, s, o, t, eps=None):
    m, v = moments(g, s, o)
    alpha = o.lr * np.sqrt(1 - o.numbers["beta2"] ** t) / (1 - o.numbers["beta1"] ** t)
    return p - decayed(o, p) - alpha * m / (np.sqrt(v) + (eps or o.numbers["eps"])), {}


def uncorrected(p, g, s, o, t):
    m, v = moments(g, s, o)
    return p - o.lr * m / (np.sqrt(v) + o.numbers["eps"]), {}


def with_decay(
    rule: Callable[..., Optimiser], more: Callable[..., Array], coupled: bool, *names: str
) -> Worker:
    """more(p): added to the gradient, or (times lr) to what is taken."""

    def stepping(o: Optimiser, state: State, grads: State) -> State:
        add = {n: more(state[n]) if not names or n in names else 0.0 for n in grads}
        if coupled:
            return stepped(o, state, {n: g + add[n] for n, g in grads.items()})
        new = stepped(o, state, grads)
        return new | {n: new[n] - o.lr * add[n] for n in grads}

    return other_step(stepping)


def bare(decays: float, times_lr: bool = True, coupled: bool = False) -> Worker:
    """AdamW's decay by hand."""

    def stepping(o: Optimiser, state: State, grads: State) -> State:
        plain = Optimiser("adam", o.lr, {n: v for n, v in o.numbers.items() if n != "decay"})
        if coupled:
            return stepped(plain, state, {n: g + decays * state[n] for n, g in grads.items()})
        new = stepped(plain, state, grads)
        factor = decays * (o.lr if times_lr else 1.0)
        return new | {n: new[n] - factor * state[n] for n in grads}

    return other_step(stepping)


def running(change: Callable[[float, Array, Array, str], Array]) -> Worker:
    """change(m, old, batch's own, "mean" or "var"): the running tensors after a step."""

    def worker(net, workload, state, batch):
        made = explaining.written(explaining.Composed(net), workload, state, batch)
        z = batch["x"] @ state["W1"] + state["b1"]
        own = {"mean": z.mean(0), "var": z.var(0, ddof=1)}
        return made | {f"new.{n}": change(0.9, state[n], own[n], n) for n in own}

    return worker


HEAVY, LOOKING, RMS, ADA, ADAM, ADAMW, DECAY = (
    hidden(Tanh(), one)
    for one in (
        momentum(0.1), nesterov(0.1), rmsprop(0.01, eps=1e-3), adagrad(0.1, eps=1e-3),
        adam(0.01, eps=1e-3), adamw(0.01, eps=1e-3), decay(0.1, 0.05),
    )
)  # fmt: skip
UPDATE = [
    Planted("lr-factor", RELU, by_numbers(lr=0.1001), (1.001,)),
    Planted("lr-factor", ADAM, by_numbers(lr=0.02), (2.0,)),
    Planted("not-updated", RELU, step(lambda p, g, s, o, t: (p, {}), "W2")),
    Planted("lr-in-velocity", HEAVY, step(inner_momentum)),
    Planted("lr-in-velocity", LOOKING, step(inner_nesterov)),
    Planted("lr-in-velocity-added", HEAVY, step(added_momentum)),
    Planted("lr-in-velocity-added", LOOKING, step(added_nesterov)),
    Planted("dampened", HEAVY, step(dampened), (0.7,)),
    Planted("nesterov-or-not", HEAVY, step(looking_ahead)),
    Planted("nesterov-or-not", LOOKING, step(heavy_ball)),
    *(Planted("eps-in-root", declared, step(rms_in_root)) for declared in (RMS, ADA)),
    Planted("eps-in-root", ADAM, step(adam_in_root)),
    *(
        Planted("other-eps-in-root", declared, step(partial(change, eps=1e-7)), (1e-7,))
        for declared, change in ((RMS, rms_in_root), (ADA, rms_in_root), (ADAM, adam_in_root))
    ),
    Planted("other-eps", RMS, by_numbers(eps=1e-5), (1e-5,)),
    Planted("other-eps", ADAM, by_numbers(eps=1e-7), (1e-7,)),
    Planted(
        "centred",
        RMS,
        step(
            lambda p, g, s, o, t: (
                p - o.lr * g / (np.sqrt(mean_square(g, s, o) - (0.1 * g) ** 2) + o.numbers["eps"]),
                {},
            )
        ),
    ),
    *(Planted("eps-hat", declared, step(keras_adam)) for declared in (ADAM, ADAMW)),
    *(
        Planted("other-eps-hat", declared, step(partial(keras_adam, eps=1e-7)), (1e-7,))
        for declared in (ADAM, ADAMW)
    ),
    Planted("no-bias-correction", ADAM, step(uncorrected)),
    Planted("betas-swapped", ADAM, by_numbers(beta1=0.999, beta2=0.9)),
    Planted("slots-at-start", HEAVY, step(lambda p, g, s, o, t: (p - o.lr * g, {"velocity": g}))),
    Planted(
        "slots-at-start",
        ADAM,
        other_step(
            lambda o, state, grads: stepped(
                o, state | {n: 0 * v for n, v in state.items() if "/" in n or n == "step"}, grads
            )
        ),
    ),
    Planted(
        "adagrad-start",
        ADA,
        step(
            lambda p, g, s, o, t: (
                p - o.lr * g / (np.sqrt(s["v"] + 0.1 + g**2) + o.numbers["eps"]),
                {"v": s["v"] + 0.1 + g**2},
            )
        ),
        (0.1,),
    ),
    Planted(
        "decay-coupled", RELU, with_decay(adam, lambda p: 0.01 * p, True, "W1", "W2", "W3"), (0.01,)
    ),
    Planted("decay-coupled", HEAVY, with_decay(adam, lambda p: 0.01 * p, True), (0.01,)),
    Planted("decay-coupled", ADAM, with_decay(adam, lambda p: 0.01 * p, True), (0.01,)),
    Planted("decay-decoupled", HEAVY, with_decay(adam, lambda p: 0.02 * p, False), (0.02,)),
    Planted("decay-decoupled", ADAM, with_decay(adam, lambda p: 0.02 * p, False), (0.02,)),
    Planted(
        "decay-missing", DECAY, with_decay(decay, lambda p: -0.05 * p, False, "W1", "W2", "W3")
    ),
    Planted("decay-missing", ADAMW, bare(0.0)),
    Planted("decay-not-times-lr", ADAMW, bare(0.01, times_lr=False)),
    Planted("decay-of-adam-coupled", ADAMW, bare(0.01, coupled=True)),
    Planted(
        "decay-of-biases", DECAY, with_decay(decay, lambda p: 0.05 * p, False, "b1", "b2", "b3")
    ),
    Planted("other-decay", ADAMW, bare(0.04), (0.04,)),
    Planted("other-decay", DECAY, by_numbers(decay=0.1), (0.1,)),
    Planted("l1", HEAVY, with_decay(adam, lambda p: 0.01 * np.sign(p), True), (0.01,)),
    Planted("running-swapped", NORMED, running(lambda m, old, new, n: (1 - m) * old + m * new)),
    Planted("running-not-updated", NORMED, running(lambda m, old, new, n: old)),
    Planted(
        "running-weight", NORMED, running(lambda m, old, new, n: 0.99 * old + 0.01 * new), (0.99,)
    ),
    Planted(
        "running-over-n",
        NORMED,
        running(lambda m, old, new, n: m * old + (1 - m) * new * (15 / 16 if n == "var" else 1)),
    ),
    *(
        Planted(hypothesis, declared, other_step(partial(by_clipped, clip)), (most,))
        for declared in (RELU, HEAVY, RMS, ADAM)
        for hypothesis, clip, most in (
            ("clipped-global-norm", lambda g: to_norm(g, 0.1, 0.0), 0.1),
            ("clipped-global-norm", lambda g: to_norm(g, 0.1, 1e-6), 0.1),
            (
                "clipped-own-norm",
                lambda g: {n: to_norm({n: v}, 0.03, 0.0)[n] for n, v in g.items()},
                0.03,
            ),
            (
                "clipped-by-value",
                lambda g: {n: np.clip(v, -0.02, 0.02) for n, v in g.items()},
                0.02,
            ),
        )
    ),
    Planted(
        "float32-inside",
        RELU,
        other_tensors(
            lambda t, _: {
                key: v.astype(np.float32).astype(np.float64)
                for key, v in t.items()
                if key.startswith("new.")
            }
        ),
    ),
]
PLANTED = [*INPUTS, *FORWARD, *LOSS, *GRADIENTS, *UPDATE]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.hypothesis)
def test_a_planted_convention_is_named_with_its_number_and_nothing_else_is(
    planted: Planted,
) -> None:
    found = explaining.explained(planted.declared, planted.worker, planted.n)
    assert [[part.hypothesis.id for part in one] for one in found] == [[planted.hypothesis]]
    numbers = [n.value for n in found[0][0].prediction.numbers]
    assert numbers == pytest.approx(list(planted.numbers), rel=1e-2)


# -- lockstep ------------------------------------------------------------------------------------


def follow(
    declared: Declared, grads_of: Callable[..., State], times: Callable[[int], int] = lambda _: 1
):
    """The state after a step, by gradients of the step's number and of all gradients so far."""

    def after(number: int, states: list[State], grads: list[State]) -> State:
        held = states[-1]
        for _ in range(times(number)):
            held = stepped(declared.workload.optimiser, held, grads_of(number, states, grads))
        return held

    return after


def right(number, states, grads):
    return grads[-1]


def of_state_before(number, states, grads):
    at = states[-2] if number else states[-1]
    return explaining.Composed(HEAVY.net).look(at, explaining.batch_of(HEAVY, number)).grads


def slots_anew(number, states, grads):
    bare = {n: 0 * v if "/" in n else v for n, v in states[-1].items()}
    return stepped(HEAVY.workload.optimiser, bare, grads[-1])


LOCKSTEP = {
    "stale-gradients": (follow(HEAVY, lambda t, states, grads: grads[max(t - 1, 0)]), ()),
    "stale-parameters": (follow(HEAVY, of_state_before), ()),
    "gradients-added-up": (
        follow(HEAVY, lambda t, states, grads: {n: sum(g[n] for g in grads) for n in grads[-1]}),
        (),
    ),
    "slots-anew": (slots_anew, ()),
    "step-skipped": (follow(HEAVY, right, lambda t: t == 0 or t % 4 > 0), (4.0,)),
    "step-twice": (follow(HEAVY, right, lambda t: 1 + (t % 3 == 2)), (3.0,)),
}


@pytest.mark.parametrize("hypothesis", LOCKSTEP)
def test_a_planted_way_from_step_to_step_is_named_and_nothing_else_is(hypothesis: str) -> None:
    after, numbers = LOCKSTEP[hypothesis]
    (found,) = search.find(explaining.trained(HEAVY, after))
    assert [part.hypothesis.id for part in found] == [hypothesis]
    assert [n.value for n in found[0].prediction.numbers] == list(numbers)


def test_a_training_that_goes_astray_otherwise_is_explained_by_none() -> None:
    drifting = follow(
        HEAVY, lambda t, states, grads: {n: g * (1 + 1e-3 * t) for n, g in grads[-1].items()}
    )
    once = follow(HEAVY, right, lambda t: t != 5)
    for after in (drifting, once):
        looked = explaining.trained(HEAVY, after)
        assert looked.off
        assert search.find(looked) == []


def test_every_hypothesis_is_planted() -> None:
    assert {h.id for h in TABLE} == {p.hypothesis for p in PLANTED} | {*LOCKSTEP}
    assert len({h.id for h in TABLE}) == len(TABLE)


# -- two at once ---------------------------------------------------------------------------------


def test_two_tensors_that_need_different_conventions_are_told_as_one_explanation() -> None:
    worker = other_tensors(lambda t, p: {"grad.W1": 2 * t["grad.W1"], "grad.b2": 0 * t["grad.b2"]})
    (found,) = explaining.explained(RELU, worker)
    told = search.told(found)
    assert {*told.hypothesis.split(" + ")} == {"gradient-factor", "gradient-missing"}
    assert "the gradient is 2 times what it should be, in W1" in told.sentence
    assert "the gradient is 0, in b2" in told.sentence
    assert told.numbers == pytest.approx([2.0])


def test_two_layers_that_need_different_conventions_are_told_too() -> None:
    layers = [*RELU.net.layers]
    layers[1] = function(lambda x: np.maximum(x, 0.2 * x))(layers[1])
    layers[2] = msgspec.structs.replace(layers[2], bias="")
    other = explaining.Composed(msgspec.structs.replace(RELU.net, layers=tuple(layers)))
    (found,) = explaining.explained(RELU, lambda net, *given: explaining.written(other, *given))
    assert [part.hypothesis.id for part in found] == ["leaky-slope", "bias-missing"]
    assert search.told(found).sentence == (
        "the ReLU has slope 0.2 below 0, in h1; and the bias is not added, in z2"
    )


def test_one_convention_in_two_layers_is_told_once_with_both() -> None:
    layers = [
        function(lambda x: np.maximum(x, 0.2 * x))(one) if isinstance(one, Relu) else one
        for one in RELU.net.layers
    ]
    other = explaining.Composed(msgspec.structs.replace(RELU.net, layers=tuple(layers)))
    (found,) = explaining.explained(RELU, lambda net, *given: explaining.written(other, *given))
    assert search.told(found).sentence == "the ReLU has slope 0.2 below 0, in h1, h2"


def test_dropout_that_scales_the_evaluation_and_no_step_is_told_in_both() -> None:
    worker = other_layer(Dropout, instead(evaluated))
    (found,) = explaining.explained(dropping(0.3), showing_none(worker))
    assert search.told(found).sentence == (
        "dropout scales the evaluation by 1 - p, in outputs; and what dropout leaves is not "
        "scaled, in outputs, training"
    )


# -- what no convention explains -----------------------------------------------------------------


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def noisy(size: float) -> Callable[[Array], Array]:
    return lambda value: value * (1 + size * rng().standard_normal(value.shape))


def wrong_rows(value: Array) -> Array:
    """From the tenth sample on they are those of the one before."""
    return np.concatenate([value[:9], value[8:-1]])


def drift(value: Array) -> Array:
    return value * (1 + 1e-3 * np.arange(value.size).reshape(value.shape))


def one_off(value: Array) -> Array:
    other = value.copy()
    other.flat[np.abs(other).argmax()] *= 1.5
    return other


def nearly(value: Array) -> Array:
    """A factor, and a little that none explains."""
    return value * 1.25 + 1e-9 * np.abs(value).max() * np.cos(np.arange(value.size)).reshape(
        value.shape
    )


def bumped(x: Array) -> Array:
    """A ReLU with a GELU's bump."""
    return np.maximum(x, 0.0) + 4e-4 * x * np.exp(-(x**2))


def value(change: Callable[[Array], Array], *keys: str) -> Worker:
    return other_tensors(lambda t, _: {key: np.asarray(change(t[key])) for key in keys})


def all_of(prefix: str, change: Callable[[Array], Array]) -> Worker:
    return other_tensors(lambda t, _: {k: change(v) for k, v in t.items() if k.startswith(prefix)})


def half_leaky(x: Array) -> Array:
    return np.where(x > 0, x, np.where(x > -0.5, 0.01, 0.02) * x)


def half_frozen(layers: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The first batch norm and the last dropout are as in evaluation."""
    names = [getattr(one, "gamma", getattr(one, "name", "")) for one in layers]
    frozen = instead(lambda one, x, at: one.run(x, replace(at, training=False), {}))
    return tuple(
        frozen(one) if name in ("g1", "U2") else one
        for one, name in zip(layers, names, strict=True)
    )


OUTSIDE: dict[str, tuple[Declared, Worker]] = {
    "a bump of a GELU's size": (RELU, other_layer(Relu, function(bumped))),
    "a GELU, by tanh, in a ReLU's place": (
        RELU,
        other_layer(
            Relu,
            function(lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        ),
    ),
    "two slopes below 0": (RELU, other_layer(Relu, function(half_leaky))),
    "a kernel that is wrong from sample 9 on": (
        CONV,
        other_layer(Conv, instead(lambda one, x, at: wrong_rows(conv_by_hand(one, x, at)))),
    ),
    "noise of 1e-3 on a value": (TANH, other_layer(Tanh, function(noisy(1e-3)))),
    "noise of 1e-6 on a value": (
        TANH,
        other_layer(
            Dense, instead(lambda one, x, at: noisy(1e-6)(x @ at.state["W2"] + at.state["b2"])), 1
        ),
    ),
    "one element of a value off": (
        TANH,
        other_layer(Tanh, function(lambda x: one_off(np.tanh(x)))),
    ),
    "a bias that is halved": (
        RELU,
        other_layer(Dense, instead(lambda one, x, at: x @ at.state["W1"] + at.state["b1"] / 2)),
    ),
    "an ε per channel": (
        NORMED,
        other_layer(
            BatchNorm, instead(lambda one, x, at: by_batch(one, x, at) * (1 - 1e-5 * np.arange(5)))
        ),
    ),
    "a mask one element too late": (
        NORMED,
        other_layer(Dropout, dropout(lambda u, p: np.roll(u >= p, 1, axis=1) / (1 - p))),
    ),
    "a mask of what to drop, scaled as one of what to keep": (
        dropping(0.3),
        other_layer(Dropout, dropout(lambda u, p: (u < p) / (1 - p))),
    ),
    "one batch norm of two and one dropout of two in the other mode": (
        TWICE_NORMED,
        showing_none(
            lambda net, *given: explaining.written(
                explaining.Composed(msgspec.structs.replace(net, layers=half_frozen(net.layers))),
                *given,
            )
        ),
    ),
    "a pixel of x off": (IMAGES, value(one_off, "x")),
    "x as a float16 has it": (RELU, value(lambda x: x.astype(np.float16).astype(float), "x")),
    "labels of two classes exchanged": (
        RELU,
        value(lambda y: np.where(y == 0, 1, np.where(y == 1, 0, y)), "y"),
    ),
    "a row of a weight off": (RELU, value(lambda w: np.vstack([2 * w[:1], w[1:]]), "held.W1")),
    "a loss that is told 1e-3 too large": (RELU, value(lambda v: 1.001 * v, "loss", "step loss")),
    "a loss that only a step tells wrong": (RELU, value(lambda v: v + 0.1, "step loss")),
    "a gradient with a factor that drifts": (RELU, value(drift, "grad.W1", "grad.W2")),
    "a gradient with one element off": (RELU, value(one_off, "grad.W2")),
    "gradients with noise of 1e-3": (RELU, all_of("grad.", noisy(1e-3))),
    "gradients with noise of 5e-4, as TF32's": (TANH, all_of("grad.", noisy(5e-4))),
    "a gradient that is nearly a factor": (RELU, value(nearly, "grad.W1")),
    "a gradient whose columns all have factors": (
        RELU,
        value(lambda g: g * np.linspace(1, 2, g.shape[1]), "grad.W1"),
    ),
    "three tensors, three faults": (
        RELU,
        other_tensors(
            lambda t, p: {
                "grad.W1": 2 * t["grad.W1"],
                "grad.W2": t["grad.W2"] + p["W2"],
                "grad.W3": 0 * t["grad.W3"],
            }
        ),
    ),
    "an update with noise": (
        RELU,
        other_tensors(lambda t, p: {"new.W1": p["W1"] + noisy(1e-4)(t["new.W1"] - p["W1"])}),
    ),
    "an update with one element off": (HEAVY, value(one_off, "new.W2")),
    "a velocity that is not decayed": (
        HEAVY,
        step(
            lambda p, g, s, o, t: (p - o.lr * (s["velocity"] + g), {"velocity": s["velocity"] + g})
        ),
    ),
    "an ε that differs by tensor": (
        RMS,
        step(
            lambda p, g, s, o, t: (p - o.lr * g / (np.sqrt(mean_square(g, s, o)) + 1e-2 * p**2), {})
        ),
    ),
    "an ε inside the root and one outside": (
        RMS,
        step(
            lambda p, g, s, o, t: (
                p - o.lr * g / (np.sqrt(mean_square(g, s, o) + 1e-3) + 1e-3),
                {},
            )
        ),
    ),
    "a velocity that is added and has no learning rate": (
        HEAVY,
        step(
            lambda p, g, s, o, t: (
                p + o.lr * (0.9 * s["velocity"] - g),
                {"velocity": 0.9 * s["velocity"] - g},
            )
        ),
    ),
    "a β2 of its own": (ADAM, by_numbers(beta2=0.99)),
    "a running mean with noise": (NORMED, value(noisy(1e-3), "new.mean")),
}


@pytest.mark.parametrize("fault", OUTSIDE)
def test_a_fault_outside_the_table_is_named_by_none(fault: str) -> None:
    declared, worker = OUTSIDE[fault]
    looked = explaining.seen(declared, worker, 1)
    assert looked.off
    found = [search.told(one).sentence for one in search.find(looked)]
    assert found == []


def test_a_formulas_own_rounding_is_left_beside_the_limit_and_no_more() -> None:
    """As where a probability near 1 is off by its last place: it decides what gradients are."""
    first = explaining.seen(RELU, other_tensors(lambda t, p: {"grad.W1": 2 * t["grad.W1"]}), 1)
    ((key, one),) = first.off.items()
    near = {key: np.asarray(first.tensors[key] * (1 + 10 * one.limit))}
    for rounding, found in (({}, {}), ({key: 11 * one.limit}, {key})):
        left = search._left(first, Prediction(near, rounding=rounding))
        assert {*left} == {*found}


# -- the page ------------------------------------------------------------------------------------


def test_the_page_of_conventions_is_what_the_table_gives():
    """`python -m harness.explain.page > docs/conventions.md` makes it again."""
    committed = (Path(__file__).parent.parent / "docs" / "conventions.md").read_text("utf-8")
    assert committed == page.render()
    assert [len(re.findall(rf"^\| `{h.id}`<br>", committed, re.MULTILINE)) for h in TABLE] == [
        1
    ] * len(TABLE)
    assert "{" not in committed
    for row in [line for line in committed.splitlines() if line.startswith("|")]:
        assert len(re.findall(r"(?<!\\)\|", row)) == 6, row


def test_a_row_that_changes_changes_the_page():
    for field in ("sentence", "here", "there", "by", "where"):
        other = replace(TABLE[40], **{field: "by | another <b>"})
        assert page.render((*TABLE[:40], other, *TABLE[41:])) != page.render()
        assert r"by \| another \<b\>" in page.render([other])


OWN_NUMBERS = {
    "lr-factor": by_numbers(),
    "other-eps": by_numbers(),
    "other-decay": by_numbers(),
    "other-eps-in-root": step(adam_in_root),
    "other-eps-hat": step(keras_adam),
}


@pytest.mark.parametrize("id_", OWN_NUMBERS)
def test_the_number_that_is_declared_is_no_other_one(id_: str) -> None:
    """A step that is right but for rounding fits every rule, with its own number."""
    (rule,) = (one for one in TABLE if one.id == id_)
    off, own = (
        explaining.seen(ADAMW, by_numbers(lr=0.02), 1),
        explaining.seen(ADAMW, OWN_NUMBERS[id_], 1),
    )
    sites = [*off.off]
    assert [*rule.predict(off, sites)] or id_ != "lr-factor"
    assert [*rule.predict(replace(off, tensors=own.tensors), sites)] == []
