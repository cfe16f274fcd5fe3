"""Keras 3 as three backends of framework-harness, one for each of its engines.

A class says how engines differ: how threads and precision are pinned, how to wait, how to
differentiate. The model and its training are Keras' own: `training.py`. Keras chooses its engine
while it is imported, so neither is imported here before a `Backend` is built. May import NumPy
and, from the harness, `interface` only.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from harness.interface import Array, NoFloat64, Trainer, Unavailable, Workload

__all__ = ["KerasBackend", "KerasJax", "KerasTensorFlow", "KerasTorch"]

# A value, and what makes of its cotangent a gradient by each argument.
Vjp = tuple[Any, Callable[[Any], Sequence[Any]]]


class KerasBackend:
    """What the three have in common: Keras on the CPU, in one dtype, on the engine of its class."""

    name: ClassVar[str]
    engine: ClassVar[str]  # the package, and what Keras calls it
    variables: ClassVar[dict[str, str]]  # of the environment, read when the engine is imported

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin threads, precision, dtype and engine; Unavailable where one of them is missing."""
        for what, value, known in (
            ("device", device, ("cpu", "cuda")),
            ("dtype", dtype, ("float32", "float64")),
            ("variant", variant, ("default",)),
            ("precision", precision, ("strict", "tf32", "bfloat16")),
        ):
            if value not in known:
                raise ValueError(
                    f"{self.name}: unknown {what} {value!r}; known: {', '.join(known)}"
                )
        if threads < 1:
            raise ValueError(f"{self.name}: threads must be at least 1, got {threads}")
        if (device, precision) != ("cpu", "strict"):
            raise Unavailable(f"{self.name} runs on a CPU only, with strict products only")
        self.dtype = np.dtype(dtype)
        os.environ.update(self.variables)
        try:
            self.library = importlib.import_module(self.engine)
            self.pin(threads)  # before Keras makes a tensor: some settings are final then
            self.keras = _import_keras(self.engine)
        except ImportError as error:
            raise Unavailable(f"{self.name}: {error}") from error
        # The dtype of all that is made from here on: layers, loss, metric, learning rate.
        self.keras.config.set_floatx(dtype)
        one = self.keras.ops.ones((1, 1))
        if self.keras.backend.standardize_dtype(self.keras.ops.matmul(one, one).dtype) != dtype:
            raise NoFloat64(
                f"Keras {self.keras.__version__} on {self.engine} multiplies {dtype} "
                "matrices in float32 (keras-team/keras#23704)"
            )

    def pin(self, threads: int) -> None:
        """So many threads; no operand of a float32 product rounded."""
        raise NotImplementedError

    def threads(self) -> int:
        """Threads in force."""
        raise NotImplementedError

    def finish(self, tensors: Sequence[Any]) -> None:
        """Wait until these are computed. On a CPU, torch and TensorFlow return when they are."""

    def vjp(self, function: Callable[..., Any], *tensors: Any) -> Vjp:
        """function(*tensors), which can be differentiated by each of them."""
        raise NotImplementedError

    def facts(self) -> dict[str, str]:
        """Versions, device, threads and dtype in force."""
        return {
            "version:keras": self.keras.__version__,
            f"version:{self.engine}": self.library.__version__,
            "device": "cpu",
            "threads": str(self.threads()),
            "floatx": self.keras.config.floatx(),
        }

    def trainer(self, workload: Workload) -> Trainer:
        """The model, compiled; ValueError where its model, loss or optimiser is unknown."""
        from keras_backend import training  # it imports Keras

        return training.Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of one of Keras' operators."""
        from keras_backend import training

        return training.value_and_derivatives(self, name, *arrays, weights=weights)

    def peak_device_bytes(self) -> int | None:
        """None: a CPU's memory is the host's."""
        return None

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b and waits."""
        matmul, put = self.keras.ops.matmul, self.keras.ops.convert_to_tensor
        tensors = [(put(np.array(a)), put(np.array(b))) for a, b in pairs]
        return lambda: self.finish([matmul(a, b) for a, b in tensors])


class KerasTorch(KerasBackend):
    """Keras on PyTorch, which it runs eagerly."""

    name = "keras-torch"
    engine = "torch"
    variables: ClassVar = {"KERAS_TORCH_DEVICE": "cpu"}

    def pin(self, threads: int) -> None:
        self.library.set_num_threads(threads)
        if self.library.get_num_interop_threads() != 1:  # may be set only once in a process
            self.library.set_num_interop_threads(1)
        self.library.set_float32_matmul_precision("highest")

    def threads(self) -> int:
        return self.library.get_num_threads()

    def vjp(self, function: Callable[..., Any], *tensors: Any) -> Vjp:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        value = function(*leaves)
        return value.detach(), lambda weights: self.library.autograd.grad(value, leaves, weights)


class KerasJax(KerasBackend):
    """Keras on JAX: the whole step is compiled, by default."""

    name = "keras-jax"
    engine = "jax"
    variables: ClassVar = {"JAX_PLATFORMS": "cpu"}

    def pin(self, threads: int) -> None:  # noqa: ARG002 - XLA takes one for each processor
        self.library.config.update("jax_enable_x64", self.dtype == np.float64)
        self.library.config.update("jax_default_matmul_precision", "highest")

    def threads(self) -> int:
        own = getattr(os, "sched_getaffinity", None)
        return len(own(0)) if own else os.cpu_count() or 1

    def finish(self, tensors: Sequence[Any]) -> None:
        self.library.block_until_ready(tensors)

    def vjp(self, function: Callable[..., Any], *tensors: Any) -> Vjp:
        return self.library.vjp(function, *tensors)


class KerasTensorFlow(KerasBackend):
    """Keras on TensorFlow: the step is a graph, and on a CPU XLA is off, by default."""

    name = "keras-tensorflow"
    engine = "tensorflow"
    variables: ClassVar = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}

    def pin(self, threads: int) -> None:
        self.library.config.threading.set_intra_op_parallelism_threads(threads)
        self.library.config.threading.set_inter_op_parallelism_threads(1)
        self.library.config.experimental.enable_tensor_float_32_execution(False)

    def threads(self) -> int:
        return self.library.config.threading.get_intra_op_parallelism_threads()

    def vjp(self, function: Callable[..., Any], *tensors: Any) -> Vjp:
        with self.library.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, lambda weights: tape.gradient(value, tensors, weights)


def _import_keras(engine: str) -> Any:
    """Keras on this engine; the user's own ~/.keras/keras.json is neither read nor written."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = engine
        with tempfile.TemporaryDirectory() as home:  # looked at during the import only
            os.environ["KERAS_HOME"] = home
            importlib.import_module("keras")
    keras = sys.modules["keras"]
    if keras.config.backend() != engine:
        raise Unavailable(f"this process already has Keras on {keras.config.backend()}")
    return keras
