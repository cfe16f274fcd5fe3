"""Did a change of the harness move a number? Two stored runs of one plan, value by value.

`python benchmarks/same_values.py BEFORE AFTER --python PYTHON`: BEFORE was stored by the older
harness, which PYTHON has installed; AFTER by this one. Each record is read by the harness that
wrote it, so formats may differ. Every measurement, digest, loss and verdict must be equal to the
last bit; times, processes and machine are left out. Exit status 1 where one differs.

Store both with `--threads 1` and OPENBLAS_NUM_THREADS=1: with two threads the judge's own products
are not the same bit for bit from run to run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Run by either interpreter: prints the record in a folder as JSON.
READ = """
import sys, msgspec
from pathlib import Path
try:
    from harness.record.store import read
except ImportError:
    from harness.record import read
record = read(Path(sys.argv[1]))
sys.stdout.buffer.write(msgspec.json.encode(msgspec.to_builtins(record)))
"""
# What each list of a record holds, and what names one of its entries.
KEYS = {
    "measurements": ("dtype", "rung", "case", "step", "tensor"),
    "training": ("dtype", "seed"),
    "repeats": ("dtype", "steps"),
    "churn": ("seed",),
    "operators": ("dtype", "operator", "point"),
}
SHARED_KEYS = {
    "cases": ("case",),
    "known_answers": ("name",),
    "reference": ("dtype", "seed"),
    "envelope": ("regime", "replica", "after"),
}
# Of an entry everything counts but times.
TIMES = ("_ns", "seconds")
# Of verdict.json everything counts but times, and what is of the machine and the moment.
OF_THE_MOMENT = {
    *("record", "run", "started", "machine", "seconds", "harness_version", "python", "interpreter"),
    *(
        "step_time",
        "peak_rss_bytes",
        "peak_device_bytes",
        "timing",
        "summary",
        "versions",
        "device",
    ),
}

Values = dict[tuple[Any, ...], Any]


def read(folder: Path, python: str) -> dict[str, Any]:
    """A stored record as plain data, read by the harness of that interpreter."""
    folder = folder.resolve()
    # Elsewhere than here: the working directory comes first where modules are looked for.
    words = [python, "-c", READ, str(folder)]
    done = subprocess.run(words, capture_output=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{folder}: cannot be read by {python}:\n{done.stderr.decode()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def flattened(value: Any, place: tuple[Any, ...]) -> Values:
    """Every leaf of nested data by its place, times left out."""
    if isinstance(value, dict):
        children = [(name, child) for name, child in value.items() if not name.endswith(TIMES)]
    elif isinstance(value, list):
        children = [*enumerate(value)]
    else:
        return {place: value}
    leaves: Values = {}
    for name, child in children:
        leaves |= flattened(child, (*place, name))
    return leaves


def entries(found: list[dict[str, Any]], keys: tuple[str, ...], place: tuple[Any, ...]) -> Values:
    """Every value of a list of entries, by what names the entry."""
    values: Values = {}
    times_seen: dict[tuple[Any, ...], int] = {}
    for entry in found:
        name = tuple(entry.get(key) for key in keys)
        times_seen[name] = times_seen.get(name, 0) + 1
        values |= flattened(entry, (*place, *name, times_seen[name]))
    return values


def values_of(record: dict[str, Any]) -> Values:
    """All that a record says of numbers, by place."""
    values: Values = {}
    for section, keys in SHARED_KEYS.items():
        values |= entries(record[section], keys, (section,))
    values |= flattened(record["dataset"], ("dataset",))
    for label, results in record["results"].items():
        for section, keys in KEYS.items():
            values |= entries(results[section], keys, (label, section))
    return values


def verdicts_of(folder: Path) -> Values:
    """All that verdict.json says of numbers, by place."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {n: kept(v) for n, v in value.items() if n not in OF_THE_MOMENT}
        return [kept(v) for v in value] if isinstance(value, list) else value

    return flattened(kept(json.loads((folder / "verdict.json").read_text())), ("verdict.json",))


def main() -> int:
    """Compare two runs and tell what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--python", default=sys.executable, help="of the harness that wrote BEFORE")
    chosen = parser.parse_args()
    before = values_of(read(chosen.before, chosen.python)) | verdicts_of(chosen.before)
    after = values_of(read(chosen.after, sys.executable)) | verdicts_of(chosen.after)
    places = {
        "only before": before.keys() - after.keys(),
        "only after": after.keys() - before.keys(),
        "other values": {p for p in before.keys() & after.keys() if before[p] != after[p]},
    }
    for title, which in places.items():
        for place in sorted(which, key=str)[:20]:
            print(f"{title}: {place}: {before.get(place)!r} / {after.get(place)!r}")
    labels = sorted({p[0] for p in before} & {p[0] for p in after})
    print(f"{len(before.keys() & after.keys())} values compared of {', '.join(labels)}")
    print(", ".join(f"{title}: {len(which)}" for title, which in places.items()))
    return 1 if any(places.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
