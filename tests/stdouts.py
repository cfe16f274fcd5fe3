"""Every verb with every kind of stdout, each in a fork of its own: what it wrote, how it ended.

    python -m tests.stdouts FOLDER KIND... < VERBS

KIND: "closed", "full", or the encoding of a file; VERBS: JSON, by name the words of the command
line. Each kind in FOLDER/KIND/work, where few workers start: a measured run is the one stored
there; a backend was certified, and the machine looked at, before. Prints JSON: by kind and name
the exit status, stdout (base64), stderr, and the files there, with their sizes.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from harness import cli
from harness.conformance import certify
from harness.doctor import system
from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.report import page
from harness.run import scale, session
from harness.workers import providers
from tests.conftest import Silent

# What the verbs import when they are asked.
IMPORTED = (
    "duckdb",
    "harness.bundle.reproduction",
    "harness.export",
    "harness.report.files",
    "harness.report.terminal",
    "harness.results.query",
    "harness.run.golden",
    "jinja2",
    "psutil",
    "pydantic",
    "rich.table",
    "scipy.integrate",
    "scipy.special",
    "typer._adapters",
    "xml.etree.ElementTree",
)
OUT, ERR = Path("../stdout"), Path("../stderr")


def verb(kind: str, words: list[str]) -> NoReturn:
    """One verb in this process; at its end stdout is flushed, as Python does."""
    os.dup2(os.open(ERR, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if kind == "closed":
        os.close(1)
        sys.stdout = sys.__stdout__ = None  # type: ignore[misc]
    else:
        os.dup2(os.open("/dev/full" if kind == "full" else OUT, os.O_WRONLY), 1)
        encoding = "utf-8" if kind == "full" else kind
        sys.stdout = sys.__stdout__ = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    session.run = lambda *_: (None, next(iter(sorted(Path("results/runs").iterdir()))))
    scale.run = lambda *_: next(Path("results/scale").iterdir())
    sys.argv = ["harness", *words]
    status: object = 99
    try:
        cli.main()
    except SystemExit as ended:
        status = ended.code
    except BaseException as error:
        print(f"Traceback: {error!r}", file=sys.stderr, flush=True)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        status = 120
    os._exit(status if isinstance(status, int) else 98)


def main() -> None:
    """All of them, one after the other; what the verbs import is imported once, before."""
    folder, *kinds = sys.argv[1:]
    verbs, told = json.load(sys.stdin), {}
    for name in IMPORTED:
        importlib.import_module(name)
    page.pack(page.plotly_source())
    examined = certify.certify(certify.ask_for("numpy", checks=("facts",)), Silent())
    certify.certify = lambda *_: examined
    plan = make_plan(Choices(backends=("numpy",)), *providers.find(None))
    lines = system.examine_system(plan, Path("results"))
    system.examine_system = lambda *_: lines
    for kind in kinds:
        os.chdir(f"{folder}/{kind}/work")
        told[kind] = {name: outcome(kind, words) for name, words in verbs.items()}
    print(json.dumps(told))


def outcome(kind: str, words: list[str]) -> tuple[int, str, str, dict[str, int]]:
    """What became of a verb."""
    OUT.write_bytes(b"")
    if (child := os.fork()) == 0:
        verb(kind, words)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    files = {str(p): p.stat().st_size for p in Path().rglob("*") if p.is_file()}
    return status, base64.b64encode(OUT.read_bytes()).decode(), ERR.read_text(), files


if __name__ == "__main__":
    main()
