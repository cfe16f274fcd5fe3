"""The variant `compile` of the PyTorch backend: the whole step through torch.compile.

May import torch, the trainer beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from backends.torch import mlp_scratch
from backends.torch.trainer import Batch, Trainer, to_host
from harness.interface import Array, Params, Unavailable, Workload


class CompiledTrainer(Trainer):
    """Forward, backward and update as one graph; torch.func's gradients, for `backward` is none."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        lacking = _lacks(backend.device.type)
        if lacking is not None:
            raise Unavailable(lacking)
        super().__init__(backend, workload)
        model = self.model
        params = {name: p.detach() for name, p in model.named_parameters()}  # the same memory

        def forward(X: Tensor) -> Tensor:
            return functional_call(model, params, (X,))

        def loss_and_grads(X: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            def objective(params: dict[str, Tensor]) -> Tensor:
                return mlp_scratch.loss(functional_call(model, params, (X,)), y)

            grads, value = grad_and_value(objective)(params)
            return value, grads

        def step(X: Tensor, y: Tensor) -> Tensor:
            value, grads = loss_and_grads(X, y)
            for name, parameter in params.items():
                parameter.sub_(grads[name], alpha=workload.lr)
            return value

        self._forward = _compiled(forward)
        self._loss_and_grads = _compiled(loss_and_grads)
        self._step = _compiled(step)

    def step(self, batch: Batch) -> Tensor:
        """One SGD update; the mean loss before it, still on the device."""
        return self._step(*batch)

    def logits(self, batch: Batch) -> Array:
        """Logits (n, num_outputs), fresh."""
        return to_host(self._forward(batch[0]))

    def loss_and_grads(self, batch: Batch) -> tuple[float, Params]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        value, grads = self._loss_and_grads(*batch)
        return value.item(), {name: to_host(grad) for name, grad in grads.items()}

    def close(self) -> None:
        """Drop the model and what was compiled, which torch keeps beyond its functions."""
        super().close()
        del self._forward, self._loss_and_grads, self._step
        torch.compiler.reset()


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled at its first call, and again for other batch sizes as torch sees fit."""
    # fullgraph: what torch.compile cannot take is an error, never silently run eagerly.
    # Inductor's patterns turn H @ W2 + b2 into a product that starts at b2: with logits near -1000
    # their error is 20 times that of eager (6.7e-4 against 3.1e-5, torch 2.13).
    return torch.compile(function, fullgraph=True, options={"pattern_matcher": False})


def _lacks(device: str) -> str | None:
    """Why torch.compile cannot make kernels for a device here; None where it can."""
    if device == "cuda":
        if find_spec("triton") is None:
            return "torch.compile on cuda needs Triton; install with: python -m pip install triton"
        return None
    # As torch's Inductor looks for them: it writes C++ and loads it as an extension of Python.
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        return (
            f"torch.compile on cpu needs a C++ compiler and finds no {compiler}; install g++ "
            "(Debian, Ubuntu: apt-get install g++) or name another in CXX"
        )
    header = os.path.join(sysconfig.get_path("include"), "Python.h")
    if not os.path.exists(header):
        return (
            f"torch.compile on cpu needs Python's headers and finds no {header}; install them "
            "(Debian, Ubuntu: apt-get install python3-dev)"
        )
    return None
