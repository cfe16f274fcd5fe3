"""`harness new-backend`: an installable package for a backend of one's own, from templates.

The templates are `harness/conformance/template/`; in them __NAME__ and __MODULE__ stand for the
backend's name and its module's, __MODEL__ for the model that is trained where nobody names one.
Imports no framework.
"""

from __future__ import annotations

import keyword
import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from harness.errors import InputError
from harness.files import new_name, why, write_atomic
from harness.plan import plugins
from harness.workloads import DEFAULT, WORKLOADS

TEMPLATES = Path(__file__).parent / "template"
# By template, where in the package what is made of it lies.
FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "src/__init__.py.in": "src/__MODULE__/__init__.py",
    "src/model.py.in": "src/__MODULE__/model.py",
    "tests/test_conformance.py.in": "tests/test_conformance.py",
}
# What pip takes for the name of a distribution; it is a backend's name and a label too.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def module_of(name: str) -> str:
    """The module of a backend of this name; InputError for a name that cannot be one."""
    what = f"new-backend {name[:80]!r}"
    if not NAME.fullmatch(name):
        raise InputError(
            f"{what}: a name is 1 to 64 of the letters a to z, digits and . _ -, "
            "with a letter or a digit first and last"
        )
    if name.endswith(".py"):
        raise InputError(f"{what}: it would be taken for a file; leave out .py")
    module = re.sub(r"[.-]", "_", name).lower()
    if not module.isidentifier() or keyword.iskeyword(module):
        raise InputError(f"{what}: its module would be {module}, which is no name in Python")
    for taken, entry in plugins.known().items():
        if re.sub(r"[.-]", "_", taken).lower() == module:
            raise InputError(f"{what}: there is a backend of this name ({entry.origin})")
    if module in sys.stdlib_module_names or _is_installed(module):
        raise InputError(
            f"{what}: there is a module {module} already, and one would hide the other; "
            f"take another name, as {name}-backend"
        )
    return module


def _is_installed(module: str) -> bool:
    """Whether `import module` finds one; a mere folder of that name is none."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def create(name: str, folder: Path) -> list[Path]:
    """Write the package into `folder`, which must be empty or not there yet: the files written.

    All of it is there at the end, or nothing; InputError says why it cannot be.
    """
    module = module_of(name)
    parent = Path(os.path.abspath(folder)).parent
    if not os.path.isdir(parent):
        raise InputError(f"new-backend: there is no folder {parent}")
    if os.path.lexists(folder) and (os.path.islink(folder) or not os.path.isdir(folder)):
        raise InputError(f"new-backend: {folder} is there, and is no folder")
    made = parent / f".{new_name()}"
    try:
        if os.path.isdir(folder) and any(folder.iterdir()):
            raise InputError(f"new-backend: the folder {folder} is not empty")
        written = [_write(made, *pair, name, module) for pair in FILES.items()]
        made.rename(folder)
    except OSError as error:
        raise InputError(f"new-backend: {folder}: {why(error)}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)  # after the renaming there is none
    return [folder / file for file in written]


def _write(made: Path, template: str, place: str, name: str, module: str) -> str:
    """One file of the package: where it lies in it."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    words = {"__NAME__": name, "__MODULE__": module, "__MODEL__": WORKLOADS[DEFAULT].model}
    for word, stands_for in words.items():
        place, text = place.replace(word, stands_for), text.replace(word, stands_for)
    path = made / place
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())
    return place
