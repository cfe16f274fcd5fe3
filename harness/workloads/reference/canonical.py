"""The numbers every backend shares: initial parameters, batch order, schedule, metrics.

This code exists once, in NumPy, outside the backends. A comparison between backends cannot see a
mistake in it, so `harness/run/known_answers.py` pins it, and every session checks that first.
Imports NumPy and the interface; no framework.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from harness.interface import Array, State, Tensor, Workload


class Slot(NamedTuple):
    """One step of a schedule: rows [start, stop) of the order of `epoch`."""

    epoch: int
    start: int
    stop: int


def digest(array: Array) -> str:
    """SHA-256 (hex) of an array's bytes: little-endian, C order. Shape and dtype are not in it."""
    little = np.asarray(array).astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return hashlib.sha256(little.tobytes()).hexdigest()


def initial_state(workload: Workload, seed: int) -> State:
    """The state every dtype starts from: float32, in the workload's order."""
    return drawn(workload.tensors, seed)


def drawn(tensors: Iterable[Tensor], seed: int) -> State:
    """Tensors as they start, float32, one after another.

    Drawn from `default_rng([seed, 0])` in float64 and rounded once; "normal":
    `standard_normal(shape) * scale`, "uniform": `random(shape) * (2 * scale) - scale`, "unit":
    `random(shape) * scale`; the others draw nothing.
    """
    rng = np.random.default_rng([seed, 0])
    draw: dict[str, Callable[[tuple[int, ...], float], Array]] = {
        "normal": lambda shape, scale: rng.standard_normal(shape) * scale,
        "uniform": lambda shape, scale: rng.random(shape) * (2 * scale) - scale,
        "unit": lambda shape, scale: rng.random(shape) * scale,
        "zeros": lambda shape, _: np.zeros(shape),
        "ones": lambda shape, _: np.ones(shape),
    }

    def started(tensor: Tensor) -> Array:
        if tensor.init == "values":
            return np.reshape(tensor.values, tensor.shape)
        return draw[tensor.init](tensor.shape, tensor.scale)

    return {tensor.name: started(tensor).astype(np.float32) for tensor in tensors}


def epoch_order(seed: int, epoch: int, n: int, batch_size: int = 1) -> Array:
    """The order of the n training samples in one epoch: int64 (n,); file order for one batch."""
    if batch_size >= n:
        return np.arange(n)
    return np.random.default_rng([seed, 1, epoch]).permutation(n)


def noise(workload: Workload, seed: int, step: int, n: int) -> State:
    """What a step's batch of n samples brings of random numbers: float32 from 0 to 1, by name."""
    if not workload.noise:
        return {}
    rng = np.random.default_rng([seed, 3, step])
    return {t.name: rng.random((n, *t.shape)).astype(np.float32) for t in workload.noise}


def schedule(n: int, batch_size: int, epochs: int, steps: int | None = None) -> list[Slot]:
    """Every step of a training: the epochs' batches in order, short last batches kept.

    With `steps`, only the first `steps` full batches of epoch 0, then its short batch if any; where
    a batch is all rows, the first `steps` epochs.
    """
    one_epoch = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    if steps is None or batch_size == n:
        return [Slot(epoch, *rows) for epoch in range(epochs) for rows in one_epoch][:steps]
    full = [Slot(0, *rows) for rows in one_epoch if rows[1] - rows[0] == batch_size]
    short = [Slot(0, *rows) for rows in one_epoch if rows[1] - rows[0] < batch_size]
    return full[:steps] + short


def epoch_loss(losses: Array, rows: Array) -> float:
    """Mean loss of an epoch in nats: sum of per-sample losses / samples.

    losses: float64 (steps,), mean loss of each batch; rows: int (steps,), samples of each.
    """
    return float(np.dot(losses, rows) / np.sum(rows))


def accuracy(predicted: Array, labels: Array) -> float:
    """Share of predicted classes (n,) that are the labels (n,); -1 is right nowhere."""
    return float(np.count_nonzero(predicted == labels) / len(labels))
