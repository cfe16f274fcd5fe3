"""A backend in a process of its own, called from here: tests import no framework.

`Served(...).trainer(workload, variant)` has the methods of a trainer; batches and losses stay over
there.
"""

from __future__ import annotations

import importlib
import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Handle:
    """Something that stays in the other process."""

    number: int


class Served:
    """A backend in one dtype; `rooms` is a user's folder."""

    def __init__(self, framework: str, dtype: str, rooms: str) -> None:
        started = (framework, dtype, rooms)
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _start, started)

    def trainer(self, workload: Any, variant: str) -> Far:
        """A trainer over there; its ValueError is raised here."""
        return Far(self, self.ask(_trainer, workload, variant))

    def ask(self, function: Any, *args: Any, **words: Any) -> Any:
        """What a function gives over there; handles are what they stand for."""
        return self._pool.submit(_call, function, args, words).result()

    def close(self) -> None:
        self._pool.shutdown()


class Far:
    """A trainer over there."""

    def __init__(self, served: Served, handle: Handle) -> None:
        self.served, self.handle = served, handle

    def __getattr__(self, method: str) -> Any:
        def call(*args: Any, **words: Any) -> Any:
            return self.served.ask(_method, self.handle, method, *args, **words)

        return call

    def took(self, *batches: Any) -> list[float]:
        """The losses of steps on these batches."""
        return [self.wait(self.step(self.put(batch))) for batch in batches]


_held: dict[Any, Any] = {}
_numbers = itertools.count()


def _start(framework: str, dtype: str, rooms: str) -> None:
    os.environ["HARNESS_ROOMS"] = rooms
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    backend = importlib.import_module(f"backends.{framework}").Backend
    _held["backend"] = partial(backend, "cpu", dtype, 1)


def _trainer(workload: Any, variant: str) -> Any:
    return _held["backend"](variant).trainer(workload)


def _method(trainer: Any, method: str, *args: Any, **words: Any) -> Any:
    return getattr(trainer, method)(*args, **words)


def _call(function: Any, args: Any, words: Any) -> Any:
    result = function(*(_held[a.number] if isinstance(a, Handle) else a for a in args), **words)
    plain = (dict, list, float, np.ndarray, type(None))
    if type(result) in plain or (type(result) is tuple and type(result[-1]) is dict):
        return result
    number = next(_numbers)
    _held[number] = result
    return Handle(number)


def narrow(trainer: Any, batch: Any) -> list[str]:
    """What a step computes in float32; JAX traces it, torch does it."""
    if type(trainer).__module__.startswith("backends.jax"):
        import jax

        traced = str(jax.make_jaxpr(trainer._step)(trainer.state, batch))
        return [line for line in traced.splitlines() if "f32" in line]
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            result = op(*args, **(kwargs or {}))
            values = result if isinstance(result, tuple | list) else [result]
            if any(getattr(value, "dtype", None) == torch.float32 for value in values):
                found.append(str(op))
            return result

    with Watch():
        trainer.step(batch)
    return found
