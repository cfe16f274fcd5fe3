"""The TensorFlow trainer: traced functions, and SGD by hand.

May import tensorflow, NumPy, the model beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from backends.arguments import check_batch, check_params
from backends.tensorflow import mlp_scratch
from harness.interface import Array, Params, Workload

Batch = tuple[tf.Tensor, tf.Tensor]


class Trainer:
    """MLPScratch in TensorFlow with SGD; holds the model and its functions."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        with tf.device(backend.device):
            model = self.model = mlp_scratch.MLPScratch(
                **workload.sizes, sigma=workload.sigma, dtype=backend.dtype
            )
        lr = workload.lr

        def step(X: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
            value, grads = mlp_scratch.loss_and_grads(model, X, y)
            for name, grad in grads.items():
                getattr(model, name).assign_sub(lr * grad)
            return value

        def logits(X: tf.Tensor) -> tf.Tensor:
            return model.forward(X)

        def loss_and_grads(X: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            return mlp_scratch.loss_and_grads(model, X, y)

        def traced(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
            if backend.variant == "eager":
                return function
            # Traced here, once for all batch sizes; XLA then compiles each size at its first call.
            # A concrete function also saves a tenth of a step: no signature is matched at the call.
            xla = backend.variant == "xla"
            compiled = tf.function(function, input_signature=signature, jit_compile=xla)
            return compiled.get_concrete_function()

        X = tf.TensorSpec((None, model.num_inputs), backend.dtype)
        y = tf.TensorSpec((None,), tf.int32)
        self._step = traced(step, X, y)
        self._logits = traced(logits, X)
        self._loss_and_grads = traced(loss_and_grads, X, y)

    def set_params(self, params: Params) -> None:
        """Copy `params` in; plain SGD has no state. ValueError for wrong names or shapes."""
        check_params(params, self.workload)
        for name, value in params.items():
            getattr(self.model, name).assign(to_device(value, self.dtype))

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {p.name: to_host(getattr(self.model, p.name)) for p in self.workload.parameters}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int32 (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        with tf.device(self.device):
            batch = to_device(x, self.dtype), to_device(y, tf.int32)
        synchronize(self.device)
        return batch

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored; y: int64."""
        X, y = batch
        return to_host(X), to_host(y).astype(np.int64)

    def step(self, batch: Batch) -> tf.Tensor:
        """One SGD update; the mean loss before it, still on the device."""
        return self._step(*batch)

    def wait(self, loss: tf.Tensor) -> float:
        """Block until all work on the device is done; the mean loss in nats."""
        synchronize(self.device)
        return float(loss)

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return to_host(self._logits(batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self._loss_and_grads(*batch)
        return float(value), {p.name: to_host(grads[p.name]) for p in self.workload.parameters}

    def close(self) -> None:
        """Drop the model and the compiled functions."""
        del self.model, self._step, self._logits, self._loss_and_grads


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
