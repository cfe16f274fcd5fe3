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
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from backends.torch.trainer import Batch, Trainer
from harness.interface import Unavailable, Workload


class CompiledTrainer(Trainer):
    """Forward, backward and update as one graph; torch.func's gradients, for `backward` is none.

    The update is part of it for sgd; other rules take its gradients to torch.optim.
    """

    def __init__(self, backend: Any, workload: Workload) -> None:
        lacking = _lacks(backend.device.type)
        if lacking is not None:
            raise Unavailable(lacking)
        super().__init__(backend, workload)
        model, of_outputs, lr = self.model, self.objective, workload.optimiser.lr
        params = {name: p.detach() for name, p in model.named_parameters()}  # the same memory
        buffers = dict(model.named_buffers())

        def forward(inputs: tuple[Any, ...]) -> Tensor:
            return functional_call(model, params, inputs)

        def grads(inputs: tuple[Any, ...], y: Tensor | None) -> Any:
            def objective(params: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
                running = {name: buffer.clone() for name, buffer in buffers.items()}
                outputs = functional_call(model, {**params, **running}, inputs)
                return of_outputs(params, outputs, y), running

            grads, (value, running) = grad_and_value(objective, has_aux=True)(params)
            return value, grads, running

        def step(inputs: tuple[Any, ...], y: Tensor | None) -> Tensor:
            value, by, running = grads(inputs, y)
            for name, parameter in params.items():
                parameter.sub_(by[name], alpha=lr)
            for name, buffer in buffers.items():
                buffer.copy_(running[name])
            return value

        self._buffers = buffers
        self._compiled_forward = _compiled(forward)
        self._compiled_grads = _compiled(grads)
        self._compiled_step = _compiled(step)

    def step(self, batch: Batch) -> Tensor:
        """One update; the mean loss before it, still on the device."""
        if self.workload.optimiser.rule == "sgd":
            return self._compiled_step(batch.inputs, batch.y)
        value, grads, running = self._compiled_grads(batch.inputs, batch.y)
        for name, parameter in self.model.named_parameters():
            parameter.grad = grads[name]
        for name, buffer in self._buffers.items():
            buffer.copy_(running[name])
        self.optimizer.step()
        return value

    def close(self) -> None:
        """Drop the model and what was compiled, which torch keeps beyond its functions."""
        super().close()
        del self._compiled_forward, self._compiled_grads, self._compiled_step, self._buffers
        torch.compiler.reset()

    def _forward(self, batch: Batch) -> Tensor:
        return self._compiled_forward(batch.inputs)

    def _grads(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        value, grads, _ = self._compiled_grads(batch.inputs, batch.y)
        return value, {t.name: grads[self.layouts[t.name].name] for t in self.workload.trained}


def _compiled(function: Any) -> Callable[..., Any]:
    """`function` compiled at its first call, and again for other batch sizes as torch sees fit."""
    # torch counts by a function's code how often it compiles it anew, and refuses the ninth time:
    # each trainer has code of its own.
    code: CodeType = function.__code__.replace()
    own = FunctionType(code, function.__globals__, closure=function.__closure__)
    # fullgraph: what torch.compile cannot take is an error, never silently run eagerly.
    # Inductor's patterns turn H @ W2 + b2 into a product that starts at b2: with logits near -1000
    # their error is 20 times that of eager (6.7e-4 against 3.1e-5, torch 2.13).
    return torch.compile(own, fullgraph=True, options={"pattern_matcher": False})


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
