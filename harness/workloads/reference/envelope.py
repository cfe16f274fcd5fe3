"""How far correct float32 training strays from float64: replicas of the reference in float32.

A replica trains in float32 under changes that are exact in real arithmetic: units of an axis (for
the MLP: inputs and hidden units) and the samples of each batch are permuted. Only the order of
sums differs, as it does between frameworks; a backend must stay within a factor of the furthest
replica. Uses no backend. Imports NumPy; no framework.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.interface import Array, State, Tensor, Workload
from harness.workloads.reference.canonical import Slot
from harness.workloads.reference.composed import Reference, cast
from harness.workloads.reference.optimisers import stepped
from harness.workloads.reference.screening import screen


class Replica:
    """The workload's state under one drawing of permutations.

    Number 0 is the reference as it stands; the others are drawn from
    default_rng([seed, 2, number]), and every second one steps in the other order (see `stepped`).
    """

    def __init__(self, workload: Workload, seed: int, number: int) -> None:
        self._workload = workload
        self.decayed_first = number % 2 == 1
        self._rng = np.random.default_rng([seed, 2, number]) if number else None
        sizes = {}
        for tensor in workload.tensors:
            for axis, length in zip(tensor.axes, tensor.shape, strict=bool(tensor.axes)):
                blocks, name = _blocks(axis)
                sizes[name] = length // blocks
        self.orders = {
            axis: self.samples(sizes[axis]) for axis in workload.symmetries if axis in sizes
        }

    def samples(self, n: int) -> Array:
        """The order of the n samples of the next batch."""
        return np.arange(n) if self._rng is None else self._rng.permutation(n)

    def permuted(self, state: State) -> State:
        """A state in the replica's order of units, as copies; only what is there."""
        return _taken(self._workload.tensors, state, self.orders)

    def restored(self, state: State) -> State:
        """A state of the replica in canonical order, as copies; only what is there."""
        inverse = {axis: np.argsort(order) for axis, order in self.orders.items()}
        return _taken(self._workload.tensors, state, inverse)

    def batch(self, batch: State, samples: Array) -> State:
        """Rows of a batch; x's last axis and the units of noise in the replica's order."""
        taken = {name: value[samples] for name, value in batch.items()}
        order = self.orders.get("inputs")
        x = {} if order is None else {"x": taken["x"][..., order]}
        return taken | x | _taken(self._workload.noise, taken, self.orders, first=1)


def _taken(
    tensors: tuple[Tensor, ...], values: State, orders: dict[str, Array], first: int = 0
) -> State:
    """Those that are there with every axis of these orders taken so; first: axes before theirs."""
    taken = {}
    for tensor in tensors:
        if tensor.name not in values:
            continue
        value = values[tensor.name]
        for number, axis in enumerate(tensor.axes, first):
            blocks, name = _blocks(axis)
            if name in orders:
                value = np.take(value, _in_blocks(orders[name], blocks), axis=number)
        taken[tensor.name] = np.array(value, order="C")
    return taken


def _blocks(axis: str) -> tuple[int, str]:
    """How many blocks of which units an axis counts: "25*units2" or "units2"."""
    blocks, star, name = axis.rpartition("*")
    return (int(blocks), name) if star else (1, name)


def _in_blocks(order: Array, blocks: int) -> Array:
    """An order of units, in each of so many blocks of them."""
    return (np.arange(blocks)[:, None] * len(order) + order).ravel()


def asymmetry(reference: Reference, workload: Workload, state: State, batch: State) -> float:
    """By how much permuting units moves a loss that it should leave alone, relative to it.

    state, batch: float64. Rounding comes to 1e-15; a symmetry that is none shows as much more, and
    limits made of such replicas would hold nothing.
    """
    replica = Replica(workload, 0, 1)
    samples = replica.samples(len(batch["x"]))
    moved = reference.look(replica.permuted(state), replica.batch(batch, samples)).loss
    loss = reference.look(state, batch).loss
    return abs(moved - loss) / max(abs(loss), np.finfo(np.float64).tiny)


def train_replica(
    reference: Reference,
    workload: Workload,
    initial: State,
    batches: Callable[[int], State],
    after: list[int],
    replica: Replica,
    losses: list[float] | None = None,
) -> dict[int, State]:
    """Train one replica; its state after each of `after` steps, in canonical order.

    initial, batches(step): of the dtype that it computes in, float32 for the envelope. losses:
    gets the loss before each step, where it is given.
    """
    state = replica.permuted(initial)
    trained = {}
    for step in range(max(after)):
        batch = batches(step)
        samples = replica.samples(len(batch["x"]))
        look = reference.look(state, replica.batch(batch, samples))
        state = stepped(
            *(workload.optimiser, state | look.running, look.grads),
            decayed_first=replica.decayed_first,
        )
        if losses is not None:
            losses.append(look.loss)
        if step + 1 in after:
            trained[step + 1] = replica.restored(state)
    return trained


def clear_batches(
    reference: Reference,
    workload: Workload,
    initial: State,
    taken: Callable[[Array, int], State],
    order: Array,
    slots: list[Slot],
    clearance: float,
) -> tuple[list[Array], list[int]]:
    """Rows of the batches of these slots with no sample near a kink; how many were replaced.

    The float64 reference trains along: a sample with a |z| < clearance before a kink at its state
    gives its place to the next of the order that has none. taken(rows, step): the batch of these
    rows; order: int64 (epochs, n). ValueError where it has too few.
    """
    state = cast(initial)
    batches: list[Array] = []
    replaced: list[int] = []

    def clear(rows: Array) -> Array:
        batch = cast(taken(rows, len(batches)))
        return np.asarray(reference.kink_distance(state, batch) >= clearance)

    for step, slot in enumerate(slots):
        rows, count = screen(order[slot.epoch], slot.start, slot.stop, clear)
        look = reference.look(state, cast(taken(rows, step)))
        state = stepped(workload.optimiser, state | look.running, look.grads)
        batches.append(rows)
        replaced.append(count)
    return batches, replaced
