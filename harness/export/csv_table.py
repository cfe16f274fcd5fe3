"""Every figure of a run as one tidy CSV table: one number a row, so that a filter makes any plot.

The columns; a cell that does not apply is empty:

run, label            which; the label's own configuration is in
backend, variant, device, dtype, precision
agreement             "agree", or why the label's times must not be ranked: it stands in every row
what                  what the row is:
                      status            whether its processes ended well: ok, failed or skipped
                      rung              the rung's value nearest its limit; verdict says agree, ...
                      distance          one tensor of one batch against the reference
                      training loss, test accuracy     after each epoch of a free training
                      step time         geometric mean of sessions' medians; low, high: 95 % limits
                      session's step time, floor multiple, throughput, first step, compile, gather,
                      put, epoch, evaluation, GEMM floor, loop overhead, cores, peak memory
unit                  of value, low, high and limit
rung, case, tensor    of distances; case is the batch
step                  of distances: place in the schedule
seed, epoch           of trainings; epochs count from 1
session               from 0
value, low, high, limit                finite, or nan, inf, -inf
verdict               of rungs: agree, disagree, inconclusive, not-possible; of status: its word

A text that a spreadsheet would take for a formula has an apostrophe before it. Single steps are not
here: they are in the run's steps.parquet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from harness.export.shown import FIGURES, LONGEST_NAME, LeftOut, Run, line
from harness.record.schema import Results
from harness.verdict.finding import Finding
from harness.verdict.numbers import with_limits
from harness.verdict.timings import session_medians, steady
from harness.verdict.verdict import LabelVerdict, agreement
from harness.workloads.reference.limits import DECIDING, LIMITS, MEASURED, RUNGS

COLUMNS = (
    "run",
    "label",
    "backend",
    "variant",
    "device",
    "dtype",
    "precision",
    "agreement",
    "what",
    "unit",
    "rung",
    "case",
    "tensor",
    "step",
    "seed",
    "epoch",
    "session",
    "value",
    "low",
    "high",
    "limit",
    "verdict",
)
# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@")
Row = dict[str, Any]


def render(runs: Sequence[Run]) -> tuple[str, list[LeftOut]]:
    """The CSV text of all runs; nothing is left out, times stand beside their agreement."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        for row in _rows(run):
            writer.writerow({name: _cell(name, value) for name, value in row.items()})
    return text.getvalue(), []


# Columns that hold numbers, or the name of one that is not finite: never a formula.
NUMBERS = ("step", "seed", "epoch", "session", "value", "low", "high", "limit")


def _cell(column: str, value: Any) -> Any:
    if column in NUMBERS or not isinstance(value, str):
        return value
    told = line(value, LONGEST_NAME)
    return f"'{told}" if told.startswith(FORMULA) else told


def _rows(run: Run) -> Iterator[Row]:
    for name, label in run.verdict.labels.items():
        configured, results = run.record.plan.labels[name], run.record.results.get(name)
        whose = {
            "run": run.record.run,
            "label": name,
            "backend": configured.backend,
            "variant": configured.variant,
            "device": configured.device,
            "dtype": configured.dtype,
            "precision": configured.precision,
            "agreement": agreement(label),
        }
        yield whose | {"what": "status", "verdict": label.status}
        for row in _of_rungs(label):
            yield whose | row
        if results is not None:
            for row in (*_of_numbers(run, name, results), *_of_times(run, label, results)):
                yield whose | row


def _of_rungs(label: LabelVerdict) -> Iterator[Row]:
    for rung in RUNGS:
        finding = label.findings.get(rung)
        if finding is not None:
            yield {
                "what": "rung",
                "unit": _unit(finding),
                "rung": rung,
                "value": finding.value,
                "limit": finding.limit,
                "verdict": finding.verdict,
            }


def _unit(finding: Finding) -> str:
    """Of a rung's value and limit."""
    if finding.rung == "timing":
        return "ratio"
    if finding.rung != "accuracy":
        return "distance"
    metric = finding.evidence.tensor if finding.evidence is not None else ""
    return {"test accuracy": "share", "training loss": "nats"}.get(metric, "")


def _of_numbers(run: Run, name: str, results: Results) -> Iterator[Row]:
    for rung in MEASURED:
        # Trajectory has no limit of its own for a tensor: it is judged against its envelope.
        for m, limit in with_limits(rung, name, run.record, LIMITS):
            yield {
                "what": "distance",
                "unit": "distance",
                "dtype": m.dtype,
                "rung": rung,
                "case": m.case,
                "tensor": m.tensor,
                "step": m.step,
                "value": m.distance,
                "limit": limit.value if limit is not None and rung in DECIDING else None,
            }
    for training in results.training:
        series = (
            ("training loss", "nats", training.epoch_losses),
            ("test accuracy", "share", training.test_accuracy),
        )
        for what, unit, values in series:
            for epoch, value in enumerate(values, start=1):
                yield {
                    "what": what,
                    "unit": unit,
                    "dtype": training.dtype,
                    "seed": training.seed,
                    "epoch": epoch,
                    "value": value,
                }


def _of_times(run: Run, label: LabelVerdict, results: Results) -> Iterator[Row]:
    time, process = label.step_time, label.process
    if process is not None and process.peak_rss_bytes is not None:
        yield {"what": "peak memory", "unit": "bytes", "value": process.peak_rss_bytes}
    if time is None:
        return
    low, high = time.ci95_ns
    yield {"what": "step time", "unit": "ns", "value": time.median_ns, "low": low, "high": high}
    sessions = sorted({r.session for r in steady(run.record, results) if r.step_ns})
    medians = session_medians(run.record, results)
    for session, median_ns in zip(sessions, medians, strict=True):
        yield {
            "what": "session's step time",
            "unit": "ns",
            "session": session,
            "value": median_ns,
        }
    for what, field, unit in FIGURES:
        value = getattr(time, field)
        if value is not None:
            interval = time.floor_ci95 if field == "floor_ratio" else None
            low_high = dict(zip(("low", "high"), interval or (), strict=False))
            yield {"what": what, "unit": unit, "value": value} | low_high
