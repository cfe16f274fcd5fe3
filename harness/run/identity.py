"""All that decides what a run gives: its plan, its data, versions, and the files that compute.

Who has the same has the same numbers, bit for bit, on one machine. Imports no framework.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec

from harness import files
from harness.plan import catalogue, plugins
from harness.plan.model import Plan, judged_by_file
from harness.record.schema import DatasetFacts
from harness.run.memo import digest_of, own_digest


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`versions`: of each label's packages; `harness`, `files`: digests of its files and yours."""

    plan: Plan
    data: DatasetFacts
    versions: list[dict[str, str]]
    harness: str
    files: str

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def of(plan: Plan, data: DatasetFacts) -> Identity:
    """A plan's, with the data that it has here."""
    return Identity(
        plan=plan,
        data=data,
        versions=[_versions(label.backend, label.python) for label in plan.labels.values()],
        harness=own_digest(),
        files=digest_of(sorted(_files_of(plan))),
    )


@cache
def _versions(backend: str, python: str) -> dict[str, str]:
    entry = plugins.known().get(backend)
    own = "" if python == sys.executable else python
    return catalogue.versions_of(entry.distributions, own) if entry is not None else {}


def _files_of(plan: Plan) -> Iterator[Path]:
    """The user's own: of backends, faults, the workload and its rooms; a file that judges."""
    if judged_by_file(plan):
        yield Path(plan.reference)
    named = [label.source for label in plan.labels.values()]
    named += [label.plant for label in plan.labels.values() if label.plant is not None]
    named += [plan.provided.source] if plan.provided is not None else []
    for name in named:
        if files.is_python(file := name.rpartition(":")[0]):
            yield Path(file)
    if plan.rooms:
        yield from Path(plan.rooms).rglob("*.py")
