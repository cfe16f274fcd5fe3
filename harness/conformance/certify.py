"""Puts one backend through the conformance kit, in workers, and writes what was found.

The kit itself is `harness/conformance/`; here its checks are asked one by one, in a float32 and in
a float64 process, each with a time limit. A worker that dies or hangs fails the check that it was
asked, and another goes on. Imports no framework.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from harness import __version__, files
from harness.conformance import CHECKS, DTYPES, KIT, Check
from harness.errors import InputError
from harness.files import new_name, why, write_atomic
from harness.interface import Workload
from harness.plan import plugins
from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.plan.model import Label
from harness.progress import Progress
from harness.record.facts import describe_machine, now
from harness.record.schema import Number, Process, Stored
from harness.record.store import check_folder
from harness.signals import undisturbed
from harness.text import plain_facts
from harness.workers.launch import Worker, WorkerFailed, WorkerRaised, WorkerUnavailable
from harness.workers.pool import Started, open_worker
from harness.workers.scratch import scratch_folder

SCHEMA = 1
# Larger than any certificate: a kit of a hundred checks has 200 kB.
MOST_BYTES = 5_000_000
# The logs of some processes.
SCRATCH_BYTES = 50_000_000
# Seconds a check may take: the slowest, with compilation on a busy machine, takes ten.
CHECK_S = 120.0
# How long a worker may take to end by itself, once its channel is closed.
END_S = 15.0
# A backend whose workers died so often is asked nothing more.
MOST_DEATHS = 3
CLEAN_END = "clean-end"

Status = Literal["passed", "failed", "expected", "not-possible"]
Verdict = Literal["certified", "not certified"]


class Result(Stored, kw_only=True):
    """One check in one dtype; value to want: as in `conformance.Evidence`.

    `ended`: the worker died or hung on it. `expected` in place of failed: it was declared.
    """

    check: str
    dtype: str
    status: Status
    seconds: float = 0.0
    message: str = ""
    value: Number | None = None
    limit: Number | None = None
    why: str = ""
    tensor: str = ""
    element: list[int] | None = None
    got: Number | None = None
    want: Number | None = None
    ended: bool = False


class Certificate(Stored, kw_only=True):
    """What the kit found of one backend.

    `spec`: what was asked for; `configured`: what that is. `checks`: those that were asked, all of
    the kit where `whole`. `expect`: by check, why its failure is declared.
    """

    schema: int = SCHEMA
    kit: str
    harness_version: str
    run: str
    started: str
    seconds: float
    spec: str
    label: str
    configured: Label
    threads: int
    machine: dict[str, str]
    processes: list[Process]
    whole: bool
    checks: list[str]
    expect: dict[str, str]
    results: list[Result]
    verdict: Verdict


class Asked(msgspec.Struct, frozen=True):
    """What is to be certified: a label as a plan has it, threads, checks, declared failures."""

    spec: str
    label: str
    configured: Label
    workload: Workload
    threads: int
    checks: tuple[Check, ...]
    expect: dict[str, str]


def ask_for(
    spec: str,
    *,
    python: str | None = None,
    settled: dict[str, str] | None = None,
    variant: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    checks: tuple[str, ...] = (),
    expect: dict[str, str] | None = None,
) -> Asked:
    """What the user's words mean; InputError, in one line, for any that cannot be used.

    spec: [LABEL=]SPEC as `--backend` takes it; `settled`: interpreters by label, of harness.toml.
    """
    label, named = plugins.split(spec)
    if python is None:
        python = (settled or {}).get(label or named)
    entry = plugins.find(named, python or "", "certify")
    label = label or entry.name
    plan = make_plan(
        Choices(
            profile="smoke",
            backends=(spec,),
            pythons={} if python is None else {label: python},
            settled=settled or {},
            variants={} if variant is None else {label: variant},
            device=device,
            threads=threads,
        )
    )
    ((label, configured),) = plan.labels.items()
    known = {check.name: check for check in CHECKS}
    for option, given in (("--check", checks), ("--expect", tuple(expect or {}))):
        for name in given:
            if name not in known:
                raise InputError(f"{option} {name!r}: unknown; harness certify --list shows all")
    chosen = tuple(check for check in CHECKS if not checks or check.name in checks)
    for name in expect or {}:
        if name not in {check.name for check in chosen}:
            raise InputError(f"--expect {name}: this check is not asked; leave it out")
    return Asked(spec, label, configured, plan.workload, plan.threads, chosen, expect or {})


def certify(asked: Asked, progress: Progress) -> Certificate:
    """Ask every check. InputError where the backend is not available here."""
    run, started, began = new_name(), now(), time.monotonic()
    owed = {d: [check.name for check in asked.checks if d in check.dtypes] for d in DTYPES}
    results: list[Result] = []
    processes: list[Process] = []
    progress.phase(asked.label, sum(map(len, owed.values())))
    with scratch_folder(SCRATCH_BYTES) as scratch:
        (scratch / "logs").mkdir()
        for dtype, checks in owed.items():
            examined = Examined(asked, dtype, run, scratch)
            processes.append(examined.process)
            try:
                for check in checks:
                    results.append(examined.ask(check))
                    progress.advance(len(results))
                    if results[-1].status == "failed" and check not in asked.expect:
                        progress.note(f"{check} ({dtype}) failed: {results[-1].message}")
            finally:
                with undisturbed():
                    examined.end()
    results = declared(results, asked.expect)
    return Certificate(
        kit=KIT,
        harness_version=__version__,
        run=run,
        started=started,
        seconds=time.monotonic() - began,
        spec=asked.spec,
        label=asked.label,
        configured=asked.configured,
        threads=asked.threads,
        machine=describe_machine(),
        processes=processes,
        whole=len(asked.checks) == len(CHECKS),
        checks=[check.name for check in asked.checks],
        expect=asked.expect,
        results=results,
        verdict=judge(results),
    )


class Examined:
    """The process of one dtype: started when it is first asked, and again after it died."""

    def __init__(self, asked: Asked, dtype: str, run: str, scratch: Path) -> None:
        self.process = Process(label=asked.label, dtype=dtype, status="ok")
        self._asked = asked
        self._dtype = dtype
        self._run = run
        self._scratch = scratch
        self._worker: Worker | None = None
        self._deaths = 0
        # What stands for every further check, once nothing more is asked.
        self._closed: tuple[Status, str] | None = None

    def ask(self, check: str) -> Result:
        """One check. InputError where the first process is not available."""
        if self._closed is not None:
            return self._result(check, *self._closed)
        try:
            worker = self._worker or self._start()
        except WorkerUnavailable as error:
            return self._unavailable(check, error)
        except (WorkerFailed, msgspec.ValidationError) as error:
            reason = f"its process cannot start: {error}"
            self._closed = "failed", reason
            return self._failed(check, error, reason)
        try:
            answer = worker.call("certify", CHECK_S, check=check, processors=_processors())
            result = msgspec.convert({"check": check, "dtype": self._dtype} | answer, Result)
            if check == CLEAN_END and result.status == "passed":
                worker.call("close", CHECK_S)
                if (wrong := worker.finish(END_S)) is not None:
                    result.status, result.message = "failed", wrong
                self.end()
            return result
        except (WorkerFailed, msgspec.ValidationError) as error:
            result = self._failed(check, error, str(error))
            if self._deaths == MOST_DEATHS:
                self._closed = "failed", f"not asked: its worker died or hung {MOST_DEATHS} times"
            return result

    def _start(self) -> Worker:
        """A worker that has imported; what it says of itself stands in the process."""
        asked, times = self._asked, f"-{self._deaths}" if self._deaths else ""
        worker = self._worker = open_worker(
            asked.configured,
            name=f"{asked.label}-{self._dtype}{times}",
            run=self._run,
            dtype=self._dtype,
            threads=asked.threads,
            workload=asked.workload,
            logs=self._scratch / "logs",
            scratch=self._scratch,
        )
        told = msgspec.convert(worker.answer(), Started)
        self.process.facts = plain_facts(told.facts)
        self.process.import_ns, self.process.build_ns = told.import_ns, told.build_ns
        return worker

    def _unavailable(self, check: str, error: WorkerUnavailable) -> Result:
        """A device without float64 is asked nothing in it; any other must have both dtypes."""
        self.end()
        if self._dtype == DTYPES[0]:
            raise InputError(f"{self._asked.spec}: not available: {error}") from None
        self.process.status, self.process.reason = "skipped", str(error)
        status: Status = "not-possible" if error.no_float64 else "failed"
        self._closed = status, f"no {self._dtype} process: {error}"
        return self._result(check, *self._closed)

    def _failed(self, check: str, error: Exception, message: str) -> Result:
        """The process is of no more use; where it answered that something was raised, it lives."""
        ended = not isinstance(error, WorkerRaised)
        self._deaths += ended
        self.process.status, self.process.reason = "failed", message
        if self._worker is not None:
            self.process.stderr_tail = self._worker.stderr_tail()
        self.end()
        return self._result(check, "failed", message, ended=ended)

    def _result(self, check: str, status: Status, message: str, *, ended: bool = False) -> Result:
        line = " ".join(message.split())
        return Result(check=check, dtype=self._dtype, status=status, message=line, ended=ended)

    def end(self) -> None:
        """End the process, if there is one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end(grace_s=0)


def _processors() -> list[int]:
    """Those that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def declared(results: list[Result], expect: dict[str, str]) -> list[Result]:
    """The results with declared failures as such; one that did not come about is a failure."""
    failing = {result.check for result in results if result.status == "failed"}
    found = []
    for result in results:
        reason = expect.get(result.check)
        status, message = result.status, result.message
        if reason is not None and status == "failed":
            status = "expected"
        elif reason is not None and status == "passed" and result.check not in failing:
            status = "failed"
            message = f"was declared to fail ({reason}) and holds: leave out --expect"
        found.append(msgspec.structs.replace(result, status=status, message=message))
    return found


def judge(results: list[Result]) -> Verdict:
    """Certified where nothing failed and something passed."""
    status = {result.status for result in results}
    return "certified" if "failed" not in status and "passed" in status else "not certified"


def exit_status(certificate: Certificate) -> int:
    """0 certified, 1 not, 3 where a worker died or hung and that was not declared."""
    if any(result.ended and result.status == "failed" for result in certificate.results):
        return 3
    return 0 if certificate.verdict == "certified" else 1


def parse_expectation(text: str) -> tuple[str, str]:
    """A declared failure from text like run=REASON; InputError otherwise."""
    check, _, reason = text.partition("=")
    if not check or not reason.strip() or not reason.isprintable():
        raise InputError(f"--expect {text!r}: expected CHECK=REASON")
    return check, reason.strip()


def place_for(certificate: Certificate, results_dir: Path) -> Path:
    """Where a certificate is stored by default; a label's odd characters are in no file's name."""
    plain = (c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in certificate.label)
    return results_dir / "certificates" / f"{''.join(plain)[:80]}-{certificate.run}.json"


def check_place(out: Path | None, results_dir: Path) -> None:
    """InputError where a certificate can surely not be stored; nothing is made or written."""
    if out is None:
        check_folder(results_dir)
    elif out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: no file can be written there")


def write(certificate: Certificate, path: Path) -> None:
    """Store it; InputError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {why(error)}") from None
    write_atomic(path, msgspec.json.format(msgspec.json.encode(certificate), indent=1))


def read(path: Path) -> Certificate:
    """A stored certificate; InputError unless it is a whole one, whose verdict is what it holds."""
    return decode(files.read_bytes(path, "certificate", MOST_BYTES), str(path))


def decode(data: bytes, name: str) -> Certificate:
    """A certificate from bytes; `name` is what the error calls it."""
    found = files.decode(data, "certificate", name, Certificate, SCHEMA)
    if found.verdict != judge(found.results):
        raise InputError(f"certificate {name}: {found.verdict!r} is not what its results say")
    return found
