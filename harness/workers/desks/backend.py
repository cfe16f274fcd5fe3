"""A desk that holds one backend and one trainer; others add what is done with them."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from harness.interface import Backend, Trainer, Workload
from harness.text import plain_facts
from harness.workers.loading import load, load_file

clock = time.perf_counter_ns


class BackendDesk:
    """Builds a backend and its trainer; plants faults in them and takes those out again."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        self._started_ns = started_ns
        self._progress = progress
        self._backend: Backend
        self._built: Backend
        self._pristine: Pristine
        self._trainer: Trainer
        self._workload: Workload
        self._dtype = np.dtype(np.float32)
        self._threads = 1

    def start(
        self,
        source: str,
        device: str,
        dtype: str,
        threads: int,
        variant: str,
        workload: dict[str, Any],
        plant: str | None,
        memory_headroom: int | None,
        precision: str = "strict",
    ) -> dict[str, Any]:
        """Load the backend, build it and its trainer; a fault to plant comes as FILE:FUNCTION."""
        backend = load(source)
        import_ns = clock() - self._started_ns
        self._backend = self._built = backend(device, dtype, threads, variant, precision)
        self._dtype = np.dtype(dtype)
        self._threads = threads
        build_ns = self._build(workload)
        # Now, not before: a room's file is loaded with the first trainer.
        self._pristine = Pristine(self._backend)
        if plant is not None:
            self._trainer.close()
            self._plant(plant)
            build_ns = self._build(workload)
        facts = plain_facts({"python": sys.version.split()[0]} | self._backend.facts())
        if memory_headroom is not None:
            # After import: some frameworks need more address space than that just to start.
            limit = _address_space() + memory_headroom
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return {"facts": facts, "import_ns": import_ns, "build_ns": build_ns}

    def _build(self, workload: dict[str, Any]) -> int:
        """A new trainer; how long building it took (ns)."""
        before = clock()
        self._workload = msgspec.convert(workload, Workload)
        self._trainer = self._backend.trainer(self._workload)
        return clock() - before

    def plant(self, plant: str | None) -> dict[str, Any]:
        """Undo what was planted, plant a fault (or none), and build a new trainer."""
        self._trainer.close()
        self._backend = self._built
        self._pristine.restore()
        if plant is not None:
            self._plant(plant)
        self._trainer = self._backend.trainer(self._workload)
        self._forget()
        return {}

    def _plant(self, plant: str) -> None:
        file, _, function = plant.rpartition(":")
        self._backend = getattr(load_file(file), function)(self._backend) or self._backend

    def workload(self, workload: dict[str, Any]) -> dict[str, Any]:
        """Train another workload from here on: a new trainer, and nothing left of the one before.

        `build_ns`: what building that trainer took.
        """
        self._trainer.close()
        self._forget()
        gc.unfreeze()  # a block freezes what lives: the old trainer's cycles would stay for ever
        gc.collect()
        return {"build_ns": self._build(workload)}

    def _forget(self) -> None:
        """Drop whatever was made for the trainer that is gone."""

    def close(self) -> dict[str, Any]:
        """Give back what the trainer holds."""
        self._trainer.close()
        return {}


class Pristine:
    """What a planted fault may change, as it was before.

    That is: attributes of this project's modules and the backend's, of the classes in them, and of
    the backend.
    """

    def __init__(self, backend: Backend) -> None:
        own = {"backends", "harness", type(backend).__module__.partition(".")[0]}
        modules = [
            module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in own and module is not None
        ]
        classes = [
            value
            for module in modules
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        self._kept = [(thing, dict(vars(thing))) for thing in (backend, *modules, *classes)]

    def restore(self) -> None:
        """Put every attribute back that was changed, added or removed."""
        for thing, kept in self._kept:
            for name in set(vars(thing)) - set(kept):
                delattr(thing, name)
            for name, value in kept.items():
                if vars(thing).get(name, self) is not value:
                    setattr(thing, name, value)


def _address_space() -> int:
    """Bytes of address space this process holds now (Linux; 0 where /proc is missing)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
