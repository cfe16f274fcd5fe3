"""The comparison harness: one model, four frameworks, one verdict.

Nothing in this package imports a framework; frameworks live in `backends` and run in worker
processes of their own. Importing `harness` itself imports nothing at all; `harness.same` (do two
functions compute the same?) comes at its first use.
"""

from __future__ import annotations

__version__ = "0.1.0"

# What is brought at its first use: its name, and the module that has it.
_BROUGHT = {"same": "harness.pair.same"}


def __getattr__(name: str) -> object:
    """A name of `_BROUGHT`."""
    if name not in _BROUGHT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_BROUGHT[name]), name)
