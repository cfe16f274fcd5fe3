"""One check of the kit: its function, its name, what it needs. Measures nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance.check import DTYPES, Evidence, NotPossible
from harness.conformance.subject import Subject


@dataclass(frozen=True)
class Check:
    """One check: a function that takes a Subject and raises Failed or NotPossible, or returns.

    The first line of its docstring is a sentence: what must hold.
    """

    function: Callable[[Subject], Evidence | None]
    dtypes: tuple[str, ...] = DTYPES

    def __call__(self, subject: Subject) -> Evidence | None:
        """Check it; NotPossible in a dtype that it is not for."""
        if subject.dtype not in self.dtypes:
            raise NotPossible(f"checked in {', '.join(self.dtypes)} only")
        return self.function(subject)

    @property
    def name(self) -> str:
        """What the command line and a certificate call it."""
        return self.function.__name__.replace("_", "-")

    @property
    def sentence(self) -> str:
        """What must hold."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def __str__(self) -> str:
        return self.name
