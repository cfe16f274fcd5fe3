"""Python interpreters other than the harness's own: what is installed there, asked of themselves.

A worker may run under any interpreter that has the few packages it needs; `examine` says in one
line why one cannot be used, before anything is measured. Imports no framework, here or there.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from harness.errors import InputError

OLDEST = (3, 11)
# All that a worker needs beside its framework.
PACKAGES = ("numpy", "msgspec", "safetensors", "threadpoolctl")
# The interpreter is asked by its own standard library; it prints one line of JSON.
QUESTION = """
import importlib.metadata as metadata, json, sys
from importlib.util import find_spec
packages, distributions, group = json.loads(sys.argv[1])
def installed(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
versions = {name: found for name in distributions if (found := installed(name))}
points = metadata.entry_points()
points = points.select(group=group) if hasattr(points, "select") else points.get(group, ())
print(json.dumps({
    "version": list(sys.version_info[:2]),
    "absent": [name for name in packages if find_spec(name) is None],
    "versions": versions,
    "entry_points": [
        [p.name, p.value, p.dist.name if p.dist else "", p.dist.version if p.dist else ""]
        for p in points
    ],
}))
"""
TIMEOUT_S = 60.0


class EntryPoint(msgspec.Struct, frozen=True, array_like=True):
    """One entry point: its name, MODULE:CLASS, and the distribution that brings it."""

    name: str
    value: str
    distribution: str
    version: str


class Answer(msgspec.Struct, frozen=True):
    """What an interpreter says: of the packages asked for those `absent`, versions by name."""

    version: tuple[int, int]
    absent: list[str]
    versions: dict[str, str]
    entry_points: list[EntryPoint]


def is_own(python: str) -> bool:
    """Whether this is the interpreter that runs the harness ("" is)."""
    return python in ("", sys.executable)


def absolute(python: str, folder: Path | None = None) -> str:
    """The path from `folder` (default: the working directory), ~ expanded.

    A link stays a link: an environment's interpreter is one, and is known by its place.
    """
    return os.path.abspath(os.path.join(folder or "", os.path.expanduser(python)))


def locate(python: str) -> str:
    """The interpreter's absolute path; InputError where there is no such program."""
    path = absolute(python)
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise InputError(f"--python {python}: there is no such program")
    return path


@functools.lru_cache(maxsize=64)
def ask(
    python: str, packages: tuple[str, ...], distributions: tuple[str, ...], group: str
) -> Answer:
    """What is installed for `python`; InputError where it does not answer."""
    question = msgspec.json.encode([packages, distributions, group]).decode()
    # PYTHONPATH and PYTHONHOME are about the harness's own interpreter.
    kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            [python, "-c", QUESTION, question],
            capture_output=True,
            timeout=TIMEOUT_S,
            env=kept,
            cwd=tempfile.gettempdir(),
            check=False,
            stdin=subprocess.DEVNULL,
        )
        last = (done.stdout.strip().splitlines() or [b""])[-1]
        return msgspec.json.decode(last, type=Answer)
    except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"--python {python}: it does not answer as Python does: {said}") from None


def examine(
    python: str,
    packages: tuple[str, ...] = (),
    distributions: tuple[str, ...] = (),
    group: str = "",
) -> Answer:
    """What is there of `packages` and `distributions`; InputError where no worker can run."""
    answer = ask(python, (*PACKAGES, *packages), distributions, group)
    if answer.version < OLDEST:
        have, need = (".".join(map(str, v)) for v in (answer.version, OLDEST))
        raise InputError(f"--python {python}: it is Python {have}; a worker needs {need}")
    needed = [name for name in PACKAGES if name in answer.absent]
    if needed:
        raise InputError(
            f"--python {python}: a worker needs {', '.join(needed)} there; "
            f"install with: {python} -m pip install {' '.join(needed)}"
        )
    return answer
