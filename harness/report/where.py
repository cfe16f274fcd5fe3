"""Where it went wrong: of each label that is off a map of its rungs and batches, and what is known.

A lane a rung, of the rung that fails first a lane a tensor; a cell a batch. Takes a stored record
and its verdict; of the tensors that were kept see `apart.py`.
"""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from harness.errors import InputError
from harness.record.schema import EVALUATION, OWN, Measurement, Record
from harness.report import apart, words
from harness.report.ladder import address, evidence_facts
from harness.report.neighbourhood import neighbourhood
from harness.report.run_tables import Run
from harness.report.sections import Cell, Section, Value
from harness.report.trust import Chip
from harness.results import kept
from harness.text import clean, short
from harness.verdict.finding import Finding
from harness.verdict.numbers import PRECISION, share, when, with_limits, within
from harness.verdict.verdict import Verdict, first_divergence
from harness.workloads.reference.limits import DECIDING, LIMITS

# Up to which share of a limit a cell has which look; what is beyond the last has "far". Correct
# code stays below a third.
TONES = ((1 / 3, "within"), (1.0, "near"), (10.0, "over"), (1000.0, "well-over"))
# Of a rung with more tensors those around the first that is off.
MOST_LANES, BEFORE = 12, 4
# The rungs whose cells are batches; those of lockstep are steps.
BATCHES = tuple(rung for rung in DECIDING if rung != "lockstep")
# How high a cell is, in per cent of its lane: what is off is seen without its colour.
HEIGHTS = {"within": 36, "near": 60}
# Of so many labels the kept tensors are read: those of a large model take seconds and a gigabyte.
MOST_PICTURED = 3
# With more batches than this no gap is left between cells.
MOST_APART = 80


@dataclass(frozen=True)
class Lane(Cell):
    """A lane of a map. `text`: its name; `paths`: an SVG path a look, 1 wide a batch, 100 high.

    `first`: where its first cell over the limit lies, left and width in per cent; None where it is
    not outlined. `told`: at its right; `inner`: of a single tensor.
    """

    count: int = 0
    paths: Mapping[str, str] = field(default_factory=dict)
    first: tuple[float, float] | None = None
    told: str = ""
    inner: bool = False


@dataclass(frozen=True)
class Axis(Cell):
    """What the columns of a map are: `marks`, each where it begins, in per cent, and its words."""

    marks: Sequence[tuple[float, str]] = ()


def section(run: Run) -> Section:
    """What each label that is off shows, the verdict's own first; empty where all agree."""
    first = run.verdict.first_divergence
    if first is None:
        return Section()
    off = [name for name, of in run.verdict.labels.items() if _finding(run, name) is not None]
    off.sort(key=lambda name: name != first.label)
    inside = [_of_label(run, name, place < MOST_PICTURED) for place, name in enumerate(off)]
    return Section(inside=[inside[0], *(replace(of, folded=True) for of in inside[1:])])


def _finding(run: Run, name: str) -> Finding | None:
    """A label's first rung that is off."""
    findings = run.verdict.labels[name].findings.values()
    return next((of for of in findings if of.counts and of.first is not None), None)


def _of_label(run: Run, name: str, pictured: bool) -> Section:
    """Its map, what is known, the pictures of its tensor, and folded the same in full digits."""
    finding = _finding(run, name)
    assert finding is not None
    assert finding.first is not None
    own = msgspec.structs.replace(
        run.verdict, first_divergence=first_divergence({name: run.verdict.labels[name]})
    )
    at = finding.first
    lanes = _lanes(run, name, finding) if finding.rung in DECIDING else []
    title = f"{name}: {finding.rung}, {at.where}, {at.tensor}"
    rows: list[list[Value]] = [[lane] for lane in lanes]
    rows = [[_axis(run.record, name)], *rows] if lanes else []
    other = "The limits are the built-in ones." if run.verdict.other_limits is not None else ""
    there = Section(rows=rows, look="map", note=other if lanes else "")
    known = Section(rows=_known(run, finding, own), look="chips")
    none = f"The tensors of the first {MOST_PICTURED} labels that are off have pictures."
    pictures = apart.section(run, own) if pictured else Section(note=none)
    return Section(
        title,
        inside=[
            Section(
                inside=[Section(inside=[there, known], look="column"), pictures],
                look="where",
            ),
            replace(_values(run, own, finding, pictured), folded=True),
        ],
    )


# ---- the map -------------------------------------------------------------------------------------


def _lanes(run: Run, name: str, finding: Finding) -> list[Lane]:
    """A lane a rung; of the one that fails first a lane a tensor too, its first cell outlined."""
    record, follows = run.record, words.following(run.verdict.labels[name])
    batches = _columns(record, name, BATCHES)
    steps = _columns(record, name, ["lockstep"])
    first = finding.first.tensor if finding.first else ""
    lanes = []
    for rung in DECIDING:
        of = _by_tensor(record, name, rung)
        failing = rung == finding.rung
        cases = steps if rung == "lockstep" else batches
        lane = _lane(rung, [one for own in of.values() for one in own], cases, rung in follows)
        lanes.append(lane if failing else replace(lane, first=None))
        for tensor, own in _near(of, first).items() if failing else ():
            value = tensor.removesuffix(OWN)
            named = tensor if value in of else value
            lane = replace(_lane(named, own, cases, follows=False), inner=True)
            lanes.append(lane if tensor == first else replace(lane, first=None))
    return [lane for lane in lanes if lane.count]


def _columns(record: Record, name: str, rungs: Sequence[str]) -> list[str]:
    """The batches of these rungs in their order, evaluations last: they have one rung only."""
    measured = [m for m in record.results[name].measurements if m.rung in rungs]
    measured.sort(key=lambda m: (m.case.startswith(EVALUATION), when(m)))
    return [*dict.fromkeys(map(_batch, measured))]


def _axis(record: Record, name: str) -> Axis:
    """Where checkpoints, made batches and evaluations begin."""
    made = {case.case for case in record.cases if case.step is None} | {PRECISION[0]}
    cases = _columns(record, name, BATCHES)
    kinds = ["evaluated" if case.startswith(EVALUATION) else "made" if case in made else cases[0]
             for case in cases]  # fmt: skip
    begin = {kind: 100 * kinds.index(kind) / len(kinds) for kind in kinds}
    return Axis("batch", marks=[(round(at, 3), kind) for kind, at in begin.items()])


def _batch(m: Measurement) -> str:
    """What stands in one column: of lockstep what is compared after one step, losses too."""
    return m.case if m.rung != "lockstep" else f"after step {m.step}"


# A measurement that has a limit, its share of that, and whether it is of the label's own dtype.
Share = tuple[Measurement, float, bool]


def _by_tensor(record: Record, name: str, rung: str) -> dict[str, list[Share]]:
    """By tensor; values inside a model in the order of its layers, before what it gives."""
    own, found = record.plan.labels[name].dtype, defaultdict[str, list[Share]](list)
    for m, limit in with_limits(rung, name, record, LIMITS):
        # Of the products that must not round only one that did is worth a lane.
        fine = m.case == PRECISION[0] and limit is not None and within(m, limit)
        if limit is not None and not fine:
            found[m.tensor].append((m, share(m, limit), m.dtype == own))
    inside = [f"{value}{OWN}" for value in record.plan.workload.trace]
    order = sorted(found, key=lambda of: inside.index(of) if of in inside else len(inside))
    return {tensor: found[tensor] for tensor in order}


def _near(of: dict[str, list[Share]], first: str) -> dict[str, list[Share]]:
    """As many tensors as there is room for, around the first that is off; of one none."""
    names = [*of] if len(of) > 1 else []
    place = names.index(first) if first in names else 0
    start = max(0, min(place - BEFORE, len(names) - MOST_LANES))
    return {name: of[name] for name in names[start : start + MOST_LANES]}


def _lane(name: str, of: Sequence[Share], cases: Sequence[str], follows: bool) -> Lane:
    """A cell a batch: the worst in the label's own dtype, or in the other where only that is off.

    What it says at its right is of the first that is off, as every other report does.
    """
    worst: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for m, size, own in of:
        worst[own][_batch(m)] = max(worst[own].get(_batch(m), 0.0), size)
    alone = {case: size for case, size in worst[False].items() if worst[True].get(case, 0.0) <= 1}
    shares = worst[True] | {
        case: size for case, size in alone.items() if size > 1 or case not in worst[True]
    }
    off = [(m, size) for m, size, _ in of if not size <= 1]
    first = min(off, key=lambda one: when(one[0]), default=None)
    if first is None:
        told = _times(max((size for _, size, _ in of), default=None))
        return Lane(name, "agree", spoken=told, told=told, **_drawn(shares, cases, follows))
    counted = first[0].problem is None and math.isinf(first[1])  # of a limit 0
    far = f"{short(first[0].distance)} elements" if counted else _times(first[1])
    told = "follows" if follows else far
    place, wide = cases.index(_batch(first[0])), 100 / len(cases)
    return Lane(
        name,
        "follows" if follows else "disagree",
        spoken=f"{told}, first at {_batch(first[0])}",
        told=told,
        first=(round(wide * place, 3), round(wide, 3)),
        **_drawn(shares, cases, follows),
    )


def _drawn(shares: Mapping[str, float], cases: Sequence[str], follows: bool) -> dict[str, Any]:
    """Its cells as one path for each look."""
    paths: dict[str, str] = defaultdict(str)
    gap = 0.08 if len(cases) <= MOST_APART else 0.0
    for place, case in enumerate(cases):
        if case in shares:
            look = _look(shares[case])
            high = HEIGHTS.get(look, 100)
            look = "follows" if follows and look not in HEIGHTS else look
            paths[look] += f"M{place + gap / 2:g} {100 - high}h{1 - gap:g}v{high}h{gap - 1:g}z"
    return {"count": len(cases), "paths": paths}


def _look(of: float) -> str:
    return next((look for most, look in TONES if of <= most), "far")


def _times(of: float | None) -> str:
    """A share of a limit as the ladder says it."""
    if of is None:
        return "not measured"
    if of == 0:
        return "exact"
    if not math.isfinite(of):
        return "not to be compared"
    return f"{short(1 / of)}× below" if of <= 1 else f"{short(of)}× over"


# ---- what is known -------------------------------------------------------------------------------


def _known(run: Run, finding: Finding, own: Verdict) -> list[list[Value]]:
    """What speaks for an explanation and what against, and what to do next."""
    chips: list[Value] = []
    found = finding.explanation or []
    for one in found:
        chips.append(Chip(clean(f"✓ {one.sentence}"), "agree"))
        chips.append(Chip(f"✓ leaves {short(one.left)}, as correct code does", "agree"))
    if len(found) > 1:
        chips.append(Chip(f"? {len(found)} conventions fit alike", "inconclusive"))
    if finding.explanation is not None and not found:
        chips.append(Chip("? no known convention explains it", "inconclusive"))
    chips += [Chip(clean(clause)) for clause in (finding.hint or "").split("; ") if clause]
    name = shlex.quote(clean(run.record.run))
    mine = own.first_divergence == run.verdict.first_divergence
    commands = [command for command in [bundle(run)] if command and mine]
    commands += [f"harness explain {name}"] if finding.explanation is None else []
    rows: list[list[Value]] = [[command] for command in commands]
    return [["", *chips], *rows]


def bundle(run: Run) -> str:
    """The command that shows the verdict's first divergence without the harness; "" without one."""
    try:
        kept.find(run.record, run.verdict)
    except InputError:
        return ""
    return f"harness bundle {shlex.quote(clean(run.record.run))}"


def _values(run: Run, own: Verdict, finding: Finding, pictured: bool) -> Section:
    """The first divergence in full digits, and the values around its worst element."""
    name = own.first_divergence.label if own.first_divergence else ""
    assert finding.first is not None
    link = address([*run.verdict.labels].index(name), finding.rung)
    facts = [
        *evidence_facts(finding, finding.first, name, run.record).rows,
        ("evidence", Cell("all of this cell", link=link)),
    ]
    windows = neighbourhood(run.record, own, run.folder) if pictured else Section()
    return Section("In full digits", inside=[Section(rows=facts, look="facts"), windows])
