"""The desk of the kit: a check as a worker answers it, whatever is raised part of the answer."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from harness.conformance import CHECKS
from harness.conformance.check import Evidence, Failed, NotPossible
from harness.conformance.subject import Subject
from harness.conformance.unwritten import unwritten
from harness.record.schema import number
from harness.workers.desks.backend import BackendDesk

# More of a message is a stack of them.
MOST_LETTERS = 1000


class CertifyingDesk(BackendDesk):
    """The checks of the kit on this process's backend."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        super().__init__(started_ns, progress)
        self._subject: Subject | None = None

    def certify(self, check: str, processors: list[int]) -> dict[str, Any]:
        """One check (see `answer`).

        processors: those that the parent may use, of which this process has as many as threads.
        """
        if self._subject is None:
            self._subject = Subject(
                self._backend,
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
        evidence = check(subject) or Evidence()
        status = "passed"
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
    told: dict[str, Any] = msgspec.to_builtins(_storable(evidence))
    return {"status": status, "seconds": seconds} | told


def _storable(evidence: Evidence) -> Evidence:
    """The same with plain numbers, and text in one line that any encoder takes."""
    figures = {
        name: value if value is None or isinstance(value, str) else number(value)
        for name in ("value", "limit", "got", "want")
        for value in [getattr(evidence, name)]
    }
    texts = {
        name: " ".join(getattr(evidence, name).encode("utf-8", "replace").decode().split())
        for name in ("message", "why", "tensor")
    }
    texts["message"] = texts["message"][:MOST_LETTERS]
    return msgspec.structs.replace(evidence, **figures, **texts)
