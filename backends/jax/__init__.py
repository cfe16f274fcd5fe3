"""The JAX backend: Flax, Optax, one jitted step with donated state, precision pinned.

May import jax, flax, optax, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import flax
import jax
import jaxlib
import numpy as np
import optax

from backends.arguments import check_backend, check_known, check_operator
from backends.jax import operators, optimisers
from backends.jax.memory import to_device
from backends.jax.scan import ScanTrainer
from backends.jax.trainer import Trainer
from harness.interface import Array, Unavailable, Workload

# What jax_default_matmul_precision is for each profile. The reduced ones are dot algorithms, which
# name the computation: the level "bfloat16" means TF32 on a GPU. From JAX's documentation
# (docs.jax.dev, "Matmul precision"). On an H100, JAX 0.11: only "highest" was tried, and held.
MATMUL = {"strict": "highest", "tf32": "TF32_TF32_F32", "bfloat16": "BF16_BF16_F32"}


class Backend:
    """JAX on the CPU or on the first GPU."""

    name: ClassVar[str] = "jax"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin device, dtype and precision; Unavailable without a GPU, reduced on a CPU.

        XLA has as many threads as its process has processors: the worker's affinity sets them.
        """
        check_backend(self.name, device, dtype, threads, variant, precision)
        if device == "cpu":
            jax.config.update("jax_platforms", "cpu")  # do not even look for a GPU
        else:  # or JAX takes three quarters of the GPU's memory at its start, from the others too
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        jax.config.update("jax_enable_x64", dtype == "float64")
        jax.config.update("jax_default_matmul_precision", MATMUL[precision])
        try:
            self.device = jax.devices(device)[0]
        except RuntimeError as error:
            raise Unavailable(f"jax {jax.__version__} finds no {device} device") from error
        self.dtype = np.dtype(dtype)
        self.variant = variant

    def facts(self) -> dict[str, str]:
        """Versions, device name, threads, precision modes in force."""
        return {
            "version:jax": jax.__version__,
            "version:jaxlib": jaxlib.__version__,
            "version:flax": flax.__version__,
            "version:optax": optax.__version__,
            "device": "cpu" if self.device.platform == "cpu" else self.device.device_kind,
            "threads": str(_processors()),
            "precision:matmul": str(jax.config.jax_default_matmul_precision),
            "precision:x64": str(jax.config.jax_enable_x64),
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_known(self.name, "optimiser", workload.optimiser.rule, optimisers.RULES)
        if self.variant == "scan":
            return ScanTrainer(self, workload)
        return Trainer(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        check_operator(self.name, name, operators.OPERATORS)
        return self.apply(operators.OPERATORS[name], *arrays, weights=weights)

    def apply(
        self, function: Callable[..., Any], *arrays: Array, weights: Array | None = None
    ) -> tuple[Array, ...]:
        """The same of any function of this framework's arrays."""
        put = [
            to_device(a, np.int32 if a.dtype.kind in "iu" else self.dtype, self.device)
            for a in arrays
        ]
        given = None if weights is None else to_device(weights, self.dtype, self.device)
        values = operators.value_and_derivatives(function, *put, weights=given)
        return tuple(np.array(array) for array in values)

    def peak_device_bytes(self) -> int | None:
        """Most bytes that JAX held on the GPU; None on the CPU."""
        stats = (self.device.memory_stats() or {}) if self.device.platform != "cpu" else {}
        return stats.get("peak_bytes_in_use")

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b in one call, and waits."""
        put = [tuple(to_device(m, m.dtype, self.device) for m in pair) for pair in pairs]
        matmuls = jax.jit(lambda pairs: [a @ b for a, b in pairs])
        jax.block_until_ready(matmuls(put))  # compiled here

        def compute() -> None:
            jax.block_until_ready(matmuls(put))

        return compute


def _processors() -> int | None:
    """Processors of this process, which is how many threads XLA has on a CPU."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
