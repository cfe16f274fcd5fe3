"""Loads other people's code by its place: in a worker process, never in the harness's own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

from harness.interface import Backend, Unavailable


def load(source: str) -> type[Backend]:
    """The class at MODULE:CLASS or FILE:CLASS; Unavailable where the module has no such class."""
    loaded = load_object(source)
    if not isinstance(loaded, type):
        raise Unavailable(f"{source} is no class")
    return loaded


def load_object(source: str) -> Any:
    """What lies at MODULE:NAME or FILE:NAME (absolute); Unavailable where there is no such name."""
    place, _, name = source.rpartition(":")
    module = load_file(place) if os.path.isabs(place) else importlib.import_module(place)
    try:
        return getattr(module, name)
    except AttributeError:
        raise Unavailable(f"{place} has no {name}") from None


def load_file(file: str) -> Any:
    """A Python file as a module, by its path; it may import its neighbours."""
    folder = os.path.dirname(os.path.abspath(file))
    if folder not in sys.path:
        sys.path.append(folder)  # last: its names must not hide the standard library's
    name = os.path.splitext(os.path.basename(file))[0]
    spec = importlib.util.spec_from_file_location(f"loaded_{name}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module
