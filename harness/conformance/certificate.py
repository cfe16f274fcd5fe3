"""What the kit found of one backend, as it is stored: the certificate, and its verdict.

Imports msgspec and the record's structs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from harness import files
from harness.conformance.check import Evidence
from harness.errors import InputError
from harness.plan.model import Label
from harness.record.schema import Process, Stored
from harness.record.store import check_folder

# 2: it says with which workload.
SCHEMA = 2
# Larger than any certificate: a kit of a hundred checks has 200 kB.
MOST_BYTES = 5_000_000

Status = Literal["passed", "failed", "expected", "not-possible"]
# The latter two of a part of the kit, which is no certificate.
Verdict = Literal["certified", "not certified", "holds", "fails"]


class Result(Evidence, frozen=True, kw_only=True):
    """One check in one dtype, and what it rests on.

    `ended`: the worker died or hung on it. `expected` in place of failed: it was declared.
    """

    check: str
    dtype: str
    status: Status
    seconds: float = 0.0
    ended: bool = False


class Certificate(Stored, kw_only=True):
    """What the kit found of one backend, with one workload.

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
    workload: str
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


def declared(results: list[Result], expect: dict[str, str]) -> list[Result]:
    """The results with declared failures as such; one that did not come about is a failure."""
    failing = {result.check for result in results if result.status == "failed"}
    judged = []
    for result in results:
        changes: dict[str, str] = {}
        if result.check in expect and result.status == "failed":
            changes = {"status": "expected"}
        elif result.check in expect.keys() - failing and result.status == "passed":
            reason = expect[result.check]
            message = f"was declared to fail ({reason}) and holds: leave out --expect"
            changes = {"status": "failed", "message": message}
        judged.append(msgspec.structs.replace(result, **changes))
    return judged


def judge(results: list[Result], *, whole: bool) -> Verdict:
    """Certified where nothing failed and something passed; a part of the kit only holds, or not."""
    status = {result.status for result in results}
    good = "failed" not in status and "passed" in status
    if not whole:
        return "holds" if good else "fails"
    return "certified" if good else "not certified"


GOOD = ("certified", "holds")


def exit_status(certificate: Certificate) -> int:
    """0 where it is good, 1 not, 3 where a worker died or hung and that was not declared."""
    if any(result.ended and result.status == "failed" for result in certificate.results):
        return 3
    return 0 if certificate.verdict in GOOD else 1


def place_for(certificate: Certificate, results_dir: Path) -> Path:
    """Where a certificate is stored by default; a label's odd characters are in no file's name."""
    plain = (c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in certificate.label)
    return results_dir / "certificates" / f"{''.join(plain)[:80]}-{certificate.run}.json"


def check_place(out: Path | None, results_dir: Path) -> None:
    """InputError where a certificate can surely not be stored; nothing is made or written."""
    if out is None:
        check_folder(results_dir)
    else:
        files.check_place(out, "--out")


def write(certificate: Certificate, path: Path) -> None:
    """Store it; InputError where it cannot be."""
    files.write_document(path, certificate)


def read(path: Path) -> Certificate:
    """A stored certificate; InputError unless it is a whole one, whose verdict is what it holds."""
    certificate = files.read(path, "certificate", Certificate, SCHEMA, MOST_BYTES)
    verdict = certificate.verdict
    if verdict != judge(certificate.results, whole=certificate.whole):
        raise InputError(f"certificate {path}: {verdict!r} is not what its results say")
    if not certificate.whole:
        raise InputError(f"certificate {path}: of a part of the kit, which certifies nothing")
    return certificate
