"""The live workers of a run: started together, asked one at a time, ended in good order.

What a worker does wrong ends that worker only, and stands in its `Process` entry.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from backends.rooms import ROOMS
from harness.errors import InputError
from harness.interface import Array
from harness.plan.model import Plan, process_precision
from harness.progress import Progress
from harness.record.schema import Bytes, LeftBehind, Nanoseconds, Process, Record, Results
from harness.tensors import UNUSABLE
from harness.text import plain, plain_facts
from harness.workers.launch import DESK, Worker, WorkerFailed, WorkerUnavailable, environment

# Of a reason so much is kept: it stands in one line.
LONGEST_REASON = 1500
# So many processes that a worker left are told one by one.
MOST_LEFT = 20

Kind = TypeVar("Kind")


def checked(made: Kind) -> Kind:
    """A struct made of a worker's words, as it is; ValueError where a field has the wrong kind."""
    return msgspec.convert(msgspec.to_builtins(made), type(made))


class Started(msgspec.Struct):
    """What a worker says when it has imported and built its backend."""

    facts: dict[str, str]
    import_ns: Nanoseconds
    build_ns: Nanoseconds

    def note(self, process: Process) -> None:
        """Enter it for a process of the record."""
        process.facts = plain_facts(self.facts)
        process.import_ns, process.build_ns = self.import_ns, self.build_ns


class Usage(msgspec.Struct):
    """What a worker says of itself at its end."""

    peak_rss_bytes: Bytes | None
    peak_device_bytes: Bytes | None
    first_step_ns: dict[str, Nanoseconds]


def open_worker(
    plan: Plan,
    label: str,
    dtype: str,
    *,
    name: str,
    run: str,
    logs: Path,
    scratch: Path,
    desk: str = DESK,
) -> Worker:
    """Start a process of one of a plan's labels and ask it to import; its `answer()` tells of it.

    name: for its log files, in `logs`. It works in a folder of its label's in `scratch`: what it
    writes without a thought lies apart from what others are given. The caller ends it. Raises
    WorkerFailed where the interpreter cannot be started, or is gone at once.
    """
    configured = plan.labels[label]
    precision = process_precision(configured, dtype)
    place = scratch / f"of-{hashlib.sha256(msgspec.json.encode(configured)).hexdigest()[:16]}"
    place.mkdir(exist_ok=True)
    python = configured.python
    env = environment(plan.threads, configured.environment, precision, python, scratch)
    env[ROOMS] = plan.rooms
    worker = Worker(name, run, python, env, plan.threads, logs, place, desk)
    try:
        worker.ask(
            "start",
            plan.timeouts.start_s,
            source=configured.source,
            device=configured.device,
            dtype=dtype,
            threads=plan.threads,
            variant=configured.variant,
            precision=precision,
            workload=msgspec.to_builtins(plan.workload),
            plant=configured.plant,
            memory_headroom=plan.memory_headroom,
        )
    except WorkerFailed:
        worker.end(grace_s=0)
        raise
    return worker


class Key(NamedTuple):
    """A process: label and dtype; `replicate` 1 is the second one of a label (A against A)."""

    label: str
    dtype: str
    replicate: int = 0


class Pool:
    """Every worker of a plan, and what is known of its process.

    `only`: where set, the labels that `live` tells of; the others wait. `session`: 0, or from 1 on
    for processes that are there for timing only.
    """

    def __init__(
        self, plan: Plan, run: str, logs: Path, scratch: Path, progress: Progress, session: int = 0
    ) -> None:
        self.plan = plan
        self.session = session
        self.workers: dict[Key, Worker] = {}
        self.processes: dict[Key, Process] = {}
        self.only: Collection[str] | None = None
        self._started: set[Key] = set()
        self._run = run
        self._logs = logs
        self._scratch = scratch
        self._progress = progress

    def start(self, record: Record) -> None:
        """Start every process and let all import at once; answers are collected later."""
        self._enter_labels(record)
        for label, configured in self.plan.labels.items():
            if label not in self.plan.skipped:
                for dtype in [configured.dtype] + (["float64"] if configured.twin else []):
                    self.start_one(record, Key(label, dtype))

    def _enter_labels(self, record: Record) -> None:
        """Give every label of the plan its place in a record; a skipped one its reason too."""
        for label, configured in self.plan.labels.items():
            results = record.results.setdefault(label, Results())
            if label in self.plan.skipped:
                reason = self.plan.skipped[label]
                results.processes.append(
                    Process(label=label, dtype=configured.dtype, status="skipped", reason=reason)
                )

    def turn_to(self, plan: Plan, record: Record) -> None:
        """Go on with another workload, or another size of it, for a record of its own.

        The plan has the same labels. Every process, living or not, has its entry in the record;
        those that live build a trainer of it, and what that takes is their `build_ns`.
        """
        self.plan = plan
        if not record.results:
            self._enter_labels(record)
        for key, process in self.processes.items():
            entry = msgspec.structs.replace(process, first_step_ns={})
            self.processes[key] = entry
            record.results[key.label].processes.append(entry)
        for key in self.live():
            with self.containing(key):
                built = self.call(key, "workload", workload=msgspec.to_builtins(plan.workload))
                self.processes[key].build_ns = msgspec.convert(built["build_ns"], Nanoseconds)

    def go_on(self, plan: Plan, record: Record, data: dict[str, str]) -> None:
        """`turn_to` with other data; a process that is gone is started again."""
        gone = [key for key in self.processes if key not in self.workers]
        for key in gone:
            del self.processes[key]
            self._started.discard(key)
        self.turn_to(plan, record)
        for key in self.live():
            with self.containing(key):
                self.call(key, "data", **data)
        for key in gone:
            self.start_one(record, key)

    def start_one(self, record: Record, key: Key) -> None:
        """Start one process and ask it to import; its entry goes to the record."""
        process = Process(label=key.label, dtype=key.dtype, session=self.session, status="ok")
        self.processes[key] = process
        results = record.again if key.replicate else record.results
        results.setdefault(key.label, Results()).processes.append(process)
        self._logs.mkdir(parents=True, exist_ok=True)
        session = f"-session{self.session}" if self.session else ""
        with self.containing(key):
            self.workers[key] = open_worker(
                self.plan,
                key.label,
                key.dtype,
                name=f"{key.label}-{key.dtype}{session}{'-again' if key.replicate else ''}",
                run=self._run,
                logs=self._logs,
                scratch=self._scratch,
            )

    def all_answered(self) -> bool:
        """Whether every worker has imported (or ended)."""
        waiting = (w for key, w in self.workers.items() if key not in self._started)
        return all(worker.has_answered() for worker in waiting)

    def await_started(self, data: dict[str, str]) -> None:
        """Collect what the workers say of themselves; `data`: the files that each maps."""
        asked = [(key, worker) for key, worker in self.workers.items() if key not in self._started]
        if not asked:
            return
        self._progress.phase("starting the backends", len(asked))
        for done, (key, worker) in enumerate(asked, 1):
            self._started.add(key)
            with self.containing(key):
                process = self.processes[key]
                msgspec.convert(worker.answer(), Started).note(process)
                self.call(key, "data", **data)
            self._progress.advance(done)

    def live(self, dtype: str | None = None) -> list[Key]:
        """The processes that still live, in the plan's order; those of one dtype where given."""
        return [
            key
            for key in self.workers
            if (self.only is None or key.label in self.only) and dtype in (None, key.dtype)
        ]

    def precision(self, key: Key) -> str:
        """The precision of a process: float64 beside a reduced float32 is strict."""
        return process_precision(self.plan.labels[key.label], key.dtype)

    def own(self, key: Key) -> bool:
        """Whether this is the label's own process, not the float64 one beside it."""
        return key.dtype == self.plan.labels[key.label].dtype

    def call(self, key: Key, do: str, **fields: Any) -> dict[str, Any]:
        """One command under the plan's time limit; raises as `launch.Worker.answer`."""
        return self.workers[key].call(do, self.plan.timeouts.command_s, **fields)

    def ask(self, key: Key, do: str, **fields: Any) -> None:
        """Send a command under the plan's time limit; `workers[key].answer()` waits for it."""
        self.workers[key].ask(do, self.plan.timeouts.command_s, **fields)

    def exchange(
        self, key: Key, do: str, given: Mapping[str, Array] | None = None, **fields: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """One command with arrays under the plan's time limit: see `launch.Worker.exchange`."""
        return self.workers[key].exchange(do, self.plan.timeouts.command_s, given, **fields)

    def train(
        self,
        key: Key,
        state: str,
        schedule: str,
        steps: int,
        *,
        snapshots: Iterable[int],
        evaluations: list[int] | None = None,
        keep: Sequence[int] = (),
        reached: str = "",
        out: Path,
        done: int = 0,
    ) -> None:
        """Train freely (see the worker's `train`); `done` steps of the phase lie behind."""
        limits = self.plan.timeouts
        out.mkdir(parents=True, exist_ok=bool(reached))
        self.workers[key].call(
            "train",
            limits.command_s + steps * limits.per_step_s,
            lambda at, _: self._progress.advance(done + at),
            state=state,
            schedule=schedule,
            snapshots=sorted(snapshots),
            evaluations=evaluations or [],
            at_once=self.plan.timing.steps,
            keep=keep,
            reached=reached,
            out=os.path.abspath(out),
        )
        self._progress.advance(done + steps)

    @contextmanager
    def containing(self, key: Key) -> Iterator[None]:
        """What a worker does wrong ends that worker only, and is recorded with its reason."""
        try:
            yield
        except WorkerUnavailable as error:
            if self.session or key.replicate:
                self.fail(key, f"its first process ran here: {error}")
            elif self.own(key) or error.no_float64 or self._own_status(key) != "ok":
                self.set_aside(key, str(error))
            else:
                # Its float32 process runs here: without this one lockstep would go unnoticed.
                self.fail(key, f"the float64 process beside it cannot run: {error}")
        except WorkerFailed as error:
            self.fail(key, str(error))
        except UNUSABLE as error:
            self.fail(key, f"unusable answer: {type(error).__name__}: {error}")

    def set_aside(self, key: Key, reason: str) -> None:
        """End a process that cannot do what is asked; InputError where it was asked for by name."""
        process, configured = self.processes[key], self.plan.labels[key.label]
        process.status, process.reason = "skipped", plain(reason, LONGEST_REASON)
        self.end_worker(key, grace_s=0)
        if configured.asked_for and self.own(key):
            raise InputError(f"--backend {key.label}: not available: {reason}") from None

    def _own_status(self, key: Key) -> str:
        own = Key(key.label, self.plan.labels[key.label].dtype)
        return self.processes[own].status

    def fail(self, key: Key, reason: str) -> None:
        """End a process that went wrong, and store its reason."""
        process = self.processes[key]
        process.status = "failed"
        process.reason = plain(" ".join(reason.split()), LONGEST_REASON)
        self._progress.note(f"{key.label} ({key.dtype}) failed: {process.reason}")
        self.end_worker(key, grace_s=0)

    def note_usage(self, key: Key) -> None:
        """Ask a worker what it has used so far, for its entry; raises as `call`."""
        usage = msgspec.convert(self.call(key, "usage"), Usage)
        process = self.processes[key]
        process.peak_rss_bytes = usage.peak_rss_bytes
        process.peak_device_bytes = usage.peak_device_bytes
        process.first_step_ns = usage.first_step_ns

    def say_goodbye(self, key: Key) -> None:
        """End a worker that has done its work."""
        with self.containing(key):
            self.note_usage(key)
            self.call(key, "close")
            self.end_worker(key, grace_s=2.0)

    def end_worker(self, key: Key, *, grace_s: float) -> None:
        """End one worker and all that it started; keep the last of what it printed."""
        worker = self.workers.pop(key, None)
        if worker is None:
            return
        process = self.processes[key]
        left = worker.end(grace_s=grace_s)
        process.left_behind = [LeftBehind(command=c, cpu_ns=ns) for c, ns in left[:MOST_LEFT]]
        if len(left) > MOST_LEFT:
            cpu_ns = sum(ns for _, ns in left[MOST_LEFT:])
            more = f"and {len(left) - MOST_LEFT} more"
            process.left_behind.append(LeftBehind(command=more, cpu_ns=cpu_ns))
        if left:
            commands = ", ".join(each.command for each in process.left_behind)
            self._progress.note(
                f"{key.label} ({key.dtype}) left processes running, ended: {commands}"
            )
        with suppress(OSError):  # a log that is gone keeps no other worker from its end
            process.stdout_bytes, process.stderr_bytes = worker.printed
            if process.status == "failed":
                process.stderr_tail = worker.stderr_tail()

    def end_all(self) -> None:
        """End whatever still lives, at once; used when a run stops early."""
        for key in list(self.workers):
            self.end_worker(key, grace_s=0)
