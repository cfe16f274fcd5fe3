"""What does a framework cost a step when the work is nothing, and what does the harness add?

    python benchmarks/overhead.py --page results/reports/overhead.md

Four systems of a few numbers each, in every framework and variant on the CPU: the harness's trainer
(step and wait) beside the same loop written by hand without the harness (`by_hand/`). A label has a
process of its own, with the same threads, fresh in every session, and one computes at a time; there
the two take turns, round by round, on the same batches. A round gives the median step, a session
the median over its rounds, of the difference that of the rounds' differences; the interval is
Student's t over sessions. A loop that ends at other parameters is NOT COMPARED. Imports the
harness; no framework.

Status 0, 1 where something was not measured or not compared, 2 for words that cannot be used.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence

from backends import BACKENDS
from benchmarks import loops
from benchmarks.loops import Measured, Turns
from harness.report.tables import table
from harness.text import many
from harness.verdict.stats import critical_t
from harness.verdict.timing_stats import ALPHA

SYSTEMS = ("nielsen-neuron", "linear-regression", "himmelblau", "logistic-regression")
# Relative distance of all parameters from the trainer's, after all steps of a session.
LIMIT = 1e-4
BY_HAND = "by hand"


def rows(found: Measured, labels: Sequence[str]) -> list[list[str]]:
    """A line a system and label, in microseconds; none of a loop that computed something else."""
    lines = []
    for system in SYSTEMS:
        for label in labels:
            sessions = found.turns.get((system, label), [])
            distance = found.distance(system, label, BY_HAND)
            if label in found.failed:
                cells = ["–", "–", "NOT MEASURED"]
            elif not distance <= LIMIT:
                cells = ["–", "–", f"NOT COMPARED: {distance:.1e} away, limit {LIMIT:g}"]
            else:
                harness, by_hand, more = zip(*map(_session_ns, sessions), strict=True)
                cells = [f"{statistics.fmean(ns) / 1e3:.1f}" for ns in (harness, by_hand)]
                cells.append(interval([ns / 1e3 for ns in more]))
            lines.append([system, label, *cells])
    return lines


def _session_ns(of: Turns) -> list[float]:
    """The medians over a session's rounds: harness, by hand, and the differences within rounds."""
    by_hand_ns = of.loops_ns[BY_HAND]
    differences = [ours - theirs for ours, theirs in zip(of.harness_ns, by_hand_ns, strict=True)]
    return [*map(statistics.median, (of.harness_ns, by_hand_ns, differences))]


def interval(values: Sequence[float]) -> str:
    """The mean over sessions, with its 95 % interval where there are several."""
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return f"{mean:+.1f}"
    half = critical_t(n - 1, ALPHA / 2) * statistics.stdev(values) / math.sqrt(n)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def markdown(found: Measured, asked: argparse.Namespace, started: str) -> list[str]:
    """The page."""
    labels = [arm.label for arm in loops.arms(asked.backend)]
    header = ["system", "label", "harness, µs", "by hand, µs", "harness − by hand, µs"]
    return [
        "# What a framework costs when the work is nothing",
        "",
        (
            "Time of one training step. Its arithmetic takes less than a microsecond in the first "
            "three systems, which learn one number or two, and some ten in the last, which reads "
            "759 rows of eight: the rest is what calling the framework costs. *Harness*: the "
            "median step and wait, as a run tells it. *By hand*: the same loop without the "
            "harness, as one would write it: lines of NumPy; a module and torch.optim; jit and "
            "Optax; GradientTape and tf.function; the loss a number after every step, and the same "
            "clock around it (benchmarks/by\\_hand). No logarithm is clamped there, and Adam is "
            "written for the one tensor. Below 20 µs multiples say nothing, and none are told."
        ),
        "",
        (
            f"{many(asked.rounds, 'round')} of {many(asked.steps, 'step')} a session (of slow "
            f"steps fewer), the two in turns within one process; {loops.claim(asked)}. After all "
            f"steps a loop's parameters are at most {LIMIT:g} from the trainer's (relative), or it "
            "is not compared. Of `scan`, which makes a round's steps as one call, a step is a "
            "share of the call."
        ),
        "",
        *table(header, rows(found, labels)),
        *loops.ending("overhead", found, asked, started),
    ]


STUDY = loops.Study(
    name="overhead",
    about=__doc__.splitlines()[0],
    systems=SYSTEMS,
    backends=tuple(BACKENDS),
    beside=lambda arm: {BY_HAND: loops.Loop(*arm)},
    step="median",
    budget_s=0.5,
    at_once=0,
    rounds=50,
    steps=12,  # a run's blocks have as many
    environment=lambda *_: {},
    page=markdown,
)


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    return loops.main(STUDY, words)


if __name__ == "__main__":
    sys.exit(main())
