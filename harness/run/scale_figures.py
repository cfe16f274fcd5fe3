"""Figures of a stored run of the grid: time per step, multiples of the floor, what may be ranked.

Ratios are formed within a round. With fewer than MIN_SESSIONS sessions every figure is indicative.
Takes a stored record only. Imports no framework.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Literal

import msgspec

from harness.plan.model import CONTROL
from harness.record.schema import FINISHED, INTERRUPTED, Round
from harness.run.scale import RUNGS, Cell, Judged, ScaleRecord, flop
from harness.verdict.timing import PHYSICAL_SHARE
from harness.verdict.timing_stats import PowerLaw, Ratio, break_even, power_law, ratio
from harness.verdict.timings import Place, session_logs
from harness.workloads.mlp_scratch import resized

# What the step may cost above BAR_WIDTH hidden units, as multiples of the floor: there the five
# products are nearly all of the work.
BARS = {"numpy": 1.5, "torch": 1.3, "jax": 1.3, "tensorflow": 1.7}
BAR_WIDTH = 1024
# Ways of executing that compile nothing at their first step; every other variant does.
NOT_COMPILED = ("buffered", "plain", "eager")
# What the fit of the floor's own times is called.
FLOOR = "GEMM floor"

Where = tuple[int, int, int]  # threads, width, batch


class Figure(msgspec.Struct, kw_only=True):
    """One label at one size, over all sessions; times in nanoseconds.

    Only `verdict` "agree" is ranked; `reason` says why not. `worst`: the measurement nearest its
    limit, and `worst_share` what it takes of it. `step_ns`: the median of the sessions' medians;
    `spread_ns`: the rounds' smallest and largest median; `floor_ns`: NumPy's products in the same
    rounds; `multiple`: step over floor. `of_physics`: step over the fastest products of all labels.
    `first_step_ns`: the first call of that size, of `at_once` steps; `compile_ns`: what it took
    more than steady steps (the median over sessions).
    """

    label: str
    threads: int
    width: int
    batch: int
    flop: int
    verdict: Literal["agree", "disagree", "void", "failed", "not measured"]
    reason: str | None
    worst: Judged | None
    worst_share: float | None
    step_ns: int | None
    spread_ns: list[int]
    floor_ns: int | None
    multiple: Ratio | None
    of_physics: float | None
    at_once: int
    first_step_ns: int | None
    compile_ns: int | None
    repeats: bool

    @property
    def where(self) -> Where:
        """The cell it stands in."""
        return self.threads, self.width, self.batch


class BreakEven(msgspec.Struct, kw_only=True):
    """After how many steps a compile has paid, against the fastest label that compiles nothing.

    `steps` None: never, each step is slower.
    """

    label: str
    threads: int
    width: int
    batch: int
    compile_ns: int
    against: str
    steps: int | None


class Bar(msgspec.Struct, kw_only=True):
    """The bar of one label above BAR_WIDTH: met where every cell there is ranked and keeps it.

    `cells`: how many there are; `met`: how many keep it; `largest` and where: of those ranked.
    """

    label: str
    threads: int
    bar: float
    cells: int
    met: int
    largest: float | None
    width: int | None
    batch: int | None

    @property
    def verdict(self) -> Literal["met", "missed", "not measured"]:
        """In a word."""
        if not self.cells:
            return "not measured"
        return "met" if self.met == self.cells else "missed"


class Fit(msgspec.Struct, kw_only=True):
    """The power law of a label's time per step against the work, over its ranked cells."""

    label: str
    threads: int
    law: PowerLaw


def figures(record: ScaleRecord) -> list[Figure]:
    """One for every label and size that was begun: by threads, width, batch, then by label."""
    found: dict[tuple[Where, str], list[Cell]] = {}
    for cell in record.cells:
        where = record.sessions[cell.session].threads, cell.width, cell.batch
        found.setdefault((where, cell.label), []).append(cell)
    threads, labels = list(record.plan.threads), list(record.plan.plan.labels)
    floors = {
        where: _by_place(record, cells, _products_median)
        # Of several NumPys the one of that very name comes last, and counts.
        for (where, label), cells in sorted(found.items(), key=lambda item: item[0][1] == CONTROL)
        if record.plan.plan.labels[label].backend == CONTROL and _has_rounds(record, cells)
    }
    physical: dict[Where, dict[Place, float]] = {}
    for (where, _), cells in found.items():
        fastest = physical.setdefault(where, {})
        for place, ns in _by_place(record, cells, _products_least).items():
            fastest[place] = min(ns, fastest.get(place, ns))
    made = [
        _figure(record, where, label, cells, floors.get(where, {}), physical[where])
        for (where, label), cells in found.items()
    ]
    return sorted(
        made,
        key=lambda f: (threads.index(f.threads), f.width, f.batch, labels.index(f.label)),
    )


def _figure(
    record: ScaleRecord,
    where: Where,
    label: str,
    cells: list[Cell],
    floor: dict[Place, float],
    physical: dict[Place, float],
) -> Figure:
    threads, width, batch = where
    steps = _by_place(record, cells, _steps_median)
    sessions: dict[int, list[float]] = {}
    for (session, _), ns in steps.items():
        sessions.setdefault(session, []).append(ns)
    step_ns = round(statistics.median(map(statistics.median, sessions.values()))) if steps else None
    logs = session_logs(steps, floor)
    shares = [ns / physical[place] for place, ns in steps.items() if physical.get(place)]
    of_physics = statistics.median(shares) if shares else None
    judged = [j for cell in cells for j in cell.judged]
    worst = max(judged, key=share_of_limit, default=None)
    at_once = max((r.at_once for cell in cells for r in cell.rounds), default=1)
    first = _first_step_ns(cells, batch, at_once)
    verdict, reason = _verdict(cells, steps, of_physics)
    return Figure(
        label=label,
        threads=threads,
        width=width,
        batch=batch,
        flop=flop(resized(width, batch)),
        verdict=verdict,
        reason=reason,
        worst=worst,
        worst_share=share_of_limit(worst) if worst is not None else None,
        step_ns=step_ns,
        spread_ns=[round(min(steps.values())), round(max(steps.values()))] if steps else [],
        floor_ns=round(statistics.median(floor.values())) if floor else None,
        multiple=ratio(logs) if logs else None,
        of_physics=of_physics,
        at_once=at_once,
        first_step_ns=first,
        compile_ns=max(0, first - at_once * step_ns) if first and step_ns is not None else None,
        repeats=all(cell.repeats is not False for cell in cells),
    )


def _verdict(
    cells: list[Cell], steps: dict[Place, float], of_physics: float | None
) -> tuple[Literal["agree", "disagree", "void", "failed", "not measured"], str | None]:
    """Whether a label's cell may be ranked, and why not; numbers go before times."""
    over = [j for cell in cells for j in cell.judged if share_of_limit(j) > 1]
    if over:
        worst = max(over, key=share_of_limit)
        off = worst.problem or f"off by {worst.distance}, limit {worst.limit:g}"
        return "disagree", f"{worst.rung}, {worst.case}: {worst.tensor}: {off}"
    if failed := next((cell.failed for cell in cells if cell.failed is not None), None):
        return "failed", failed
    for cell in cells:
        missing = [rung for rung in RUNGS if rung not in {j.rung for j in cell.judged}]
        if missing:
            return "not measured", f"{missing[0]} was not judged"
    replayed = [r.digest for cell in cells for r in cell.rounds if r.digest is not None]
    if not steps or len(replayed) < len(cells):
        return "not measured", "the rounds were not finished"
    for cell in cells:
        other = [r.round for r in cell.rounds if r.digest != r.replayed]
        if other and cell.repeats is not False:
            return "void", (
                f"round {other[0]}: the timed steps end at other parameters than the same steps "
                "without a clock"
            )
    if of_physics is not None and of_physics < PHYSICAL_SHARE:
        return "void", (
            f"impossible: a step takes {of_physics:.3g} of the time that its matrix products alone "
            "take here: somebody is not waiting"
        )
    return "agree", None


def share_of_limit(judged: Judged) -> float:
    """The distance as a share of its limit: above 1 disagrees, infinite without a distance."""
    distance = judged.distance
    if judged.problem is not None or not isinstance(distance, float) or not distance >= 0:
        return math.inf
    if judged.limit == 0:
        return 0.0 if distance == 0 else math.inf
    return distance / judged.limit


def _steady(record: ScaleRecord, cells: list[Cell]) -> list[Round]:
    first = record.plan.plan.timing.warmup_rounds
    return [r for cell in cells for r in cell.rounds if r.round >= first]


def _has_rounds(record: ScaleRecord, cells: list[Cell]) -> bool:
    return any(r.products_ns for r in _steady(record, cells))


def _by_place(
    record: ScaleRecord, cells: list[Cell], value: Callable[[Round], float | None]
) -> dict[Place, float]:
    """A figure of every round after warm-up that has one; no time is 0 or less."""
    found = {(r.session, r.round): value(r) for r in _steady(record, cells)}
    return {place: ns for place, ns in found.items() if ns is not None and ns > 0}


def _steps_median(r: Round) -> float | None:
    return statistics.median(r.step_ns) if r.step_ns else None


def _products_median(r: Round) -> float | None:
    return statistics.median(r.products_ns) if r.products_ns else None


def _products_least(r: Round) -> float | None:
    return min(r.products_ns, default=None)


def _first_step_ns(cells: list[Cell], batch: int, at_once: int) -> int | None:
    """The first call of the kind that was timed: of one step, or of `at_once` made as one."""
    name = str(batch) if at_once == 1 else f"{batch} x {at_once}"
    first = [cell.first_step_ns[name] for cell in cells if name in cell.first_step_ns]
    return round(statistics.median(first)) if first else None


def ranked(found: list[Figure]) -> list[Figure]:
    """Those whose numbers agree and whose times may be true."""
    return [figure for figure in found if figure.verdict == "agree"]


def fits(found: list[Figure]) -> list[Fit]:
    """A power law for each label, and one for the floor, where there are three sizes or more."""
    floors = {f.where: (f.flop, f.floor_ns) for f in found if f.floor_ns is not None}
    points: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for (threads, _, _), point in floors.items():
        points.setdefault((threads, FLOOR), []).append(point)
    for figure in ranked(found):
        if figure.step_ns is not None:
            at = points.setdefault((figure.threads, figure.label), [])
            at.append((figure.flop, figure.step_ns))
    return [
        Fit(
            label=label,
            threads=threads,
            law=power_law([work for work, _ in at], [max(ns, 1) for _, ns in at]),
        )
        for (threads, label), at in sorted(points.items(), key=lambda item: item[0][0])
        if len({work for work, _ in at}) >= 3
    ]


def compiles(record: ScaleRecord, label: str) -> bool:
    """Whether a label's way of executing compiles something at its first step."""
    return record.plan.plan.labels[label].variant not in NOT_COMPILED


def break_evens(record: ScaleRecord, found: list[Figure]) -> list[BreakEven]:
    """For each label that compiles, in every cell where it and another can be ranked."""
    made = []
    fair = [figure for figure in ranked(found) if figure.step_ns]
    for figure in fair:
        plain = [
            other
            for other in fair
            if other.where == figure.where and not compiles(record, other.label)
        ]
        if not compiles(record, figure.label) or not plain or figure.compile_ns is None:
            continue
        against = min(plain, key=lambda other: other.step_ns or 0)
        assert against.step_ns is not None
        assert figure.step_ns is not None
        made.append(
            BreakEven(
                label=figure.label,
                threads=figure.threads,
                width=figure.width,
                batch=figure.batch,
                compile_ns=figure.compile_ns,
                against=against.label,
                steps=break_even(figure.compile_ns, against.step_ns, figure.step_ns),
            )
        )
    return made


def bars(record: ScaleRecord, found: list[Figure]) -> list[Bar]:
    """The bar of every label that has one and was not skipped, for each number of threads."""
    made = []
    for threads in record.plan.threads:
        for label, configured in record.plan.plan.labels.items():
            if configured.backend not in BARS or label in record.plan.plan.skipped:
                continue
            bar = BARS[configured.backend]
            wide = [
                f
                for f in found
                if f.label == label and f.threads == threads and f.width > BAR_WIDTH
            ]
            times = [(f.multiple.value, f) for f in ranked(wide) if f.multiple is not None]
            largest = max(times, key=lambda pair: pair[0], default=None)
            made.append(
                Bar(
                    label=label,
                    threads=threads,
                    bar=bar,
                    cells=len(wide),
                    met=sum(value <= bar for value, _ in times),
                    largest=largest[0] if largest else None,
                    width=largest[1].width if largest else None,
                    batch=largest[1].batch if largest else None,
                )
            )
    return made


def exit_status(record: ScaleRecord, found: list[Figure]) -> int:
    """130 interrupted, 3 something failed, 1 a cell that cannot be ranked, else 0."""
    if record.ended == INTERRUPTED:
        return 130
    failed = any(p.status == "failed" for s in record.sessions for p in s.processes)
    if record.ended != FINISHED or failed:
        return 3
    return 0 if len(ranked(found)) == len(found) else 1
