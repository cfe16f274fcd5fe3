"""Trends over stored runs for people: a section a setting, with pictures on a page.

In a setting (machine, profile, data, threads) runs can be compared. What a run's files say is
hostile, as in every report: who draws it escapes, and pictures take `text`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from harness.record.schema import number
from harness.report import words
from harness.report.plots import axes
from harness.report.plots.trends import changed, names, pictures
from harness.report.sections import Form, Report, Section, Value, by_columns
from harness.results.history import History, Point, Setting, Trend
from harness.text import many, short
from harness.workloads.reference.limits import MEASURED

NOTHING = "No stored run that was asked for."
# Of one trend on a terminal, and in a table of the page.
LAST_PRINTED, LAST_ON_PAGE = 10, 50
# Of one trend in a picture: its width in pixels.
MOST_DRAWN = 1000
# Of one setting, in the page's table of changes: the newest.
MOST_CHANGES = 200


def report(
    history: History, form: Form, last: int = LAST_PRINTED, left_out: Sequence[str] = ()
) -> Report:
    """The report. last: runs of a trend on a terminal; left_out: what else is not in it."""
    settings = by_setting(history).items()
    notes = [*history.notes(), *left_out]
    if form == "terminal":
        return Report(
            word="",
            sentence="" if history.trends else NOTHING,
            sections=[
                Section(headline(of), inside=[_newest(t, last) for t in ts]) for of, ts in settings
            ],
            end=notes,
        )
    if any(len(trend.points) > MOST_DRAWN for trend in history.trends):
        notes.append(f"Pictures show the newest {MOST_DRAWN} runs of a trend.")
    return Report(
        word="History",
        sentence=_sentence(history),
        headline=notes,
        warnings=["SYNTHETIC data where a title says so: no real images"]
        * any(trend.setting.synthetic for trend in history.trends),
        sections=[_on_page(f"s{i}", of, ts) for i, (of, ts) in enumerate(settings)],
        title="History of stored runs",
    )


def by_setting(history: History) -> dict[Setting, list[Trend]]:
    """The trends of each setting."""
    settings: dict[Setting, list[Trend]] = {}
    for trend in history.trends:
        settings.setdefault(trend.setting, []).append(trend)
    return settings


def headline(setting: Setting) -> str:
    """What the runs of a setting have in common."""
    threads = many(setting.threads, "thread") if setting.threads else "unknown threads"
    common = (setting.machine, setting.workload, setting.dataset, setting.profile)
    machine, workload, dataset, profile = map(axes.plain, common)
    data = f"SYNTHETIC data ({dataset})" if setting.synthetic else dataset
    return f"{machine}: {workload} on {data}, profile {profile}, {threads}"


def title(trend: Trend) -> str:
    """A trend's label, and all of its configuration."""
    return f"{axes.plain(trend.name)}: {' '.join(map(axes.plain, trend.configuration.words()))}"


def columns(trend: Trend) -> dict[str, Callable[[Point], Value]]:
    """What a table has of each run of a trend."""

    def floor(p: Point) -> Value:
        if p.time is None or trend.unit != "floor":
            return None
        return words.times_floor(p.time) + (
            "" if p.interval is None else " {:.2f}–{:.2f}".format(*p.interval)
        )

    def step(p: Point) -> Value:
        if p.time is None:
            return None
        ends = p.interval if trend.unit == "ns" else None
        return words.duration(p.step_ns) + ("" if ends is None else f", {words.span(*ends)}")

    return {
        "run": lambda p: p.run,
        "verdict": lambda p: f"{words.MARKS[p.verdict]} {p.verdict}",
        "× floor, 95 %": floor,
        "step": step,
        "worst share": lambda p: p.worst and f"{short(p.share)} {p.worst}",
        "test %": lambda p: (
            None if p.test_accuracy is None else f"{100 * float(p.test_accuracy):.2f}"
        ),
        "changed since the run before": changed,
    }


def _sentence(history: History) -> str:
    if not history.trends:
        return NOTHING
    machines = len({trend.setting.machine for trend in history.trends})
    times = sorted(p.started for t in history.trends for p in t.points if p.started is not None)
    span = f", {times[0][:10]} to {times[-1][:10]}" if times else ""
    counts = (history.runs, "run"), (len(history.trends), "trend"), (machines, "machine")
    return f"{', '.join(many(*of) for of in counts)}{span}."


def _newest(trend: Trend, last: int) -> Section:
    """The newest runs of a trend for 80 columns.

    There is room for one time, and none for what changed: that stands below.
    """
    points = trend.points[-last:]
    left = len(trend.points) - len(points)
    other = "step" if trend.unit == "floor" else "× floor, 95 %"
    shown = columns(trend)
    del shown[other], shown["changed since the run before"]
    return Section(
        f"{title(trend)}{f' ({left} older; --last shows more)' if left else ''}",
        header=[*shown],
        rows=by_columns(shown, points),
        lines=[f"changed at {p.run}: {changes}" for p in points if (changes := changed(p))],
    )


def _on_page(id_: str, setting: Setting, trends: Sequence[Trend]) -> Section:
    """A setting: pictures, shares, changes, and every run of each trend."""
    drawn = [msgspec.structs.replace(trend, points=trend.points[-MOST_DRAWN:]) for trend in trends]
    return Section(
        headline(setting),
        id=id_,
        note=f"Processor: {setting.processor}." if setting.processor else "",
        pictures=pictures(id_, drawn),
        inside=[_shares(trends), _changes(trends), *map(_runs, trends)],
    )


def _shares(trends: Sequence[Trend]) -> Section:
    """By rung the newest share, and the largest of all runs."""

    def shares(trend: Trend, rung: str) -> str:
        held = [float(p.shares[rung]) for p in trend.points if rung in p.shares]
        if not held:
            return "–"
        largest = max(held, key=lambda share: (math.isnan(share), share))
        return f"{short(number(held[-1]))} ({short(number(largest))})"

    rows = [
        [name, *(shares(trend, rung) for rung in MEASURED)]
        for name, trend in zip(names(trends), trends, strict=True)
    ]
    about = "newest run (largest of all runs)"
    return Section("Share of the limit by rung", ("label", *MEASURED), rows, about)


def _changes(trends: Sequence[Trend]) -> Section:
    """The newest changes of a setting, newest first."""
    changes = [
        (point.started or "", point.run, name, changed(point))
        for name, trend in zip(names(trends), trends, strict=True)
        for point in trend.points
        if point.changed
    ]
    rows = [row for _, *row in sorted(changes, reverse=True)[:MOST_CHANGES]]
    header = ("run", "label", "what changed since the label's run before")
    return Section("What changed, newest first", header, rows)


def _runs(trend: Trend) -> Section:
    """The runs of a trend, newest first."""
    left = len(trend.points) - LAST_ON_PAGE
    shown = columns(trend)
    return Section(
        f"Runs of {title(trend)}",
        about=f"Newest first{f'; {left} older: harness history --json' if left > 0 else ''}",
        header=[*shown],
        rows=by_columns(shown, trend.points[: -LAST_ON_PAGE - 1 : -1]),
        folded=True,
    )
