"""The pictures of a page, as data for plotly: from a stored record and its verdict only.

What a record does not hold is not drawn, and what a table shows whole has no picture. Times are
drawn of labels that may be ranked, and of no others.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.report.figure import Plot
from harness.report.plots import learning, numbers, paths, timing
from harness.report.run_tables import Run

# By chapter of a page, in their order.
PICTURES: dict[str, tuple[Callable[[Run], list[Plot]], ...]] = {
    "agreement": (
        numbers.checkpoints, numbers.depth, numbers.lockstep_losses, numbers.lockstep_parameters,
        numbers.free_losses, numbers.trajectory,
    ),
    "learning": (
        learning.losses, learning.accuracies, learning.gradients, paths.numbers, paths.surface,
        paths.line,
    ),
    "confusion": (learning.confusions,),
    "speed": (timing.step_series, timing.distributions, timing.ratios),
}  # fmt: skip


def pictures(run: Run, chapter: str) -> list[Plot]:
    """The pictures of one chapter."""
    return [plot for draw in PICTURES.get(chapter, ()) for plot in draw(run)]
