"""What changed around two runs: machine, plan, data, versions. That it is a cause is not said.

Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.diff.sides import answers
from harness.diff.told import Changed
from harness.record import Record, Results

# Of a plan, what cannot move a result: where the data lies, and the labels, told one by one.
NO_PART_OF_PLAN = ("data_dir", "labels")
OF_DATA = ("name", "synthetic", "sha256", "train", "test")
# So many changes of the environment are named in the one sentence; more are counted.
MOST_NAMED = 4


def changes(then: Record, now: Record, pairs: list[tuple[str, str]]) -> list[Changed]:
    """Everything around the runs that is not the same: machine, plan, data, each label's own."""
    found: list[Changed] = []
    for name, other in pairs:
        where = name if name == other else f"{name} → {other}"
        before, after = _facts(then, name), _facts(now, other)
        # A label that did not start says nothing of its environment.
        if before and after:
            found += _changed(where, before, after)
        found += _changed(where, _of_label(then, name), _of_label(now, other))
    found += _changed(
        "harness", {"harness": then.harness_version}, {"harness": now.harness_version}
    )
    found += _changed("machine", then.machine, now.machine)
    found += _changed("data", _of_data(then), _of_data(now))
    found += _changed("known answers", answers(then), answers(now))
    found += _changed("plan", _of_plan(then), _of_plan(now))
    return found


def _changed(where: str, then: dict[str, str], now: dict[str, str]) -> list[Changed]:
    return [
        Changed(where=where, what=what, then=then.get(what), now=now.get(what))
        for what in dict.fromkeys((*then, *now))
        if then.get(what) != now.get(what)
    ]


def _of_plan(record: Record) -> dict[str, str]:
    plan = msgspec.to_builtins(record.plan)
    return _flat({name: v for name, v in plan.items() if name not in NO_PART_OF_PLAN})


def _of_label(record: Record, label: str) -> dict[str, str]:
    """How a label is configured; not where its interpreter lies, nor who asked for it."""
    configured: dict[str, Any] = msgspec.to_builtins(record.plan.labels[label])
    return _flat({n: v for n, v in configured.items() if n not in ("python", "asked_for")})


def _of_data(record: Record) -> dict[str, str]:
    """What the data are; not where they were found."""
    if record.dataset is None:
        return {}
    facts = msgspec.to_builtins(record.dataset)
    return {name: str(value) for name, value in facts.items() if name in OF_DATA}


def _facts(record: Record, label: str) -> dict[str, str]:
    """What a label's processes of the first session said of themselves; versions by bare name.

    A fact that is not the same in all of them stands with the dtype.
    """
    results = record.results.get(label, Results())
    found: dict[str, str] = {}
    for process in (p for p in results.processes if p.session == 0):
        for name, value in process.facts.items():
            bare = name.removeprefix("version:")
            known = found.setdefault(bare, value)
            if known != value:
                found[f"{bare} ({process.dtype})"] = value
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


def around(environment: list[Changed]) -> str:
    """What changed between the runs; that it is the cause is nowhere said."""
    if not environment:
        return "nothing around the runs changed"
    distinct = list(dict.fromkeys((c.what, c.then, c.now) for c in environment))
    if len(distinct) > MOST_NAMED:
        named = ", ".join(dict.fromkeys(what for what, _, _ in distinct[:MOST_NAMED]))
        return f"between the runs {len(distinct)} things changed ({named}, …)"
    told = ", ".join(f"{what} {then or '–'} → {now or '–'}" for what, then, now in distinct)
    return f"between the runs only {told} changed"
