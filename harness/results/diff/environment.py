"""What changed around two runs: machine, plan, data, versions. That it is a cause is not said.

Pure.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from harness.plan.model import Label
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
    found: list[Changed] = []
    for name, other in pairs:
        where = name if name == other else f"{name} → {other}"
        before, after = _facts(then, name), _facts(now, other)
        # A label that did not start says nothing of its environment.
        if before and after:
            found += _changed(where, before, after)
        found += _changed(where, *_of_labels(then.plan.labels[name], now.plan.labels[other]))
    found += _changed(
        "harness", {"harness": then.harness_version}, {"harness": now.harness_version}
    )
    found += _changed("machine", then.machine, now.machine)
    found += _changed("data", _of_data(then), _of_data(now))
    found += _changed("known answers", answers(then), answers(now))
    found += _changed("plan", _of_plan(then), _of_plan(now))
    return found


def _changed(where: str, then: dict[str, str], now: dict[str, str]) -> list[Changed]:
    """What is not the same of one thing: versions of packages first, then the interpreter's."""
    found = [
        Changed(
            where=where,
            what=name.removeprefix(VERSION),
            then=then.get(name),
            now=now.get(name),
            version=name.startswith((VERSION, "python")),
        )
        for name in dict.fromkeys((*then, *now))
        if then.get(name) != now.get(name)
    ]
    return sorted(found, key=lambda c: (not c.version, c.what.startswith("python")))


def _of_plan(record: Record) -> dict[str, str]:
    plan = msgspec.to_builtins(record.plan)
    return _flat({name: v for name, v in plan.items() if name not in NO_PART_OF_PLAN})


def _of_labels(then: Label, now: Label) -> tuple[dict[str, str], dict[str, str]]:
    """How two labels are configured; not where things lie, nor who asked for them or found them."""
    found = []
    for label in (then, now):
        plain: dict[str, Any] = msgspec.to_builtins(label)
        plain["source"] = os.path.basename(label.source)
        found.append(_flat({n: v for n, v in plain.items() if n not in NO_PART_OF_LABEL}))
    return found[0], found[1]


def _of_data(record: Record) -> dict[str, str]:
    """What the data are; not where they were found."""
    if record.dataset is None:
        return {}
    facts = msgspec.to_builtins(record.dataset)
    return {name: str(value) for name, value in facts.items() if name in OF_DATA}


def _facts(record: Record, label: str) -> dict[str, str]:
    """What a label's processes of the first session said of themselves.

    A fact that is not the same in all of them stands with the dtype.
    """
    results = record.results.get(label, Results())
    found: dict[str, str] = {}
    for process in (p for p in results.processes if p.session == 0):
        for name, value in process.facts.items():
            known = found.setdefault(name, value)
            if known != value:
                found[f"{name} ({process.dtype})"] = value
    return found


def _flat(values: dict[str, Any], before: str = "") -> dict[str, str]:
    """Nested plain data as one level of texts, names joined by dots."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = str(value)
    return found


def around(environment: list[Changed], sides: str = "runs") -> str:
    """What changed between the two sides; that it is the cause is nowhere said."""
    if not environment:
        return f"nothing around the {sides} changed"
    distinct = list(dict.fromkeys(map(arrow, environment)))
    if len(distinct) > MOST_NAMED:
        named = ", ".join(dict.fromkeys(c.what for c in environment[:MOST_NAMED]))
        return f"between the {sides} {len(distinct)} things changed ({named}, …)"
    return f"between the {sides} only {', '.join(distinct)} changed"


def besides(environment: list[Changed], name: str, sides: str) -> str:
    """The same, of what changed besides the versions of the one label `name`."""
    rest = [c for c in environment if not (c.version and c.where == name)]
    if len(rest) == len(environment):
        return around(environment, sides)
    if not rest:
        return f"nothing else around the {sides} changed"
    distinct = list(dict.fromkeys(map(arrow, rest)))
    named = ", ".join(distinct) if len(distinct) <= MOST_NAMED else f"{len(distinct)} more things"
    return f"between the {sides} also {named} changed"


def arrow(changed: Changed) -> str:
    """One change in a few words."""
    return f"{changed.what} {changed.then or '–'} → {changed.now or '–'}"
