"""The PyTorch backend: eager by default, autograd, torch.optim.SGD, precision pinned.

May import torch, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from backends.arguments import check_backend, check_known, check_operator
from backends.torch import operators, optimisers
from backends.torch.compile import CompiledTrainer
from backends.torch.cuda_graph import CudaGraphTrainer
from backends.torch.trainer import Trainer, synchronize, to_device, to_host
from harness.interface import Array, Unavailable, Workload


class Backend:
    """PyTorch on the CPU or on the first GPU."""

    name: ClassVar[str] = "torch"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin device, dtype, threads and precision; Unavailable where one is missing here."""
        check_backend(self.name, device, dtype, threads, variant, precision)
        if device == "cuda" and not torch.cuda.is_available():
            raise Unavailable(f"torch {torch.__version__} finds no CUDA device")
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.variant = variant
        torch.set_num_threads(threads)
        if torch.get_num_interop_threads() != 1:  # may be set only once in a process
            torch.set_num_interop_threads(1)
        _pin_precision(device, precision)

    def facts(self) -> dict[str, str]:
        """Versions, device name, threads, precision modes in force."""
        cuda = self.device.type == "cuda"
        return {
            "version:torch": torch.__version__,
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "threads": str(torch.get_num_threads()),
            **{f"precision:{name}": now for name, now in _precisions().items()},
        }

    def trainer(self, workload: Workload) -> Trainer:
        """A trainer for `workload`; ValueError where its model, loss or optimiser is unknown."""
        check_known(self.name, "optimiser", workload.optimiser.rule, optimisers.RULES)
        kinds = {"eager": Trainer, "compile": CompiledTrainer, "cuda-graph": CudaGraphTrainer}
        return kinds[self.variant](self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        check_operator(self.name, name, operators.OPERATORS)
        return self.apply(operators.OPERATORS[name], *arrays, weights=weights)

    def apply(
        self, function: Callable[..., Any], *arrays: Array, weights: Array | None = None
    ) -> tuple[Array, ...]:
        """The same of any function of this framework's arrays."""
        tensors = [
            to_device(a, torch.int64 if a.dtype.kind in "iu" else self.dtype, self.device)
            for a in arrays
        ]
        given = None if weights is None else to_device(weights, self.dtype, self.device)
        values = operators.value_and_derivatives(function, *tensors, weights=given)
        return tuple(to_host(tensor) for tensor in values)

    def peak_device_bytes(self) -> int | None:
        """Most bytes that torch held on the GPU; None on the CPU."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> Callable[[], None]:
        """A function that computes every a @ b into outputs made here, and waits."""
        # np.array keeps the order in memory, so a transposed view stays one, as in the model.
        put = [[torch.from_numpy(np.array(m)).to(self.device) for m in pair] for pair in pairs]
        work = [(a, b, a @ b) for a, b in put]

        def compute() -> None:
            for a, b, out in work:
                torch.matmul(a, b, out=out)
            synchronize(self.device)

        return compute


def _precisions() -> dict[str, str]:
    """What torch says of float32 products inside its libraries, by library."""
    if not hasattr(torch.backends, "fp32_precision"):
        return {
            "float32_matmul": torch.get_float32_matmul_precision(),
            "cuda.matmul.allow_tf32": str(torch.backends.cuda.matmul.allow_tf32),
        }
    return {  # the older getters raise once a library differs from the others
        "cuda.matmul": torch.backends.cuda.matmul.fp32_precision,
        "cudnn.conv": torch.backends.cudnn.conv.fp32_precision,
        "mkldnn.matmul": torch.backends.mkldnn.matmul.fp32_precision,
    }


def _pin_precision(device: str, precision: str) -> None:
    """No TF32 and no bfloat16 in float32 products but what `precision` wants of this device.

    CPU: oneDNN takes its setting everywhere and obeys it on processors with AMX only (torch 2.13).
    CUDA: as torch's documentation says ("Numerical accuracy"). On an H100 with torch 2.11 float32
    products and convolutions were seen to be none of TF32's; `tf32` itself was not tried.
    """
    reduced = {"tf32": "tf32", "bfloat16": "bf16"}.get(precision)
    if hasattr(torch.backends, "fp32_precision"):  # torch >= 2.9; it must not be mixed with the old
        torch.backends.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        torch.backends.cudnn.rnn.fp32_precision = "ieee"
        for here, library in (("cuda", torch.backends.cuda), ("cpu", torch.backends.mkldnn)):
            library.matmul.fp32_precision = (device == here and reduced) or "ieee"
    elif reduced and device == "cpu":
        raise Unavailable(f"torch {torch.__version__} has no {precision} products on a CPU")
    else:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = False
