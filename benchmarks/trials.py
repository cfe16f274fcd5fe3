"""Trials of the timing verdict itself: is it right about times whose truth is known?

    python benchmarks/trials.py --page results/reports/timing.md

Two labels of one backend (no difference to claim); a baseline against busy work planted inside
`step` (15 % is a regression, 3 % is none) and against a neighbour that keeps one core busy in
bursts (none either). Everything through the command line, as a user would; nothing is pinned.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.record import store
from harness.report.tables import table
from harness.verdict import timings
from harness.verdict.timing_stats import MIN_SESSIONS, Ratio, claim

ROOT = Path(__file__).resolve().parent.parent
FAULTS = ROOT / "tests" / "faults" / "busy.py"
# A neighbour as on a shared machine: at work and at rest for random parts of half a second.
NEIGHBOUR = """
import random, time
while True:
    end = time.monotonic() + random.uniform(0.05, 0.5)
    while time.monotonic() < end:
        pass
    time.sleep(random.uniform(0.05, 0.5))
"""


def harness(*words: str) -> tuple[int, dict]:
    """One command; its exit status and its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words, "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(
            f"harness {' '.join(words)}: exit {done.returncode}\n{done.stderr[-2000:]}"
        )
    return done.returncode, json.loads(done.stdout)


@contextmanager
def noisy_neighbour(wanted: bool) -> Iterator[None]:
    """Another process that keeps one core busy in bursts, while inside."""
    burner = subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) if wanted else None
    try:
        yield
    finally:
        if burner is not None:
            burner.kill()
            burner.wait()


def against_itself(backend: str, times: int, rounds: str, results: Path) -> list[Ratio]:
    """A against A, so many times: each of five sessions of smoke timing."""
    found = []
    for place in range(times):
        words = ("--profile", "smoke", "--backend", backend, "--sessions", str(MIN_SESSIONS))
        _, said = harness("run", *words, "--rounds", rounds, "--results-dir", str(results))
        (ratio,) = timings.against_itself(store.read(Path(said["record"]))).values()
        found.append(ratio)
        say(f"A/A {backend} {place + 1}/{times}: {told(ratio)}")
    return found


def told(ratio: Ratio) -> str:
    """A ratio with its interval."""
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def say(text: str) -> None:
    """A line with the time: the trials take half an hour."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def checks(
    name: str, times: int, options: tuple[str, ...], label: str, *, noisy: bool = False
) -> list[dict]:
    """`baseline check`, so many times; what each says of the label."""
    found = []
    for place in range(times):
        with noisy_neighbour(noisy):
            status, said = harness("baseline", "check", *options)
        one = said["labels"][label] | {"status": status}
        found.append(one)
        first = one["changes"][0] if one["changes"] else None
        interval = (
            f"{first['value']:.3f} [{first['low']:.3f}, {first['high']:.3f}]" if first else ""
        )
        say(f"{name} {place + 1}/{times}: {one['outcome']} {interval} (exit {status})")
    return found


def row(name: str, found: list[dict], want: str) -> list[str]:
    """One line of the page on a series of `baseline check`."""
    first = [one["changes"][0] for one in found if one["changes"]]
    regressions = sum(one["outcome"] == "regression" for one in found)
    others = {one["outcome"] for one in found} - {"regression"}
    rest = ", ".join(f"{sum(o['outcome'] == w for o in found)} {w}" for w in sorted(others))
    values = sorted(c["value"] for c in first)
    widths = sorted(c["high"] / c["low"] for c in first)
    return [
        name,
        f"{regressions} of {len(found)}",
        rest or "–",
        f"{values[0]:.3f}–{values[-1]:.3f}",
        f"{widths[len(widths) // 2]:.3f}",
        want,
    ]


def main() -> int:
    """Run the trials, print them, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--aa", default="numpy=20", help="backend=times,... for A against A")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--backend", default="numpy", help="where busy work is planted")
    parser.add_argument("--aa-rounds", default="5", help="rounds of A against A: smoke's")
    parser.add_argument("--rounds", default="10")
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    lines = ["# Trials of the timing verdict", ""]
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        rows = []
        for part in filter(None, given.aa.split(",")):
            backend, _, times = part.partition("=")
            ratios = against_itself(backend, int(times), given.aa_rounds, results)
            claims = sum(claim(ratio) for ratio in ratios)
            if claims * 20 > len(ratios):
                bad.append(f"A/A {backend}: {claims} of {len(ratios)} claimed")
            values = sorted(r.value for r in ratios)
            rows.append(
                [
                    backend,
                    str(len(ratios)),
                    str(claims),
                    f"{values[0]:.3f}–{values[-1]:.3f}",
                    "; ".join(told(r) for r in ratios),
                ]
            )
        lines += [
            "## A against A",
            "",
            (
                f"Two processes of one backend under two labels, {MIN_SESSIONS} sessions of "
                f"{given.aa_rounds} rounds each, all in fresh processes; a claim needs an interval "
                "that excludes 1 and a difference of more than 3 %. At most 1 in 20 may be claimed."
            ),
            "",
            *table(["backend", "repetitions", "claimed", "ratios", "each with its interval"], rows),
        ]
        common = (
            "--backend",
            given.backend,
            "--results-dir",
            str(results),
            "--rounds",
            given.rounds,
        )
        plant = "--plant", f"{given.backend}={FAULTS}:busy_"
        series = [
            ("no change", (), False, 0),
            ("3 % busy work in `step`", (*plant[:1], f"{plant[1]}3"), False, 0),
            (
                "15 % busy work in `step`",
                ("--plant", f"{given.backend}={FAULTS}:busy_15"),
                False,
                1,
            ),
            ("a neighbour busy in bursts", (), True, 0),
        ]
        rows = []
        if given.repetitions:
            harness("baseline", "save", *common)
        for name, options, noisy, all_or_none in series if given.repetitions else []:
            found = checks(name, given.repetitions, (*common, *options), given.backend, noisy=noisy)
            want = f"{given.repetitions if all_or_none else 0} of {given.repetitions}"
            rows.append(row(name, found, want))
            if rows[-1][1] != want:
                bad.append(f"{name}: {rows[-1][1]} called a regression, wanted {want}")
        lines += [
            f"## `baseline check` of {given.backend}",
            "",
            (
                f"Against one baseline of {MIN_SESSIONS} sessions of {given.rounds} rounds on the "
                "quiet machine. Values: the first measurement's multiple of the floor over the "
                "baseline's."
            ),
            "",
            *table(
                [
                    "what was done",
                    "regression",
                    "else",
                    "values",
                    "median width (high / low)",
                    "must be",
                ],
                rows,
            ),
        ]
    lines += [
        f"Machine: {os.cpu_count()} processors. One run of `python benchmarks/trials.py`.",
        "",
    ]
    lines += [f"FELL SHORT: {text}" for text in bad] or ["Every line is as it must be."]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.page is not None:
        given.page.write_text(text, encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
