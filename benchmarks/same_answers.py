"""Do two versions of the harness answer alike? The verbs of the one beside those of the other.

`python benchmarks/same_answers.py --python PYTHON`: PYTHON has the older harness installed. Each
carries out the same list of commands in a folder of its own (NumPy, one thread, smoke profile, the
data of $FASHION_MNIST_DIR or made ones), with a planted fault and without; exit statuses and JSON
documents are held against each other, times and what is of the moment left out. Exit status 1
where an answer differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from same_values import flattened

ROOT = Path(__file__).resolve().parent.parent
FAULT = ROOT / "tests" / "faults" / "numbers.py"
# What is measured anew in every run, or names a moment or a place: never compared.
OF_THE_MOMENT = {
    *("record", "records", "run", "runs", "started", "ended_at", "machine", "harness_version"),
    *("versions", "step_time", "seconds", "certificate", "file", "baseline", "bundle", "python"),
    *("interpreter", "peak_rss_bytes", "peak_device_bytes", "timing", "summary", "label_of"),
    *("speed", "roofs", "size", "environment", "folder", "sha256", "schema", "scripts"),
    *("written", "time", "planted", "multiple", "of_physics"),
}


class Command(NamedTuple):
    """One command line; what it writes that is compared too, and what of its answer is not."""

    words: tuple[str, ...]
    writes: str | None = None
    apart: frozenset[str] = frozenset()


RUN = ("--profile", "smoke", "--threads", "1", "--backend", "numpy")
GOLDEN = ("--file", "golden.safetensors", "--threads", "1")
SIZES = ("--widths", "64", "--batches", "32,64")
RUNGS = "SELECT label, rung, verdict FROM rungs WHERE rung <> 'timing' ORDER BY ALL"
PLANTED = ("--plant", f"numpy={FAULT}:lr_one_per_mille")
COMMANDS = (
    Command(("list",), apart=frozenset({"source", "origin"})),
    Command(("data",), apart=frozenset({"source"})),
    Command(("certify", "numpy")),
    Command(
        ("golden", "write", "--file", "golden.safetensors", "--after", "1,10", "--threads", "1")
    ),
    Command(("golden", "check", "numpy", "--file", "golden.safetensors", "--threads", "1")),
    Command(("compare", *RUN)),
    Command(("compare", *RUN, *PLANTED)),
    Command(("bundle", "latest"), writes="results/runs/*/bundle/divergence.json"),
    Command(("diff", "latest~1", "latest")),
    Command(("history",)),
    Command(
        ("query", "SELECT label, rung, verdict FROM rungs WHERE rung <> 'timing' ORDER BY ALL")
    ),
    Command(("check", "latest")),
    Command(
        ("scale", "--widths", "64", "--batches", "32,64", "--threads", "1", "--backend", "numpy")
    ),
    Command(("baseline", "save", "--threads", "1", "--backend", "numpy", "--rounds", "5")),
    Command(("prune", "--keep", "1", "--dry-run")),
)


def carry_out(python: str, folder: Path, command: Command) -> tuple[int, Any]:
    """Exit status, and the JSON document (or the line on stderr) of a command, in a folder."""
    words = [python, "-m", "harness", *command.words, "--json"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
    except json.JSONDecodeError:
        document = {"stdout": done.stdout, "stderr": done.stderr.strip().splitlines()[-1:]}
    if command.writes is not None:
        document = [document, *(json.loads(p.read_text()) for p in folder.glob(command.writes))]
    return done.returncode, document


def lasting(document: Any, apart: frozenset[str]) -> dict[tuple[Any, ...], Any]:
    """Every value of a document that is the same in each run of one version, by its place."""
    return {
        place: value
        for place, value in flattened(document, ()).items()
        if not (OF_THE_MOMENT | apart) & {*place}
    }


def main() -> int:
    """Carry out every command with both, and tell what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="has the older harness installed")
    parser.add_argument("--only", help="only commands that begin with this verb")
    chosen = parser.parse_args()
    pythons = {"before": chosen.python, "after": sys.executable}
    differing = 0
    with tempfile.TemporaryDirectory() as place:
        for command in COMMANDS:
            if chosen.only not in (None, command.words[0]):
                continue
            answers = {}
            for name, python in pythons.items():
                folder = Path(place, name)
                folder.mkdir(exist_ok=True)
                status, document = carry_out(os.path.abspath(python), folder, command)
                answers[name] = lasting(document, command.apart) | {("exit status",): status}
            before, after = answers["before"], answers["after"]
            places = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
            differing += bool(places)
            mark = "differs" if places else "same"
            print(
                f"{mark}: harness {' '.join(command.words)[:70]} ({len(after)} values)", flush=True
            )
            for p in sorted(places, key=str)[:12]:
                print(f"    {p}: {before.get(p)!r} / {after.get(p)!r}"[:300])
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
