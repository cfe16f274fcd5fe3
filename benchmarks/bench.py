"""The project's own benchmark: every bar that was set for its speed, measured and printed.

    python benchmarks/bench.py --page results/reports/performance.md

All variants of all backends as multiples of the GEMM floor over sessions of fresh processes, Keras
3 `fit` and the book's loop in alternation with ours, the training loop's own overhead, and what the
commands take. Ratios count; absolute times are of one shared machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import files
from harness.record import store
from harness.record.schema import Record
from harness.report import roofline, run_tables, words
from harness.report.run_tables import Run
from harness.report.tables import escape, table
from harness.verdict import verdict as verdicts
from harness.verdict.timing_stats import MIN_SESSIONS, break_even
from harness.verdict.verdict import Verdict

HERE = Path(__file__).resolve().parent
# Step over GEMM floor, two threads, CPU, float32, batch 256: the default variants' bars.
FLOOR_BARS = {"numpy": 1.45, "jax": 1.45, "torch": 1.6, "tensorflow": 2.0}
BEST_BAR = 1.25
LOOP_BAR = 1.05
DEFAULT_BAR_S = 60.0
COMMAND_BARS_S = {"--help": 0.4, "list": 1.0}
# The variant of the same framework that compiles nothing; for JAX, which has none, NumPy's step.
PLAIN = {"torch": "torch", "tensorflow": "tensorflow:eager", "jax": "numpy"}

Row = list[str]


def timed(words: list[str]) -> tuple[float, str]:
    """Wall seconds and standard output of one command of the harness."""
    before = time.perf_counter()
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - before
    if done.returncode:
        raise SystemExit(f"harness {' '.join(words)}: {done.returncode}\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def measured(words: list[str]) -> tuple[float, Record, Verdict]:
    """Wall seconds, record and verdict of one `compare`."""
    seconds, said = timed(["compare", *words, "--json"])
    found = store.read(Path(json.loads(said)["record"]))
    return seconds, found, verdicts.judge(found)


def bar(what: str, value: float, limit: float, *, low: float | None, high: float | None) -> Row:
    """One line of the table of bars: met where the value is, and surely so with an interval."""
    interval = "–" if low is None or high is None else f"{low:.3f}–{high:.3f}"
    met = "met" if value <= limit else "MISSED"
    if low is not None and high is not None and low <= limit <= high:
        met += " (the interval holds the bar)"
    return [what, f"{value:.3f}", interval, f"≤ {limit:g}", met]


def floor_rows(judged: Verdict) -> list[Row]:
    """Multiples of the floor of the default variants, and of the best of all."""
    times = {
        name: label.step_time
        for name, label in judged.labels.items()
        if label.agrees and label.step_time is not None and label.step_time.floor_ratio is not None
    }
    rows = []
    for name, limit in FLOOR_BARS.items():
        if name not in times:
            rows.append([f"{name}: step / floor", "–", "–", f"≤ {limit:g}", "NOT RANKED"])
            continue
        low, high = times[name].floor_ci95 or (None, None)
        what = f"{name}: step / GEMM floor"
        rows.append(bar(what, times[name].floor_ratio or 0, limit, low=low, high=high))
    best = min(times, key=lambda name: times[name].floor_ratio or 0)
    low, high = times[best].floor_ci95 or (None, None)
    what = f"the best variant ({best}): step / GEMM floor"
    return [*rows, bar(what, times[best].floor_ratio or 0, BEST_BAR, low=low, high=high)]


def break_even_rows(judged: Verdict) -> list[Row]:
    """From how many steps on a compile has paid."""
    rows = []
    for name, label in judged.labels.items():
        other = judged.labels.get(PLAIN.get(name.partition(":")[0], ""))
        if other is None or name in PLAIN.values() or not label.step_time or not other.step_time:
            continue
        mine, plain = label.step_time, other.step_time
        steps = break_even(mine.compile_ns or 0, plain.median_ns, mine.median_ns)
        rows.append(
            [
                name,
                words.duration(mine.compile_ns),
                next(n for n, found in judged.labels.items() if found is other),
                "never: it is slower" if steps is None else str(steps),
            ]
        )
    return rows


def command_rows() -> list[Row]:
    """What the quick commands take: the median of five."""
    return [
        bar(
            f"`harness {command}`, seconds",
            statistics.median(timed([command])[0] for _ in range(5)),
            limit,
            low=None,
            high=None,
        )
        for command, limit in COMMAND_BARS_S.items()
    ]


def run_peers(folder: Path, given: argparse.Namespace) -> dict:
    """benchmarks/peers.py in a process of its own; its JSON document."""
    out = folder / "peers.json"
    data = ["--data-dir", str(given.data_dir)] if given.data_dir is not None else []
    command = [sys.executable, str(HERE / "peers.py"), "--out", str(out)]
    command += ["--sessions", str(given.sessions), *data]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"peers.py ended with {done.returncode}")
    print(done.stdout)
    return {"page": done.stdout, "data": json.loads(out.read_text())}


def peer_rows(found: dict) -> list[Row]:
    """The peers that have a bar."""
    rows = []
    for each in found["data"]["rows"]:
        if each["bar"] is None:
            continue
        what = f"our step / {each['peer']}'s step"
        if each["step"] is None:
            rows.append([what, "–", "–", f"≤ {each['bar']:g}", f"{each['verdict']}"])
            continue
        step = each["step"]
        rows.append(bar(what, step["value"], each["bar"], low=step["low"], high=step["high"]))
    return rows


def main() -> int:
    """Measure everything, print it, and write the page; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=MIN_SESSIONS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--page", type=Path, help="Markdown")
    given = parser.parse_args()
    data = ["--data-dir", str(given.data_dir)] if given.data_dir is not None else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = ["--results-dir", str(folder), *data]
        sizes = ["--sessions", str(given.sessions), "--rounds", str(given.rounds)]
        _, found, judged = measured(["--profile", "smoke", "--all-variants", *sizes, *where])
        rows = floor_rows(judged)
        peers = run_peers(folder, given)
        rows += peer_rows(peers)
        seconds, default, plain = measured(["--profile", "default", *where])
        for label, at in plain.labels.items():
            if at.step_time is not None and at.step_time.loop_overhead is not None:
                value = at.step_time.loop_overhead
                what = f"{label}: epoch / Σ (gather + put + step)"
                rows.append(bar(what, value, LOOP_BAR, low=None, high=None))
        what = "`compare --profile default`, seconds"
        rows.append(bar(what, seconds, DEFAULT_BAR_S, low=None, high=None))
        rows += command_rows()
    source = default.dataset
    roof = roofline.section(Run(found, judged))
    lines = [
        "# Performance",
        "",
        (
            "One run of benchmarks/bench.py (`nox -s bench`) on a shared machine: ratios count, "
            "absolute times do not. "
            f"{escape(found.machine['processor'])}, {found.plan.threads} threads; "
            f"{'SYNTHETIC data' if source is None or source.synthetic else source.name}."
        ),
        "",
        "## The bars",
        "",
        *table(["what", "value", "95 % interval", "bar", ""], rows),
        f"## All variants ({found.plan.timing.sessions} sessions of {given.rounds} rounds)",
        "",
        escape(judged.summary),
        "",
        *(
            line
            for build in (run_tables.times, run_tables.ratios)
            for section in [build(Run(found, judged))]
            for line in table([*section.header], section.texts)
        ),
        "## From how many steps on a compile pays",
        "",
        *table(["label", "compile", "against", "steps"], break_even_rows(judged)),
        peers["page"],
        "## Roofline (GFLOP/s)",
        "",
        escape(roof.note),
        "",
        *table([*roof.header], roof.texts),
    ]
    text = "\n".join(lines)
    print(text)
    if given.page is not None:
        files.write_atomic(given.page, text.encode())
    return 1 if any("MISSED" in row[-1] or "NOT" in row[-1] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
