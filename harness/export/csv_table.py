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

from harness.export.figures import SINGLE, Figure, numbers, times
from harness.export.shown import LONGEST_NAME, LeftOut, Run, configuration, line
from harness.plan.model import CONFIGURATION
from harness.verdict.verdict import agreement

OF_LABEL = ("run", "label", *CONFIGURATION, "agreement")
COLUMNS = (*OF_LABEL, *(field for field in Figure._fields if field not in ("dtype", "compared")))
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
        of_label = {"run": run.record.run, "label": name, **configuration(run, name)}
        of_label["agreement"] = agreement(label)
        yield of_label | {"what": "status", "verdict": label.status}
        for figure in (*numbers(run, name), *times(run, name)):
            if figure.what not in SINGLE:
                row = figure._asdict()
                del row["compared"]
                yield of_label | row | {"dtype": figure.dtype or of_label["dtype"]}
