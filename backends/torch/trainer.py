"""The PyTorch trainer of any model: autograd, torch.optim, a file of the room.

May import torch, NumPy, what is beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from backends import rooms
from backends.arguments import check_batch, check_state
from backends.torch import optimisers
from harness.interface import Array, State, Workload


class Batch(NamedTuple):
    """What a step reads: X as the model takes it, y (n, ...) or None, noise by name."""

    X: Tensor
    y: Tensor | None
    noise: dict[str, Tensor]

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the model is called with."""
        return (self.X, self.noise) if self.noise else (self.X,)


class Trainer:
    """A room's Net and loss with a torch.optim optimiser."""

    # Whether the step is recorded as a CUDA graph: some optimisers must be told.
    capturable: ClassVar[bool] = False

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        room = self.room = rooms.find("torch", workload)
        self.model = room.Net(**workload.sizes).to(backend.device, backend.dtype)
        own = workload.learnt
        held = self.model.state_dict(keep_vars=True)
        self.layouts = rooms.layouts(room, [t.name for t in own])
        theirs = {layout.name for layout in self.layouts.values()}
        # Counters that no tensor of the workload is: they start anew with every state.
        self.unnamed = [(b, b.clone()) for n, b in self.model.named_buffers() if n not in theirs]
        self.named = dict(self.model.named_parameters())
        shapes = {n: tuple(t.shape) for n, t in held.items() if n in theirs | self.named.keys()}
        rooms.check(f"torch: {workload.model}", self.layouts, own, shapes)
        named = {name: held[layout.name] for name, layout in self.layouts.items()}
        self.parameters = {t.name: named[t.name] for t in workload.trained}
        parameters = [*self.parameters.values()]
        self.optimizer = optimisers.make(workload.optimiser, parameters, self.capturable)
        # By our names, in torch's layout: what `set_state` writes to.
        slots = optimisers.slots(workload.optimiser, self.optimizer, self.parameters)
        self.tensors = {name: [tensor] for name, tensor in named.items()} | slots
        self.objective = rooms.objective(room)
        self.parts = rooms.layouts(room, ["x", "y", *(t.name for t in workload.noise)])

    def set_state(self, state: State) -> None:
        """Copy a whole state in. ValueError for wrong names or shapes."""
        check_state(state, self.workload)
        with torch.no_grad():
            for name, tensors in self.tensors.items():
                value = self._layout(name).theirs(state[name], tuple(tensors[0].shape))
                for tensor in tensors:
                    tensor.copy_(to_device(value, self.dtype, self.device))
            for buffer, start in self.unnamed:
                buffer.copy_(start)

    def get_state(self) -> State:
        """Fresh copies of the whole state."""
        return {
            t.name: self._layout(t.name).ours(to_host(self.tensors[t.name][0]), t.shape)
            for t in self.workload.tensors
        }

    def put(self, batch: State) -> Batch:
        """A batch in torch's layout; classes int64. ValueError for wrong names or shapes."""
        check_batch(batch, self.workload)
        dtypes = {"y": torch.int64} if self.workload.y == "class" else {}
        put = {
            name: to_device(layout.put(batch[name]), dtypes.get(name, self.dtype), self.device)
            for name, layout in self.parts.items()
            if name in batch
        }
        synchronize(self.device)
        return Batch(put.pop("x"), put.pop("y", None), put)

    def fetch(self, batch: Batch) -> State:
        """Fresh copies of what `put` stored."""
        held = {"x": batch.X, "y": batch.y, **batch.noise}
        return {n: self.parts[n].fetch(to_host(t)) for n, t in held.items() if t is not None}

    def step(self, batch: Batch) -> Tensor:
        """One update; the mean loss before it, still on the device."""
        value = self._backward(batch)
        self.optimizer.step()
        return value

    def wait(self, loss: Tensor) -> float:
        """Block until all work on the device is done; the mean loss in nats."""
        synchronize(self.device)
        return loss.item()

    def outputs(self, batch: Batch, *, training: bool) -> Array:
        """Outputs (n, *outputs), fresh."""
        with torch.no_grad(), self._looking(training=training):
            return to_host(self._forward(batch))

    def loss_and_grads(self, batch: Batch) -> tuple[float, State]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        with self._looking(training=True):
            value, grads = self._grads(batch)
        trained = [(t.name, self.layouts[t.name], t.shape) for t in self.workload.trained]
        return value.item(), {n: to.ours(to_host(grads[n]), shape) for n, to, shape in trained}

    def trace(self, batch: Batch) -> State:
        """What the room's `trace` gives, or the values of the submodules that its TRACE names."""
        with torch.no_grad(), self._looking(training=True):
            if hasattr(self.room, "TRACE"):
                return self._hooked(batch)
            own: Any = getattr(self.room, "trace", lambda *_: {})
            return {n: to_host(value) for n, value in own(self.model, *batch.inputs).items()}

    def close(self) -> None:
        """Drop the model and the optimiser."""
        del self.model, self.optimizer, self.parameters, self.named, self.tensors, self.unnamed

    def _layout(self, name: str) -> rooms.Layout:
        """A tensor's; a slot lies as its parameter does."""
        return self.layouts.get(name.partition("/")[0], rooms.Layout(name))

    def _forward(self, batch: Batch) -> Tensor:
        return self.model(*batch.inputs)

    def _backward(self, batch: Batch) -> Tensor:
        """The mean loss; its gradients are left in each parameter's `grad`."""
        for p in self.named.values():  # zero_grad, which looks for them anew: 8 us a step
            p.grad = None
        value = self.objective(self.named, self._forward(batch), batch.y)
        value.backward()
        return value.detach()

    def _grads(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss, and its gradients by our names."""
        value = self._backward(batch)
        return value, {name: p.grad for name, p in self.parameters.items()}

    @contextmanager
    def _looking(self, *, training: bool) -> Iterator[None]:
        """The model in one of its modes; what that changes in it is as it was afterwards."""
        before = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        self.model.train(training)
        try:
            yield
        finally:
            self.model.train()
            for buffer, value in before:
                buffer.copy_(value)

    def _hooked(self, batch: Batch) -> State:
        """The values of submodules, and the outputs."""
        values: dict[Any, Array] = {}

        def keep(module: Any, _: Any, value: Tensor) -> None:
            values[module] = to_host(value)

        layouts = rooms.layouts(self.room, [*self.room.TRACE], "TRACE")
        modules = {name: self.model.get_submodule(layouts[name].name) for name in layouts}
        with ExitStack() as hooks:
            for module in modules.values():
                hooks.callback(module.register_forward_hook(keep).remove)
            outputs = self.model(*batch.inputs)
        shown = {name: layouts[name].fetch(values[module]) for name, module in modules.items()}
        return {**shown, self.workload.trace[-1]: to_host(outputs)}


def to_device(array: Array, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A copy of `array` on the device; torch.from_numpy would share the host's memory."""
    return torch.tensor(np.asarray(array, order="C"), dtype=dtype, device=device)


def to_host(tensor: Tensor) -> Array:
    """A copy on the host that shares no memory with `tensor`."""
    return np.array(tensor.detach().cpu().numpy())


def synchronize(device: torch.device) -> None:
    """Wait for the GPU; on the CPU every call is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
