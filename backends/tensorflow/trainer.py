"""The TensorFlow trainer: any net that its room has a file of; traced functions, GradientTape.

May import tensorflow, NumPy, the optimisers beside it, the helpers of `backends` and, from the
harness, `interface` only.

Of a room's file it wants `Net`, whose `forward(X)` gives the outputs, and `loss(Y_hat, y)`;
`trace(net, X)` where there is one. Without targets there is no y; where a batch brings noise, its
dictionary is the last argument of `forward` and `trace`. Where training differs from evaluation,
`forward` takes `training=`, and a training pass assigns to the running variables itself: the
trainer puts them back wherever no step is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from backends import rooms
from backends.arguments import check_batch, check_state
from backends.tensorflow import optimisers
from harness.interface import Array, State, Workload

# "x" as the net has it, then "y" where there are targets, then each noise.
Batch = tuple[tf.Tensor, ...]


class Trainer:
    """A net in TensorFlow with its optimiser's slots, which lie as their tensors do."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        self.room = rooms.find(backend.name, workload)
        self.objective = rooms.objective(self.room)
        own = workload.learnt
        self.layouts = rooms.layouts(self.room, [tensor.name for tensor in own])
        with tf.device(backend.device):
            net = self.net = self.room.Net(**workload.sizes, dtype=backend.dtype)
            where = f"{backend.name}: {workload.model}"
            self.variables = rooms.attributes(where, net, self.layouts, own)
            self.update = optimisers.Update(workload, self.variables, self.dtype)
        self.variables |= self.update.slots
        noise = [tensor.name for tensor in workload.noise]
        self.parts = rooms.layouts(self.room, ["x", *["y"] * (workload.y != "none"), *noise])
        functions: dict[str, Callable[..., Any]] = {
            "step": self._step,
            "evaluation": self._looking(lambda *batch: self._forward(*batch, training=False)),
            "training": self._looking(lambda *batch: self._forward(*batch, training=True)),
            "loss_and_grads": self._looking(self._loss_and_grads),
            "trace": self._looking(self._trace),
        }
        if backend.variant != "eager":
            # Traced here, once for all batch sizes; XLA then compiles each size at its first call.
            # A concrete function also saves a tenth of a step: no signature is matched at the call.
            xla, signature = backend.variant == "xla", self._signature()
            for name, function in functions.items():
                traced = tf.function(function, input_signature=signature, jit_compile=xla)
                functions[name] = traced.get_concrete_function()
        self._functions = functions

    def set_state(self, state: State) -> None:
        """Copy a whole state in. ValueError for wrong names or shapes."""
        check_state(state, self.workload)
        for name, variable in self.variables.items():
            theirs = self._layout(name).theirs(state[name], tuple(variable.shape))
            variable.assign(to_device(theirs, self.dtype))

    def get_state(self) -> State:
        """Fresh copies of the whole state."""
        return {
            t.name: self._layout(t.name).ours(to_host(self.variables[t.name]), t.shape)
            for t in self.workload.tensors
        }

    def put(self, batch: State) -> Batch:
        """Copies as the net has them: the trainer's dtype, classes int32; ValueError."""
        check_batch(batch, self.workload)
        with tf.device(self.device):
            put = tuple(
                to_device(layout.put(batch[name]), self._dtype(name))
                for name, layout in self.parts.items()
            )
        synchronize(self.device)
        return put

    def fetch(self, batch: Batch) -> State:
        """Fresh copies of what `put` stored; classes int64."""
        held = zip(self.parts.items(), batch, strict=True)
        ours = {name: layout.fetch(to_host(tensor)) for (name, layout), tensor in held}
        return {n: v.astype(np.int64) if v.dtype.kind == "i" else v for n, v in ours.items()}

    def step(self, batch: Batch) -> tf.Tensor:
        """One update; the mean loss before it, still on the device."""
        return self._functions["step"](*batch)

    def wait(self, loss: tf.Tensor) -> float:
        """Block until all work on the device is done; the mean loss in nats."""
        synchronize(self.device)
        return float(loss)

    def outputs(self, batch: Batch, *, training: bool) -> Array:
        """Outputs (n, *outputs), fresh."""
        return to_host(self._functions["training" if training else "evaluation"](*batch))

    def loss_and_grads(self, batch: Batch) -> tuple[float, State]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self._functions["loss_and_grads"](*batch)
        return float(value), {
            t.name: self._layout(t.name).ours(to_host(grads[t.name]), t.shape)
            for t in self.workload.trained
        }

    def trace(self, batch: Batch) -> State:
        """The values that the room's file shows, fresh; none where it shows none."""
        values = self._functions["trace"](*batch)
        return {name: to_host(value) for name, value in values.items()}

    def close(self) -> None:
        """Drop the net, the slots and the compiled functions."""
        del self.net, self.variables, self.update, self._functions

    def _step(self, *batch: tf.Tensor) -> tf.Tensor:
        value, grads = self._loss_and_grads(*batch)
        self.update.step(grads)
        return value

    def _loss_and_grads(self, *batch: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The mean loss, and its gradient by each trained tensor, by our names."""
        targets = batch[1:2] if self.workload.y != "none" else ()
        with tf.GradientTape() as tape:
            value = self.objective(self.net, self._forward(*batch, training=True), *targets)
        zero = tf.UnconnectedGradients.ZERO
        return value, tape.gradient(value, self.update.variables, unconnected_gradients=zero)

    def _forward(self, *batch: tf.Tensor, training: bool) -> tf.Tensor:
        mode = {"training": training} if self.workload.two_modes else {}
        return self.net.forward(batch[0], *self._noise(batch), **mode)

    def _trace(self, *batch: tf.Tensor) -> dict[str, tf.Tensor]:
        own: Any = getattr(self.room, "trace", lambda *_: {})
        return own(self.net, batch[0], *self._noise(batch))

    def _noise(self, batch: Batch) -> list[dict[str, tf.Tensor]]:
        """The batch's noise by name, where it brings any."""
        noise = [tensor.name for tensor in self.workload.noise]
        return [dict(zip(noise, batch[-len(noise) :], strict=True))] if noise else []

    def _looking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of a batch, after which the running variables are what they were."""
        running = [self.variables[t.name] for t in self.workload.tensors if t.role == "running"]

        def looking(*batch: tf.Tensor) -> Any:
            before = [tf.identity(variable) for variable in running]
            looked = function(*batch)
            for variable, value in zip(running, before, strict=True):
                variable.assign(value)
            return looked

        return looking

    def _signature(self) -> list[tf.TensorSpec]:
        """Of a batch of any size."""
        y = () if self.workload.y == "class" else self.workload.outputs
        shapes = {t.name: t.shape for t in self.workload.noise} | {"x": self.workload.x, "y": y}
        specs = []
        for name, layout in self.parts.items():
            ours = [None, *shapes[name]]
            theirs = [ours[axis] for axis in np.argsort(layout.axes or range(len(ours)))]
            specs.append(tf.TensorSpec(theirs, self._dtype(name)))
        return specs

    def _dtype(self, name: str) -> tf.DType:
        """Of a part of a batch."""
        return tf.int32 if name == "y" and self.workload.y == "class" else self.dtype

    def _layout(self, name: str) -> rooms.Layout:
        """A tensor's; a slot lies as its tensor does."""
        owner = name.rpartition("/")[0]
        return self.layouts.get(name) or self.layouts.get(owner, rooms.Layout(name))


def to_device(array: Array, dtype: tf.DType) -> tf.Tensor:
    """A copy of `array` on the present device; tf.constant alone may share the host's memory."""
    return tf.constant(np.array(array, dtype.as_numpy_dtype, order="C"))


def to_host(tensor: tf.Tensor | tf.Variable) -> Array:
    """A copy on the host that shares no memory with `tensor`."""
    return np.array(tensor.numpy())


def synchronize(device: str) -> None:
    """Wait for the GPU; on the CPU every call is done when it returns."""
    if device == "/GPU:0":
        tf.test.experimental.sync_devices()
