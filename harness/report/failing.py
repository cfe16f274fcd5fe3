"""A training that cannot go on, and what every framework makes of the forward pass that fails."""

from __future__ import annotations

from harness.record.schema import Number, Told
from harness.report.run_tables import Run
from harness.report.sections import Section, Value
from harness.report.words import figure
from harness.verdict.verdict import FAILED

# A layer with fewer silent samples than this is not told of.
SILENT = 0.5


def section(run: Run) -> Section:
    """The reference's word on the step, and a row for every process; empty where none failed."""
    failure = run.record.failure
    if failure is None:
        return Section()
    title = f"Step {failure.step}: {FAILED[failure.kind]}"
    words = (
        f"Seed {failure.seed}, found by the reference, whose largest output there is "
        f"{failure.largest}; {_silence(failure.silent)}. The first {failure.compared} steps were "
        "compared."
    )
    header = ("label", "dtype", "it says", "loss", "largest output", "gradient", "silent")
    return Section(title, header, [_row(told) for told in failure.told], lines=[words])


def _row(told: Told) -> list[Value]:
    says = told.raised or ("a number" if isinstance(told.loss, float) else f"{told.loss}")
    numbers = [_number(value) for value in (told.loss, told.largest, told.gradient)]
    return [told.label, told.dtype, says, *numbers, _silence(told.silent)]


def _number(value: Number | None) -> str:
    return figure(value) if not isinstance(value, float) else f"{value:.6g}"


def _silence(silent: dict[str, Number]) -> str:
    """The layers whose units are all 0 for many samples, with the share of those."""
    parts = [
        f"{name}: every unit 0 for {share:.0%} of the samples"
        for name, share in silent.items()
        if isinstance(share, float) and share >= SILENT
    ]
    return "; ".join(parts) or "no layer is silent"
