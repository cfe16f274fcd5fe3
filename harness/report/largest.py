"""Several records -> one page: the largest value seen at each rung against its limit.

This is what a limit rests on: correct code, over many runs, and how far below the limit it stays.
Takes stored records only; starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.plan.model import process_precision
from harness.record.schema import Measurement, Record, Replica
from harness.report import markdown
from harness.report.run_tables import Run, churn, equivalence, versions_of
from harness.report.sections import Report, Section, Value
from harness.verdict.numbers import envelope_limit, share, with_limits
from harness.verdict.verdict import Verdict, judge
from harness.workloads.reference.limits import DECIDING, LIMITS, Limit

Row = tuple[str, str, str, str]  # rung, dtype, precision, the limit's pattern of batches


@dataclass
class Seen:
    """The largest share of one row of the table of limits, and how many were measured."""

    limit: Limit
    label: str
    run: str
    seed: int
    measurement: Measurement
    count: int = 0


def largest(records: Iterable[Record]) -> dict[Row, Seen]:
    """For each row of the limits the measurement nearest it, in the ladder's order."""
    nearest: dict[Row, Seen] = {}
    for record in records:
        for name in record.results:
            for m, limit in (
                pair for rung in DECIDING for pair in with_limits(rung, name, record, LIMITS)
            ):
                if limit is None:
                    continue
                precision = process_precision(record.plan.labels[name], m.dtype)
                row = (m.rung, m.dtype, precision, limit.case)
                seen = Seen(limit, name, record.run, record.plan.seeds[0], m)
                kept = nearest.setdefault(row, seen)
                if share(m, limit) > share(kept.measurement, kept.limit):
                    seen.count = kept.count
                    nearest[row] = kept = seen
                kept.count += 1
    order = {rung: place for place, rung in enumerate(DECIDING)}
    return dict(sorted(nearest.items(), key=lambda item: (order[item[0][0]], item[0][1:])))


def render(records: list[Record]) -> str:
    """The page, in Markdown."""
    judged = [judge(record) for record in records]
    counts = {v: sum(j.verdict == v for j in judged) for v in ("agree", "disagree", "inconclusive")}
    failed = len(judged) - sum(counts.values())
    rows = largest(records)
    top = max((share(seen.measurement, seen.limit) for seen in rows.values()), default=0.0)
    verdicts = ", ".join(f"{number} {word}" for word, number in counts.items())
    counted = f"{len(records)} runs: {verdicts}, {failed} failed"
    accuracies = [
        Section(f"Accuracy, run {run.record.run}", inside=[equivalence(run), churn(run)])
        for run in map(Run, records, judged)
        if len(run.record.plan.seeds) > 1
    ]
    machines = {tuple(sorted(record.machine.items())) for record in records}
    report = Report(
        word="The largest value seen at each rung against its limit",
        headline=[f"{counted}. The largest share of any fixed limit is {top:.2f}."],
        sections=[
            _fixed(rows), _trajectories(records), *accuracies, _repeats(records),
            _runs(records, judged),
        ],
        end=[f"Machine: {', '.join(f'{k} {v}' for k, v in of)}." for of in sorted(machines)],
    )  # fmt: skip
    return markdown.render(report) + "\n"


def _fixed(rows: dict[Row, Seen]) -> Section:
    """Of each row of the table of limits the measurement nearest it."""
    table: list[list[Value]] = []
    for row, seen in rows.items():
        m, limit = seen.measurement, seen.limit
        sizes = [m.distance, limit.value, f"{share(m, limit):.3f}"]
        table.append([*row, *sizes, seen.label, seen.seed, f"{m.case}, {m.tensor}", seen.count])
    header = ("rung", "dtype", "precision", "batch", "largest", "limit", "share", "label", "seed")
    return Section("Inputs to lockstep", (*header, "where", "of"), table)


def _trajectories(records: list[Record]) -> Section:
    """The nearest to its own run's envelope, by profile, regime and number of steps."""
    nearest: dict[tuple[str, str, int], tuple[float, list[Value]]] = {}
    for record in records:
        chosen = record.plan.trajectory
        replicas: dict[tuple[str, int], list[Replica]] = {}
        for replica in record.envelope:
            replicas.setdefault((replica.regime, replica.after), []).append(replica)
        for (regime, after), of in replicas.items():
            limit = envelope_limit(of, chosen) if chosen is not None else None
            row = (record.plan.profile, regime, after)
            for name, results in record.results.items():
                for m in results.measurements:
                    if limit is None or (m.rung, m.case) != ("trajectory", limit.case):
                        continue
                    size = share(m, limit)
                    if size > nearest.get(row, (-1.0, []))[0]:
                        cells = [m.distance, limit.value, f"{size:.3f}", name]
                        nearest[row] = size, [*cells, record.plan.seeds[0], limit.reason]
    note = (
        "A run's own envelope is its limit: 1.5 or 3 times the furthest replica, so a clean share "
        "lies near 0.67 or 0.33, not below a third."
    )
    rows = [[*row, *cells] for row, (_, cells) in sorted(nearest.items(), reverse=True)]
    header = ("profile", "regime", "steps", "largest", "limit", "share", "label", "seed")
    return Section("Trajectory", (*header, "limit is"), rows, note=note if nearest else "")


def _repeats(records: list[Record]) -> Section:
    """How many processes repeated themselves bit for bit."""
    repeats = [
        (name, repeat)
        for record in records
        for name, results in record.results.items()
        for repeat in results.repeats
    ]
    same = sum(repeat.identical for _, repeat in repeats)
    wavering = sorted({f"{name} ({r.dtype})" for name, r in repeats if not r.identical})
    others = f"; not: {', '.join(wavering)}" if wavering else ""
    note = f"{same} of {len(repeats)} processes trained twice to the same bits{others}."
    return Section("A against A", note=note)


def _runs(records: list[Record], judged: list[Verdict]) -> Section:
    """What the page rests on."""
    return Section(
        "Runs",
        ("run", "profile", "data", "seeds", "verdict", "reference", "versions"),
        [
            [record.run, record.plan.profile, record.dataset.name if record.dataset else None,
             ", ".join(map(str, record.plan.seeds)), verdict.verdict, record.plan.reference,
             versions_of(verdict)]
            for record, verdict in zip(records, judged, strict=True)
        ],
    )  # fmt: skip
