"""Figures of a grid: time per step, multiples of the floor, and what may be ranked, at every size.

A grid is a folder of ordinary records, one a size (see `harness/run/scale.py`). Each is judged as
any other; a time counts only where its verdict says that the numbers agree. Imports no framework.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import InputError
from harness.files import why
from harness.plan.model import Label
from harness.record import store
from harness.record.schema import FINISHED, Record
from harness.verdict.finding import Finding, void_part
from harness.verdict.timing_stats import PowerLaw, Ratio, break_even, power_law, ratio
from harness.verdict.timings import floor_logs, of_large_product, share_of_physics, too_short
from harness.verdict.verdict import LabelVerdict, exit_status, judge, timing_parts
from harness.workloads import SIZED, side_of, width_of
from harness.workloads.reference.limits import DECIDING, MEASURED

# What the step may cost above BAR_WIDTH hidden units, as multiples of the floor: there the five
# products are nearly all of the work.
BARS = {"numpy": 1.5, "torch": 1.3, "jax": 1.3, "tensorflow": 1.7}
BAR_WIDTH = 1024
# Ways of executing that compile nothing at their first step; every other variant does.
NOT_COMPILED = ("buffered", "plain", "eager")
# What stands for a label where the floor's own times are fitted.
FLOOR = "GEMM floor"

Word = Literal["agree", "disagree", "void", "failed", "not measured"]


class Figure(msgspec.Struct, kw_only=True):
    """One label at one size; times in nanoseconds, as a `StepTime` has them.

    Only `verdict` "agree" is ranked; `reason` says why not. `worst`: the measurement nearest its
    limit, or the one that disagrees, and `worst_share` of that limit ("inf": no distance could be
    taken). `multiple`: step over floor; `of_physics`: over the fastest products of all labels.
    `side`: pixels on an image's side, 0 where there is none to choose. Convolutions have no floor
    (there are ways around their products) but `of_large`: what the FLOP of a step, each
    convolution as one product of what its windows see, are a second, of NumPy's rate in a large
    product.
    `first_step_ns`: the first call of that size, of `at_once` steps; `compile_ns`: what it took
    more than steady ones, which is earned back `against` the fastest label that compiles nothing
    after `pays_after` steps (None: never). `repeats`: it repeats itself bit for bit.
    """

    label: str
    threads: int
    width: int
    batch: int
    side: int = 0
    flop: int
    verdict: Word
    reason: str | None
    worst: dict[str, Any] | None = None
    worst_share: float | Literal["inf"] | None = None
    step_ns: int | None = None
    spread_ns: list[int] = []
    floor_ns: int | None = None
    multiple: Ratio | None = None
    of_physics: float | None = None
    of_large: float | None = None
    sessions: int = 0
    at_once: int = 1
    first_step_ns: int | None = None
    compile_ns: int | None = None
    against: str | None = None
    pays_after: int | None = None
    repeats: bool = True

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Threads, width, batch size, side."""
        return self.threads, self.width, self.batch, self.side

    @property
    def place(self) -> str:
        """The size in words."""
        return f"width {self.width}, batch {self.batch}" + (
            f", side {self.side}" if self.side else ""
        )


class Growth(msgspec.Struct, kw_only=True):
    """How the time of a label (or of the floor) grows, over its ranked sizes.

    `law`: of time per step against FLOP, None of fewer than three sizes. `bar`: the most that the
    step may cost above BAR_WIDTH; `wide`: how many sizes lie there, `met`: how many of them are
    ranked and keep it; `largest`: the largest multiple of those ranked.
    """

    label: str
    threads: int
    law: PowerLaw | None
    bar: float | None = None
    wide: int = 0
    met: int = 0
    largest: float | None = None


@dataclass(frozen=True)
class Grid:
    """The records of a grid by threads, width and batch size, and a figure a label of each.

    `labels`: those that were not skipped; `ended`: of the first record that is not finished;
    `sessions`: the fewest of any figure. `status`: the exit status of the run, 130 interrupted,
    3 something failed, 1 a figure that cannot be ranked, else 0.
    """

    name: str
    records: list[Record]
    figures: list[Figure]
    labels: dict[str, Label]
    ended: str
    sessions: int
    status: int

    @property
    def ranked(self) -> list[Figure]:
        """Those whose numbers agree and whose times may be true."""
        return [figure for figure in self.figures if figure.verdict == "agree"]

    @property
    def threads(self) -> list[int]:
        """The numbers of threads, ascending."""
        return sorted({record.plan.threads for record in self.records})


def read(folder: Path) -> Grid:
    """The grid stored in a folder; InputError where there is none, or a record is not of one."""
    try:
        places = sorted(place for place in (folder / "runs").iterdir() if os.path.isdir(place))
    except OSError as error:
        raise InputError(f"grid {folder}: {why(error)}; give a folder of results/scale") from None
    if not places:
        raise InputError(f"grid {folder}: no record of any size is stored there")
    records = [store.read(place) for place in places]
    for place, record in zip(places, records, strict=True):
        workload = record.plan.workload
        size = width_of(workload), workload.batch_size or 0
        side = (side,) if (side := side_of(workload)) else ()
        if min(size) < 1 or workload != SIZED[workload.name](*size, *side).workload:
            raise InputError(f"record {place}: its workload is not one of a grid")
    return judged(folder.resolve().name, records)


def judged(name: str, records: list[Record]) -> Grid:
    """Records of sizes as a grid, each judged."""
    ordered = sorted(records, key=_size)
    verdicts = [judge(record) for record in ordered]
    figures = [
        _figure(record, label, found)
        for record, verdict in zip(ordered, verdicts, strict=True)
        for label, found in verdict.labels.items()
        if found.status != "skipped"
    ]
    plans = [record.plan for record in ordered]
    labels = {n: label for p in plans for n, label in p.labels.items() if n not in p.skipped}
    _set_break_even(figures, labels)
    return Grid(
        name=name,
        records=ordered,
        figures=figures,
        labels=labels,
        ended=next((r.ended for r in ordered if r.ended != FINISHED), FINISHED),
        sessions=min((f.sessions for f in figures if f.sessions), default=0),
        status=max(
            any(figure.verdict != "agree" for figure in figures),
            *map(exit_status, ordered, verdicts),
        ),
    )


def _size(record: Record) -> tuple[int, int, int, int]:
    plan = record.plan
    return plan.threads, width_of(plan.workload), plan.batch_size, side_of(plan.workload)


def _figure(record: Record, label: str, found: LabelVerdict) -> Figure:
    threads, width, batch, side = _size(record)
    verdict, reason, deciding = _verdict(found)
    figure = Figure(
        label=label,
        threads=threads,
        width=width,
        batch=batch,
        side=side,
        flop=record.plan.workload.work,
        verdict=verdict,
        reason=reason,
        repeats=found.reproducible is not False,
    )
    if worst := max(deciding, key=_share, default=None):
        place = worst.evidence
        assert place is not None
        figure.worst = {"rung": worst.rung, "case": place.where} | {
            name: getattr(place, name) for name in ("tensor", "distance", "limit", "problem")
        }
        figure.worst_share = share if math.isfinite(share := _share(worst)) else "inf"
    if (time := found.step_time) is not None:
        logs, at_once = floor_logs(record, label), time.at_once
        first = time.first_steps_ns.get(str(batch) if at_once == 1 else f"{batch} x {at_once}")
        figure.step_ns, figure.spread_ns = time.median_ns, time.spread_ns
        short = too_short(record, label)
        if side:
            figure.of_large = None if short else of_large_product(record, time.median_ns)
        else:
            figure.floor_ns, figure.multiple = time.gemm_floor_ns, ratio(logs) if logs else None
            figure.of_physics = None if short else share_of_physics(label, record)
        figure.sessions, figure.at_once, figure.first_step_ns = time.sessions, at_once, first
        if first is not None:
            figure.compile_ns = max(0, first - at_once * time.median_ns)
    return figure


def _verdict(label: LabelVerdict) -> tuple[Word, str | None, list[Finding]]:
    """Whether a label may be ranked at a size, why not, and the findings that it rests on."""
    found = [label.findings[rung] for rung in MEASURED if rung in label.findings]
    deciding = [f for f in found if f.rung in DECIDING and f.evidence is not None]
    if against := next((f for f in found if f.counts), None):
        return "disagree", against.sentence, [against] if against.evidence else []
    if label.status == "failed":
        return "failed", label.reason, deciding
    if not label.agrees:
        missing = next((f for f in found if f.verdict == "inconclusive"), None)
        reason = label.reason if missing is None else f"{missing.rung}: {missing.sentence}"
        return "not measured", reason, deciding
    if label.step_time is None:
        return "not measured", "the rounds were not finished", deciding
    void = void_part(timing_parts(label))
    return ("void", void.sentence, deciding) if void else ("agree", None, deciding)


def _share(finding: Finding) -> float:
    """What a finding's measurement takes of its limit, infinite without a distance."""
    return finding.share if finding.share is not None and finding.share >= 0 else math.inf


def _set_break_even(figures: list[Figure], labels: dict[str, Label]) -> None:
    """When a compile pays, wherever that and a label that compiles nothing can be ranked."""
    plain: dict[tuple[int, int, int, int], list[Figure]] = {}
    ranked = [f for f in figures if f.verdict == "agree"]
    for f in ranked:
        if labels[f.label].variant in NOT_COMPILED:
            plain.setdefault(f.size, []).append(f)
    for f in ranked:
        others = plain.get(f.size, [])
        if others and labels[f.label].variant not in NOT_COMPILED and f.compile_ns is not None:
            against = min(others, key=lambda other: other.step_ns or 0)
            steps = max(against.step_ns or 0, 1), max(f.step_ns or 0, 1)
            f.against, f.pays_after = against.label, break_even(f.compile_ns, *steps)


def growths(grid: Grid) -> Iterator[Growth]:
    """One for the floor, where there is one, and one a label, for each number of threads."""
    for threads in grid.threads:
        figures = [f for f in grid.figures if f.threads == threads]
        floors = {f.size: (f.flop, f.floor_ns) for f in figures if f.floor_ns is not None}
        if not any(f.side for f in figures):
            yield Growth(label=FLOOR, threads=threads, law=_law([*floors.values()]))
        for name, label in grid.labels.items():
            own = [f for f in figures if f.label == name]
            ranked = [f for f in own if f.verdict == "agree"]
            wide = [f.multiple.value for f in ranked if f.width > BAR_WIDTH and f.multiple]
            bar = None if any(f.side for f in own) else BARS.get(label.backend)
            yield Growth(
                label=name,
                threads=threads,
                law=_law([(f.flop, f.step_ns) for f in ranked if f.step_ns is not None]),
                bar=bar,
                wide=sum(f.width > BAR_WIDTH for f in own),
                met=sum(bar is not None and value <= bar for value in wide),
                largest=max(wide, default=None),
            )


def _law(points: list[tuple[int, int]]) -> PowerLaw | None:
    work = [flop for flop, _ in points]
    return power_law(work, [max(ns, 1) for _, ns in points]) if len({*work}) >= 3 else None
