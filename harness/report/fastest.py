"""Which is fastest: a bar for each label that may be ranked, and what may be said of them.

Takes a stored record and its verdict only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report import words
from harness.report.figure import styles
from harness.report.run_tables import Run, is_claimed
from harness.report.sections import Cell, Section
from harness.text import many
from harness.verdict.timing_stats import Ratio
from harness.verdict.timings import StepTime, versus
from harness.verdict.verdict import agreement

# From this ratio on a time is so many times another's, and below it so many per cent longer.
TIMES = 1.95


@dataclass(frozen=True)
class Bar(Cell):
    """The step of one label, and what picks and puts its batch, in per cent of the picture.

    `text`: the label; `spans`: step, put and gather, one after the other; `low`, `high`: the ends
    of the step's interval; `floor`: None where it is not steady. `claimed`: whether it is surely
    slower than the fastest, or is that one.
    """

    time: str = ""
    ratio: str = ""
    hue: str = ""
    spans: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    floor: float | None = None
    claimed: bool = False


def section(run: Run) -> Section:
    """The labels in the order of their steps, the finding as the title."""
    labels = run.verdict.labels
    times = {name: of.step_time for name, of in labels.items() if of.step_time is not None}
    told = {name: agreement(labels[name]) for name in times}
    left_out = "; ".join(f"{name} ({why})" for name, why in told.items() if why != "agree")
    ranked = {name: time for name, time in times.items() if told[name] == "agree"}
    order = sorted(ranked, key=lambda name: ranked[name].median_ns)
    against = {name: versus(run.record, name, order[0]) for name in order[1:]}
    claimed = {
        name: of is not None and is_claimed(run, name, order[0], of)[0]
        for name, of in against.items()
    }
    notes = (_order(ranked, order, run.record.plan.timing.least), left_out)
    ratios = {name: of.value for name, of in against.items() if of is not None}
    return Section(
        _finding(ranked, order, against, claimed) if order else "",
        rows=[[bar] for bar in _bars(run, ranked, ratios, claimed)],
        note=" ".join(f"{note}." for note in notes if note),
        look="ranked",
    )


def _finding(
    ranked: Mapping[str, StepTime],
    order: Sequence[str],
    against: Mapping[str, Ratio | None],
    claimed: Mapping[str, bool],
) -> str:
    """What the order is worth, in a sentence."""
    first, *others = order
    sessions = ranked[first].sessions
    if not others:
        return f"A step of {first} takes {words.duration(ranked[first].median_ns)}"
    if ranked[first].indicative:
        longer = _longer(against[others[0]])
        said = f"{first} takes least here" + (f", {others[0]} {longer}" if longer else "")
        return f"{said}: {many(sessions, 'session')}, no claim"
    slower = [name for name in others if claimed[name]]
    level = [name for name in others if not claimed[name]]
    if not slower:
        return f"No label is surely slower than {first}: {many(sessions, 'session')}"
    said = f"{slower[0]} takes {_longer(against[slower[0]])}"
    best = f"{first} is fastest" if not level else f"{first} and {', '.join(level)} are level"
    return f"{best}, {said}: {many(sessions, 'session')}"


def _longer(of: Ratio | None) -> str:
    """A ratio in words; "" where none is told: a step is too short."""
    if of is None or not of.value > 0:
        return ""
    if of.value >= TIMES:
        return f"{of.value:.2g} times as long"
    return f"{of.value - 1:.0%} longer" if of.value > 1 else f"{1 - of.value:.0%} less"


def _order(ranked: Mapping[str, StepTime], order: Sequence[str], least: float) -> str:
    """Where picking and putting the batch makes another order than steps alone; "" where not."""
    whole = {name: sum(_parts(time)) for name, time in ranked.items()}
    pairs = ((a, b) for place, a in enumerate(order) for b in order[place + 1 :])
    for before, after in pairs:
        if whole[before] > (1 + least) * whole[after]:
            a, b = (f"{of} ({words.duration(whole[of])})" for of in (after, before))
            return f"With its batch put and picked the order is another: {a} before {b}"
    return ""


def _parts(time: StepTime) -> tuple[int, int, int]:
    """Step, put and gather, nanoseconds."""
    return time.median_ns, time.put_median_ns, time.gather_median_ns


def _bars(
    run: Run,
    ranked: Mapping[str, StepTime],
    ratios: Mapping[str, float],
    claimed: Mapping[str, bool],
) -> list[Bar]:
    """ratios: over the fastest, formed within a round; of that one and of too short steps none."""
    order = sorted(ranked, key=lambda name: ranked[name].median_ns)
    ends = [ns for of in ranked.values() for ns in (sum(_parts(of)), of.ci95_ns[1])]
    most = max(ends, default=0) or 1
    own = styles({name: of.backend for name, of in run.record.plan.labels.items()})
    floors = [of.floor_ratio for of in ranked.values()]
    steady = all(of is not None and of >= 1 for of in floors)
    bars = []
    for name in order:
        time = ranked[name]
        of = 1.0 if name == order[0] else ratios.get(name)
        step, put, gather = map(words.duration, _parts(time))
        low, high = time.ci95_ns
        # Of too few sessions nothing is claimed, of the fastest either.
        sure = not time.indicative and claimed.get(name, True)
        floor = time.gemm_floor_ns if steady else None
        bars.append(
            Bar(
                name,
                time=step,
                ratio="" if of is None else f"{of:.2f}×",
                hue=own[name]["line"]["color"],
                spans=tuple(_share(ns, most) for ns in _parts(time)),
                low=_share(low, most),
                high=_share(high, most),
                floor=None if floor is None else _share(floor, most),
                claimed=sure,
                spoken=f"interval {words.span(low, high)}, put {put}, gather {gather}"
                + ("" if sure else ", nothing claimed"),
            )
        )
    return bars


def _share(ns: float, most: float) -> float:
    """In per cent of the picture, to a hundredth of one."""
    share = 100 * ns / most
    return round(min(100.0, max(0.0, share)), 2) if math.isfinite(share) else 0.0
