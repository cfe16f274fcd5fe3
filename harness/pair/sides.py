"""A function that can be called: in a worker of its own, or in this very process.

What it raises, that it dies or does not answer is told in what it returns (`calling.Said`). A
worker that died is started again for the next call, a few times.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from backends import BACKENDS
from harness.errors import InputError
from harness.interface import Array
from harness.pair.arguments import Arguments, prepared
from harness.pair.document import Side
from harness.plan import plugins
from harness.plan.interpreters import is_own
from harness.plan.model import Timeouts
from harness.tensors import UNUSABLE
from harness.text import plain
from harness.workers.calling import Called, Function, NoNumbers, Said
from harness.workers.launch import (
    Worker,
    WorkerFailed,
    WorkerRaised,
    WorkerUnavailable,
    environment,
)

DESK = "harness.workers.desks.function:FunctionDesk"
# So often a process that died or hung is started again: a function may die at several points.
MOST_STARTS = 4


class Lost(Exception):
    """A function's process failed too often to be started once more; the message says so."""


class Callee(Protocol):
    """A function in its framework. `facts`: what its process says of itself."""

    name: str
    framework: str

    def describe(self) -> Side:
        """What it is, with nothing noted yet."""

    def call(
        self, given: Arguments, dtype: str, *, gradient: bool = False, strided: str = ""
    ) -> Called:
        """See `calling.Function.call`. Raises Lost."""

    def differences(self, given: Arguments) -> dict[str, Array] | None:
        """See `calling.Function.differences`; None where that fails."""

    def close(self) -> None:
        """End what was started for it. Idempotent."""


def framework_of(name: str) -> str:
    """Whose arrays a side of this name is given: "torch" and "torch_mine" torch's.

    NumPy's where it names no framework.
    """
    first = re.split("[_@]", name)[0]
    return first if first in BACKENDS else "numpy"


class Here:
    """A function of this very process: nothing keeps it apart, nothing is pinned."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        """InputError where its framework is not installed."""
        self.name, self.framework = name, framework_of(name)
        try:
            room = importlib.import_module(f"backends.{self.framework}.functions")
        except ImportError as error:
            raise InputError(f"{name}: {self.framework} cannot be imported: {error}") from None
        self._source = plain(getattr(function, "__qualname__", repr(function)))
        self._function = Function(room, lambda: function)

    def describe(self) -> Side:
        source = f"{self._source}, in the calling process"
        return Side(name=self.name, framework=self.framework, source=source, apart=False)

    def call(
        self, given: Arguments, dtype: str, *, gradient: bool = False, strided: str = ""
    ) -> Called:
        words: dict[str, Any] = {"gradient": gradient, "strided": strided}
        return self._function.call(given.arrays, given.settings, dtype, **words)

    def differences(self, given: Arguments) -> dict[str, Array] | None:
        try:
            return self._function.differences(given.arrays, given.settings)
        except NoNumbers:
            return None

    def close(self) -> None:
        """Nothing was started."""


class Apart:
    """A function in a worker; `begin` starts that, the first call waits for it.

    A worker that died is started again for the next call, MOST_STARTS times in all.
    """

    def __init__(
        self, name: str, spec: str, folder: Path, *, python: str, threads: int, timeout_s: float
    ) -> None:
        """spec: FILE.py:FUNCTION or MODULE:FUNCTION; folder: where its workers' files lie.

        InputError where there is no such file, or no such framework.
        """
        self.name, self.framework = name, framework_of(name)
        self._source = plugins.find_function(name, spec)
        self._entry = BACKENDS[self.framework]
        if (reason := plugins.missing(self._entry, python=python)) is not None:
            raise InputError(f"{name}: {reason}")
        self._folder, self._python, self._threads = folder, python, threads
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._worker: Worker | None = None
        self._facts: dict[str, str] = {}
        self._starting = False
        folder.mkdir(parents=True)

    def begin(self) -> None:
        """Start a worker, which imports meanwhile."""
        number = next(self._numbers)
        if number > MOST_STARTS:
            raise Lost(f"{self.name}'s process failed {MOST_STARTS} times")
        place = self._folder / str(number)
        place.mkdir()
        extra = dict(self._entry.environment)
        python = sys.executable if is_own(self._python) else self._python
        env = environment(self._threads, extra, "strict", self._python, place)
        words = {"framework": self.framework, "source": self._source, "threads": self._threads}
        try:
            self._worker = Worker(self.name, "same", python, env, self._threads, place, place, DESK)
            self._worker.ask("start", Timeouts().start_s, **words)
        except WorkerFailed as error:
            self.close()
            raise InputError(f"{self.name}: {error}") from None
        self._starting = True

    def _ready(self) -> Worker:
        """A worker that has loaded the function; InputError where it cannot be loaded."""
        try:
            if self._worker is None:
                self.begin()
            assert self._worker is not None
            if self._starting:
                self._facts = msgspec.convert(self._worker.answer()["facts"], dict[str, str])
                self._starting = False
        except (WorkerFailed, WorkerUnavailable) as error:
            self.close()
            raise InputError(f"{self.name}: {self._source}: {error}") from None
        return self._worker

    def describe(self) -> Side:
        return Side(
            name=self.name,
            framework=self.framework,
            source=self._source,
            apart=True,
            python=self._python or sys.executable,
            facts=self._facts,
        )

    def call(
        self, given: Arguments, dtype: str, *, gradient: bool = False, strided: str = ""
    ) -> Called:
        words = {"dtype": dtype, "gradient": gradient, "strided": strided}
        try:
            answer, tensors = self._exchange("call", given, **words)
            said = msgspec.convert(answer["said"], Said)
            values = {of: tensors[f"value.{n}"] for n, of in enumerate(said.dtypes)}
            grads = {name: tensors[f"gradient.{name}"] for name in answer["gradients"]}
        except (WorkerFailed, msgspec.ValidationError, *UNUSABLE) as error:
            if not isinstance(error, WorkerRaised):
                self.close()
            reason = str(error).removeprefix("call: ")
            return Called(Said(failed=f"fails: {reason}", ended=self._worker is None))
        return Called(said, values, grads)

    def differences(self, given: Arguments) -> dict[str, Array] | None:
        try:
            return self._exchange("differences", given)[1]
        except WorkerFailed as error:
            if not isinstance(error, WorkerRaised):
                self.close()
            return None

    def made(self) -> Arguments:
        """The arguments that it makes for others. InputError where it makes none."""
        try:
            answer, arrays = self._ready().exchange("make", self._timeout_s)
        except (WorkerFailed, *UNUSABLE) as error:
            raise InputError(f"--args {self._source}: {error}") from None
        settings = ast.literal_eval(answer["settings"])
        ordered = {name: arrays[name] for name in answer["names"]}
        return prepared(ordered, settings, self._source)

    def _exchange(
        self, do: str, given: Arguments, **words: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        settings = literal(dict(given.settings))
        worker = self._ready()
        return worker.exchange(do, self._timeout_s, given.arrays, settings=settings, **words)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.end(grace_s=0)
        self._worker = None


def literal(settings: dict[str, Any]) -> str:
    """What is no array, as text that another process reads; InputError for what has none."""
    text = repr(settings)
    try:
        if ast.literal_eval(text) == settings:
            return text
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    raise InputError(
        f"arguments {plain(', '.join(settings))}: only arrays, numbers, texts and tuples of them "
        "go to a process of its own"
    )
