"""The pictures of a page, as data for plotly: from a stored record and its verdict only.

What a record does not hold is not drawn, and what a table shows whole has no picture. Times are
drawn of labels that may be ranked, and of no others.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.report.figure import Plot
from harness.report.plots import learning, numbers, paths, timing
from harness.report.run_tables import Run

# By part of a page, in their order; of what is learnt the distance, then the curve itself.
PICTURES: dict[str, tuple[Callable[[Run], list[Plot]], ...]] = {
    "agreement": (
        numbers.checkpoints, numbers.depth, numbers.lockstep_losses, numbers.lockstep_parameters,
        numbers.trajectory,
    ),
    "curves": (
        numbers.free_losses, learning.losses, learning.accuracy_gaps, learning.accuracies,
        learning.gradients, paths.numbers, paths.surface,
        paths.line,
    ),
    "confusion": (learning.confusions,),
    "steps": (timing.step_series, timing.distributions, timing.ratios),
}  # fmt: skip


def pictures(run: Run, part: str) -> list[Plot]:
    """The pictures of one part."""
    return [plot for draw in PICTURES.get(part, ()) for plot in draw(run)]
