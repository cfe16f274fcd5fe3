"""Does the store stay quick with thousands of runs? Makes them of one real run, and asks them.

    python benchmarks/thousand_runs.py results/runs/RUN --number 2000

Each is a copy of the run given (record.json, steps.parquet, verdict.json), under another name and
time, with figures that wander as those of real runs do: times drift, a package is new now and then,
some labels disagree, two machines take turns. Printed: wall time of each command, whole process,
with the files in the page cache; the best of three. They take 1.3 MB a run, and go at the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

STEPS = "SELECT label, kind, count(*) AS n, median(ns) AS ns FROM steps"
QUERIES = {
    "runs": "SELECT machine, verdict, count(*) AS n, max(started) FROM runs GROUP BY ALL",
    "labels": "SELECT label, count(*) AS n, median(step_ns) FROM labels GROUP BY ALL",
    "rungs": "SELECT label, rung, max(share) FROM rungs GROUP BY ALL",
    "a join": (
        "SELECT machine, label, rung, max(share) FROM runs JOIN labels ON id = run "
        "JOIN rungs USING (run, label) WHERE runs.verdict = 'agree' AND NOT synthetic GROUP BY ALL"
    ),
    "training": "SELECT label, epoch, avg(test_accuracy) FROM training GROUP BY ALL",
    "steps of one run": f"{STEPS} WHERE run = '{{newest}}' GROUP BY ALL",
    "steps of all runs": f"{STEPS} GROUP BY ALL",
}


def make_runs(source: Path, results: Path, number: int, seed: int = 0) -> list[str]:
    """So many runs under results/runs, of the one in `source`; their names, oldest first."""
    rng = random.Random(seed)
    record = (source / "record.json").read_bytes()
    verdict = json.loads((source / "verdict.json").read_bytes())
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    drift = dict.fromkeys(verdict["backends"], 1.0)
    versions = {label: dict(entry["versions"]) for label, entry in verdict["backends"].items()}
    names = []
    for i in range(number):
        started = begin + timedelta(hours=3 * i)
        name = f"{started:%Y%m%dT%H%M%S}-{i:06x}"
        folder = results / "runs" / name
        folder.mkdir(parents=True)
        told = _altered(verdict, rng, drift, versions)
        told["run"], told["started"] = name, f"{started:%Y-%m-%dT%H:%M:%SZ}"
        if i % 5 == 4:
            told["machine"], told["processor"] = (
                "another-processor-8-processors-01234567",
                "Another",
            )
        old = verdict["run"].encode()
        (folder / "record.json").write_bytes(record.replace(old, name.encode(), 1))
        shutil.copyfile(source / "steps.parquet", folder / "steps.parquet")
        (folder / "verdict.json").write_text(json.dumps(told, indent=1) + "\n")
        names.append(name)
    return names


def _altered(
    verdict: dict, rng: random.Random, drift: dict[str, float], versions: dict[str, dict[str, str]]
) -> dict:
    """A verdict with other figures; `drift` and `versions` go on from run to run."""
    told = copy.deepcopy(verdict)
    for label, entry in told["backends"].items():
        if rng.random() < 0.02 and versions[label]:
            package = rng.choice(sorted(versions[label]))
            first, _, rest = versions[label][package].partition(".")
            minor, _, last = rest.partition(".")
            minor = str(int(minor) + 1) if minor.isdecimal() else "1"
            versions[label][package] = f"{first}.{minor}.{last}"
            drift[label] *= rng.uniform(0.9, 1.1)
        entry["versions"] = dict(versions[label])
        drift[label] *= rng.uniform(0.995, 1.005)
        for rung in entry["rungs"].values():
            if isinstance(rung["value"], float):
                rung["value"] *= rng.uniform(0.7, 1.3)
        if rng.random() < 0.01 and "gradients" in entry["rungs"]:
            found = entry["rungs"]["gradients"]
            found["verdict"], found["value"] = "disagree", 1e-3
            found["reason"] = f"{label}, gradients, step 0, float32: W1 is off by 0.001"
            told["verdict"], told["summary"] = "disagree", f"{label} disagrees: {found['reason']}"
        times = entry["step_time"]
        if times:
            by = drift[label] * rng.uniform(0.98, 1.02)
            times["median_ns"] = int(times["median_ns"] * by)
            times["ci95_ns"] = [int(end * by) for end in times["ci95_ns"]]
            if times["floor_ratio"]:
                times["floor_ratio"] *= by
                low, high = rng.uniform(0.95, 0.99), rng.uniform(1.01, 1.05)
                times["floor_ci95"] = [times["floor_ratio"] * low, times["floor_ratio"] * high]
        for series in entry["test_accuracy"].values():
            series[:] = [value + rng.gauss(0, 0.003) for value in series]
    return told


def _timed(*words: str) -> float:
    """Seconds of one command, whole process: the best of three."""
    best = float("inf")
    for _ in range(3):
        before = time.perf_counter()
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        best = min(best, time.perf_counter() - before)
        if done.returncode:
            raise SystemExit(f"harness {words[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return best


def main() -> None:
    """Make the runs, time the commands, remove the runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, help="folder of a stored run with a verdict.json")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="make them here and leave them")
    given = parser.parse_args()
    results = given.keep or Path(tempfile.mkdtemp(prefix="thousand-runs-"))
    try:
        names = make_runs(given.source, results, given.number)
        at = ("--results-dir", str(results))
        print(f"{len(names)} runs; seconds of each command, whole process, best of three")
        print(f"{_timed('history', *at):8.2f}  history")
        print(f"{_timed('history', '--json', *at):8.2f}  history --json")
        page = str(results / "history.html")
        print(f"{_timed('history', '--page', page, *at):8.2f}  history --page")
        for name, sql in QUERIES.items():
            seconds = _timed("query", sql.format(newest=names[-1]), *at)
            print(f"{seconds:8.2f}  query, {name}")
        print(f"{_timed('prune', '--keep', '5', '--debris', *at):8.2f}  prune --keep 5 --debris")
    finally:
        if given.keep is None:
            shutil.rmtree(results, ignore_errors=True)


if __name__ == "__main__":
    main()
