"""The NumPy backend: CPU only, BLAS threads limited, gradients by hand.

May import NumPy, threadpoolctl and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from backends.arguments import check_backend, check_known, check_operator
from backends.numpy import operators, optimisers
from backends.numpy.buffered import BufferedTrainer
from backends.numpy.trainer import Trainer
from harness.interface import Array, Workload


class Backend:
    """NumPy on the CPU."""

    name: ClassVar[str] = "numpy"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin dtype and BLAS threads; Unavailable for a reduced precision: BLAS has none."""
        check_backend(self.name, device, dtype, threads, variant, precision)
        self.device = device
        self.dtype = dtype
        self.variant = variant
        threadpool_limits(limits=threads)  # stays in force: it is undone only as a context
        # As the others: what is not finite shows in the numbers, not on stderr.
        np.seterr(invalid="ignore", over="ignore", divide="ignore")

    def facts(self) -> dict[str, str]:
        """Versions, the BLAS in use, device name, threads."""
        blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
        return {
            "version:numpy": np.__version__,
            "blas": ", ".join(f"{info['internal_api']} {info['version']}" for info in blas),
            "device": "cpu",
            "threads": ", ".join(str(info["num_threads"]) for info in blas),
            "precision:matmul": "ieee",  # BLAS has no reduced-precision mode for sgemm
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_known(self.name, "optimiser", workload.optimiser.rule, optimisers.RULES)
        return (BufferedTrainer if self.variant == "buffered" else Trainer)(self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        check_operator(self.name, name, operators.OPERATORS)
        return self.apply(operators.OPERATORS[name], *arrays, weights=weights)

    def apply(
        self, function: Callable[..., Any], *arrays: Array, weights: Array | None = None
    ) -> tuple[Array, ...]:
        """The same of any function of this framework's arrays."""
        put = [np.array(a, np.intp if a.dtype.kind in "iu" else self.dtype) for a in arrays]
        given = None if weights is None else np.array(weights, self.dtype)
        return operators.value_and_derivatives(function, *put, weights=given)

    def peak_device_bytes(self) -> None:
        """The device's memory is the host's."""
        return

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b into outputs made here."""
        # np.array keeps the order in memory, so a transposed view stays one, as in the model.
        put = [(np.array(a), np.array(b)) for a, b in pairs]
        work = [(a, b, a @ b) for a, b in put]

        def compute() -> None:
            for a, b, out in work:
                np.matmul(a, b, out=out)

        return compute
