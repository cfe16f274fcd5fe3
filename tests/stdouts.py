"""Every verb with a stdout of one kind, each in a fork of its own: what it wrote and how it ended.

    python -m tests.stdouts KIND WORK < VERBS

KIND: "closed", "full", or the encoding of a file; VERBS: JSON, by name the words of the command
line. In the folder WORK, where no worker need start: a measured run is the one stored there. Prints
JSON: by name the exit status, stdout (base64), stderr, and the files there, with their sizes.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from harness import cli
from harness.run import scale, session

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
    """All of them, one after the other."""
    kind, work, told = sys.argv[1], sys.argv[2], {}
    os.chdir(work)
    for name, words in json.load(sys.stdin).items():
        OUT.write_bytes(b"")
        if (child := os.fork()) == 0:
            verb(kind, words)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        files = {str(p): p.stat().st_size for p in Path().rglob("*") if p.is_file()}
        out = base64.b64encode(OUT.read_bytes()).decode()
        told[name] = [status, out, ERR.read_text(), files]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
