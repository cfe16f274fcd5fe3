"""The NumPy trainer: any net that its room has a file of, gradients by hand.

May import NumPy, the optimisers beside it, the helpers of `backends` and, from the harness,
`interface` only.

Of a room's file it wants `Net`, whose `forward(X)` gives the outputs, and `loss_and_grads(net, X,
y)`, the gradients by the net's own names; `trace(net, X)` where there is one. Without targets there
is no y; where a batch brings noise, its dictionary is the last argument of all three. Where
training differs from evaluation, `forward` takes `training=`, and a training pass changes the
running tensors itself: the trainer puts them back wherever no step is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from backends import rooms
from backends.arguments import check_batch, check_state
from backends.numpy import optimisers
from harness.interface import Array, State, Workload


class Trainer:
    """A net in NumPy with its optimiser's slots, which lie as their tensors do; knows no model.

    form: what the class is called in a room's file, where the file has it beside `Net`.
    """

    form: ClassVar[str] = "Net"

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.dtype = backend.dtype
        self.shapes = {tensor.name: tensor.shape for tensor in workload.tensors}
        self.room = rooms.find(backend.name, workload)
        self.net = getattr(self.room, self.form, self.room.Net)(**workload.sizes, dtype=self.dtype)
        own = workload.learnt
        self.layouts = rooms.layouts(self.room, [tensor.name for tensor in own])
        where = f"{backend.name}: {workload.model}"
        tensors = rooms.attributes(where, self.net, self.layouts, own)
        self.update = optimisers.Update(workload, tensors, self.dtype)
        self.parts = rooms.layouts(self.room, ["x", "y", *(t.name for t in workload.noise)])

    def set_state(self, state: State) -> None:
        """Copy a whole state in. ValueError for wrong names or shapes."""
        check_state(state, self.workload)
        for name, value in state.items():
            own = self._own(name)
            np.copyto(own, self._layout(name).theirs(value, own.shape))

    def get_state(self) -> State:
        """Fresh copies of the whole state."""
        return {t.name: self._ours(t.name, self._own(t.name)) for t in self.workload.tensors}

    def put(self, batch: State) -> State:
        """Copies as the net has them: the trainer's dtype, classes int64; ValueError."""
        check_batch(batch, self.workload)
        put = {}
        for name, value in batch.items():
            dtype = "int64" if value.dtype.kind in "iu" else self.dtype
            put[name] = np.array(self.parts[name].put(value), dtype, order="C")
        return put

    def fetch(self, batch: State) -> State:
        """Fresh copies of what `put` stored."""
        return {n: np.array(self.parts[n].fetch(held), order="C") for n, held in batch.items()}

    def step(self, batch: State) -> float:
        """One update, done on return; the mean loss before it."""
        value, grads = self._loss_and_grads(batch)
        self.update.step(self._named(grads))
        return float(value)

    def wait(self, loss: float) -> float:
        """The mean loss in nats; there is nothing to wait for."""
        return loss

    def outputs(self, batch: State, *, training: bool) -> Array:
        """Outputs (n, *outputs), fresh."""
        mode = {"training": training} if self.workload.two_modes else {}
        with self._unchanged():
            return np.array(self.net.forward(batch["x"], *self._noise(batch), **mode))

    def loss_and_grads(self, batch: State) -> tuple[float, State]:
        """The mean loss in nats and fresh gradients; nothing is updated."""
        with self._unchanged():
            value, grads = self._loss_and_grads(batch)
        named = self._named(grads)
        return float(value), {name: self._ours(name, grad) for name, grad in named.items()}

    def trace(self, batch: State) -> State:
        """Fresh copies of the values that the room's file shows; none where it shows none."""
        if not hasattr(self.room, "trace"):
            return {}
        with self._unchanged():
            values = self.room.trace(self.net, batch["x"], *self._noise(batch))
        return {name: np.array(value) for name, value in values.items()}

    def close(self) -> None:
        """Drop the net, its buffers and the slots."""
        del self.net, self.update

    def _loss_and_grads(self, batch: State) -> tuple[float, State]:
        """As the room's file gives them."""
        return self.room.loss_and_grads(self.net, *self._arguments(batch))

    def _arguments(self, batch: State) -> list[Any]:
        """X, y and the noise, as far as there are any."""
        return [batch["x"], *([batch["y"]] if "y" in batch else []), *self._noise(batch)]

    def _noise(self, batch: State) -> list[State]:
        """The batch's noise by name, where it brings any."""
        noise = {tensor.name: batch[tensor.name] for tensor in self.workload.noise}
        return [noise] if noise else []

    def _layout(self, name: str) -> rooms.Layout:
        """A tensor's; a slot lies as its tensor does."""
        owner = name.rpartition("/")[0]
        return self.layouts.get(name) or self.layouts.get(owner, rooms.Layout(name))

    def _named(self, grads: State) -> State:
        """The gradients by our names, as the net has them."""
        return {name: grads[self.layouts[name].name] for name in self.update.tensors}

    def _own(self, name: str) -> Array:
        """A tensor as the net or the optimiser has it."""
        slot = self.update.slots.get(name)
        return attrgetter(self.layouts[name].name)(self.net) if slot is None else slot

    def _ours(self, name: str, theirs: Array) -> Array:
        """A fresh copy of a tensor, or of its gradient, in the workload's layout."""
        shape = self.shapes[name]
        return self._layout(name).ours(theirs, shape).copy()

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """The running tensors are afterwards what they were."""
        names = [t.name for t in self.workload.tensors if t.role == "running"]
        before = {name: self._own(name).copy() for name in names}
        try:
            yield
        finally:
            for name, value in before.items():
                np.copyto(self._own(name), value)
