"""The project's own benchmark: every bar that was set for its speed, measured and printed.

    python benchmarks/bench.py --page results/reports/performance.md

All variants of all backends as multiples of the GEMM floor over sessions of fresh processes, Keras
3 `fit` and the book's loop in alternation with ours, the training loop's own overhead, and what the
commands take. Ratios count; absolute times are of one shared machine.

What cannot be measured, or disagrees, is named at the end, and the rest is kept: status 0 where
every bar is met, 1 where one is missed or was not measured, 2 for words that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness import files
from harness.record import store
from harness.record.facts import describe_machine
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


class NotMeasured(Exception):
    """A part of the benchmark broke off; the message says which and why, in one line."""


class Found(NamedTuple):
    """What a part of the benchmark adds: to the table of bars, to the page; what it measured."""

    rows: list[Row]
    lines: Sequence[str] = ()
    record: Record | None = None


def run(command: list[str], name: str, statuses: tuple[int, ...] = (0,)) -> tuple[int, str]:
    """Exit status and standard output of a command; NotMeasured for any other status."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in statuses:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotMeasured(f"{name} ended with {done.returncode}: {last}")
    return done.returncode, done.stdout


def measured(name: str, words: list[str]) -> tuple[Record, Verdict, float, list[Row]]:
    """Record, verdict and wall seconds of one `compare`, and a line where not all agreed."""
    before = time.perf_counter()
    command = [sys.executable, "-m", "harness", "compare", *words, "--json"]
    # 1: something disagrees, which is an answer, and all is stored.
    status, said = run(command, f"harness compare {name}", (0, 1))
    seconds = time.perf_counter() - before
    found = store.read(Path(json.loads(said)["record"]))
    judged = verdicts.judge(found)
    short = [f"harness compare {name}", "disagree", "–", "agree", "NOT MET"]
    return found, judged, seconds, [short] if status else []


def bar(
    what: str, value: float, limit: float, low: float | None = None, high: float | None = None
) -> Row:
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
    best = min(times, key=lambda name: times[name].floor_ratio or 0, default="none")
    bars = [(name, f"{name}: step / GEMM floor", limit) for name, limit in FLOOR_BARS.items()]
    bars.append((best, f"the best variant ({best}): step / GEMM floor", BEST_BAR))
    rows = []
    for name, what, limit in bars:
        if name in times:
            ends = times[name].floor_ci95 or (None, None)
            rows.append(bar(what, times[name].floor_ratio or 0, limit, *ends))
        else:
            rows.append([what, "–", "–", f"≤ {limit:g}", "NOT RANKED"])
    return rows


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


def of_variants(folder: Path, given: argparse.Namespace) -> Found:
    """All variants: multiples of the floor, ratios, when a compile pays, the roofline."""
    words = ["--profile", "smoke", "--all-variants", "--sessions", str(given.sessions)]
    words += ["--rounds", str(given.rounds), "--results-dir", str(folder), *given.data]
    found, judged, _, short = measured("--all-variants", words)
    roof = roofline.section(Run(found, judged))
    lines = [
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
        "## Roofline (GFLOP/s)",
        "",
        escape(roof.note),
        "",
        *table([*roof.header], roof.texts),
    ]
    return Found([*floor_rows(judged), *short], lines, found)


def of_peers(folder: Path, given: argparse.Namespace) -> Found:
    """The peers that have a bar, by benchmarks/peers.py in a process of its own, and its page."""
    out = folder / "peers.json"
    command = [sys.executable, str(HERE / "peers.py"), "--out", str(out)]
    _, page = run([*command, "--sessions", str(given.sessions), *given.data], "peers.py")
    rows = []
    for each in json.loads(out.read_text())["rows"]:
        what, loop = f"our loop / {each['peer']}'s call", each["loop"]
        if each["bar"] is not None and loop is not None:
            rows.append(bar(what, loop["value"], each["bar"], loop["low"], loop["high"]))
        elif each["bar"] is not None:
            rows.append([what, "–", "–", f"≤ {each['bar']:g}", f"NOT MET: {each['verdict']}"])
    return Found(rows, [page])


def of_default(folder: Path, given: argparse.Namespace) -> Found:
    """Profile default: what it takes, and the training loop's own overhead."""
    words = ["--profile", "default", "--results-dir", str(folder), *given.data]
    found, judged, seconds, short = measured("--profile default", words)
    overheads = {
        label: at.step_time.loop_overhead
        for label, at in judged.labels.items()
        if at.step_time is not None and at.step_time.loop_overhead is not None
    }
    what = "{}: epoch / Σ (gather + put + step)"
    rows = [bar(what.format(label), value, LOOP_BAR) for label, value in overheads.items()]
    rows.append(bar("harness compare --profile default, seconds", seconds, DEFAULT_BAR_S))
    return Found([*rows, *short], (), found)


def of_commands(_folder: Path, _given: argparse.Namespace) -> Found:
    """What the quick commands take, in seconds: the median of five."""
    rows = []
    for word, limit in COMMAND_BARS_S.items():
        taken = []
        for _ in range(5):
            before = time.perf_counter()
            run([sys.executable, "-m", "harness", word], f"harness {word}")
            taken.append(time.perf_counter() - before)
        rows.append(bar(f"harness {word}, seconds", statistics.median(taken), limit))
    return Found(rows)


def main() -> int:
    """Measure everything, print it, and write the page; 1 where something falls short."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=MIN_SESSIONS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--page", type=Path, help="Markdown")
    given = parser.parse_args()
    if given.page is not None and not given.page.parent.is_dir():  # before the minutes, not after
        parser.error(f"--page {given.page}: there is no such folder")
    given.data = ["--data-dir", str(given.data_dir)] if given.data_dir is not None else []
    parts = []
    with tempfile.TemporaryDirectory() as name:
        for part in (of_variants, of_peers, of_default, of_commands):
            try:
                parts.append(part(Path(name), given))
            except NotMeasured as error:
                what = (part.__doc__ or "").partition(":")[0].partition(",")[0]
                parts.append(Found([[what, "–", "–", "–", f"NOT MEASURED: {error}"]]))
    rows = [row for part in parts for row in part.rows]
    facts = [describe_machine()["processor"]]
    for record in [part.record for part in parts if part.record is not None][-1:]:
        facts.append(f"{record.plan.threads} threads")
        real = record.dataset is not None and not record.dataset.synthetic
        facts.append(record.plan.dataset if real else "SYNTHETIC data")
    lines = [
        "# Performance",
        "",
        (
            "One run of benchmarks/bench.py (`nox -s bench`) on a shared machine: ratios count, "
            f"absolute times do not. {escape('; '.join(facts))}."
        ),
        "",
        "## The bars",
        "",
        *table(["what", "value", "95 % interval", "bar", ""], rows),
        *(line for part in parts for line in part.lines),
    ]
    text = "\n".join(lines)
    print(text)
    if given.page is not None:
        files.write_atomic(given.page, text.encode())
    short = [row for row in rows if row[-1].startswith(("MISSED", "NOT"))]
    for what, value, _, limit, verdict in short:
        print(f"bench fell short: {what}: {value} ({limit}), {verdict}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
