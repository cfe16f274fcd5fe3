"""Several records -> one page: the largest value seen at each rung against its limit.

This is what a limit rests on: correct code, over many runs, and how far below the limit it stays.
Takes stored records only; starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.plan.model import process_precision
from harness.record.facts import versions
from harness.record.schema import Measurement, Record
from harness.report import words
from harness.report.tables import escape, table
from harness.verdict.numbers import share, with_limits
from harness.verdict.trajectory import envelope_limit
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
    found: dict[Row, Seen] = {}
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
                kept = found.setdefault(row, seen)
                if share(m, limit) > share(kept.measurement, kept.limit):
                    seen.count = kept.count
                    found[row] = kept = seen
                kept.count += 1
    order = {rung: place for place, rung in enumerate(DECIDING)}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1:])))


def render(records: list[Record]) -> str:
    """The page, in Markdown."""
    judged = [judge(record) for record in records]
    counts = {v: sum(j.verdict == v for j in judged) for v in ("agree", "disagree", "inconclusive")}
    failed = len(judged) - sum(counts.values())
    rows = largest(records)
    top = max((share(seen.measurement, seen.limit) for seen in rows.values()), default=0.0)
    told = (
        f"{len(records)} runs: {counts['agree']} agree, {counts['disagree']} disagree, "
        f"{counts['inconclusive']} inconclusive, {failed} failed. The largest share of any fixed "
        f"limit is {top:.2f}."
    )
    lines = [
        "# The largest value seen at each rung against its limit",
        "",
        told,
        "",
    ]
    lines += ["## Inputs to lockstep", ""]
    lines += table(
        [
            "rung",
            "dtype",
            "precision",
            "batch",
            "largest",
            "limit",
            "share",
            "label",
            "seed",
            "where",
            "of",
        ],
        [
            [
                rung,
                dtype,
                precision,
                pattern,
                words.figure(seen.measurement.distance),
                words.figure(seen.limit.value),
                f"{share(seen.measurement, seen.limit):.3f}",
                seen.label,
                str(seen.seed),
                f"{seen.measurement.case}, {seen.measurement.tensor}",
                str(seen.count),
            ]
            for (rung, dtype, precision, pattern), seen in rows.items()
        ],
    )
    lines += _trajectories(records)
    lines += _accuracies(records, judged)
    lines += _repeats(records)
    lines += ["## Runs", ""]
    lines += table(
        ["run", "profile", "data", "seeds", "verdict", "reference", "versions"],
        [
            [
                record.run,
                record.plan.profile,
                record.dataset.name if record.dataset else "–",
                ", ".join(map(str, record.plan.seeds)),
                verdict.verdict,
                record.plan.reference,
                _versions(verdict),
            ]
            for record, verdict in zip(records, judged, strict=True)
        ],
    )
    machines = {tuple(sorted(record.machine.items())) for record in records}
    for machine in sorted(machines):
        lines.append(escape("Machine: " + ", ".join(f"{k} {v}" for k, v in machine)) + ".")
    return "\n".join(lines) + "\n"


def _trajectories(records: list[Record]) -> list[str]:
    """The nearest to its own run's envelope, by profile, regime and number of steps."""
    rows: dict[tuple[str, str, int], tuple[float, list[str]]] = {}
    for record in records:
        chosen = record.plan.trajectory
        for place in {(r.regime, r.after) for r in record.envelope}:
            replicas = [r for r in record.envelope if (r.regime, r.after) == place]
            limit = envelope_limit(replicas, chosen) if chosen is not None else None
            if limit is None:
                continue
            for name, results in record.results.items():
                for m in results.measurements:
                    if (m.rung, m.case) != ("trajectory", limit.case):
                        continue
                    found = share(m, limit)
                    row = (record.plan.profile, *place)
                    if found > rows.get(row, (-1.0, []))[0]:
                        cells = [words.figure(m.distance), words.figure(limit.value)]
                        cells += [f"{found:.3f}", name, str(record.plan.seeds[0]), limit.reason]
                        rows[row] = (found, cells)
    if not rows:
        return []
    header = [
        "profile",
        "regime",
        "steps",
        "largest",
        "limit",
        "share",
        "label",
        "seed",
        "limit is",
    ]
    told = (
        "A run's own envelope is its limit: 1.5 or 3 times the furthest replica, so a clean "
        "share lies near 0.67 or 0.33, not below a third."
    )
    body = [[*map(str, row), *cells] for row, (_, cells) in sorted(rows.items(), reverse=True)]
    return ["## Trajectory", "", told, "", *table(header, body)]


def _accuracies(records: list[Record], judged: list[Verdict]) -> list[str]:
    """Equivalence over seeds, and churn, of every run with more than one seed."""
    lines = []
    for record, verdict in zip(records, judged, strict=True):
        if len(record.plan.seeds) > 1:
            lines += [f"## Accuracy, run {escape(record.run)}", ""]
            lines += table(list(words.EQUIVALENCE_HEADER), words.equivalence_rows(verdict))
            lines += table(list(words.CHURN_HEADER), words.churn_rows(verdict))
    return lines


def _repeats(records: list[Record]) -> list[str]:
    """How many processes repeated themselves bit for bit."""
    repeats = [
        (name, repeat)
        for record in records
        for name, results in record.results.items()
        for repeat in results.repeats
    ]
    same = sum(repeat.identical for _, repeat in repeats)
    wavering = sorted({f"{name} ({r.dtype})" for name, r in repeats if not r.identical})
    told = f"{same} of {len(repeats)} processes trained twice to the same bits"
    return [
        "## A against A",
        "",
        told + (f"; not: {', '.join(wavering)}." if wavering else "."),
        "",
    ]


def _versions(verdict: Verdict) -> str:
    found: dict[str, str] = {}
    for label in verdict.labels.values():
        found |= versions(label.process.facts) if label.process is not None else {}
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
