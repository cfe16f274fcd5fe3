"""Trainers beside loops written by hand (`by_hand/`): measured in turns, told on a page.

What is measured, of whom, and what the page says is a `Study`: `overhead.py` and `convolution.py`
each have one. A label has a process of its own, with the same threads, fresh in every session, and
one computes at a time; there its trainer and the loops take turns, round by round, on the same
batches. Imports the harness; no framework.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from backends import BACKENDS
from harness import data, files
from harness.errors import InputError
from harness.record.facts import describe_machine, now, versions
from harness.report.tables import escape
from harness.signals import as_interrupt, undisturbed
from harness.tensors import save_tensors
from harness.text import many
from harness.verdict.timing_stats import MIN_SESSIONS
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable, environment
from harness.workers.scratch import REST_BYTES, scratch_folder
from harness.workloads import WORKLOADS
from harness.workloads.reference import canonical

START_S, CALL_S = 300.0, 1800.0
HERE = Path(__file__).resolve().parent
# What a cell of a page begins with where the benchmark ends with status 1.
AMISS = ("| NOT ", "| missed")
Say = Callable[[str], None]


class Turns(msgspec.Struct):
    """One label on one system in one session; see `by_hand`.

    harness_ns, loops_ns (by the loop's name): the step of each round, in nanoseconds. distances:
    by the loop's name; None where it is not a number.
    """

    harness_ns: list[int]
    loops_ns: dict[str, list[int]]
    distances: dict[str, float | None]


class Arm(NamedTuple):
    """A framework's variant: a process of a session."""

    backend: str
    variant: str

    @property
    def label(self) -> str:
        """As a run calls it, and in brackets which variant is the default."""
        default = self.variant == BACKENDS[self.backend].variants[0]
        return f"{self.backend} ({self.variant})" if default else f"{self.backend}:{self.variant}"


class Loop(NamedTuple):
    """A module of `by_hand`, and how its loop is executed."""

    module: str
    variant: str


class Measured(NamedTuple):
    """By system and label what each session found; why labels failed; versions by package."""

    turns: dict[tuple[str, str], list[Turns]]
    failed: dict[str, str]
    versions: dict[str, str]

    def distance(self, system: str, label: str, loop: str) -> float:
        """The largest of all sessions; infinite where one is none, or nothing was measured."""
        found = [of.distances[loop] for of in self.turns.get((system, label), [])]
        return max((math.inf if d is None else d for d in found), default=math.inf)


class Study(NamedTuple):
    """A benchmark of this kind.

    name: of its file, and what its lines on stderr begin with. beside: the loops that take turns
    with an arm's trainer, by name. budget_s: what all rounds of a label on a system may take in a
    session: of slow steps a round has fewer. at_once: steps that a trainer which makes many as one
    call makes so; 0: a whole round's. rounds, steps: what is measured where the words do not say.
    environment: variables of an arm's process, given the scratch folder. page: the lines of it.
    """

    name: str
    about: str
    systems: tuple[str, ...]
    backends: tuple[str, ...]
    beside: Callable[[Arm], dict[str, Loop]]
    step: Literal["median", "fmean"]
    budget_s: float
    at_once: int
    rounds: int
    steps: int
    environment: Callable[[Arm, Path], dict[str, str]]
    page: Callable[[Measured, argparse.Namespace, str], list[str]]


def arms(backends: Sequence[str]) -> list[Arm]:
    """Every variant on the CPU of these backends."""
    return [
        Arm(name, variant)
        for name in backends
        for variant in BACKENDS[name].variants
        if BACKENDS[name].lacks_variant(variant, "cpu") is None
    ]


def measure(study: Study, asked: argparse.Namespace, say: Say) -> Measured:
    """All sessions of all arms; no process is left behind, whatever happens."""
    found = Measured({}, {}, {})
    with scratch_folder(REST_BYTES) as scratch:
        for system in study.systems:
            _write(system, scratch, asked, say)
        for number in range(asked.sessions):
            say(f"{study.name}: session {number + 1} of {asked.sessions}")
            logs = scratch / f"logs-{number}"
            logs.mkdir()
            going = [arm for arm in arms(asked.backend) if arm.label not in found.failed]
            random.Random(number).shuffle(going)
            _Session(study, scratch, logs, asked).measure(going, found)
    for label, reason in found.failed.items():
        say(f"{study.name}: {label}: {reason}")
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
        target = () if workload.y == "class" else workload.outputs
        batches["y"] = y[rows].reshape(steps, size, *target)
    save_tensors(str(scratch / f"{system}-batches"), batches)
    save_tensors(str(scratch / f"{system}-state"), canonical.initial_state(workload, 0))


class _Session(NamedTuple):
    """Fresh processes: all import, then each in its turn is timed on every system."""

    study: Study
    scratch: Path
    logs: Path
    asked: argparse.Namespace

    def measure(self, going: Sequence[Arm], found: Measured) -> None:
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
                    workers[arm] = self._start(arm)
            for arm, worker in workers.items():
                with containing(arm):
                    found.versions.update(versions(worker.answer()["facts"]))
            for arm, worker in workers.items():
                if arm.label not in found.failed:
                    with containing(arm):
                        for system in self.study.systems:
                            turns = self._turns(arm, worker, system)
                            found.turns.setdefault((system, arm.label), []).append(turns)
        finally:
            with undisturbed():
                for worker in workers.values():
                    worker.end(grace_s=0)

    def _start(self, arm: Arm) -> Worker:
        """A process that begins to import."""
        entry, threads, study = BACKENDS[arm.backend], self.asked.threads, self.study
        paths = [str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        extra = entry.environment | study.environment(arm, self.scratch)
        env = environment(threads, extra | {"PYTHONPATH": os.pathsep.join(paths)})
        where = (sys.executable, env, threads, self.logs, self.scratch)
        worker = Worker(arm.label, study.name, *where, desk="by_hand:Desk")
        worker.ask(
            "start",
            START_S,
            source=entry.source,
            device="cpu",
            dtype="float32",
            threads=threads,
            variant=arm.variant,
            workload=msgspec.to_builtins(WORKLOADS[study.systems[0]]),
            plant=None,
            memory_headroom=None,
        )
        return worker

    def _turns(self, arm: Arm, worker: Worker, system: str) -> Turns:
        worker.call("workload", CALL_S, workload=msgspec.to_builtins(WORKLOADS[system]))
        answer = worker.call(
            "turns",
            CALL_S,
            state=str(self.scratch / f"{system}-state"),
            batches=str(self.scratch / f"{system}-batches"),
            loops={name: list(loop) for name, loop in self.study.beside(arm).items()},
            rounds=self.asked.rounds,
            budget_s=self.study.budget_s,
            at_once=self.study.at_once or self.asked.steps,
            step=self.study.step,
        )
        return msgspec.convert(answer, Turns)


def claim(asked: argparse.Namespace) -> str:
    """What the intervals are, or that there are too few sessions for any claim."""
    if asked.sessions >= MIN_SESSIONS:
        return f"95 % intervals over {asked.sessions} sessions"
    return f"indicative only: {many(asked.sessions, 'session')} of at least {MIN_SESSIONS}"


def ending(name: str, found: Measured, asked: argparse.Namespace, started: str) -> list[str]:
    """A page's last lines: why labels failed; when, where and with what was measured."""
    machine = describe_machine()
    facts = [f"{machine['processor']}, {machine['processors']} processors", machine["system"]]
    facts += [f"CPU, float32, {many(asked.threads, 'thread')}", f"python {machine['python']}"]
    facts += [f"{package} {version}" for package, version in sorted(found.versions.items())]
    return [
        *(f"- {escape(label)}: {escape(reason)}" for label, reason in found.failed.items()),
        *([""] if found.failed else []),
        f"One run of `python benchmarks/{name}.py`, {started}. {escape('; '.join(facts))}.",
    ]


def main(study: Study, words: Sequence[str] | None) -> int:
    """The command line; 1 where a cell is amiss, 2 for words that cannot be used."""
    parser = argparse.ArgumentParser(description=study.about)
    parser.add_argument("--sessions", type=int, default=MIN_SESSIONS)
    parser.add_argument("--rounds", type=int, default=study.rounds)
    parser.add_argument("--steps", type=int, default=study.steps, help="of a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", action="append", choices=study.backends, help="only this one")
    parser.add_argument("--data-dir", type=Path, help="a folder with the data of every source")
    parser.add_argument("--page", type=Path, help="Markdown")
    asked = parser.parse_args(words)
    asked.backend = asked.backend or [*study.backends]
    if min(asked.sessions, asked.rounds, asked.steps, asked.threads) < 1:
        parser.error("sessions, rounds, steps and threads start at 1")
    if study.at_once and asked.steps % study.at_once:
        parser.error(f"--steps {asked.steps}: no multiple of {study.at_once}, a call of `scan`")
    if asked.page is not None and not asked.page.parent.is_dir():  # before the minutes, not after
        parser.error(f"--page {asked.page}: there is no such folder")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    started = now()
    try:
        with as_interrupt():
            found = measure(study, asked, say)
    except InputError as error:
        say(f"{study.name}: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    text = "\n".join(study.page(found, asked, started)) + "\n"
    print(text, end="")
    if asked.page is not None:
        files.write_atomic(asked.page, text.encode())
    return 1 if any(words in text for words in AMISS) else 0
