"""The pictures of a page, as data for plotly: from a stored record and its verdict only.

A file a theme, each with functions that give `Plot`s: `numbers` (margins, error along training),
`learning` (loss, accuracy, churn, confusion), `timing`, and `scaling` for a grid of sizes. What a
record does not hold is not drawn. Times are drawn of labels that may be ranked, and of no others.
"""

from __future__ import annotations

from harness.record.schema import Record
from harness.report.figure import Plot
from harness.report.plots.learning import learning
from harness.report.plots.numbers import numbers
from harness.report.plots.timing import timing
from harness.verdict.verdict import Verdict

__all__ = ["learning", "numbers", "plots", "timing"]


def plots(record: Record, verdict: Verdict) -> list[Plot]:
    """All pictures of a run, in the order of a page; that of a grid is in `scaling`."""
    return [*numbers(record, verdict), *learning(record, verdict), *timing(record, verdict)]
