"""Stored runs in the formats that other tools read: the table of formats, and one way to use it.

One file a format. Takes records with their verdicts, starts no worker, imports no framework; what a
format's own client library needs is imported by that format alone, when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from harness.errors import InputError
from harness.export.shown import LeftOut, Run
from harness.files import write_atomic


class Format(NamedTuple):
    """One format. `module`: of this package.

    `target`: "file" if its module has `render(runs) -> (text, left out)`, "folder" for
    `write(runs, folder) -> (paths, left out)`, "server" for `log(runs, uri) -> (places, left out)`.
    `several`: whether one export may hold more than one run.
    """

    module: str
    target: Literal["file", "folder", "server"]
    several: bool


FORMATS = {
    "pyperf": Format("pyperf", "file", several=False),
    "junit": Format("junit", "file", several=True),
    "github-action-benchmark": Format("github_action_benchmark", "file", several=False),
    "csv": Format("csv_table", "file", several=True),
    "tensorboard": Format("tensorboard", "folder", several=True),
    "mlflow": Format("mlflow", "server", several=True),
}


class Exported(msgspec.Struct, kw_only=True):
    """What an export did. `written`: files, or runs on a server; `left_out`: what it has not got.

    `text`: the whole export, where it is for stdout.
    """

    format: str
    runs: list[str]
    written: list[str]
    left_out: list[LeftOut]
    text: str | None = None


def check(name: str, number: int, out: Path | None, uri: str | None) -> Format:
    """The format of this name; InputError where it cannot be used so. `number`: of records."""
    if name not in FORMATS:
        raise InputError(f"export {name}: there is {', '.join(FORMATS)}")
    made = FORMATS[name]
    if number > 1 and not made.several:
        raise InputError(f"export {name} takes one record, and {number} are given")
    if made.target == "folder" and out is None:
        raise InputError(f"export {name} writes a folder: name it with --out DIR")
    if made.target == "server" and out is not None:
        raise InputError(f"export {name} writes no file: leave out --out")
    if made.target != "server" and uri is not None:
        raise InputError(f"export {name} needs no server: leave out --tracking-uri")
    return made


def export(
    name: str, runs: Sequence[Run], out: Path | None = None, uri: str | None = None
) -> Exported:
    """Write runs in a format: to `out`, to a server at `uri`, or into the `text` that is returned.

    Raises InputError where the format does not take them so, where nothing in them can be exported,
    where the client library is missing, and where the target cannot be written.
    """
    made = check(name, len(runs), out, uri)
    module = importlib.import_module(f"harness.export.{made.module}")
    text, written = None, []
    if made.target == "file":
        text, left_out = module.render(runs)
        if out is not None:
            write_atomic(out, text.encode())
            text, written = None, [str(out)]
    elif made.target == "folder":
        written, left_out = module.write(runs, out)
    else:
        written, left_out = module.log(runs, uri)
    told = [run.record.run for run in runs]
    return Exported(format=name, runs=told, written=written, left_out=left_out, text=text)


def describe(made: Exported) -> dict[str, Any]:
    """What an export did, as plain data for `--json`."""
    told: dict[str, Any] = msgspec.to_builtins(made)
    return {name: value for name, value in told.items() if name != "text"}
