"""The desk of the kit: a check as a worker answers it, whatever is raised part of the answer."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import msgspec

from harness.conformance import CHECKS
from harness.conformance.check import Evidence, Failed, NotPossible
from harness.conformance.subject import Subject
from harness.interface import Backend
from harness.record.schema import number
from harness.workers.desks.backend import BackendDesk
from harness.workloads.declare import Declared
from harness.workloads.reference.composed import Net

# More of a message is a stack of them.
MOST_LETTERS = 1000


class CertifyingDesk(BackendDesk):
    """The checks of the kit on this process's backend."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        super().__init__(started_ns, progress)
        self._subject: Subject | None = None

    def certify(self, check: str, processors: list[int], net: dict[str, Any]) -> dict[str, Any]:
        """One check (see `answer`).

        processors: those that the parent may use, of which this process has as many as threads.
        net: the layers of what is trained, from which its judge is made.
        """
        if self._subject is None:
            self._subject = Subject(
                self._backend,
                workload=Declared(self._workload, msgspec.convert(net, Net)),
                dtype=str(self._dtype),
                threads=self._threads,
                processors=processors,
            )
        return answer(self._subject, check)


def answer(subject: Subject, name: str) -> dict[str, Any]:
    """A check by its name: status ("passed", "failed", "not-possible"), seconds, the evidence."""
    check = next(check for check in CHECKS if check.name == name)
    began = time.perf_counter()
    try:
        evidence, status = check(subject), "passed"
    except NotPossible as error:
        evidence, status = Evidence(message=str(error)), "not-possible"
    except Failed as error:
        evidence, status = error.evidence, "failed"
    except NotImplementedError as error:
        names = ", ".join(unwritten(subject.backend)) or str(error) or "a function it needs"
        evidence, status = Evidence(message=f"not written yet: {names}"), "failed"
    except Exception as error:  # whatever a framework raises says that something does not hold
        traceback.print_exc()
        evidence, status = Evidence(message=f"raised {type(error).__name__}: {error}"), "failed"
    if status == "failed":
        subject.renew()
    seconds = time.perf_counter() - began
    return {"status": status, "seconds": seconds} | _storable(evidence)


def _storable(evidence: Evidence) -> dict[str, Any]:
    """Its fields, with plain numbers, and text in one line that any encoder takes."""
    fields = msgspec.structs.asdict(evidence)
    for name in ("value", "limit", "got", "want"):
        if fields[name] is not None and not isinstance(fields[name], str):
            fields[name] = number(fields[name])
    for name in ("message", "why", "tensor"):
        fields[name] = " ".join(fields[name].encode("utf-8", "replace").decode().split())
    return fields | {"message": fields["message"][:MOST_LETTERS]}


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
