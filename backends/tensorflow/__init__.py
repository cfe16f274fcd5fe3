"""The TensorFlow backend: tf.Module and tf.function, compiled by XLA by default.

May import tensorflow, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from backends.arguments import check_backend, check_batch, check_params, check_workload
from backends.tensorflow import mlp_scratch, operators
from harness.interface import Array, Params, Unavailable, Workload

Batch = tuple[tf.Tensor, tf.Tensor]


class Backend:
    """TensorFlow on the CPU or on the first GPU."""

    name: ClassVar[str] = "tensorflow"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin device, dtype, threads and precision; Unavailable without a GPU, tf32 on a CPU.

        tf32 is from TensorFlow's documentation; not tried on a GPU.
        """
        check_backend(self.name, device, dtype, threads, variant, precision)
        gpus = tf.config.list_physical_devices("GPU")
        if device == "cuda" and not gpus:
            raise Unavailable(f"tensorflow {tf.__version__} finds no CUDA device")
        self.device = "/GPU:0" if device == "cuda" else "/CPU:0"
        self.dtype = tf.as_dtype(dtype)
        self.variant = variant
        tf.config.set_visible_devices(gpus[:1] if device == "cuda" else [], "GPU")
        for gpu in gpus[:1]:
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")

    def facts(self) -> dict[str, str]:
        """Versions, device name, threads, precision modes in force."""
        gpus = tf.config.get_visible_devices("GPU")
        names = [tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in gpus]
        return {
            "version:tensorflow": tf.__version__,
            "device": names[0] if names else "cpu",
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "precision:tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_workload(self.name, workload)
        return Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        with tf.device(self.device):
            tensors = [_put(a, tf.int32 if a.dtype.kind in "iu" else self.dtype) for a in arrays]
            given = None if weights is None else _put(weights, self.dtype)
            found = operators.value_and_derivatives(name, *tensors, weights=given)
            return tuple(_fresh(tensor) for tensor in found)

    def peak_device_bytes(self) -> int | None:
        """Most bytes that TensorFlow held on the GPU; None on the CPU."""
        if self.device == "/CPU:0":
            return None
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b in one call, and waits."""
        with tf.device(self.device):
            put = [tuple(_put(m, tf.as_dtype(m.dtype)) for m in pair) for pair in pairs]
        # A plain graph: on a CPU it computes bare products faster than XLA (1.3 against 1.6 ms).
        matmuls = tf.function(lambda: [a @ b for a, b in put]).get_concrete_function()

        def compute() -> None:
            matmuls()
            _synchronize(self.device)

        return compute


class Trainer:
    """MLPScratch in TensorFlow with SGD; holds the model and its functions."""

    def __init__(self, backend: Backend, workload: Workload) -> None:
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
            getattr(self.model, name).assign(_put(value, self.dtype))

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {p.name: _fresh(getattr(self.model, p.name)) for p in self.workload.parameters}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int32 (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        with tf.device(self.device):
            batch = _put(x, self.dtype), _put(y, tf.int32)
        _synchronize(self.device)
        return batch

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored; y: int64."""
        X, y = batch
        return _fresh(X), _fresh(y).astype(np.int64)

    def step(self, batch: Batch) -> tf.Tensor:
        """One SGD update; the mean loss before it, still on the device."""
        return self._step(*batch)

    def wait(self, loss: tf.Tensor) -> float:
        """Block until all work on the device is done; the mean loss in nats."""
        _synchronize(self.device)
        return float(loss)

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return _fresh(self._logits(batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self._loss_and_grads(*batch)
        return float(value), {p.name: _fresh(grads[p.name]) for p in self.workload.parameters}

    def close(self) -> None:
        """Drop the model and the compiled functions."""
        del self.model, self._step, self._logits, self._loss_and_grads


def _put(array: Array, dtype: tf.DType) -> tf.Tensor:
    """A copy of `array` on the present device; tf.constant alone may share the host's memory."""
    return tf.constant(np.array(array, dtype.as_numpy_dtype, order="C"))


def _fresh(tensor: tf.Tensor | tf.Variable) -> Array:
    """A copy on the host that shares no memory with `tensor`."""
    return np.array(tensor.numpy())


def _synchronize(device: str) -> None:
    """Wait for the GPU; on the CPU every call is done when it returns."""
    if device == "/GPU:0":
        tf.test.experimental.sync_devices()
