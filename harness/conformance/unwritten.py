"""Which functions of a backend are still to be written. Imports the standard library only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

from harness.interface import Backend


def unwritten(backend: Backend) -> list[str]:
    """Functions of its package that refer to nothing but NotImplementedError, in their order."""
    package = type(backend).__module__.partition(".")[0]
    names = [
        function.__qualname__
        for name, module in [*sys.modules.items()]
        if name.partition(".")[0] == package and isinstance(module, ModuleType)
        for function in _functions(vars(module), name)
        if function.__code__.co_names == ("NotImplementedError",)
    ]
    return [*dict.fromkeys(names)]


def _functions(names: dict[str, object], module: str) -> Iterator[FunctionType]:
    """Those that a module defines itself, and its classes' methods."""
    for value in [*names.values()]:
        if isinstance(value, type) and value.__module__ == module:
            yield from (own for own in vars(value).values() if isinstance(own, FunctionType))
        elif isinstance(value, FunctionType) and value.__module__ == module:
            yield value
