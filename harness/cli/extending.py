"""Verbs for who adds a backend of their own: new-backend."""

from __future__ import annotations

from pathlib import Path

from harness.cli.options import Json, NewName, PackageFolder
from harness.cli.output import print_document


def new_backend(name: NewName, to: PackageFolder = None, as_json: Json = False) -> int:
    """Start a package for a backend of your own.

    Of what it writes a few functions are open; `harness certify` says which, and whether what they
    do is right.
    """
    from harness.conformance import new_backend as template

    folder = to if to is not None else Path(name)
    written = [str(file) for file in template.create(name, folder)]
    model = next(file for file in written if file.endswith("model.py"))
    steps = (
        f"fill in {model} (what raises NotImplementedError, and LIBRARIES)",
        f"python -m pip install -e {folder}",
        f"harness certify {name}",
    )
    document = {"name": name, "written": written, "next": steps}
    text = "\n".join([*written, "next:", *(f"  {step}" for step in steps)])
    print_document(document, as_json, text)
    return 0
