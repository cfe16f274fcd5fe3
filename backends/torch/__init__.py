"""The PyTorch backend: eager by default, autograd, torch.optim.SGD, precision pinned.

May import torch, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch

from backends.arguments import check_backend, check_batch, check_params, check_workload
from backends.torch import mlp_scratch, operators
from harness.interface import Array, Params, Unavailable, Workload

Batch = tuple[torch.Tensor, torch.Tensor]


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
        check_workload(self.name, workload)
        from backends.torch.compile import CompiledTrainer  # these extend Trainer, below
        from backends.torch.cuda_graph import CudaGraphTrainer

        kinds = {"eager": Trainer, "compile": CompiledTrainer, "cuda-graph": CudaGraphTrainer}
        return kinds[self.variant](self, workload)

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """Value and derivatives of an operator, in the backend's dtype; ValueError if unknown."""
        tensors = [
            _put(a, torch.int64 if a.dtype.kind in "iu" else self.dtype, self.device)
            for a in arrays
        ]
        given = None if weights is None else _put(weights, self.dtype, self.device)
        found = operators.value_and_derivatives(name, *tensors, weights=given)
        return tuple(_fresh(tensor) for tensor in found)

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
            _synchronize(self.device)

        return compute


class Trainer:
    """MLPScratch in PyTorch with torch.optim.SGD; holds the model and the optimiser."""

    def __init__(self, backend: Backend, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        self.model = mlp_scratch.MLPScratch(
            **workload.sizes, sigma=workload.sigma, dtype=backend.dtype
        ).to(backend.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=workload.lr)

    def set_params(self, params: Params) -> None:
        """Copy `params` in, with a fresh optimiser. ValueError for wrong names or shapes."""
        check_params(params, self.workload)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(_put(params[name], self.dtype, self.device))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.workload.lr)

    def get_params(self) -> Params:
        """Fresh copies of the parameters."""
        return {name: _fresh(p) for name, p in self.model.named_parameters()}

    def put(self, x: Array, y: Array) -> Batch:
        """x: (n, num_inputs) in the trainer's dtype, y: int64 (n,), both copied; ValueError."""
        check_batch(x, y, self.model.num_inputs)
        X = _put(x, self.dtype, self.device)
        labels = _put(y, torch.int64, self.device)
        _synchronize(self.device)
        return X, labels

    def fetch(self, batch: Batch) -> tuple[Array, Array]:
        """Fresh copies of what `put` stored; y: int64."""
        X, y = batch
        return _fresh(X), _fresh(y)

    def step(self, batch: Batch) -> torch.Tensor:
        """One SGD update; the mean loss before it, still on the device."""
        value, _ = mlp_scratch.loss_and_grads(self.model, *batch)
        self.optimizer.step()
        return value

    def wait(self, loss: torch.Tensor) -> float:
        """Block until all work on the device is done; the mean loss in nats."""
        _synchronize(self.device)
        return loss.item()

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        with torch.no_grad():
            return _fresh(self.model(batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = mlp_scratch.loss_and_grads(self.model, *batch)
        return value.item(), {name: _fresh(g) for name, g in grads.items() if g is not None}

    def close(self) -> None:
        """Drop the model and the optimiser."""
        del self.model, self.optimizer


def _put(array: Array, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A copy of `array` on the device; torch.from_numpy would share the host's memory."""
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype, device=device)


def _fresh(tensor: torch.Tensor) -> Array:
    """A copy on the host that shares no memory with `tensor`."""
    return np.array(tensor.detach().cpu().numpy())


def _synchronize(device: torch.device) -> None:
    """Wait for the GPU; on the CPU every call is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
    CUDA: TF32 as torch's documentation says ("Numerical accuracy"); not tried on a GPU.
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
