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
import contextlib
import math
import os
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from backends import BACKENDS
from harness import data, files
from harness.errors import InputError
from harness.record.facts import describe_machine, now, versions
from harness.report.tables import escape, table
from harness.signals import as_interrupt, undisturbed
from harness.tensors import save_tensors
from harness.text import many
from harness.verdict.stats import critical_t
from harness.verdict.timing_stats import ALPHA, MIN_SESSIONS
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable, environment
from harness.workers.scratch import REST_BYTES, scratch_folder
from harness.workloads import WORKLOADS
from harness.workloads.reference import canonical

SYSTEMS = ("nielsen-neuron", "linear-regression", "himmelblau", "logistic-regression")
# Relative distance of all parameters from the trainer's, after all steps of a session.
LIMIT = 1e-4
START_S, CALL_S = 300.0, 300.0
# What all rounds of a label on a system may take in a session: of slow steps a round has fewer.
BUDGET_S = 0.5
HERE = Path(__file__).resolve().parent
Say = Callable[[str], None]


class Turns(msgspec.Struct):
    """One label on one system in one session: the median step of each round; see `by_hand`."""

    harness_ns: list[int]
    by_hand_ns: list[int]
    distance: float


class Arm(NamedTuple):
    """A framework's variant: a process of a session."""

    backend: str
    variant: str

    @property
    def label(self) -> str:
        """As a run calls it, and in brackets which variant is the default."""
        default = self.variant == BACKENDS[self.backend].variants[0]
        return f"{self.backend} ({self.variant})" if default else f"{self.backend}:{self.variant}"


class Measured(NamedTuple):
    """By system and label what each session found; why labels failed; versions by package."""

    turns: dict[tuple[str, str], list[Turns]]
    failed: dict[str, str]
    versions: dict[str, str]


def arms(backends: Sequence[str]) -> list[Arm]:
    """Every variant on the CPU of these backends."""
    return [
        Arm(name, variant)
        for name in backends
        for variant in BACKENDS[name].variants
        if BACKENDS[name].lacks_variant(variant, "cpu") is None
    ]


def measure(asked: argparse.Namespace, say: Say) -> Measured:
    """All sessions of all arms; no process is left behind, whatever happens."""
    found = Measured({}, {}, {})
    with scratch_folder(REST_BYTES) as scratch:
        for system in SYSTEMS:
            _write(system, scratch, asked, say)
        for number in range(asked.sessions):
            say(f"overhead: session {number + 1} of {asked.sessions}")
            logs = scratch / f"logs-{number}"
            logs.mkdir()
            going = [arm for arm in arms(asked.backend) if arm.label not in found.failed]
            random.Random(number).shuffle(going)
            _session(going, scratch, logs, asked, found)
    for label, reason in found.failed.items():
        say(f"overhead: {label}: {reason}")
    return found


def _write(system: str, scratch: Path, asked: argparse.Namespace, say: Say) -> None:
    """A system's initial state, and batches of as many steps as a round has, as files."""
    workload, steps = WORKLOADS[system], asked.steps
    dataset = data.of_workload(workload, data_dir=asked.data_dir, steps=steps, warn=say)
    x, y = data.training_set(dataset, workload)
    size = workload.batch_size or len(x)
    rows = np.arange(steps * size) % len(x)
    batches = {"x": x[rows].reshape(steps, size, *workload.x)}
    if workload.y != "none":
        batches["y"] = y[rows].reshape(steps, size, *workload.outputs)
    save_tensors(str(scratch / f"{system}-batches"), batches)
    save_tensors(str(scratch / f"{system}-state"), canonical.initial_state(workload, 0))


def _session(
    going: Sequence[Arm], scratch: Path, logs: Path, asked: argparse.Namespace, found: Measured
) -> None:
    """Fresh processes: all import, then each in its turn is timed on every system."""
    workers: dict[Arm, Worker] = {}

    @contextlib.contextmanager
    def containing(arm: Arm) -> Iterator[None]:
        """What a process does wrong ends its label only."""
        try:
            yield
        except (WorkerFailed, WorkerUnavailable) as error:
            found.failed[arm.label] = " ".join(str(error).split())

    try:
        for arm in going:
            with containing(arm):
                workers[arm] = _start(arm, scratch, logs, asked.threads)
        for arm, worker in workers.items():
            with containing(arm):
                found.versions.update(versions(worker.answer()["facts"]))
        for arm, worker in workers.items():
            if arm.label not in found.failed:
                with containing(arm):
                    for system in SYSTEMS:
                        turns = _turns(arm, worker, system, scratch, asked.rounds)
                        found.turns.setdefault((system, arm.label), []).append(turns)
    finally:
        with undisturbed():
            for worker in workers.values():
                worker.end(grace_s=0)


def _start(arm: Arm, scratch: Path, logs: Path, threads: int) -> Worker:
    """A process that begins to import."""
    entry = BACKENDS[arm.backend]
    paths = [str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = environment(threads, entry.environment | {"PYTHONPATH": os.pathsep.join(paths)})
    where = (sys.executable, env, threads, logs, scratch)
    worker = Worker(arm.label, "overhead", *where, desk="by_hand:Desk")
    worker.ask(
        "start",
        START_S,
        source=entry.source,
        device="cpu",
        dtype="float32",
        threads=threads,
        variant=arm.variant,
        workload=msgspec.to_builtins(WORKLOADS[SYSTEMS[0]]),
        plant=None,
        memory_headroom=None,
    )
    return worker


def _turns(arm: Arm, worker: Worker, system: str, scratch: Path, rounds: int) -> Turns:
    worker.call("workload", CALL_S, workload=msgspec.to_builtins(WORKLOADS[system]))
    answer = worker.call(
        "turns",
        CALL_S,
        state=str(scratch / f"{system}-state"),
        batches=str(scratch / f"{system}-batches"),
        variant=arm.variant,
        rounds=rounds,
        budget_s=BUDGET_S,
    )
    return msgspec.convert(answer, Turns)


def rows(found: Measured, labels: Sequence[str]) -> list[list[str]]:
    """A line a system and label, in microseconds; none of a loop that computed something else."""
    lines = []
    for system in SYSTEMS:
        for label in labels:
            sessions = found.turns.get((system, label), [])
            distance = max((of.distance for of in sessions), default=math.inf)
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
    pairs = zip(of.harness_ns, of.by_hand_ns, strict=True)
    differences = [harness - by_hand for harness, by_hand in pairs]
    return [*map(statistics.median, (of.harness_ns, of.by_hand_ns, differences))]


def interval(values: Sequence[float]) -> str:
    """The mean over sessions, with its 95 % interval where there are several."""
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return f"{mean:+.1f}"
    half = critical_t(n - 1, ALPHA / 2) * statistics.stdev(values) / math.sqrt(n)
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def markdown(found: Measured, asked: argparse.Namespace, started: str) -> str:
    """The page."""
    labels = [arm.label for arm in arms(asked.backend)]
    claim = (
        f"95 % intervals over {asked.sessions} sessions"
        if asked.sessions >= MIN_SESSIONS
        else f"indicative only: {many(asked.sessions, 'session')} of at least {MIN_SESSIONS}"
    )
    machine = describe_machine()
    facts = [f"{machine['processor']}, {machine['processors']} processors", machine["system"]]
    facts += [f"CPU, float32, {many(asked.threads, 'thread')}", f"python {machine['python']}"]
    facts += [f"{name} {version}" for name, version in sorted(found.versions.items())]
    header = ["system", "label", "harness, µs", "by hand, µs", "harness − by hand, µs"]
    lines = [
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
            "steps fewer), the two in turns within one process; "
            f"{claim}. After all steps a loop's parameters are at most {LIMIT:g} from the "
            "trainer's (relative), or it is not compared. Of `scan`, which makes a round's steps "
            "as one call, a step is a share of the call."
        ),
        "",
        *table(header, rows(found, labels)),
        *(f"- {escape(label)}: {escape(reason)}" for label, reason in found.failed.items()),
        *([""] if found.failed else []),
        f"One run of `python benchmarks/overhead.py`, {started}. {escape('; '.join(facts))}.",
    ]
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=MIN_SESSIONS)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--steps", type=int, default=12, help="of a round; a run's blocks have 12")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", action="append", choices=[*BACKENDS], help="only this one")
    parser.add_argument("--data-dir", type=Path, help="a folder with the data of every source")
    parser.add_argument("--page", type=Path, help="Markdown")
    asked = parser.parse_args(words)
    asked.backend = asked.backend or [*BACKENDS]
    if min(asked.sessions, asked.rounds, asked.steps, asked.threads) < 1:
        parser.error("sessions, rounds, steps and threads start at 1")
    if asked.page is not None and not asked.page.parent.is_dir():  # before the minutes, not after
        parser.error(f"--page {asked.page}: there is no such folder")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    started = now()
    try:
        with as_interrupt():
            found = measure(asked, say)
    except InputError as error:
        say(f"overhead: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    text = markdown(found, asked, started)
    print(text, end="")
    if asked.page is not None:
        files.write_atomic(asked.page, text.encode())
    return 1 if "| NOT " in text else 0


if __name__ == "__main__":
    sys.exit(main())
