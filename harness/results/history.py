"""Trends over stored runs: of each backend on each machine, how fast, how exact, how well trained.

Only runs that can be compared stand in one trend: same machine, workload, data, profile, number of
threads and configuration of the label. Runs with a planted fault are left out and counted;
synthetic data make a trend of their own. Pure: takes a store, reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from harness.plan.model import CONFIGURATION
from harness.record.facts import differing
from harness.record.schema import Number, number
from harness.results.store import Run, Store
from harness.text import many
from harness.verdict.document import Document, Entry
from harness.workloads.reference.limits import DECIDING, MEASURED

# Of a point what a label that did not finish has none of.
MEASURES = ("time", "interval", "step_ns", "sessions", "indicative", "worst", "train_loss",
            "test_accuracy")  # fmt: skip
LabelWord = Literal["agree", "disagree", "inconclusive", "failed"]
Unit = Literal["floor", "ns"]


class Setting(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """What runs of one trend have in common besides the label."""

    machine: str
    processor: str
    workload: str
    dataset: str
    synthetic: bool
    profile: str
    threads: int


class Configuration(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """What makes a label the same in another run.

    `called`: the label where it is a name of its own, as jax@0.9 is; empty where it only says the
    backend and the variant.
    """

    backend: str
    called: str
    variant: str
    device: str
    dtype: str
    precision: str

    def words(self) -> list[str]:
        """The same for people."""
        name = self.called or self.backend
        if not name.startswith(self.backend):
            name = f"{name} ({self.backend})"
        return [name, self.variant, self.device, self.dtype, self.precision]


class Point(msgspec.Struct, kw_only=True):
    """One label in one run.

    `verdict`: of the label; `time` and its interval: multiples of the GEMM floor or nanoseconds, as
    the trend's unit says, None where it was not timed, does not agree, or its times are void.
    `shares`: by rung, the value nearest its limit over that limit; `worst`: of `limits.MEASURED`
    the rung with the largest. `changed`: what is not as in the point before, [then, now]. Of a
    label that did not finish: its reason, and none of these.
    """

    run: str
    started: str | None
    label: str
    verdict: LabelWord
    reason: str | None
    time: float | None
    interval: list[float] | None
    step_ns: int | None
    sessions: int | None
    indicative: bool | None
    shares: dict[str, Number]
    worst: str | None
    train_loss: Number | None
    test_accuracy: Number | None
    changed: dict[str, list[str | None]]

    @property
    def share(self) -> float | None:
        """The worst share of a limit."""
        return None if self.worst is None else float(self.shares[self.worst])


class Trend(msgspec.Struct, kw_only=True):
    """One label over time, oldest first."""

    setting: Setting
    configuration: Configuration
    unit: Unit
    points: list[Point]

    @property
    def name(self) -> str:
        """The label, as the newest run calls it."""
        return self.points[-1].label


class History(msgspec.Struct, kw_only=True):
    """Trends in order of setting and configuration. `runs`: how many they rest on.

    `planted`, `not_judged` (or damaged): ids of the runs that are left out for that.
    """

    runs: int
    planted: list[str]
    not_judged: list[str]
    trends: list[Trend]

    def notes(self) -> list[str]:
        """What a reader must know of what is left out, a line each."""
        if not self.planted:
            return []
        return [f"{many(len(self.planted), 'run')} with a planted fault left out"]


def trace(
    store: Store,
    *,
    labels: tuple[str, ...] = (),
    machine: str = "",
    since: datetime | None = None,
) -> History:
    """The trends of a store: of these labels or backends, machines whose name has this in it."""
    history = History(runs=0, planted=[], not_judged=[], trends=[])
    series: dict[tuple[Setting, Configuration], list[tuple[Run, Document, str, Entry]]] = {}
    for run in store.runs:
        judged = run.judged
        if since is not None and (run.started is None or run.started < since):
            continue
        if judged is None:
            history.not_judged.append(run.id)
        elif machine in judged.machine and judged.planted:
            history.planted.append(run.id)
        elif machine in judged.machine:
            used = [
                (label, entry)
                for label, entry in judged.backends.items()
                if entry.status != "skipped" and (not labels or {label, entry.backend} & {*labels})
            ]
            for label, entry in used:
                key = _setting(judged), _configuration(label, entry)
                series.setdefault(key, []).append((run, judged, label, entry))
            history.runs += bool(used)
    for (setting, configuration), entries in sorted(series.items(), key=lambda item: item[0]):
        unit: Unit = "floor" if any(_floor(entry) for *_, entry in entries) else "ns"
        points = [*_points(entries, unit)]
        history.trends.append(
            Trend(setting=setting, configuration=configuration, unit=unit, points=points)
        )
    return history


def _setting(judged: Document) -> Setting:
    same = ("machine", "processor", "workload", "profile", "threads")
    fields: dict[str, Any] = {name: getattr(judged, name) for name in same}
    return Setting(dataset=judged.dataset.name, synthetic=judged.dataset.synthetic, **fields)


def _configuration(label: str, entry: Entry) -> Configuration:
    called = label.removesuffix(f":{entry.variant}")
    fields = {name: getattr(entry, name) for name in CONFIGURATION}
    return Configuration(called="" if called == entry.backend else called, **fields)


def _points(entries: list[tuple[Run, Document, str, Entry]], unit: Unit) -> Iterator[Point]:
    before: dict[str, str] | None = None
    for run, judged, label, entry in entries:
        if entry.status == "failed":
            yield _unfinished(run, label, entry)
            continue
        times = entry.step_time
        around = _around(judged, entry)
        time, interval = _time(entry, unit)
        shares = {name: s for name, rung in entry.rungs.items() if (s := rung.share) is not None}
        near = [name for name in MEASURED if name in shares]
        # A share that is no number is worse than any.
        worst = max(near, key=lambda name: (math.isnan(shares[name]), shares[name]), default=None)
        yield Point(
            run=run.id,
            started=run.started.isoformat() if run.started is not None else None,
            label=label,
            verdict=_word(entry),
            reason=_reason(entry),
            time=time,
            interval=interval,
            step_ns=times.median_ns if times else None,
            sessions=times.sessions if times else None,
            indicative=times.indicative if times else None,
            shares={name: number(share) for name, share in shares.items()},
            worst=worst,
            train_loss=_stored(entry.last_loss),
            test_accuracy=_stored(entry.last_accuracy),
            changed=differing(before or around, around),
        )
        before = around


def _unfinished(run: Run, label: str, entry: Entry) -> Point:
    """A label that did not finish: what it had measured by then is no figure of a whole run."""
    return Point(
        run=run.id,
        started=run.started.isoformat() if run.started is not None else None,
        label=label,
        verdict="failed",
        reason=entry.reason,
        **dict.fromkeys(MEASURES),
        shares={},
        changed={},
    )


def _stored(value: float | None) -> Number | None:
    return None if value is None else number(value)


def _around(judged: Document, entry: Entry) -> dict[str, str]:
    """What may change between two runs and move a figure."""
    return entry.versions | {
        "python": entry.python or "",
        "harness": judged.harness_version,
        "reference": judged.reference,
        "limits": judged.other_limits or "",
    }


def _floor(entry: Entry) -> float | None:
    """A step as a multiple of the GEMM floor; None where there is none."""
    ratio = entry.step_time.floor_ratio if entry.step_time is not None else None
    return ratio if ratio is not None and ratio > 0 else None


def _time(entry: Entry, unit: Unit) -> tuple[float | None, list[float] | None]:
    """The time that is drawn, and its interval: only of a label that agrees and is not void."""
    times = entry.step_time
    if times is None or not entry.agrees or entry.void:
        return None, None
    if unit == "floor":
        value, interval = _floor(entry), times.floor_ci95
        return value, interval if value is not None else None
    return float(times.median_ns), [*map(float, times.ci95_ns)]


def _word(entry: Entry) -> LabelWord:
    if entry.status == "failed":
        return "failed"
    if any(rung.counts for rung in entry.rungs.values()):
        return "disagree"
    return "agree" if entry.agrees else "inconclusive"


def _reason(entry: Entry) -> str | None:
    """Why a label failed or does not agree."""
    if entry.status == "failed":
        return entry.reason
    open_ = [(name, rung) for name, rung in entry.rungs.items() if not rung.expected]
    wrong = [rung for _, rung in open_ if rung.verdict == "disagree"]
    wrong += [r for name, r in open_ if r.verdict == "inconclusive" and name in DECIDING]
    return wrong[0].sentence if wrong else None


def as_document(history: History, last: int | None = None) -> dict[str, Any]:
    """The trends as plain data, of each the newest `last` points (all where that is None)."""
    plain: dict[str, Any] = msgspec.to_builtins(history)
    newest = slice(-last if last is not None else None, None)
    plain["trends"] = [
        trend.pop("setting")
        | trend.pop("configuration")
        | trend
        | {"points": trend["points"][newest]}
        for trend in plain["trends"]
    ]
    return plain
