"""The two sides of a comparison: what both must have in common, and what changed around them.

That a change around them is a cause is nowhere said. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from harness.plan.model import Label
from harness.record.facts import differing, machine_key
from harness.record.schema import FINISHED, INTERRUPTED, Process, Record, Results
from harness.results import baseline
from harness.results.diff.document import Changed
from harness.verdict.verdict import LabelVerdict, Verdict

# Of a plan, what cannot move a result: where the data lies, and the labels, told one by one.
NO_PART_OF_PLAN = ("data_dir", "labels")
NO_PART_OF_LABEL = ("python", "asked_for", "origin")
OF_DATA = ("name", "synthetic", "sha256", "train", "test")
VERSION = "version:"
# So many changes of the environment are named in the one sentence; more are counted. A framework
# that is upgraded brings two or three packages and perhaps an interpreter along.
MOST_NAMED = 6


class Of(NamedTuple):
    """One label of one run."""

    record: Record
    verdict: Verdict
    label: str

    @property
    def judged(self) -> LabelVerdict:
        """What the verdict says of it."""
        return self.verdict.labels[self.label]

    @property
    def results(self) -> Results:
        """What was measured of it; nothing where it did not start."""
        return self.record.results.get(self.label, Results())

    @property
    def process(self) -> Process | None:
        """The process in the label's own dtype."""
        return self.judged.process


def one_run(then: Record, now: Record) -> bool:
    """Whether both sides are one run: what differs between two labels of it, its labels say."""
    return then.run == now.run and then == now


def same_data(then: Record, now: Record) -> bool:
    """Whether both runs had the same data; one without any says nothing."""
    old, new = then.dataset, now.dataset
    return old is not None and new is not None and old.sha256 == new.sha256


def other_machine(then: Record, now: Record) -> str | None:
    """Why no time of the two runs can be compared; None where nothing stands against it."""
    if machines := baseline.differences(machine_key(then), machine_key(now)):
        return f"another machine: {machines}"
    threads = then.plan.threads, now.plan.threads
    return None if threads[0] == threads[1] else "threads were {}, are {}".format(*threads)


def trouble(record: Record) -> str | None:
    """Why nothing of a run can be trusted."""
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        return f"known answers of the shared code are wrong: {', '.join(wrong)}"
    return record.ended if record.ended not in (FINISHED, INTERRUPTED) else None


def answers(record: Record) -> dict[str, str]:
    """What was wanted of the shared code."""
    return {answer.name: answer.want for answer in record.known_answers}


def changes(then: Record, now: Record, pairs: list[tuple[str, str]]) -> list[Changed]:
    """Everything around the runs that is not the same: machine, plan, data, each label's own."""
    sides: list[tuple[str, dict[str, str], dict[str, str]]] = []
    for name, other in pairs:
        where = " → ".join(dict.fromkeys((name, other)))
        before, after = _facts(then, name), _facts(now, other)
        # A label that did not start says nothing of its environment.
        if before and after:
            sides.append((where, before, after))
        labels = then.plan.labels[name], now.plan.labels[other]
        sides.append((where, _of_label(labels[0]), _of_label(labels[1])))
    sides += [
        ("harness", {"harness": then.harness_version}, {"harness": now.harness_version}),
        ("machine", then.machine, now.machine),
        ("data", _of_data(then), _of_data(now)),
        ("known answers", answers(then), answers(now)),
        ("plan", _flat(then.plan, NO_PART_OF_PLAN), _flat(now.plan, NO_PART_OF_PLAN)),
    ]
    return [changed for side in sides for changed in _changed(*side)]


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


def _of_label(label: Label) -> dict[str, str]:
    """How a label is configured; not where things lie, nor who asked for it or found it."""
    named = msgspec.structs.replace(label, source=os.path.basename(label.source))
    return _flat(named, NO_PART_OF_LABEL)


def _of_data(record: Record) -> dict[str, str]:
    """What the data are; not where they were found."""
    return {n: str(getattr(record.dataset, n)) for n in OF_DATA} if record.dataset else {}


def _facts(record: Record, label: str) -> dict[str, str]:
    """What a label's processes of the first session said of themselves.

    A fact that is not the same in all of them stands with the dtype.
    """
    facts: dict[str, str] = {}
    for process in record.results.get(label, Results()).processes:
        for name, value in process.facts.items() if process.session == 0 else ():
            if facts.setdefault(name, value) != value:
                facts[f"{name} ({process.dtype})"] = value
    return facts


def _flat(struct: msgspec.Struct, without: tuple[str, ...]) -> dict[str, str]:
    """The fields of a struct as one level of texts, names joined by dots."""

    def walk(values: dict[str, Any], before: str) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{before}{name}.")
            else:
                yield f"{before}{name}", str(value)

    plain: dict[str, Any] = msgspec.to_builtins(struct)
    return dict(walk({n: value for n, value in plain.items() if n not in without}, ""))


def around(environment: list[Changed], sides: str = "runs", label: str | None = None) -> str:
    """What changed between the two sides, besides the versions of `label`, told already."""
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
