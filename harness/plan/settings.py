"""`harness.toml` in the working directory: what is settled once, in place of options every time."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from harness import files
from harness.plan import interpreters

FILE = "harness.toml"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`python`: by label, the interpreter of its processes."""

    python: dict[str, str] = {}


def read(folder: Path | None = None) -> Settings:
    """The settings in a folder (default: the working directory), paths made absolute.

    None are settled where there is no such file. InputError for one that is not understood.
    """
    file = (folder or Path()) / FILE
    if not os.path.lexists(file):
        return Settings()
    settings = files.read_toml(file, "settings", Settings)
    start = file.resolve().parent
    return Settings({name: interpreters.absolute(p, start) for name, p in settings.python.items()})
