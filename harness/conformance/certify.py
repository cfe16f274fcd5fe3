"""Puts one backend through the conformance kit, in workers; what was found is a certificate.

The kit itself is `harness/conformance/`; here its checks are asked one by one, in a float32 and in
a float64 process, each with a time limit. A worker that dies or hangs fails the check that it was
asked, and another goes on. Imports no framework.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from harness import __version__
from harness.conformance import CHECKS, DTYPES, KIT, Check
from harness.conformance.certificate import Certificate, Result, Status, declared, judge
from harness.conformance.system import processors
from harness.errors import InputError
from harness.files import new_name
from harness.plan import plugins
from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.plan.model import Plan
from harness.progress import Progress
from harness.record.facts import describe_machine, now
from harness.record.schema import Process
from harness.signals import undisturbed
from harness.workers import providers
from harness.workers.launch import Worker, WorkerFailed, WorkerRaised, WorkerUnavailable
from harness.workers.pool import Started, open_worker
from harness.workers.scratch import scratch_folder
from harness.workloads import DEFAULT

# The logs of some processes.
SCRATCH_BYTES = 50_000_000
# Seconds a check may take: the slowest, with compilation on a busy machine, takes ten.
CHECK_S = 120.0
# How long a worker may take to end by itself, once its channel is closed.
END_S = 15.0
# A backend whose workers died so often is asked nothing more.
MOST_DEATHS = 3
CLEAN_END = "clean-end"
# What its workers are to open.
DESK = "harness.conformance.serve:CertifyingDesk"


class Asked(msgspec.Struct, frozen=True):
    """What is to be certified: a plan of one label, the checks, declared failures by check."""

    spec: str
    plan: Plan
    checks: tuple[Check, ...]
    expect: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether that is the whole kit."""
        return len(self.checks) == len(CHECKS)

    @property
    def label(self) -> str:
        """What the backend is called."""
        return next(iter(self.plan.labels))


def ask_for(
    spec: str,
    *,
    workload: str | None = None,
    rooms: str | None = None,
    python: str | None = None,
    settled: dict[str, str] | None = None,
    variant: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    checks: tuple[str, ...] = (),
    expect: dict[str, str] | None = None,
) -> Asked:
    """What the user's words mean; InputError, in one line, for any that cannot be used.

    spec: [LABEL=]SPEC as `--backend` takes it; `workload` and `rooms` as `compare` takes them;
    `settled`: interpreters by label, of harness.toml.
    """
    settled, expect = settled or {}, expect or {}
    label, named = plugins.split(spec)
    if python is not None:
        settled = settled | {label or named: python}
    plugins.find(named, settled.get(label or named, ""), "certify")  # whose error names the verb
    choices = Choices(
        profile="smoke",
        backends=(spec,),
        settled=settled,
        device=device,
        threads=threads,
        rooms=rooms,
    )
    found = providers.find(workload or DEFAULT)
    plan = make_plan(choices, *found)
    if plan.net is None:
        raise InputError(
            f"--workload {workload}: it has no layers here, from which its judge is made"
        )
    if variant is not None:
        variants = dict.fromkeys(plan.labels, variant)
        plan = make_plan(msgspec.structs.replace(choices, variants=variants), *found)
    known = {check.name for check in CHECKS}
    for option, names in (("--check", checks), ("--expect", tuple(expect))):
        for name in names:
            if name not in known:
                raise InputError(f"{option} {name!r}: unknown; harness certify --list shows all")
            if checks and name not in checks:
                raise InputError(f"{option} {name}: this check is not asked; leave it out")
    chosen = tuple(check for check in CHECKS if not checks or check.name in checks)
    return Asked(spec, plan, chosen, expect)


def parse_expectation(text: str) -> tuple[str, str]:
    """A declared failure from text like run=REASON; InputError otherwise."""
    check, _, reason = text.partition("=")
    if not check or not reason.strip() or not reason.isprintable():
        raise InputError(f"--expect {text!r}: expected CHECK=REASON")
    return check, reason.strip()


def certify(asked: Asked, progress: Progress) -> Certificate:
    """Ask every check. InputError where the backend is not available here."""
    run, started, began = new_name(), now(), time.monotonic()
    todo = {d: [check.name for check in asked.checks if d in check.dtypes] for d in DTYPES}
    results: list[Result] = []
    processes: list[Process] = []
    progress.phase(f"checking {asked.label}", sum(map(len, todo.values())))
    with scratch_folder(SCRATCH_BYTES) as scratch:
        (scratch / "logs").mkdir()
        for dtype, checks in todo.items():
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
        workload=asked.plan.workload.name,
        label=asked.label,
        configured=asked.plan.labels[asked.label],
        threads=asked.plan.threads,
        machine=describe_machine(),
        processes=processes,
        whole=asked.whole,
        checks=[check.name for check in asked.checks],
        expect=asked.expect,
        results=results,
        verdict=judge(results, whole=asked.whole),
    )


class Examined:
    """The process of one dtype: started when it is first asked, and again after it died."""

    def __init__(self, asked: Asked, dtype: str, run: str, scratch: Path) -> None:
        self.process = Process(label=asked.label, dtype=dtype, status="ok")
        self._asked = asked
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
        starting = self._worker is None
        try:
            worker = self._worker or self._start()
            starting = False
            words = {"processors": processors(), "net": msgspec.to_builtins(self._asked.plan.net)}
            answer = worker.call("certify", CHECK_S, check=check, **words)
            result = msgspec.convert({"check": check, "dtype": self.process.dtype} | answer, Result)
            if check == CLEAN_END and result.status == "passed":
                worker.call("close", CHECK_S)
                if (wrong := worker.finish(END_S)) is not None:
                    result = msgspec.structs.replace(result, status="failed", message=wrong)
                self.end()
        except WorkerUnavailable as error:
            return self._unavailable(check, error)
        except (WorkerFailed, msgspec.ValidationError) as error:
            return self._failed(check, error, starting)
        return result

    def _start(self) -> Worker:
        """A worker that has imported; what it says of itself stands in the process."""
        plan, label = self._asked.plan, self._asked.label
        times = f"-{self._deaths}" if self._deaths else ""
        worker = self._worker = open_worker(
            plan,
            label,
            self.process.dtype,
            name=f"{label}-{self.process.dtype}{times}",
            run=self._run,
            logs=self._scratch / "logs",
            scratch=self._scratch,
            desk=DESK,
        )
        msgspec.convert(worker.answer(), Started).note(self.process)
        return worker

    def _unavailable(self, check: str, error: WorkerUnavailable) -> Result:
        """A device without float64 is asked nothing in it; any other must have both dtypes."""
        self.end()
        dtype = self.process.dtype
        if dtype == DTYPES[0]:
            raise InputError(f"{self._asked.spec}: not available: {error}") from None
        self.process.status, self.process.reason = "skipped", str(error)
        status: Status = "not-possible" if error.no_float64 else "failed"
        self._closed = status, f"no {dtype} process: {error}"
        return self._result(check, *self._closed)

    def _failed(self, check: str, error: Exception, starting: bool) -> Result:
        """The process is of no more use; where it answered that something was raised, it lives."""
        message = f"its process cannot start: {error}" if starting else str(error)
        ended = not isinstance(error, WorkerRaised)
        self._deaths += ended
        if starting:
            self._closed = "failed", message
        elif self._deaths == MOST_DEATHS:
            self._closed = "failed", f"not asked: its worker died or hung {MOST_DEATHS} times"
        self.process.status, self.process.reason = "failed", message
        if self._worker is not None:
            self.process.stderr_tail = self._worker.stderr_tail()
        self.end()
        return self._result(check, "failed", message, ended=ended)

    def _result(self, check: str, status: Status, message: str, *, ended: bool = False) -> Result:
        told, dtype = " ".join(message.split()), self.process.dtype
        return Result(check=check, dtype=dtype, status=status, message=told, ended=ended)

    def end(self) -> None:
        """End the process, if there is one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end(grace_s=0)
