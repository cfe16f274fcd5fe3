"""What changed around two runs: machine, plan, data, versions. That it is a cause is not said.

Pure.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from harness.plan.model import Label
from harness.record.facts import differing
from harness.record.schema import Record, Results
from harness.results.diff.document import Changed
from harness.results.diff.labels import answers

# Of a plan, what cannot move a result: where the data lies, and the labels, told one by one.
NO_PART_OF_PLAN = ("data_dir", "labels")
NO_PART_OF_LABEL = {"python", "asked_for", "origin"}
OF_DATA = ("name", "synthetic", "sha256", "train", "test")
VERSION = "version:"
# So many changes of the environment are named in the one sentence; more are counted. A framework
# that is upgraded brings two or three packages and perhaps an interpreter along.
MOST_NAMED = 6


def changes(then: Record, now: Record, pairs: list[tuple[str, str]]) -> list[Changed]:
    """Everything around the runs that is not the same: machine, plan, data, each label's own."""
    changed: list[Changed] = []
    for name, other in pairs:
        where = name if name == other else f"{name} → {other}"
        before, after = _facts(then, name), _facts(now, other)
        # A label that did not start says nothing of its environment.
        if before and after:
            changed += _changed(where, before, after)
        labels = then.plan.labels[name], now.plan.labels[other]
        changed += _changed(where, *map(_of_label, labels))
    for where, of in (
        ("harness", lambda record: {"harness": record.harness_version}),
        ("machine", lambda record: record.machine),
        ("data", _of_data),
        ("known answers", answers),
        ("plan", _of_plan),
    ):
        changed += _changed(where, of(then), of(now))
    return changed


def _changed(where: str, then: dict[str, str], now: dict[str, str]) -> list[Changed]:
    """What is not the same of one thing: versions of packages first, then the interpreter's."""
    changed = [
        Changed(
            where=where,
            what=name.removeprefix(VERSION),
            then=before,
            now=after,
            version=name.startswith((VERSION, "python")),
        )
        for name, (before, after) in differing(then, now).items()
    ]
    return sorted(changed, key=lambda c: (not c.version, c.what.startswith("python")))


def _of_plan(record: Record) -> dict[str, str]:
    plan = msgspec.to_builtins(record.plan)
    return _flat({name: value for name, value in plan.items() if name not in NO_PART_OF_PLAN})


def _of_label(label: Label) -> dict[str, str]:
    """How a label is configured; not where things lie, nor who asked for it or found it."""
    plain: dict[str, Any] = msgspec.to_builtins(label)
    plain["source"] = os.path.basename(label.source)
    return _flat({name: value for name, value in plain.items() if name not in NO_PART_OF_LABEL})


def _of_data(record: Record) -> dict[str, str]:
    """What the data are; not where they were found."""
    facts = msgspec.to_builtins(record.dataset) if record.dataset is not None else {}
    return {name: str(value) for name, value in facts.items() if name in OF_DATA}


def _facts(record: Record, label: str) -> dict[str, str]:
    """What a label's processes of the first session said of themselves.

    A fact that is not the same in all of them stands with the dtype.
    """
    results = record.results.get(label, Results())
    facts: dict[str, str] = {}
    for process in results.processes:
        for name, value in process.facts.items() if process.session == 0 else ():
            if facts.setdefault(name, value) != value:
                facts[f"{name} ({process.dtype})"] = value
    return facts


def _flat(values: dict[str, Any], before: str = "") -> dict[str, str]:
    """Nested plain data as one level of texts, names joined by dots."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        is_nested = isinstance(value, dict)
        flat |= _flat(value, f"{before}{name}.") if is_nested else {f"{before}{name}": str(value)}
    return flat


def around(environment: list[Changed], sides: str = "runs", label: str | None = None) -> str:
    """What changed between the two sides, besides the versions of `label`, which are told already.

    That it is the cause is nowhere said.
    """
    rest = [c for c in environment if not (c.version and c.where == label)]
    also = len(rest) < len(environment)
    if not rest:
        return f"nothing {'else ' if also else ''}around the {sides} changed"
    distinct = list(dict.fromkeys(map(arrow, rest)))
    if len(distinct) <= MOST_NAMED:
        return f"between the {sides} {'also' if also else 'only'} {', '.join(distinct)} changed"
    if also:
        return f"between the {sides} also {len(distinct)} more things changed"
    named = ", ".join(dict.fromkeys(c.what for c in rest[:MOST_NAMED]))
    return f"between the {sides} {len(distinct)} things changed ({named}, …)"


def arrow(changed: Changed) -> str:
    """One change in a few words."""
    return f"{changed.what} {changed.then or '–'} → {changed.now or '–'}"
