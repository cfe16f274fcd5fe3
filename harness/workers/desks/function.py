"""The desk of one function; `harness/pair/sides.py` is the other end."""

from __future__ import annotations

import ast
import importlib
from typing import Any

import msgspec

from backends import BACKENDS
from harness.interface import Unavailable
from harness.tensors import load_tensors, save_tensors
from harness.text import plain_facts
from harness.workers.calling import Function, arguments
from harness.workers.loading import load, load_object


class FunctionDesk:
    """A function of FILE:NAME or MODULE:NAME in one framework, whose precision is pinned."""

    def __init__(self, *_: object) -> None:
        self._function: Function
        self._source = ""

    def start(self, framework: str, source: str, threads: int) -> dict[str, Any]:
        """Pin threads and precision as the framework's backend does, and load the function."""
        entry = BACKENDS[framework]
        backend = load(entry.source)("cpu", "float32", threads, entry.variants[0])
        room = importlib.import_module(f"backends.{framework}.functions")

        def function() -> Any:
            found = load_object(source)
            if not callable(found):
                raise Unavailable(f"{source} cannot be called")
            return found

        self._source = source
        self._function = Function(room, function)
        self._function.load("float32")
        return {"facts": plain_facts(backend.facts())}

    def call(
        self, dtype: str, gradient: bool, strided: str, settings: str, given: str, out: str
    ) -> dict[str, Any]:
        """Call it; tensors: "value.N" in order, "gradient.NAME". settings: a Python literal."""
        called = self._function.call(
            load_tensors(given),
            ast.literal_eval(settings),
            dtype,
            gradient=gradient,
            strided=strided,
        )
        tensors = {f"value.{place}": value for place, value in enumerate(called.values.values())}
        tensors |= {f"gradient.{name}": grad for name, grad in called.gradients.items()}
        save_tensors(out, tensors)
        return {"said": msgspec.to_builtins(called.said), "gradients": [*called.gradients]}

    def differences(self, settings: str, given: str, out: str) -> dict[str, Any]:
        """Central differences (see `Function.differences`)."""
        found = self._function.differences(load_tensors(given), ast.literal_eval(settings))
        save_tensors(out, found)
        return {}

    def make(self, out: str) -> dict[str, Any]:
        """Call it without arguments: it makes those of others, a dictionary or a tuple.

        Arrays come as tensors, by name; all else as a literal.
        """
        arrays, settings = arguments(load_object(self._source)())
        save_tensors(out, arrays)
        return {"names": [*arrays], "settings": repr(settings)}
