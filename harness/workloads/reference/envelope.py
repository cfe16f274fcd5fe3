"""How far correct float32 training strays from float64: replicas of the reference in float32.

A replica trains in float32 under changes that are exact in real arithmetic: units of an axis (for
the MLP: inputs and hidden units) and the samples of each batch are permuted. Only the order of
sums differs, as it does between frameworks; a backend must stay within a factor of the furthest
replica. Uses no backend. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.interface import Array, Params, Workload
from harness.workloads.reference.pieces import Reference, cast, sgd
from harness.workloads.reference.screening import screen


class Replica:
    """The workload's parameters under one drawing of permutations.

    Number 0 is the reference as it stands; the others are drawn from
    default_rng([seed, 2, number]).
    """

    def __init__(self, workload: Workload, seed: int, number: int) -> None:
        self._workload = workload
        self._rng = np.random.default_rng([seed, 2, number]) if number else None
        sizes = {
            axis: size
            for parameter in workload.parameters
            for axis, size in zip(parameter.axes, parameter.shape, strict=True)
        }
        self.orders = {
            axis: self.samples(sizes[axis]) for axis in workload.symmetries if axis in sizes
        }

    def samples(self, n: int) -> Array:
        """The order of the n samples of the next batch."""
        return np.arange(n) if self._rng is None else self._rng.permutation(n)

    def permuted(self, params: Params) -> Params:
        """Parameters in the replica's order of units, as copies."""
        return self._taken(params, self.orders)

    def restored(self, params: Params) -> Params:
        """Parameters of the replica in canonical order, as copies."""
        inverse = {axis: np.argsort(order) for axis, order in self.orders.items()}
        return self._taken(params, inverse)

    def _taken(self, params: Params, orders: dict[str, Array]) -> Params:
        taken = {}
        for parameter in self._workload.parameters:
            value = params[parameter.name]
            for number, axis in enumerate(parameter.axes):
                if axis in orders:
                    value = np.take(value, orders[axis], axis=number)
            taken[parameter.name] = np.array(value, order="C")
        return taken

    def inputs(self, x: Array) -> Array:
        """x: (n, inputs) with its columns in the replica's order."""
        order = self.orders.get("inputs")
        return x if order is None else x[:, order]


def train_replica(
    reference: Reference,
    workload: Workload,
    initial: Params,
    batches: Callable[[int], tuple[Array, Array]],
    after: list[int],
    replica: Replica,
) -> dict[int, Params]:
    """Train one replica in float32; its parameters after each of `after` steps, canonical order.

    initial: float32; batches(step): x float32 (n, inputs) and y int64 (n,).
    """
    params = replica.permuted(initial)
    trained = {}
    for step in range(max(after)):
        x, y = batches(step)
        samples = replica.samples(len(y))
        _, grads = reference.loss_and_grads(params, replica.inputs(x[samples]), y[samples])
        sgd(params, grads, workload.lr)
        if step + 1 in after:
            trained[step + 1] = replica.restored(params)
    return trained


def clear_batches(
    reference: Reference,
    workload: Workload,
    initial: Params,
    x: Array,
    y: Array,
    order: Array,
    steps: int,
    clearance: float,
) -> tuple[list[Array], list[int]]:
    """Rows of the first `steps` full batches with no sample near a kink; how many were replaced.

    The float64 reference trains along: a sample with a pre-activation |z| < clearance at its
    parameters gives its place to the next of the order that has none. x: float32 (n, inputs),
    y: int64 (n,), order: int64 (n,). ValueError where the order has too few.
    """
    params = cast(initial)
    size = workload.batch_size
    batches, replaced = [], []

    def clear(rows: Array) -> Array:
        far: Array = reference.kink_distance(params, x[rows].astype(np.float64)) >= clearance
        return far

    for step in range(steps):
        rows, count = screen(order, step * size, (step + 1) * size, clear)
        _, grads = reference.loss_and_grads(params, x[rows].astype(np.float64), y[rows])
        sgd(params, grads, workload.lr)
        batches.append(rows)
        replaced.append(count)
    return batches, replaced
