"""The TensorFlow backend: tf.Module and tf.function, compiled by XLA by default.

May import tensorflow, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from backends.tensorflow.lean import tf

# isort: split
from backends.arguments import check_backend, check_known, check_operator
from backends.tensorflow import operators, optimisers
from backends.tensorflow.trainer import Trainer, synchronize, to_device, to_host
from harness.interface import Array, Unavailable, Workload


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
            "version:keras": tf.keras.__version__,
            "device": names[0] if names else "cpu",
            "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "precision:tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_known(self.name, "optimiser", workload.optimiser.rule, optimisers.RULES)
        return Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        check_operator(self.name, name, operators.OPERATORS)
        return self.apply(operators.OPERATORS[name], *arrays, weights=weights)

    def apply(
        self, function: Callable[..., Any], *arrays: Array, weights: Array | None = None
    ) -> tuple[Array, ...]:
        """The same of any function of this framework's arrays."""
        with tf.device(self.device):
            tensors = [
                to_device(a, tf.int32 if a.dtype.kind in "iu" else self.dtype) for a in arrays
            ]
            given = None if weights is None else to_device(weights, self.dtype)
            values = operators.value_and_derivatives(function, *tensors, weights=given)
            return tuple(to_host(tensor) for tensor in values)

    def peak_device_bytes(self) -> int | None:
        """Most bytes that TensorFlow held on the GPU; None on the CPU."""
        if self.device == "/CPU:0":
            return None
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b in one call, and waits."""
        with tf.device(self.device):
            put = [tuple(to_device(m, tf.as_dtype(m.dtype)) for m in pair) for pair in pairs]
        # A plain graph: on a CPU it computes bare products faster than XLA (1.3 against 1.6 ms).
        matmuls = tf.function(lambda: [a @ b for a, b in put]).get_concrete_function()

        def compute() -> None:
            matmuls()
            synchronize(self.device)

        return compute
