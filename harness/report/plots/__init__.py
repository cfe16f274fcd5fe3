"""The pictures of a page, as data for plotly: from a stored record and its verdict only.

A file a theme, each with one function that gives the `Plot`s of a run: `numbers` (the error along
training), `learning` (loss, accuracy, confusion), `timing`. What a record does not hold is not
drawn. Times are drawn of labels that may be ranked, and of no others.
"""

from harness.report.plots.learning import learning
from harness.report.plots.numbers import numbers
from harness.report.plots.timing import timing

__all__ = ["learning", "numbers", "timing"]
